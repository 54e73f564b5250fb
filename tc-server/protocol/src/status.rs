//! Where a global transaction stands, and how the coordinator says no.

use crate::{LockKey, Xid};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The states of DESIGN 3.2 as everybody outside the coordinator sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxStatus {
    /// Branches may join; nothing is decided.
    Active,
    /// Decided: every branch stays. Locks are free; undo records may still be waiting for deletion.
    Committed,
    /// Decided: every branch is being undone.
    RollingBack,
    /// Rolling back, but a row was changed behind our back: a person is needed.
    Blocked,
    /// Every branch is undone.
    RolledBack,
}

impl TxStatus {
    /// The word used in SQL results, JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Committed => "committed",
            Self::RollingBack => "rolling_back",
            Self::Blocked => "blocked",
            Self::RolledBack => "rolled_back",
        }
    }
}

impl fmt::Display for TxStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the coordinator did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Never begun, or forgotten since.
    #[error("no such global transaction")]
    Unknown,
    /// Decided already; no branch can join any more.
    #[error("the global transaction is already {status}{}", because(.reason))]
    Finished {
        /// What was decided.
        status: TxStatus,
        /// Why it was rolled back; empty when there is nothing to say.
        reason: String,
    },
    /// A key is held by another transaction; nothing was taken.
    #[error("{}.{} ({}) is locked by global transaction {holder} ({holder_status}){}", key.table, key.index, key.shown, circle(.deadlock))]
    Conflict {
        /// The key.
        key: LockKey,
        /// Who holds it.
        holder: Xid,
        /// Where the holder stands.
        holder_status: TxStatus,
        /// Who waits for whom in a circle, the asker first; empty unless waiting on would never end.
        deadlock: Vec<String>,
    },
    /// A branch failed, so that the transaction was rolled back when its commit was asked.
    #[error("the global transaction was rolled back: {reason}")]
    RollbackOnly {
        /// Which branch, and why.
        reason: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
}

fn circle(deadlock: &[String]) -> String {
    let Some(first) = deadlock.first() else { return String::new() };
    let all: Vec<_> = deadlock.iter().chain([first]).map(String::as_str).collect();
    format!("; deadlock: {}", all.join(" waits for "))
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}
