//! Branches while nothing is decided: registered with all their keys, or failed.

use super::apply::{finished, invalid};
use super::{
    Branch, BranchStatus, Decision, Effects, EventKind, Key, Keys, MAX_BRANCHES, Reply, State, Transaction,
};
use atone_protocol::{BranchId, Lineage, LockKey, Refusal, TxStatus, Xid};
use std::sync::Arc;

impl State {
    pub(super) fn register(
        &mut self,
        xid: Xid,
        branch: BranchId,
        (resource, lineage): (String, Option<Lineage>),
        keys: Vec<LockKey>,
        shared: Vec<LockKey>,
    ) -> Reply {
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Refused(Refusal::Unknown) };
        if tx.decision.is_some() {
            return finished(tx);
        }
        match tx.branches.get(&branch) {
            Some(known)
                if known.status == BranchStatus::Registered
                    && (&known.resource, known.lineage) == (&resource, lineage) =>
            {
                return Reply::Registered(known.sequence);
            }
            Some(known) if known.status == BranchStatus::Registered => {
                return invalid("the branch is registered on another resource");
            }
            Some(_) | None => {}
        }
        if let Some(reason) = &tx.rollback_only {
            return Reply::Refused(Refusal::RollbackOnly { reason: reason.clone() });
        }
        if resource.is_empty() {
            return invalid("a branch without a resource");
        }
        if tx.branches.len() >= MAX_BRANCHES {
            return invalid("the global transaction has 10000 branches, which is the most");
        }
        let mut keys = Keys::new(keys.into_iter().map(Key::from).collect());
        let shared = shared.into_iter().map(Key::from).filter(|key| !keys.has(key));
        let mut shared = Keys::new(shared.collect());
        let conflict = self.locks.conflict(&resource, &keys, false, xid);
        let conflict = conflict.or_else(|| self.locks.conflict(&resource, &shared, true, xid));
        if let Some((key, holder)) = conflict {
            let holder_status = self.transactions.get(&holder).map_or(TxStatus::Active, |tx| tx.status());
            let key = key.to_lock_key();
            return Reply::Refused(Refusal::Conflict { key, holder, holder_status, deadlock: Vec::new() });
        }
        self.locks.take(&resource, &mut keys, false, xid);
        self.locks.take(&resource, &mut shared, true, xid);
        let tx = Arc::make_mut(tx);
        let sequence = tx.next_sequence;
        tx.next_sequence += 1;
        tx.tell(self.clock, EventKind::Register, Some(branch), &resource);
        let registered_keys = (keys.len() + shared.len()) as u64;
        let reason = String::new();
        let (status, registered_at) = (BranchStatus::Registered, self.clock);
        let new = Branch {
            resource,
            lineage,
            sequence,
            status,
            reason,
            keys,
            registered_keys,
            shared,
            registered_at,
        };
        tx.branches.insert(branch, new);
        self.totals.branches += 1;
        Reply::Registered(sequence)
    }

    pub(super) fn failed(&mut self, xid: Xid, branch: BranchId, effects: &mut Effects) -> Reply {
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Refused(Refusal::Unknown) };
        match tx.decision {
            None => {}
            Some(Decision::Commit) => return finished(tx),
            // The guard insert will find out by itself.
            Some(Decision::Rollback(_)) => return Reply::Done,
        }
        let tx = Arc::make_mut(tx);
        let known = tx.branches.contains_key(&branch);
        if !known && tx.branches.len() >= MAX_BRANCHES {
            return invalid("the global transaction has 10000 branches, which is the most");
        }
        // Remembered when unknown, so that a Register that comes late is refused.
        let failed = tx.branches.entry(branch).or_insert_with(|| Branch {
            resource: String::new(),
            lineage: None,
            sequence: 0,
            status: BranchStatus::Registered,
            reason: String::new(),
            keys: Keys::default(),
            registered_keys: 0,
            shared: Keys::default(),
            registered_at: self.clock,
        });
        if failed.status == BranchStatus::Failed {
            return Reply::Done;
        }
        failed.status = BranchStatus::Failed;
        let reason = match failed.resource.as_str() {
            "" => format!("branch {branch} failed before it was registered"),
            resource => format!("branch {branch} on {resource} failed"),
        };
        tx.tell(self.clock, EventKind::Failed, Some(branch), "");
        tx.rollback_only.get_or_insert(reason);
        release(&mut self.locks, xid, tx, branch, effects);
        Reply::Done
    }
}

/// Frees the keys of `branch` that no other unfinished branch of its transaction needs.
pub(super) fn release(
    locks: &mut super::Locks,
    xid: Xid,
    tx: &mut Transaction,
    branch: BranchId,
    effects: &mut Effects,
) {
    let Some(gone) = tx.branches.get_mut(&branch) else { return };
    let resource = gone.resource.clone();
    let (keys, shared) = (std::mem::take(&mut gone.keys), std::mem::take(&mut gone.shared));
    let others: Vec<&Branch> = tx.branches.values().filter(|other| other.resource == resource).collect();
    if matches!(tx.decision, Some(Decision::Rollback(_))) {
        locks.note_undone(&resource, &keys);
    }
    let mut freed = Vec::new();
    for key in keys {
        let moved = if others.iter().any(|other| other.keys.has(&key)) {
            false
        } else if others.iter().any(|other| other.shared.has(&key)) {
            locks.share(&resource, &key, xid)
        } else {
            locks.free(&resource, &key, xid)
        };
        freed.extend(moved.then_some(key));
    }
    for key in shared {
        if !others.iter().any(|other| other.needs(&key)) && locks.free(&resource, &key, xid) {
            freed.push(key);
        }
    }
    effects.free(&resource, freed);
}
