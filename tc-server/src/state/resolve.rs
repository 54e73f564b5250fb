//! What a person decides about a blocked branch. The mode stays with the branch until it is done, or blocked again.

use super::apply::invalid;
use super::phase_one::release;
use super::{Branch, BranchStatus, Effects, EventKind, Reply, Resolution, State, Transaction};
use atone_protocol::{BranchId, Refusal, Xid};
use std::sync::Arc;

impl State {
    pub(super) fn resolve(
        &mut self,
        xid: Xid,
        branch: BranchId,
        how: Resolution,
        by: &str,
        reason: &str,
        effects: &mut Effects,
    ) -> Reply {
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Refused(Refusal::Unknown) };
        let Some(now) = tx.branches.get(&branch) else {
            return invalid(&format!("global transaction {xid} has no branch {branch}"));
        };
        if how == Resolution::Gone {
            return self.gone(xid, branch, by, reason, effects);
        }
        if now.status != BranchStatus::Blocked {
            return match is_resolved_so(tx, branch, how) {
                true => self.status_reply(xid),
                false => invalid(&not_blocked(xid, branch, now)),
            };
        }
        let tx = Arc::make_mut(tx);
        if let Some(branch) = tx.branches.get_mut(&branch) {
            branch.status = match how {
                Resolution::Retry => BranchStatus::Registered,
                Resolution::Restore => BranchStatus::Restoring,
                Resolution::KeepCurrent => BranchStatus::Keeping,
                Resolution::Gone => BranchStatus::Done,
            };
            branch.reason.clear();
        }
        tx.tell(self.clock, EventKind::Resolve, Some(branch), &story(how, by, reason));
        effects.moved.push(xid);
        self.status_reply(xid)
    }

    /// Its database will never be there again: nothing is asked of it any more.
    fn gone(&mut self, xid: Xid, branch: BranchId, by: &str, reason: &str, effects: &mut Effects) -> Reply {
        let how = Resolution::Gone;
        let Some(tx) = self.transactions.get_mut(&xid) else { return Reply::Refused(Refusal::Unknown) };
        if tx.decision.is_none() {
            let what =
                format!("global transaction {xid} is not decided yet: roll it back, or wait for its timeout");
            return invalid(&what);
        }
        match tx.branches.get(&branch) {
            Some(now) if now.status.is_open() => {}
            Some(_) if is_resolved_so(tx, branch, how) => return self.status_reply(xid),
            Some(now) => return invalid(&not_blocked(xid, branch, now)),
            None => return Reply::Refused(Refusal::Unknown),
        }
        let tx = Arc::make_mut(tx);
        if let Some(branch) = tx.branches.get_mut(&branch) {
            branch.status = BranchStatus::Done;
            branch.reason.clear();
        }
        tx.tell(self.clock, EventKind::Resolve, Some(branch), &story(how, by, reason));
        release(&mut self.locks, xid, tx, branch, effects);
        effects.moved.push(xid);
        self.finish_if_done(xid);
        self.status_reply(xid)
    }
}

/// What the timeline says.
fn story(how: Resolution, by: &str, reason: &str) -> String {
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("{} by {by}{because}", how.as_str())
}

/// The same decision was the last one about this branch: it has come twice.
fn is_resolved_so(tx: &Transaction, branch: BranchId, how: Resolution) -> bool {
    let about = |kind| kind == EventKind::Resolve || kind == EventKind::Blocked;
    let last = tx.timeline.iter().rev().find(|e| e.branch == Some(branch) && about(e.kind));
    last.is_some_and(|e| e.kind == EventKind::Resolve && e.detail.split(' ').next() == Some(how.as_str()))
}

/// Why there is nothing to decide about a branch.
fn not_blocked(xid: Xid, branch: BranchId, now: &Branch) -> String {
    let what = match now.status {
        BranchStatus::Registered => "is not blocked: nothing stands in its way so far",
        BranchStatus::Failed => "never committed locally: there is nothing to undo",
        BranchStatus::Done => "is done already",
        BranchStatus::Blocked => "is blocked",
        BranchStatus::Restoring => "is being restored, as somebody decided before",
        BranchStatus::Keeping => "is being left as it is, as somebody decided before",
    };
    format!("branch {branch} of global transaction {xid} {what}")
}
