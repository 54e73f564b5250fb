//! A statement that waits in its database may have to yield, for a circle of which no part is at the coordinator. It is
//! interrupted there, by what a client's own KILL QUERY or cancel does; and nothing else than that statement is ever hit:
//! the session and he who interrupts pass one gate.

use std::{future::Future, pin::Pin};
use tokio::sync::Mutex;

/// Interrupts whatever runs on the session's database connection; Err: why it was not, or may not have been.
pub type Interrupt = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Lets an interruption in while the client's statement runs, and none of our own that end it.
pub struct Gate {
    interrupt: Interrupt,
    passed: Mutex<Passed>,
}

#[derive(Default)]
struct Passed {
    closed: bool,
    circle: Option<Vec<String>>,
    /// The interruption was sent. Otherwise it was given up halfway.
    sent: bool,
}

/// What came of a request to yield.
#[derive(Debug, PartialEq, Eq)]
pub enum Yielded {
    /// The statement was interrupted.
    Interrupted,
    /// It is over, or was interrupted before.
    Over,
    /// It does not wait, as far as its database says.
    Goes,
    /// It could not be interrupted, and why.
    Failed(String),
}

impl Gate {
    /// An open one.
    pub fn new(interrupt: Interrupt) -> Self {
        Self { interrupt, passed: Mutex::default() }
    }

    /// Interrupts the statement, if it still waits. Meanwhile the session does not get past its end.
    pub async fn yields(&self, circle: Vec<String>, waits: impl AsyncFnOnce() -> bool) -> Yielded {
        let mut passed = self.passed.lock().await;
        if passed.closed || passed.sent {
            return Yielded::Over;
        }
        if !waits().await {
            return Yielded::Goes;
        }
        // If this is given up halfway, the statement may be interrupted all the same.
        passed.circle = Some(circle);
        match (self.interrupt)().await {
            Ok(()) => {
                passed.sent = true;
                Yielded::Interrupted
            }
            Err(why) => {
                passed.circle = None;
                Yielded::Failed(why)
            }
        }
    }

    /// The statement was interrupted: the circle, if it was for one, and not by a client.
    pub async fn circle(&self) -> Option<Vec<String>> {
        self.passed.lock().await.circle.clone()
    }

    /// From here on nothing is interrupted; true if something was, perhaps too late for the statement.
    pub async fn close(&self) -> bool {
        let mut passed = self.passed.lock().await;
        passed.closed = true;
        passed.circle.is_some()
    }
}

/// The circle in a sentence.
pub fn sentence(circle: &[String]) -> String {
    let all: Vec<&str> = circle.iter().chain(circle.first()).map(String::as_str).collect();
    format!(
        "deadlock: {}; the statement waited in its database and was interrupted; the local transaction was rolled back; try it \
         again",
        all.join(" waits for ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    fn gate(answer: Result<(), String>) -> (Gate, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let interrupt: Interrupt = Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = answer.clone();
            Box::pin(async move { answer })
        });
        (Gate::new(interrupt), count)
    }

    fn circle() -> Vec<String> {
        vec!["a".to_owned(), "b".to_owned()]
    }

    #[tokio::test]
    async fn a_statement_is_interrupted_once_and_only_while_it_waits() {
        let (open, count) = gate(Ok(()));
        assert_eq!(open.yields(circle(), async || false).await, Yielded::Goes);
        assert_eq!((open.circle().await, count.load(Ordering::Relaxed)), (None, 0));
        assert_eq!(open.yields(circle(), async || true).await, Yielded::Interrupted);
        assert_eq!(open.yields(circle(), async || true).await, Yielded::Over);
        assert_eq!((open.circle().await, count.load(Ordering::Relaxed)), (Some(circle()), 1));
        assert!(open.close().await);
    }

    #[tokio::test]
    async fn nothing_is_interrupted_behind_the_end() {
        let (closed, count) = gate(Ok(()));
        assert!(!closed.close().await);
        assert_eq!(closed.yields(circle(), async || true).await, Yielded::Over);
        assert_eq!((closed.circle().await, count.load(Ordering::Relaxed)), (None, 0));
    }

    #[tokio::test]
    async fn the_end_waits_for_an_interruption_under_way() {
        let (gate, _) = gate(Ok(()));
        let (asked, answer) = tokio::sync::oneshot::channel();
        let waits = async || answer.await.is_ok();
        let (yielded, late) = tokio::join!(gate.yields(circle(), waits), async {
            let close = gate.close();
            tokio::pin!(close);
            tokio::select! {
                biased;
                _ = &mut close => panic!("closed while the database is asked"),
                () = std::future::ready(()) => {}
            }
            asked.send(()).unwrap();
            close.await
        });
        assert_eq!((yielded, late), (Yielded::Interrupted, true));
    }

    #[tokio::test]
    async fn what_was_given_up_halfway_is_done_again() {
        let (gate, _) = gate(Ok(()));
        let hangs: Interrupt = Box::new(|| Box::pin(std::future::pending()));
        let gate = Gate { interrupt: hangs, ..gate };
        let given_up = tokio::time::timeout(Duration::ZERO, gate.yields(circle(), async || true)).await;
        assert!(given_up.is_err());
        let gate = Gate { interrupt: Box::new(|| Box::pin(async { Ok(()) })), ..gate };
        assert_eq!(gate.yields(circle(), async || true).await, Yielded::Interrupted);
    }

    #[tokio::test]
    async fn what_could_not_be_interrupted_is_the_clients_own() {
        let (gate, _) = gate(Err("no".to_owned()));
        assert_eq!(gate.yields(circle(), async || true).await, Yielded::Failed("no".to_owned()));
        assert_eq!(gate.circle().await, None);
    }
}
