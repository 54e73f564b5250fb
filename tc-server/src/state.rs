//! The replicated truth: transactions, branches and global locks as a pure function of the log.
//!
//! [`State::apply`] is the only door. It is total (every entry is answered, none fails), uses ordered maps only, and
//! reads no clock: every entry comes with the time its proposer stamped on it. Waiters, hints and tasks are leader
//! memory and deliberately not here; neither are rows or SQL, which the coordinator never sees.

mod apply;
mod entry;
mod key;
mod locks;
mod phase_one;
mod phase_two;
mod resolve;
mod stored;
mod transaction;
mod undone;
mod view;

pub use entry::{Command, Effects, Entry, Reply, Resolution};
pub use key::{Key, Keys};
pub use locks::{Hold, Lock, Locks};
pub use stored::{StateV1, StateV2};
pub use transaction::{Branch, BranchStatus, Decision, Event, EventKind, Transaction};
pub use undone::Undone;
pub use view::{LockRow, Totals};

use atone_protocol::Xid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Milliseconds since 1970.
pub type Millis = u64;

/// The longest a transaction may stay undecided.
pub const MAX_TIMEOUT_MS: u64 = 600_000;
/// The timeout of a transaction that names none.
pub const DEFAULT_TIMEOUT_MS: u64 = 60_000;
/// An xid older than this can have no live branch anywhere: it may be forgotten.
pub const HORIZON_MS: u64 = 15 * 60_000;
/// How long an outcome can be asked for.
pub const KEEP_MS: u64 = 60 * 60_000;
/// Finished transactions kept in memory; beyond it the oldest are forgotten as soon as they are past the horizon.
pub const MAX_FINISHED: usize = 500_000;
/// How far the asker's clock may run ahead: an xid from the future would outlive its horizon.
pub const AHEAD_MS: u64 = 5 * 60_000;
/// Branches in one transaction.
pub const MAX_BRANCHES: usize = 10_000;
/// Events kept in a timeline; later ones are counted nowhere.
pub const MAX_EVENTS: usize = 1_000;

/// All that is replicated.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "stored::StateV3")]
pub struct State {
    clock: Millis,
    /// Shared pointers, so that a snapshot's copy is cheap; a changed transaction is copied on write.
    transactions: BTreeMap<Xid, Arc<Transaction>>,
    /// What the branches need.
    #[serde(skip_serializing)]
    locks: Locks,
    totals: Totals,
    /// Undecided transactions by deadline.
    deadlines: BTreeSet<(Millis, Xid)>,
    /// Finished transactions by the time they may be forgotten.
    expiries: BTreeSet<(Millis, Xid)>,
    /// Decided transactions with branches still to be finished.
    unfinished: BTreeSet<Xid>,
    /// The latest begin of any forgotten transaction: nothing up to then may begin (again).
    forgotten: Millis,
}

impl State {
    /// The latest time any applied entry carried.
    pub fn clock(&self) -> Millis {
        self.clock
    }

    /// A transaction, unless it never was or is forgotten.
    pub fn transaction(&self, xid: Xid) -> Option<&Transaction> {
        self.transactions.get(&xid).map(Arc::as_ref)
    }

    /// All transactions, by the time of their begin.
    pub fn transactions(&self) -> impl DoubleEndedIterator<Item = (Xid, &Transaction)> {
        self.transactions.iter().map(|(xid, tx)| (*xid, tx.as_ref()))
    }

    /// Who holds what.
    pub fn locks(&self) -> &Locks {
        &self.locks
    }

    /// Counts since the first start of the cluster.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What a snapshot stores, without what follows from it.
    pub fn image(&self) -> Self {
        Self {
            clock: self.clock,
            transactions: self.transactions.clone(),
            locks: Locks::default(),
            totals: self.totals,
            deadlines: self.deadlines.clone(),
            expiries: self.expiries.clone(),
            unfinished: self.unfinished.clone(),
            forgotten: self.forgotten,
        }
    }

    /// The same on every node that has applied the same entries.
    pub fn hash(&self) -> u32 {
        crc32fast::hash(&postcard::to_stdvec(self).unwrap_or_default())
    }
}
