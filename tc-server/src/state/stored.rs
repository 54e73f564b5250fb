//! The state as snapshots hold it. What follows from the branches (the table of locks) is built anew.

use super::{Branch, BranchStatus, Decision, Event, Key, Keys, Locks, Millis, State, Totals, Transaction};
use atone_protocol::{BranchId, LockKey, Xid};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What version 3 stores: [`State`] as it is written.
#[derive(Deserialize)]
pub(super) struct StateV3 {
    clock: Millis,
    transactions: BTreeMap<Xid, Arc<Transaction>>,
    totals: Totals,
    deadlines: BTreeSet<(Millis, Xid)>,
    expiries: BTreeSet<(Millis, Xid)>,
    unfinished: BTreeSet<Xid>,
    forgotten: Millis,
}

impl From<StateV3> for State {
    fn from(stored: StateV3) -> Self {
        let StateV3 { clock, mut transactions, totals, deadlines, expiries, unfinished, forgotten } = stored;
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

/// Version 2, in which no branch says on which database of its resource's name it ran.
#[derive(Deserialize)]
pub struct StateV2 {
    clock: Millis,
    transactions: BTreeMap<Xid, TransactionOf<BranchV2>>,
    totals: Totals,
    deadlines: BTreeSet<(Millis, Xid)>,
    expiries: BTreeSet<(Millis, Xid)>,
    unfinished: BTreeSet<Xid>,
    forgotten: Millis,
}

/// What has not changed of a transaction from version to version.
#[derive(Deserialize)]
struct TransactionOf<B> {
    name: String,
    begun_at: Millis,
    deadline_at: Millis,
    decision: Option<Decision>,
    rollback_only: Option<String>,
    finished_at: Option<Millis>,
    branches: BTreeMap<BranchId, B>,
    next_sequence: u64,
    timeline: Vec<Event>,
}

impl<B> TransactionOf<B> {
    fn with(self, branch: impl Fn(BranchId, B) -> Branch) -> Arc<Transaction> {
        Arc::new(Transaction {
            name: self.name,
            begun_at: self.begun_at,
            deadline_at: self.deadline_at,
            decision: self.decision,
            rollback_only: self.rollback_only,
            finished_at: self.finished_at,
            branches: self.branches.into_iter().map(|(id, old)| (id, branch(id, old))).collect(),
            next_sequence: self.next_sequence,
            timeline: self.timeline,
        })
    }
}

#[derive(Deserialize)]
struct BranchV2 {
    resource: String,
    sequence: u64,
    status: BranchStatus,
    reason: String,
    keys: Keys,
    registered_keys: u64,
    shared: Keys,
    registered_at: Millis,
}

impl From<BranchV2> for Branch {
    fn from(old: BranchV2) -> Self {
        Self {
            resource: old.resource,
            lineage: None,
            sequence: old.sequence,
            status: old.status,
            reason: old.reason,
            keys: old.keys,
            registered_keys: old.registered_keys,
            shared: old.shared,
            registered_at: old.registered_at,
        }
    }
}

impl From<StateV2> for State {
    fn from(stored: StateV2) -> Self {
        let transaction = |(xid, old): (Xid, TransactionOf<BranchV2>)| (xid, old.with(|_, b| b.into()));
        StateV3 {
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

/// Version 1.
#[derive(Deserialize)]
pub struct StateV1 {
    clock: Millis,
    transactions: BTreeMap<Xid, TransactionOf<BranchV1>>,
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
            lineage: None,
            sequence: old.sequence,
            status: old.status,
            reason: old.reason,
            keys: Keys::new(old.keys.into_iter().map(Key::from).collect()),
            registered_keys: old.registered_keys,
            shared: Keys::default(),
            registered_at: since.get(&(xid, id)).copied().unwrap_or(begun_at),
        };
        let transaction = |(xid, old): (Xid, TransactionOf<BranchV1>)| {
            let begun_at = old.begun_at;
            (xid, old.with(|id, old| branch(xid, id, begun_at, old)))
        };
        StateV3 {
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
