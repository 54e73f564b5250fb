//! What was read of the whole catalogue, for a while: read anew when it is old, or when somebody uses a name that it does
//! not know. Most such names are columns and words, and each is only looked for once.

use dashmap::DashSet;
use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// Names that are not there, remembered at once. Of more, what was read a while ago is good enough.
const STRANGERS: usize = 50_000;

struct Known<T> {
    asked: Instant,
    fresh: Duration,
    all: Arc<T>,
}

/// The last that was read.
pub(super) struct Remembered<T> {
    /// It is trusted for so long at least.
    fresh: Duration,
    known: RwLock<Option<Known<T>>>,
    /// How often all was forgotten: what was being read meanwhile is not kept.
    forgotten: AtomicU64,
    /// One reads at a time. Those who came before he began take what he has read.
    reading: Mutex<()>,
    /// Names that were asked for, and are not there.
    strangers: DashSet<String>,
}

impl<T> Remembered<T> {
    pub fn new(fresh: Duration) -> Self {
        let (known, forgotten) = (RwLock::new(None), AtomicU64::new(0));
        Self { fresh, known, forgotten, reading: Mutex::new(()), strangers: DashSet::new() }
    }

    /// What was read last, however long ago.
    pub fn last(&self) -> Option<Arc<T>> {
        self.known().map(|(_, _, all)| all)
    }

    pub fn forget(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.fetch_add(1, Ordering::Relaxed);
        *known = None;
    }

    /// As of a moment ago; as of now if it is to be, or if names that `missing` finds in it were never asked for before.
    pub async fn get<E>(
        &self,
        now: bool,
        missing: impl Fn(&T) -> Vec<String>,
        read: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let begun = Instant::now();
        if let (Some((asked, fresh, all)), false) = (self.known(), now)
            && asked.elapsed() < fresh
            && (missing(&all).iter().all(|name| self.strangers.contains(name)) || self.is_full())
        {
            return Ok(all);
        }
        let _reading = self.reading.lock().await;
        let all = match self.known() {
            Some((asked, _, all)) if asked >= begun => all,
            Some(_) | None => {
                let asked = Instant::now();
                let before = self.forgotten.load(Ordering::Relaxed);
                let all = Arc::new(read().await?);
                // Where that takes long it is done less often.
                let fresh = self.fresh.max(asked.elapsed() * 3);
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                if self.forgotten.load(Ordering::Relaxed) == before {
                    *known = Some(Known { asked, fresh, all: all.clone() });
                }
                all
            }
        };
        if !self.is_full() {
            for name in missing(&all) {
                self.strangers.insert(name);
            }
        }
        Ok(all)
    }

    fn known(&self) -> Option<(Instant, Duration, Arc<T>)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|known| (known.asked, known.fresh, known.all.clone()))
    }

    fn is_full(&self) -> bool {
        self.strangers.len() >= STRANGERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    #[tokio::test]
    async fn a_name_that_is_new_is_looked_for_once() {
        let all = Remembered::new(Duration::from_secs(3600));
        let there = RwLock::new(vec!["a"]);
        let reads = AtomicUsize::new(0);
        let get = async |name: &'static str| {
            let missing = |all: &Vec<&str>| match all.contains(&name) {
                true => Vec::new(),
                false => vec![name.to_owned()],
            };
            let read = async || {
                reads.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>(there.read().unwrap().clone())
            };
            let found = all.get(false, missing, read).await.unwrap().contains(&name);
            (found, reads.load(Ordering::Relaxed))
        };
        assert_eq!(get("a").await, (true, 1));
        there.write().unwrap().push("made a moment ago");
        assert_eq!(get("a").await, (true, 1));
        assert_eq!(get("made a moment ago").await, (true, 2));
        assert_eq!(get("column").await, (false, 3));
        assert_eq!(get("column").await, (false, 3));
        all.forget();
        assert_eq!(get("column").await, (false, 4));
        assert!(all.last().is_some());
        let forgets = async || {
            all.forget();
            Ok::<_, Infallible>(Vec::new())
        };
        all.get(true, |_| Vec::new(), forgets).await.unwrap();
        assert!(all.last().is_none());
    }
}
