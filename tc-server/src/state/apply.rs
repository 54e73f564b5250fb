//! How each entry changes the state. Order of arms is the order of a transaction's life.

use super::{
    AHEAD_MS, Branch, BranchStatus, Decision, Effects, Entry, EventKind, HORIZON_MS, Held, KEEP_MS, Lock,
    MAX_BRANCHES, MAX_TIMEOUT_MS, Millis, Reply, State, Transaction,
};
use atone_protocol::{BranchId, LockKey, Refusal, TxStatus, Xid};
use std::collections::BTreeMap;
use std::sync::Arc;

impl State {
    /// Applies one entry as of `at`. Time never runs backwards here, whatever the proposers' clocks do.
    pub fn apply(&mut self, at: Millis, entry: Entry) -> (Reply, Effects) {
        self.clock = self.clock.max(at);
        let mut effects = Effects::default();
        let reply = match entry {
            Entry::Begin { xid, name, timeout_ms } => self.begin(xid, name, timeout_ms),
            Entry::Register { xid, branch, resource, keys } => {
                self.expire(xid, &mut effects);
                self.register(xid, branch, resource, keys)
            }
            Entry::Failed { xid, branch } => {
                self.expire(xid, &mut effects);
                self.failed(xid, branch, &mut effects)
            }
            Entry::Commit { xid, branches } => {
                self.expire(xid, &mut effects);
                self.commit(xid, &branches, &mut effects)
            }
            Entry::Rollback { xid, reason } => {
                self.expire(xid, &mut effects);
                self.rollback(xid, reason, &mut effects)
            }
            Entry::Done { xid, branches } => self.done(xid, &branches, &mut effects),
            Entry::Blocked { xid, branch, reason } => self.blocked(xid, branch, reason, &mut effects),
            Entry::Retry { xid } => self.retry(xid, &mut effects),
            Entry::Tick => self.tick(&mut effects),
        };
        (reply, effects)
    }

    fn begin(&mut self, xid: Xid, name: String, timeout_ms: u64) -> Reply {
        if let Some(tx) = self.transactions.get(&xid) {
            return match tx.decision {
                None => Reply::Done,
                Some(_) => finished(tx),
            };
        }
        // A forgotten xid must not begin again: its late branches would join a stranger's transaction.
        if xid.begun_ms() <= self.forgotten {
            return invalid("the xid is too old to begin: the asker's clock is far behind the coordinator's");
        }
        if xid.begun_ms() > self.clock.saturating_add(AHEAD_MS) {
            return invalid(
                "the xid is from the future: the asker's clock is more than 5 min ahead of the coordinator's",
            );
        }
        let deadline_at = self.clock.saturating_add(timeout_ms.clamp(1, MAX_TIMEOUT_MS));
        let mut tx = Transaction {
            name,
            begun_at: self.clock,
            deadline_at,
            decision: None,
            rollback_only: None,
            finished_at: None,
            branches: BTreeMap::new(),
            next_sequence: 1,
            timeline: Vec::new(),
        };
        tx.tell(self.clock, EventKind::Begin, None, "");
        self.transactions.insert(xid, Arc::new(tx));
        self.deadlines.insert((deadline_at, xid));
        self.totals.begun += 1;
        Reply::Done
    }

