//! Questions people ask of the state. Nothing here changes it.

use super::{Decision, Key, Lock, Millis, State};
use atone_protocol::{BranchId, Xid};
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
    pub key: &'a Key,
    /// By whom.
    pub xid: Xid,
    /// By which of its branches first, of those that still need it.
    pub branch: BranchId,
    /// Since when.
    pub since: Millis,
    /// Others may hold it too.
    pub shared: bool,
}

impl LockRow<'_> {
    /// The lock by itself.
    pub fn lock(&self) -> Lock {
        Lock { resource: self.resource.to_owned(), key: self.key.to_lock_key() }
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
        let row = |(resource, key, branch): (_, _, BranchId)| {
            let hold = self.locks.hold_of(resource, key).filter(|hold| hold.is_by(xid))?;
            let (since, shared) = (tx.branches[&branch].registered_at, hold.is_shared());
            Some(LockRow { resource, key, xid, branch, since, shared })
        };
        tx.needs().into_iter().filter_map(row).collect()
    }

    /// Every held lock, in order, once for each that holds it.
    pub fn lock_rows(&self) -> impl Iterator<Item = LockRow<'_>> {
        self.locks.iter().flat_map(move |(resource, key, hold)| {
            let shared = hold.is_shared();
            hold.holders().filter_map(move |xid| {
                let (branch, first) = self.transaction(xid)?.first_to_need(resource, key)?;
                Some(LockRow { resource, key, xid, branch, since: first.registered_at, shared })
            })
        })
    }

    /// What must always hold; the first law that does not is named. For tests and for a restored snapshot.
    pub fn check(&self) -> Result<(), String> {
        for (resource, key, hold) in self.locks.iter() {
            for xid in hold.holders() {
                let tx = self.transaction(xid).ok_or(format!("a lock of the unknown {xid}"))?;
                if tx.decision == Some(Decision::Commit) {
                    return Err(format!("{xid} is committed and holds a lock"));
                }
                let mut branches = tx.branches.values().filter(|b| b.resource == resource);
                let needed =
                    branches.any(|b| if hold.is_shared() { b.shared.has(key) } else { b.keys.has(key) });
                if !needed {
                    return Err(format!("a lock that {xid} does not need"));
                }
            }
        }
        for (xid, tx) in self.transactions() {
            for (id, branch) in &tx.branches {
                let hold = |key: &Key| self.locks.hold_of(&branch.resource, key);
                let holds = |key: &Key| hold(key).is_some_and(|hold| hold.is_by(xid));
                let alone = |key: &Key| holds(key) && hold(key).is_some_and(|hold| !hold.is_shared());
                if !branch.keys.iter().all(alone) || !branch.shared.iter().all(holds) {
                    return Err(format!("branch {id} of {xid} lost a lock"));
                }
            }
            if tx.decision.is_none() != self.deadlines.contains(&(tx.deadline_at, xid)) {
                return Err(format!("the deadline of {xid} is wrongly filed"));
            }
            let unfinished = tx.decision.is_some() && tx.finished_at.is_none();
            if unfinished != self.unfinished.contains(&xid) {
                return Err(format!("{xid} is wrongly filed as unfinished or finished"));
            }
            if tx.finished_at.is_some() && tx.branches.values().any(|b| b.status.is_open()) {
                return Err(format!("{xid} is finished and has open branches"));
            }
        }
        Ok(())
    }
}
