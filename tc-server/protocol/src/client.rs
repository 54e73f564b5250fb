//! The proxy's hand on the coordinator: calls that keep their ids over reconnects, hints, and tasks of phase two.
//!
//! All calls share one stream; what is ready together travels in one frame. Every request is idempotent, so a call
//! whose connection broke is simply sent again, to whichever coordinator answers first. What a call's outcome
//! means to a client's session is deliberately not decided here.

mod connection;
mod primaries;

use crate::convert::{proxy_to_wire, request_to_wire};
use crate::messages::{
    Answer, Bound, Check, CheckRead, Errand, FromProxy, Register, Request, Resource, Stuck, Task, TaskId,
    TaskOutcome, UndoMark,
};
use crate::wire::proxy_message::Body;
use crate::{BranchId, Refusal, TxStatus, Xid};
use connection::{Connection, Outgoing};
use primaries::Primaries;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

/// Calls that may be under way at once; more wait for their turn within their own time.
const CALLS: usize = 8192;
/// Messages that may wait for the connection's writer.
const QUEUE: usize = 4096;
/// Tasks that may wait for the proxy; more are reported back as `Retry`.
const TASKS: usize = 1024;
/// Errands that may wait for the proxy; more are dropped, and come again while they are of use.
const ERRANDS: usize = 256;
/// The largest request; a larger one would break the stream for everybody.
pub(crate) const MAX_REQUEST: usize = 16 << 20;

/// How long a call may take, over all its tries.
const BUDGET: Duration = Duration::from_secs(5);
/// The same for commit and rollback, which may have to ask databases.
const DECISION_BUDGET: Duration = Duration::from_secs(15);

/// Where the coordinators are, and who is asking.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// `host:port` of each coordinator.
    pub coordinators: Vec<String>,
    /// This proxy's name, for logs.
    pub proxy: String,
    /// The databases this proxy reaches, and their primaries as seen just now.
    pub resources: Vec<Resource>,
}

/// Why a call brought no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The coordinator said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody answered in time: **the outcome is unknown**.
    #[error("{0}")]
    Unavailable(String),
}

/// A handle on the coordinator; cheap to clone.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Outgoing>,
}

/// The phase-two tasks given to this proxy.
pub struct Tasks(mpsc::Receiver<Task>);

impl Tasks {
    /// The next task; `None` when the connection's future has ended.
    pub async fn next(&mut self) -> Option<Task> {
        self.0.recv().await
    }
}

/// What the coordinator asks this proxy about circles.
pub struct Errands(mpsc::Receiver<Errand>);

impl Errands {
    /// The next; `None` when the connection's future has ended.
    pub async fn next(&mut self) -> Option<Errand> {
        self.0.recv().await
    }
}

struct Shared {
    addresses: String,
    connected: AtomicBool,
    /// Why there is no connection, as it was last tried.
    trouble: Mutex<String>,
    ids: AtomicU64,
    calls: Semaphore,
    primaries: Primaries,
}

impl Shared {
    fn trouble(&self) -> MutexGuard<'_, String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// A client, its tasks and errands, and the future that drives the connection for as long as a client lives.
    pub fn new(options: ClientOptions) -> (Self, Tasks, Errands, impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::new(Shared {
            addresses: options.coordinators.join(", "),
            connected: AtomicBool::new(false),
            trouble: Mutex::default(),
            ids: AtomicU64::new(1),
            calls: Semaphore::new(CALLS),
            primaries: Primaries::new(&options.resources),
        });
        let (queue, outgoing) = mpsc::channel(QUEUE);
        let (tasks, received) = mpsc::channel(TASKS);
        let (errands, asked) = mpsc::channel(ERRANDS);
        let connection = Connection::new(options, Arc::clone(&shared), outgoing, (tasks, errands));
        (Self { shared, queue }, Tasks(received), Errands(asked), connection.run())
    }

    /// Begins a transaction under an id the caller drew.
    pub async fn begin(&self, xid: Xid, name: &str, timeout: Duration) -> Result<(), CallError> {
        let request = Request::Begin { xid, name: name.to_owned(), timeout };
        match self.call(request, BUDGET).await? {
            Answer::Done => Ok(()),
            answer => Err(self.strange(&answer)),
        }
    }