    fn register(&mut self, xid: Xid, branch: BranchId, resource: String, mut keys: Vec<LockKey>) -> Reply {
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Refused(Refusal::Unknown) };
        if tx.decision.is_some() {
            return finished(tx);
        }
        match tx.branches.get(&branch) {
            Some(known) if known.status == BranchStatus::Registered && known.resource == resource => {
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
        keys.sort_unstable();
        keys.dedup();
        if let Some((key, holder)) = self.locks.conflict(&resource, &keys, xid) {
            let holder_status = self.transactions.get(&holder).map_or(TxStatus::Active, |tx| tx.status());
            let key = key.clone();
            return Reply::Refused(Refusal::Conflict { key, holder, holder_status, deadlock: false });
        }
        self.locks.take(&resource, &keys, Held { xid, branch, since: self.clock });
        let tx = Arc::make_mut(tx);
        let sequence = tx.next_sequence;
        tx.next_sequence += 1;
        tx.tell(self.clock, EventKind::Register, Some(branch), &resource);
        let registered_keys = keys.len() as u64;
        let reason = String::new();
        let status = BranchStatus::Registered;
        tx.branches.insert(branch, Branch { resource, sequence, status, reason, keys, registered_keys });
        self.totals.branches += 1;
        Reply::Registered(sequence)
    }

    fn failed(&mut self, xid: Xid, branch: BranchId, effects: &mut Effects) -> Reply {
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
            sequence: 0,
            status: BranchStatus::Registered,
            reason: String::new(),
            keys: Vec::new(),
            registered_keys: 0,
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
        release(&mut self.locks, tx, branch, effects);
        Reply::Done
    }

    fn commit(&mut self, xid: Xid, branches: &[BranchId], effects: &mut Effects) -> Reply {
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Refused(Refusal::Unknown) };
        match &tx.decision {
            None => {}
            Some(Decision::Commit) => return Reply::Status(TxStatus::Committed, String::new()),
            Some(Decision::Rollback(_)) => return finished(tx),
        }
        if let Some(reason) = tx.rollback_only.clone() {
            self.decide_rollback(xid, reason.clone(), effects);
            return Reply::Refused(Refusal::RollbackOnly { reason });
        }
        if !tx.registered().map(|(id, _)| id).eq(branches.iter().copied()) {
            return Reply::BranchesChanged;
        }
        let tx = Arc::make_mut(tx);
        tx.decision = Some(Decision::Commit);
        tx.tell(self.clock, EventKind::Commit, None, "");
        self.deadlines.remove(&(tx.deadline_at, xid));
        self.totals.committed += 1;
        // In the same entry: from here on the rows belong to everybody.
        for branch in tx.branches.values_mut() {
            for key in std::mem::take(&mut branch.keys) {
                if self.locks.holder(&branch.resource, &key).is_some() {
                    self.locks.free(&branch.resource, &key);
                    effects.freed.push(Lock { resource: branch.resource.clone(), key });
                }
            }
        }
        effects.decided.push(xid);
        self.finish_if_done(xid);
        Reply::Status(TxStatus::Committed, String::new())
    }

    fn rollback(&mut self, xid: Xid, reason: String, effects: &mut Effects) -> Reply {
        let Some(tx) = self.transactions.get(&xid) else { return Reply::Refused(Refusal::Unknown) };
        match tx.decision {
            None => self.decide_rollback(xid, reason, effects),
            Some(Decision::Commit) => return finished(tx),
            Some(Decision::Rollback(_)) => {}
        }
        self.status_reply(xid)
    }

