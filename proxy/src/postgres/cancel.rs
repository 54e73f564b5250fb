//! Requests to cancel: passed on to the session they name, but never while a statement of our own runs in it.

use dashmap::DashMap;
use std::{io, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// A request is given up after this.
const LIMIT: Duration = Duration::from_secs(5);

/// Running sessions by the number and key that the server gave them.
#[derive(Default)]
pub struct Cancels(DashMap<Vec<u8>, Arc<Mutex<()>>>);

/// One session's entry; it ends with the session.
pub struct Cancellable {
    all: Arc<Cancels>,
    key: Vec<u8>,
    busy: Arc<Mutex<()>>,
}

impl Cancels {
    /// A session has begun.
    pub fn enter(self: &Arc<Self>, key: Vec<u8>) -> Cancellable {
        let busy = Arc::new(Mutex::new(()));
        self.0.insert(key.clone(), busy.clone());
        Cancellable { all: self.clone(), key, busy }
    }

    /// Sends a request on by `send`, unless the session is at something of ours; one whose session another proxy has
    /// is sent on as well.
    pub async fn forward(&self, key: &[u8], send: impl AsyncFnOnce() -> io::Result<()>) {
        let busy = self.0.get(key).map(|b| b.clone());
        let held = match &busy {
            None => None,
            Some(busy) => match busy.try_lock() {
                Ok(held) => Some(held),
                Err(_) => return,
            },
        };
        match tokio::time::timeout(LIMIT, send()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a request to cancel was not passed on"),
            Err(_) => tracing::debug!("a request to cancel was not passed on in time"),
        }
        drop(held);
    }
}

impl Cancellable {
    /// Keeps requests away until the guard is dropped; waits for one that is being passed on.
    pub async fn ours(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.busy.clone().lock_owned().await
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.all.0.remove(&self.key);
    }
}