    /// Registers a branch and takes its locks; the answer is its sequence number in the transaction. Dropped while it waits
    /// it leaves the queue; whether it is registered is then unknown.
    pub async fn register(&self, register: Register) -> Result<u64, CallError> {
        let budget = BUDGET + register.wait;
        match self.call(Request::Register(register), budget).await? {
            Answer::Registered(sequence) => Ok(sequence),
            answer => Err(self.strange(&answer)),
        }
    }

    /// Waits until no other transaction holds these keys, as the leader's log has it now.
    pub async fn check(&self, check: Check) -> Result<(), CallError> {
        let budget = BUDGET + check.wait;
        match self.call(Request::Check(check), budget).await? {
            Answer::Done => Ok(()),
            answer => Err(self.strange(&answer)),
        }
    }

    /// Waits until those who hold keys of tables that were read are decided. The answer is what is to be known before the next
    /// read, and whether this one must be done again.
    pub async fn check_read(&self, check: CheckRead) -> Result<(UndoMark, bool), CallError> {
        let budget = BUDGET + check.wait;
        match self.call(Request::CheckRead(check), budget).await? {
            Answer::ReadChecked { mark, again } => Ok((mark, again)),
            answer => Err(self.strange(&answer)),
        }
    }

    /// Says that a branch did not commit locally and never will.
    pub async fn failed(&self, xid: Xid, branch: BranchId) -> Result<(), CallError> {
        match self.call(Request::Failed { xid, branch }, BUDGET).await? {
            Answer::Done => Ok(()),
            answer => Err(self.strange(&answer)),
        }
    }

    /// Hints that a branch is locally committed. Never awaited, dropped while disconnected: the coordinator asks
    /// the database about a branch it has no hint for.
    pub fn settled(&self, xid: Xid, branch: BranchId, resource: &str, primary: &str) {
        if self.connected() {
            let (resource, primary) = (resource.to_owned(), primary.to_owned());
            let hint = FromProxy::Settled { xid, branch, resource, primary };
            let _ = self.queue.try_send(Outgoing::Note(proxy_to_wire(hint)));
        }
    }

    /// Decides to commit: `Committed`, or a refusal that says how it ended instead.
    pub async fn commit(&self, xid: Xid) -> Result<TxStatus, CallError> {
        match self.call(Request::Commit { xid }, DECISION_BUDGET).await? {
            Answer::Status(status, _) => Ok(status),
            answer => Err(self.strange(&answer)),
        }
    }

    /// Decides to roll back and waits up to `wait` for the branches: `RolledBack`, `RollingBack` or `Blocked`.
    pub async fn rollback(&self, xid: Xid, reason: &str, wait: Duration) -> Result<TxStatus, CallError> {
        let request = Request::Rollback { xid, reason: reason.to_owned(), wait };
        match self.call(request, DECISION_BUDGET + wait).await? {
            Answer::Status(status, _) => Ok(status),
            answer => Err(self.strange(&answer)),
        }
    }

