//! One global transaction and its branches. How they change is `apply`'s business.

use super::{Key, Keys, MAX_EVENTS, Millis};
use atone_protocol::{BranchId, Lineage, TxStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A global transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// What people call it.
    pub name: String,
    /// When its begin was proposed.
    pub begun_at: Millis,
    /// Undecided at this time, it is rolled back.
    pub deadline_at: Millis,
    /// What was decided; never changes once it is there.
    pub decision: Option<Decision>,
    /// A branch failed: it can only be rolled back, and why.
    pub rollback_only: Option<String>,
    /// When the last branch was done after the decision.
    pub finished_at: Option<Millis>,
    /// By id.
    pub branches: BTreeMap<BranchId, Branch>,
    /// The next branch's sequence number; the first has 1.
    pub next_sequence: u64,
    /// What happened, in order.
    pub timeline: Vec<Event>,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Every branch stays.
    Commit,
    /// Every branch is undone, and why.
    Rollback(String),
}

/// One attempt at a local transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// Where; empty for a branch that failed before it was registered.
    pub resource: String,
    /// On which database of that name; None: not known, as of a branch of former times.
    pub lineage: Option<Lineage>,
    /// Its place in the transaction; branches are undone newest first.
    pub sequence: u64,
    /// Where it stands.
    pub status: BranchStatus,
    /// Why it is blocked.
    pub reason: String,
    /// What it keeps locked alone now.
    pub keys: Keys,
    /// How many keys it registered.
    pub registered_keys: u64,
    /// What it keeps others from changing now.
    pub shared: Keys,
    /// When it was registered.
    pub registered_at: Millis,
}

/// Where a branch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BranchStatus {
    /// Locally committed, or about to be; to be finished in phase two.
    Registered,
    /// Never committed locally and never will be.
    Failed,
    /// Phase two is done.
    Done,
    /// Its rollback waits for a person.
    Blocked,
    /// A person has decided: its rows become what they were, whatever stands there now.
    Restoring,
    /// A person has decided: its rows stay as they are now.
    Keeping,
}

impl Branch {
    /// What it keeps locked, in any way.
    pub fn every_key(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().chain(self.shared.iter())
    }

    /// It keeps this key locked, in any way.
    pub fn needs(&self, key: &Key) -> bool {
        self.keys.has(key) || self.shared.has(key)
    }
}

impl BranchStatus {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Blocked => "blocked",
            Self::Restoring => "restoring",
            Self::Keeping => "keeping",
        }
    }

    /// Phase two is not done with it.
    pub fn is_open(self) -> bool {
        match self {
            Self::Registered | Self::Blocked | Self::Restoring | Self::Keeping => true,
            Self::Failed | Self::Done => false,
        }
    }
}

/// A line of a transaction's story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Millis,
    /// What.
    pub kind: EventKind,
    /// To which branch.
    pub branch: Option<BranchId>,
    /// For people; often empty.
    pub detail: String,
}

/// What can happen to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // The words are their own explanation.
pub enum EventKind {
    Begin,
    Register,
    Failed,
    Commit,
    Rollback,
    BranchDone,
    Blocked,
    Retry,
    Finished,
    Resolve,
}

impl EventKind {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Register => "register",
            Self::Failed => "failed",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::BranchDone => "branch_done",
            Self::Blocked => "blocked",
            Self::Retry => "retry",
            Self::Finished => "finished",
            Self::Resolve => "resolve",
        }
    }
}

impl Transaction {
    /// Where it stands, as everybody outside sees it.
    pub fn status(&self) -> TxStatus {
        match (&self.decision, self.finished_at) {
            (None, _) => TxStatus::Active,
            (Some(Decision::Commit), _) => TxStatus::Committed,
            (Some(Decision::Rollback(_)), Some(_)) => TxStatus::RolledBack,
            (Some(Decision::Rollback(_)), None) if self.is_blocked() => TxStatus::Blocked,
            (Some(Decision::Rollback(_)), None) => TxStatus::RollingBack,
        }
    }

    fn is_blocked(&self) -> bool {
        self.branches.values().any(|b| b.status == BranchStatus::Blocked)
    }

    /// Why it was or must be rolled back; empty when there is nothing to say.
    pub fn reason(&self) -> &str {
        match &self.decision {
            None => self.rollback_only.as_deref().unwrap_or_default(),
            Some(Decision::Commit) => "",
            Some(Decision::Rollback(reason)) => reason,
        }
    }

    /// Branches that phase two has still to finish, by id.
    pub fn registered(&self) -> impl Iterator<Item = (BranchId, &Branch)> {
        self.branches.iter().filter(|(_, b)| b.status == BranchStatus::Registered).map(|(id, b)| (*id, b))
    }

    /// The keys it needs, each with its resource and the first branch that needs it, in order.
    pub fn needs(&self) -> Vec<(&str, &Key, BranchId)> {
        let of = |(id, b): (&BranchId, &'_ Branch)| (*id, b.sequence);
        let mut needs: Vec<_> = self
            .branches
            .iter()
            .flat_map(|(id, b)| b.every_key().map(move |key| (b.resource.as_str(), key, of((id, b)))))
            .collect();
        needs.sort_unstable_by_key(|(resource, key, (_, sequence))| (*resource, *key, *sequence));
        needs.dedup_by_key(|(resource, key, _)| (*resource, *key));
        needs.into_iter().map(|(resource, key, (id, _))| (resource, key, id)).collect()
    }

    /// The first branch that needs a key.
    pub fn first_to_need(&self, resource: &str, key: &Key) -> Option<(BranchId, &Branch)> {
        let all = self.branches.iter().filter(|(_, b)| b.resource == resource && b.needs(key));
        all.min_by_key(|(_, b)| b.sequence).map(|(id, b)| (*id, b))
    }

    /// Locks it holds.
    pub fn lock_count(&self) -> usize {
        match self.branches.len() {
            1 => self.branches.values().map(|b| b.every_key().count()).sum(),
            _ => self.needs().len(),
        }
    }

    pub(super) fn tell(&mut self, at: Millis, kind: EventKind, branch: Option<BranchId>, detail: &str) {
        if self.timeline.len() < MAX_EVENTS {
            self.timeline.push(Event { at, kind, branch, detail: detail.to_owned() });
        }
    }
}