    fn done(&mut self, xid: Xid, branches: &[BranchId], effects: &mut Effects) -> Reply {
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Done };
        let open = |tx: &Transaction, id: &BranchId| match tx.branches.get(id).map(|b| b.status) {
            Some(BranchStatus::Registered | BranchStatus::Blocked) => true,
            Some(BranchStatus::Done | BranchStatus::Failed) | None => false,
        };
        if tx.decision.is_none() || !branches.iter().any(|id| open(tx, id)) {
            return Reply::Done;
        }
        let tx = Arc::make_mut(tx);
        for id in branches {
            if open(tx, id) {
                if let Some(branch) = tx.branches.get_mut(id) {
                    branch.status = BranchStatus::Done;
                    branch.reason.clear();
                }
                tx.tell(self.clock, EventKind::BranchDone, Some(*id), "");
                release(&mut self.locks, tx, *id, effects);
            }
        }
        effects.moved.push(xid);
        self.finish_if_done(xid);
        Reply::Done
    }

    fn blocked(&mut self, xid: Xid, branch: BranchId, reason: String, effects: &mut Effects) -> Reply {
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Refused(Refusal::Unknown) };
        let rolling_back = matches!(tx.decision, Some(Decision::Rollback(_)));
        let registered = tx.branches.get(&branch).is_some_and(|b| b.status == BranchStatus::Registered);
        if rolling_back && registered {
            let tx = Arc::make_mut(tx);
            tx.tell(self.clock, EventKind::Blocked, Some(branch), &reason);
            if let Some(branch) = tx.branches.get_mut(&branch) {
                branch.status = BranchStatus::Blocked;
                branch.reason = reason;
            }
            effects.moved.push(xid);
        }
        Reply::Done
    }

    fn retry(&mut self, xid: Xid, effects: &mut Effects) -> Reply {
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Refused(Refusal::Unknown) };
        if tx.status() == TxStatus::Blocked {
            let tx = Arc::make_mut(tx);
            for branch in tx.branches.values_mut().filter(|b| b.status == BranchStatus::Blocked) {
                branch.status = BranchStatus::Registered;
                branch.reason.clear();
            }
            tx.tell(self.clock, EventKind::Retry, None, "");
            effects.moved.push(xid);
        }
        self.status_reply(xid)
    }

    fn tick(&mut self, effects: &mut Effects) -> Reply {
        while let Some((deadline, xid)) = self.deadlines.first().copied().filter(|(at, _)| *at <= self.clock)
        {
            self.expire(xid, effects);
            self.deadlines.remove(&(deadline, xid));
        }
        while let Some((at, xid)) = self.next_to_forget(self.clock) {
            self.expiries.remove(&(at, xid));
            self.forgotten = self.forgotten.max(xid.begun_ms());
            self.transactions.remove(&xid);
            effects.forgotten.push(xid);
        }
        Reply::Done
    }

    /// Rolls an undecided transaction back whose deadline has passed: before anything else is asked of it, so that
    /// no order of entries lets it live on.
    fn expire(&mut self, xid: Xid, effects: &mut Effects) {
        let Some(tx) = self.transactions.get(&xid) else { return };
        if tx.decision.is_none() && tx.deadline_at <= self.clock {
            let whole = (tx.deadline_at - tx.begun_at) as f64 / 1000.0;
            self.totals.timed_out += 1;
            self.decide_rollback(xid, format!("timed out after {whole} s"), effects);
        }
    }

    fn decide_rollback(&mut self, xid: Xid, reason: String, effects: &mut Effects) {
        let Some(tx) = self.transactions.get_mut(&xid) else { return };
        let tx = Arc::make_mut(tx);
        tx.tell(self.clock, EventKind::Rollback, None, &reason);
        tx.decision = Some(Decision::Rollback(reason));
        self.deadlines.remove(&(tx.deadline_at, xid));
        self.totals.rolled_back += 1;
        effects.decided.push(xid);
        self.finish_if_done(xid);
    }

    fn finish_if_done(&mut self, xid: Xid) {
        let Some(tx) = self.transactions.get_mut(&xid) else { return };
        let open = tx.branches.values().any(|b| match b.status {
            BranchStatus::Registered | BranchStatus::Blocked => true,
            BranchStatus::Failed | BranchStatus::Done => false,
        });
        if tx.decision.is_none() || tx.finished_at.is_some() {
            return;
        }
        if open {
            self.unfinished.insert(xid);
            return;
        }
        self.unfinished.remove(&xid);
        let tx = Arc::make_mut(tx);
        tx.finished_at = Some(self.clock);
        tx.tell(self.clock, EventKind::Finished, None, "");
        // Past both: asked-for long enough, and so old that no late Register can revive it.
        let forget_at =
            (self.clock.saturating_add(KEEP_MS)).max(xid.begun_ms().saturating_add(HORIZON_MS + 1));
        self.expiries.insert((forget_at, xid));
    }

    fn status_reply(&self, xid: Xid) -> Reply {
        match self.transaction(xid) {
            Some(tx) => Reply::Status(tx.status(), tx.reason().to_owned()),
            None => Reply::Refused(Refusal::Unknown),
        }
    }
}

fn finished(tx: &Transaction) -> Reply {
    Reply::Refused(Refusal::Finished { status: tx.status(), reason: tx.reason().to_owned() })
}

fn invalid(why: &str) -> Reply {
    Reply::Refused(Refusal::Invalid(why.to_owned()))
}

/// Frees the keys of `branch` that no other unfinished branch of its transaction needs.
fn release(locks: &mut super::Locks, tx: &mut Transaction, branch: BranchId, effects: &mut Effects) {
    let Some(gone) = tx.branches.get_mut(&branch) else { return };
    let resource = gone.resource.clone();
    for key in std::mem::take(&mut gone.keys) {
        let heir = tx
            .branches
            .iter()
            .filter(|(_, other)| other.resource == resource && other.keys.binary_search(&key).is_ok())
            .min_by_key(|(_, other)| other.sequence);
        match heir {
            Some((heir, _)) => locks.hand_over(&resource, &key, *heir),
            None => {
                locks.free(&resource, &key);
                effects.freed.push(Lock { resource: resource.clone(), key });
            }
        }
    }
}