    /// Where a transaction stands, and why; `None` when the coordinator knows none.
    pub async fn status(&self, xid: Xid) -> Result<Option<(TxStatus, String)>, CallError> {
        match self.call(Request::StatusOf { xid }, BUDGET).await {
            Ok(Answer::Status(status, reason)) => Ok(Some((status, reason))),
            Ok(answer) => Err(self.strange(&answer)),
            Err(CallError::Refused(Refusal::Unknown)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says which primary a look at a database has just found. What is called after this is answered by a
    /// coordinator that has heard it. While disconnected it is kept for the next hello.
    pub fn sees(&self, resource: &str, primary: &str) {
        if self.shared.primaries.seen(Instant::now(), resource, primary) && self.connected() {
            let (name, primary) = (resource.to_owned(), primary.to_owned());
            let seen = Resource { name, primary, lineage: None, address: String::new() };
            // Dropped when the queue is full: the next look is not far.
            let _ = self.queue.try_send(Outgoing::Note(proxy_to_wire(FromProxy::Sees(seen))));
        }
    }

    /// Says that a statement waits in its database for other connections, or no more. Dropped while disconnected: it is
    /// said again.
    pub fn stuck(&self, stuck: Stuck) {
        if self.connected() {
            let _ = self.queue.try_send(Outgoing::Note(proxy_to_wire(FromProxy::Stuck(stuck))));
        }
    }

    /// Says in which global transaction a connection is, or in none any more. Dropped while disconnected: who needs it asks
    /// again.
    pub fn bound(&self, bound: Bound) {
        if self.connected() {
            let _ = self.queue.try_send(Outgoing::Note(proxy_to_wire(FromProxy::Bound(bound))));
        }
    }

    /// Reports how a task ended, and on which primary it was carried out. A lost report is harmless: the task comes
    /// again.
    pub fn report(&self, task: TaskId, outcome: TaskOutcome, primary: &str) {
        let primary = primary.to_owned();
        let note = Outgoing::Note(proxy_to_wire(FromProxy::Report { task, outcome, primary }));
        if self.queue.try_send(note).is_err() {
            tracing::warn!(task = task.0, "report of a task dropped: the queue to the coordinator is full");
        }
    }

    /// Whether a coordinator is connected now.
    pub fn connected(&self) -> bool {
        self.shared.connected.load(Ordering::Acquire)
    }

    /// Why there is no coordinator, as it was last tried; None while one is connected, or none was tried yet.
    pub fn trouble(&self) -> Option<String> {
        Some(self.shared.trouble().clone()).filter(|why| !self.connected() && !why.is_empty())
    }

    async fn call(&self, request: Request, budget: Duration) -> Result<Answer, CallError> {
        let body = request_to_wire(request);
        let size = connection::size(&body);
        if size > MAX_REQUEST {
            let why =
                format!("a request of {size} bytes is over the limit of {MAX_REQUEST}: touch fewer rows");
            return Err(CallError::Refused(Refusal::Invalid(why)));
        }
        let deadline = Instant::now() + budget;
        let mut why = String::from("no answer");
        match tokio::time::timeout_at(deadline, self.ask(body, &mut why)).await {
            Ok(Some(Answer::Refused(refusal))) => Err(CallError::Refused(refusal)),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.unavailable("the connection's task has ended", budget)),
            Err(_) if !self.connected() => {
                Err(self.unavailable(self.trouble().as_deref().unwrap_or("not connected"), budget))
            }
            Err(_) => Err(self.unavailable(&why, budget)),
        }
    }

    /// Asks until there is an answer that is one.
    async fn ask(&self, body: Body, why: &mut String) -> Option<Answer> {
        let _turn = self.shared.calls.acquire().await.ok()?;
        let id = self.shared.ids.fetch_add(1, Ordering::Relaxed);
        let waits = matches!(body, Body::Register(_) | Body::Check(_) | Body::CheckRead(_));
        let mut place = Place { queue: waits.then_some(&self.queue), id };
        let mut backoff = connection::Backoff::default();
        loop {
            let (reply, answer) = oneshot::channel();
            self.queue.send(Outgoing::Call { id, body: body.clone(), reply }).await.ok()?;
            match answer.await.ok()? {
                Answer::Unavailable(reason) => *why = reason,
                Answer::NotLeader(leader) => *why = format!("not the leader; that is '{leader}'"),
                answer => {
                    place.queue = None;
                    return Some(answer);
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    fn unavailable(&self, why: &str, budget: Duration) -> CallError {
        CallError::Unavailable(format!(
            "no answer from the coordinator at {} within {} s ({why}); the outcome is unknown",
            self.shared.addresses,
            budget.as_secs()
        ))
    }

    fn strange(&self, answer: &Answer) -> CallError {
        CallError::Unavailable(format!(
            "the coordinator at {} gave an answer of another kind: {answer:?}",
            self.shared.addresses
        ))
    }
}

/// A call that may stand in the queue for locks; left when nobody waits for its answer any more.
struct Place<'c> {
    queue: Option<&'c mpsc::Sender<Outgoing>>,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue {
            // When the queue is full it ends with its own wait.
            let _ = queue.try_send(Outgoing::Note(proxy_to_wire(FromProxy::GiveUp(self.id))));
        }
    }
}
