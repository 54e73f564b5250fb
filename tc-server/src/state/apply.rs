//! The one door, and what begins and ends a transaction by time. Order of arms is the order of a transaction's life.

use super::{
    AHEAD_MS, Effects, Entry, EventKind, HORIZON_MS, KEEP_MS, MAX_TIMEOUT_MS, Millis, Reply, State,
    Transaction,
};
use atone_protocol::{Refusal, Xid};
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
                self.register(xid, branch, (resource, None), keys, Vec::new())
            }
            Entry::RegisterShared { xid, branch, resource, keys, shared } => {
                self.expire(xid, &mut effects);
                self.register(xid, branch, (resource, None), keys, shared)
            }
            Entry::RegisterOn { xid, branch, resource, lineage, keys, shared } => {
                self.expire(xid, &mut effects);
                self.register(xid, branch, (resource, Some(lineage)), keys, shared)
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
            Entry::Resolve { xid, branch, how, by, reason } => {
                self.resolve(xid, branch, how, &by, &reason, &mut effects)
            }
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

    pub(super) fn finish_if_done(&mut self, xid: Xid) {
        let Some(tx) = self.transactions.get_mut(&xid) else { return };
        let open = tx.branches.values().any(|b| b.status.is_open());
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
}

pub(super) fn finished(tx: &Transaction) -> Reply {
    Reply::Refused(Refusal::Finished { status: tx.status(), reason: tx.reason().to_owned() })
}

pub(super) fn invalid(why: &str) -> Reply {
    Reply::Refused(Refusal::Invalid(why.to_owned()))
}
