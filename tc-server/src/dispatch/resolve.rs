//! A person ends a blocked branch.

use super::Leader;
use super::requests::{Watch, clip, plain, unavailable};
use crate::state::{Branch, BranchStatus, Entry, Resolution};
use atone_protocol::messages::Answer;
use atone_protocol::{BranchId, Refusal, TxStatus, Xid};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How it went so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Where the transaction stands.
    pub status: TxStatus,
    /// Where the branch stands.
    pub branch: BranchStatus,
    /// Why it is blocked again; empty otherwise.
    pub reason: String,
}

impl Leader {
    /// Notes the decision and waits until the branch is done, blocked again, or the time is up. The error is no
    /// success.
    pub async fn resolve(
        self: &Arc<Self>,
        (xid, branch): (Xid, BranchId),
        how: Resolution,
        (by, reason): (String, String),
        wait: Duration,
    ) -> Result<Resolved, Answer> {
        let mut watch = Watch::new(self, xid);
        let deadline = Instant::now() + wait;
        if let Some(why) = (how == Resolution::Gone).then(|| self.is_there(xid, branch)).flatten() {
            return Err(Answer::Refused(Refusal::Invalid(why)));
        }
        let entry = Entry::Resolve { xid, branch, how, by: clip(by), reason: clip(reason) };
        match self.node.proposer.propose(entry).await.map_or_else(unavailable, plain) {
            Answer::Status(..) => {}
            refused => return Err(refused),
        }
        loop {
            let now = self.node.read(|state| {
                let tx = state.transaction(xid)?;
                let Branch { status, reason, .. } = tx.branches.get(&branch)?;
                Some(Resolved { status: tx.status(), branch: *status, reason: reason.clone() })
            });
            let now = now.ok_or(Answer::Refused(Refusal::Unknown))?;
            match now.branch {
                BranchStatus::Done | BranchStatus::Failed | BranchStatus::Blocked => return Ok(now),
                BranchStatus::Registered | BranchStatus::Restoring | BranchStatus::Keeping => {}
            }
            if tokio::time::timeout_at(deadline, watch.changed()).await.is_err() {
                return Ok(now);
            }
        }
    }

    /// Why a branch's database is not gone: a proxy reaches it.
    fn is_there(&self, xid: Xid, branch: BranchId) -> Option<String> {
        self.with(|state, memory| {
            let Branch { resource, lineage, .. } = state.transaction(xid)?.branches.get(&branch)?;
            memory.proxies.reach(resource, *lineage).then(|| {
                format!(
                    "the database of branch {branch} is not gone: a proxy is connected that reaches '{resource}'. If the \
                     branch is blocked, end it with --retry, --restore or --keep-current"
                )
            })
        })
    }
}
