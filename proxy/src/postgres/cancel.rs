//! Requests to cancel: passed on to the session they name, but never while a statement of our own runs in it. Statements that
//! are to yield are interrupted by the same request.

use super::reach::Reach;
use crate::wire::postgres::startup::cancel_request;
use dashmap::DashMap;
use std::{io, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// A request is given up after this.
const LIMIT: Duration = Duration::from_secs(5);

/// Running sessions by the number and key that the server gave them.
pub struct Cancels {
    sessions: DashMap<Vec<u8>, Arc<Mutex<()>>>,
    /// Where the server is.
    pub reach: Reach,
}

/// One session's entry; it ends with the session.
pub struct Cancellable {
    all: Arc<Cancels>,
    key: Vec<u8>,
    busy: Arc<Mutex<()>>,
}

impl Cancels {
    /// Of one server.
    pub fn new(reach: Reach) -> Self {
        Self { sessions: DashMap::new(), reach }
    }

    /// A session has begun.
    pub fn enter(self: &Arc<Self>, key: Vec<u8>) -> Cancellable {
        let busy = Arc::new(Mutex::new(()));
        self.sessions.insert(key.clone(), busy.clone());
        Cancellable { all: self.clone(), key, busy }
    }

    /// Sends a request on, unless the session is at something of ours; one whose session another proxy has is sent on as
    /// well.
    pub async fn forward(&self, key: &[u8]) {
        if let Err(error) = self.request(key).await {
            tracing::debug!(%error, "a request to cancel was not passed on");
        }
    }

    async fn request(&self, key: &[u8]) -> io::Result<()> {
        let busy = self.sessions.get(key).map(|b| b.clone());
        let _held = match &busy {
            None => None,
            Some(busy) => Some(busy.try_lock().map_err(|_| io::Error::other("the session is at our own"))?),
        };
        let send = async {
            let mut database = self.reach.connect(true).await?;
            database.write(&cancel_request(key)).await?;
            // The server closes once it has sent the signal.
            while database.fill().await? {}
            Ok(())
        };
        tokio::time::timeout(LIMIT, send).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Cancellable {
    /// Keeps requests away until the guard is dropped; waits for one that is being passed on.
    pub async fn ours(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.busy.clone().lock_owned().await
    }

    /// Interrupts what the session runs.
    pub fn interrupt(&self) -> crate::yielding::Interrupt {
        let (all, key) = (self.all.clone(), self.key.clone());
        Box::new(move || {
            let (all, key) = (all.clone(), key.clone());
            Box::pin(async move { all.request(&key).await.map_err(|error| error.to_string()) })
        })
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.all.sessions.remove(&self.key);
    }
}
