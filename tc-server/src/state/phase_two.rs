//! The decision, which is made once, and what follows from it.

use super::apply::finished;
use super::phase_one::release;
use super::{BranchStatus, Decision, Effects, EventKind, Reply, State, Transaction};
use atone_protocol::planted::{Bug, planted};
use atone_protocol::{BranchId, Refusal, TxStatus, Xid};
use std::sync::Arc;

impl State {
    pub(super) fn commit(&mut self, xid: Xid, branches: &[BranchId], effects: &mut Effects) -> Reply {
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
        // Of several local transactions in one database somebody may have seen some and not the others.
        for branch in tx.branches.values() {
            let beside = tx.branches.values().filter(|b| b.resource == branch.resource && !b.keys.is_empty());
            if beside.take(2).count() > 1 {
                self.locks.note_undone(&branch.resource, &branch.keys);
            }
        }
        // In the same entry: from here on the rows belong to everybody.
        for branch in tx.branches.values_mut() {
            let keys = std::mem::take(&mut branch.keys).into_iter();
            let keys = keys.chain(std::mem::take(&mut branch.shared));
            let freed = keys.filter(|key| self.locks.free(&branch.resource, key, xid)).collect();
            effects.free(&branch.resource, freed);
        }
        effects.decided.push(xid);
        self.finish_if_done(xid);
        Reply::Status(TxStatus::Committed, String::new())
    }

    pub(super) fn rollback(&mut self, xid: Xid, reason: String, effects: &mut Effects) -> Reply {
        let Some(tx) = self.transactions.get(&xid) else { return Reply::Refused(Refusal::Unknown) };
        match tx.decision {
            None => self.decide_rollback(xid, reason, effects),
            Some(Decision::Commit) => return finished(tx),
            Some(Decision::Rollback(_)) => {}
        }
        self.status_reply(xid)
    }

    pub(super) fn done(&mut self, xid: Xid, branches: &[BranchId], effects: &mut Effects) -> Reply {
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Done };
        let open = |tx: &Transaction, id: &BranchId| tx.branches.get(id).is_some_and(|b| b.status.is_open());
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
                release(&mut self.locks, xid, tx, *id, effects);
            }
        }
        effects.moved.push(xid);
        self.finish_if_done(xid);
        Reply::Done
    }

    pub(super) fn blocked(
        &mut self,
        xid: Xid,
        branch: BranchId,
        reason: String,
        effects: &mut Effects,
    ) -> Reply {
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Refused(Refusal::Unknown) };
        let rolling_back = matches!(tx.decision, Some(Decision::Rollback(_)));
        let under_way = |b: &super::Branch| b.status.is_open() && b.status != BranchStatus::Blocked;
        if rolling_back && tx.branches.get(&branch).is_some_and(under_way) {
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

    pub(super) fn retry(&mut self, xid: Xid, effects: &mut Effects) -> Reply {
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

    pub(super) fn decide_rollback(&mut self, xid: Xid, reason: String, effects: &mut Effects) {
        let Some(tx) = self.transactions.get_mut(&xid) else { return };
        let tx = Arc::make_mut(tx);
        tx.tell(self.clock, EventKind::Rollback, None, &reason);
        tx.decision = Some(Decision::Rollback(reason));
        if planted(Bug::ReleaseAtRollbackDecision) {
            let branches: Vec<BranchId> = tx.branches.keys().copied().collect();
            branches.into_iter().for_each(|id| release(&mut self.locks, xid, tx, id, effects));
        }
        self.deadlines.remove(&(tx.deadline_at, xid));
        self.totals.rolled_back += 1;
        effects.decided.push(xid);
        self.finish_if_done(xid);
    }

    pub(super) fn status_reply(&self, xid: Xid) -> Reply {
        match self.transaction(xid) {
            Some(tx) => Reply::Status(tx.status(), tx.reason().to_owned()),
            None => Reply::Refused(Refusal::Unknown),
        }
    }
}
