//! What is asked of the state, what it answers, and what its leader must do next.

use super::{Key, Keys, Millis};
use atone_protocol::{BranchId, Lineage, LockKey, Refusal, TxStatus, Xid};
use serde::{Deserialize, Serialize};

/// One Raft log entry: everything the leader's batcher had when it proposed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The proposer's time.
    pub at: Millis,
    /// In this order.
    pub entries: Vec<Entry>,
}

/// One change. All are idempotent: applying one again answers the same and changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// A transaction begins.
    Begin {
        /// Its name.
        xid: Xid,
        /// What people call it.
        name: String,
        /// How long it may stay undecided.
        timeout_ms: u64,
    },
    /// A branch and all its keys, or nothing.
    Register {
        /// The transaction.
        xid: Xid,
        /// The attempt.
        branch: BranchId,
        /// Where.
        resource: String,
        /// What it wrote.
        keys: Vec<LockKey>,
    },
    /// A branch that did not and never will commit locally.
    Failed {
        /// The transaction.
        xid: Xid,
        /// The attempt.
        branch: BranchId,
    },
    /// Proposed only when each of exactly these branches is known to be locally committed.
    Commit {
        /// The transaction.
        xid: Xid,
        /// Every registered branch, in order of id.
        branches: Vec<BranchId>,
    },
    /// Undo everything.
    Rollback {
        /// The transaction.
        xid: Xid,
        /// Why, for people.
        reason: String,
    },
    /// Phase two of these branches is done.
    Done {
        /// The transaction.
        xid: Xid,
        /// The branches.
        branches: Vec<BranchId>,
    },
    /// A branch cannot be undone without a person.
    Blocked {
        /// The transaction.
        xid: Xid,
        /// The branch.
        branch: BranchId,
        /// Why.
        reason: String,
    },
    /// A person has asked to try the blocked branches again.
    Retry {
        /// The transaction.
        xid: Xid,
    },
    /// Time passes: deadlines fall, outcomes are forgotten.
    Tick,
    /// A person has decided how a blocked branch ends.
    Resolve {
        /// The transaction.
        xid: Xid,
        /// The branch.
        branch: BranchId,
        /// How it ends.
        how: Resolution,
        /// Who decided, as they call themselves.
        by: String,
        /// Why, for people.
        reason: String,
    },
    /// `Register` with keys that others may hold at the same time, none of them alone.
    RegisterShared {
        /// The transaction.
        xid: Xid,
        /// The attempt.
        branch: BranchId,
        /// Where.
        resource: String,
        /// What it wrote.
        keys: Vec<LockKey>,
        /// What must stay as it is.
        shared: Vec<LockKey>,
    },
    /// `RegisterShared` on a database that is known by more than its resource's name.
    RegisterOn {
        /// The transaction.
        xid: Xid,
        /// The attempt.
        branch: BranchId,
        /// Where.
        resource: String,
        /// On which database of that name.
        lineage: Lineage,
        /// What it wrote.
        keys: Vec<LockKey>,
        /// What must stay as it is.
        shared: Vec<LockKey>,
    },
}

/// How a person ends a branch that cannot end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// The undo is tried again, as it was before.
    Retry,
    /// Its rows become what they were before it, whatever stands there now.
    Restore,
    /// Nothing of it is undone.
    KeepCurrent,
    /// Its database is gone for good, and nothing can be done there.
    Gone,
}

impl Resolution {
    /// The word used in JSON, in the timeline and by the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Restore => "restore",
            Self::KeepCurrent => "keep-current",
            Self::Gone => "gone",
        }
    }
}

/// The answer to an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Noted, or was so already.
    Done,
    /// The branch's place in its transaction.
    Registered(u64),
    /// Where the transaction stands, and why.
    Status(TxStatus, String),
    /// The registered branches are others than those the commit named: look again.
    BranchesChanged,
    /// No, and nothing was changed.
    Refused(Refusal),
}

/// What an applied entry means to the leader's memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Effects {
    /// Transactions decided by this entry.
    pub decided: Vec<Xid>,
    /// Transactions whose branches moved after the decision.
    pub moved: Vec<Xid>,
    /// Keys that somebody holds no more, or no more alone, by resource.
    pub freed: Vec<(String, Keys)>,
    /// Transactions of which nothing is known any more.
    pub forgotten: Vec<Xid>,
}

impl Effects {
    /// Adds what a later entry meant.
    pub fn merge(&mut self, mut later: Self) {
        self.decided.append(&mut later.decided);
        self.moved.append(&mut later.moved);
        self.freed.append(&mut later.freed);
        self.forgotten.append(&mut later.forgotten);
    }

    pub(super) fn free(&mut self, resource: &str, keys: Vec<Key>) {
        if !keys.is_empty() {
            self.freed.push((resource.to_owned(), Keys::new(keys)));
        }
    }

    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.decided.is_empty() && self.moved.is_empty() && self.freed.is_empty() && self.forgotten.is_empty()
    }
}
