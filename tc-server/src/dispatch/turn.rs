//! What somebody waits for, and how he learns that it is his turn, or that it never will be.

use crate::state::Lock;
use atone_protocol::{Refusal, TxStatus, Xid};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// A lock, and whether others may have it at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    pub lock: Lock,
    pub shared: bool,
}

/// Who holds what, as those who wait must know it.
pub(super) trait Table {
    /// Those who keep `xid` (or one without a transaction) from it, and where they stand.
    fn others(&self, want: &Want, xid: Option<Xid>) -> Vec<(Xid, TxStatus)>;

    /// Does `xid` hold it already, in any way?
    fn holds(&self, lock: &Lock, xid: Xid) -> bool;
}

/// Who holds what.
pub(super) type Held<'a> = &'a dyn Table;

/// A connection to a database, by the database's own number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Connection {
    pub resource: String,
    pub number: u64,
}

impl Connection {
    /// None: its number is not known.
    pub fn new(resource: &str, number: u64) -> Option<Self> {
        (number != 0).then(|| Self { resource: resource.to_owned(), number })
    }
}

/// One who waits, or is waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// A global transaction, with all its sessions.
    Global(Xid),
    /// A session that is in none.
    Local(Connection),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global(xid) => write!(f, "{xid}"),
            Self::Local(Connection { resource, number }) => write!(f, "connection {number} of {resource}"),
        }
    }
}

/// Somebody's turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    called: Notify,
    verdict: Mutex<Option<Refusal>>,
}

impl Turn {
    /// Waits for the call: `None` means try again.
    pub async fn called(&self) -> Option<Refusal> {
        self.called.notified().await;
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Try again.
    pub fn call(&self) {
        self.called.notify_one();
    }

    pub fn fail(&self, refusal: Refusal) {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refusal);
        self.called.notify_one();
    }
}

pub(super) fn conflict(lock: &Lock, holder: Xid, holder_status: TxStatus) -> Refusal {
    Refusal::Conflict { key: lock.key.clone(), holder, holder_status, deadlock: Vec::new() }
}

/// A conflict that closed a circle says who waits for whom.
pub(super) fn with_circle(refusal: Refusal, circle: &[Who]) -> Refusal {
    match refusal {
        Refusal::Conflict { key, holder, holder_status, .. } => {
            let deadlock = circle.iter().map(Who::to_string).collect();
            Refusal::Conflict { key, holder, holder_status, deadlock }
        }
        other => other,
    }
}
