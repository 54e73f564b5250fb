//! Questions people ask of the state. Nothing here changes it.

use super::{Decision, Held, Lock, State};
use atone_protocol::{LockKey, Xid};
use serde::{Deserialize, Serialize};

/// Counts since the first start of the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Transactions begun.
    pub begun: u64,
    /// Decided to commit.
    pub committed: u64,
    /// Decided to roll back.
    pub rolled_back: u64,
    /// Of those, by their deadline.
    pub timed_out: u64,
    /// Branches registered.
    pub branches: u64,
}

/// A held lock and where.
#[derive(Debug, Clone, Copy)]
pub struct LockRow<'a> {
    /// The resource.
    pub resource: &'a str,
    /// The key.
    pub key: &'a LockKey,
    /// By whom.
    pub held: Held,
}

impl LockRow<'_> {
    /// The lock by itself.
    pub fn lock(&self) -> Lock {
        Lock { resource: self.resource.to_owned(), key: self.key.clone() }
    }
}

impl State {
    /// How many transactions are known, and of these how many are undecided.
    pub fn counts(&self) -> (usize, usize) {
        (self.transactions.len(), self.deadlines.len())
    }

    /// Undecided transactions, in no order that means anything.
    pub fn active(&self) -> impl Iterator<Item = (Xid, &super::Transaction)> {
        self.deadlines.iter().filter_map(|(_, xid)| Some((*xid, self.transaction(*xid)?)))
    }

    /// A tick at `now` would change something.
    pub fn due(&self, now: super::Millis) -> bool {
        self.deadlines.first().is_some_and(|(at, _)| *at <= now) || self.next_to_forget(now).is_some()
    }

    /// The finished transaction to forget first, if it may be forgotten at `now`.
    pub(super) fn next_to_forget(&self, now: super::Millis) -> Option<(super::Millis, Xid)> {
        let (at, xid) = self.expiries.first().copied()?;
        let crowded = self.expiries.len() > super::MAX_FINISHED;
        let past_horizon = xid.begun_ms().saturating_add(super::HORIZON_MS) < now;
        (at <= now || (crowded && past_horizon)).then_some((at, xid))
    }

    /// Decided transactions whose phase two is not finished, oldest first.
    pub fn unfinished(&self) -> impl DoubleEndedIterator<Item = (Xid, &super::Transaction)> {
        self.unfinished.iter().filter_map(|xid| Some((*xid, self.transaction(*xid)?)))
    }

    /// The locks of one transaction, in order.
    pub fn locks_of(&self, xid: Xid) -> Vec<LockRow<'_>> {
        let Some(tx) = self.transaction(xid) else { return Vec::new() };
        let mut keys: Vec<_> =
            tx.branches.values().flat_map(|b| b.keys.iter().map(|k| (b.resource.as_str(), k))).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter()
            .filter_map(|(resource, key)| {
                let held = self.locks.holder(resource, key).filter(|held| held.xid == xid)?;
                Some(LockRow { resource, key, held })
            })
            .collect()
    }

    /// What must always hold; the first law that does not is named. For tests and for a restored snapshot.
    pub fn check(&self) -> Result<(), String> {
        for (resource, key, held) in self.locks.iter() {
            let tx = self.transaction(held.xid).ok_or(format!("a lock of the unknown {}", held.xid))?;
            if tx.decision == Some(Decision::Commit) {
                return Err(format!("{} is committed and holds a lock", held.xid));
            }
            let branch = tx
                .branches
                .get(&held.branch)
                .ok_or(format!("a lock of an unknown branch of {}", held.xid))?;
            if branch.resource != resource || branch.keys.binary_search(key).is_err() {
                return Err(format!("a lock that branch {} of {} does not need", held.branch, held.xid));
            }
        }
        for (xid, tx) in self.transactions() {
            for (id, branch) in &tx.branches {
                for key in &branch.keys {
                    if self.locks.holder(&branch.resource, key).is_none_or(|held| held.xid != xid) {
                        return Err(format!("branch {id} of {xid} lost a lock"));
                    }
                }
            }
            if tx.decision.is_none() != self.deadlines.contains(&(tx.deadline_at, xid)) {
                return Err(format!("the deadline of {xid} is wrongly filed"));
            }
            let unfinished = tx.decision.is_some() && tx.finished_at.is_none();
            if unfinished != self.unfinished.contains(&xid) {
                return Err(format!("{xid} is wrongly filed as unfinished or finished"));
            }
            if tx.finished_at.is_some() && tx.registered().next().is_some() {
                return Err(format!("{xid} is finished and has registered branches"));
            }
        }
        Ok(())
    }
}
