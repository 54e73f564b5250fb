//! The state as snapshots hold it. What follows from the branches (the table of locks) is built anew.

use super::{Branch, BranchStatus, Decision, Event, Key, Keys, Locks, Millis, State, Totals, Transaction};
use atone_protocol::{BranchId, LockKey, Xid};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What version 2 stores: [`State`] as it is written.
#[derive(Deserialize)]
pub(super) struct StateV2 {
    clock: Millis,
    transactions: BTreeMap<Xid, Arc<Transaction>>,
    totals: Totals,
    deadlines: BTreeSet<(Millis, Xid)>,
    expiries: BTreeSet<(Millis, Xid)>,
    unfinished: BTreeSet<Xid>,
    forgotten: Millis,
}

impl From<StateV2> for State {
    fn from(stored: StateV2) -> Self {
        let StateV2 { clock, mut transactions, totals, deadlines, expiries, unfinished, forgotten } = stored;
        let mut locks = Locks::default();
        for (xid, tx) in &mut transactions {
            if tx.branches.values().all(|branch| branch.every_key().next().is_none()) {
                continue;
            }
            for branch in Arc::make_mut(tx).branches.values_mut() {
                locks.take(&branch.resource, &mut branch.keys, false, *xid);
                locks.take(&branch.resource, &mut branch.shared, true, *xid);
            }
        }
        Self { clock, transactions, locks, totals, deadlines, expiries, unfinished, forgotten }
    }
}

/// Version 1.
#[derive(Deserialize)]
pub struct StateV1 {
    clock: Millis,
    transactions: BTreeMap<Xid, TransactionV1>,
    /// Who held what: `resource → key → (xid, branch, since)`.
    locks: LocksV1,
    totals: Totals,
    deadlines: BTreeSet<(Millis, Xid)>,
    expiries: BTreeSet<(Millis, Xid)>,
    unfinished: BTreeSet<Xid>,
    forgotten: Millis,
}

#[derive(Deserialize)]
struct LocksV1 {
    resources: BTreeMap<String, BTreeMap<LockKey, (Xid, BranchId, Millis)>>,
}

#[derive(Deserialize)]
struct TransactionV1 {
    name: String,
    begun_at: Millis,
    deadline_at: Millis,
    decision: Option<Decision>,
    rollback_only: Option<String>,
    finished_at: Option<Millis>,
    branches: BTreeMap<BranchId, BranchV1>,
    next_sequence: u64,
    timeline: Vec<Event>,
}

#[derive(Deserialize)]
struct BranchV1 {
    resource: String,
    sequence: u64,
    status: BranchStatus,
    reason: String,
    keys: Vec<LockKey>,
    registered_keys: u64,
}

impl From<StateV1> for State {
    fn from(stored: StateV1) -> Self {
        let held = stored.locks.resources.into_values().flat_map(BTreeMap::into_values);
        let mut since: BTreeMap<(Xid, BranchId), Millis> = BTreeMap::new();
        for (xid, branch, at) in held {
            let first = since.entry((xid, branch)).or_insert(at);
            *first = at.min(*first);
        }
        let branch = |xid: Xid, id: BranchId, begun_at: Millis, old: BranchV1| Branch {
            resource: old.resource,
            sequence: old.sequence,
            status: old.status,
            reason: old.reason,
            keys: Keys::new(old.keys.into_iter().map(Key::from).collect()),
            registered_keys: old.registered_keys,
            shared: Keys::default(),
            registered_at: since.get(&(xid, id)).copied().unwrap_or(begun_at),
        };
        let transaction = |(xid, old): (Xid, TransactionV1)| {
            let branches =
                old.branches.into_iter().map(|(id, b)| (id, branch(xid, id, old.begun_at, b))).collect();
            let tx = Transaction {
                name: old.name,
                begun_at: old.begun_at,
                deadline_at: old.deadline_at,
                decision: old.decision,
                rollback_only: old.rollback_only,
                finished_at: old.finished_at,
                branches,
                next_sequence: old.next_sequence,
                timeline: old.timeline,
            };
            (xid, Arc::new(tx))
        };
        StateV2 {
            clock: stored.clock,
            transactions: stored.transactions.into_iter().map(transaction).collect(),
            totals: stored.totals,
            deadlines: stored.deadlines,
            expiries: stored.expiries,
            unfinished: stored.unfinished,
            forgotten: stored.forgotten,
        }
        .into()
    }
}
