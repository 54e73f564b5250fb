//! Committing: proposed only when every registered branch is known to be locally committed, on what is the primary now.

use super::Leader;
use super::requests::{Watch, plain, unavailable};
use crate::state::{Entry, Reply};
use atone_protocol::messages::Answer;
use atone_protocol::{BranchId, Refusal, TxStatus, Xid, failpoint};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long unknown branches may be asked for before the answer is "not known yet".
const RESOLVE: Duration = Duration::from_secs(10);

/// While it lives, the transaction's unknown branches are resolved.
struct Committing {
    leader: Arc<Leader>,
    xid: Xid,
}

impl Committing {
    fn new(leader: &Arc<Leader>, xid: Xid) -> Self {
        leader.with(|state, memory| {
            *memory.committing.entry(xid).or_default() += 1;
            memory.refresh(state, xid);
        });
        leader.inbox.wake.notify_one();
        Self { leader: Arc::clone(leader), xid }
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        self.leader.with(|state, memory| {
            let left = memory.committing.get_mut(&self.xid).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                memory.committing.remove(&self.xid);
                memory.refresh(state, self.xid);
            }
        });
    }
}

/// What stands between a transaction and its commit.
enum Known {
    /// Propose with these branches; the state has the last word.
    All(Vec<BranchId>),
    /// These are not known: branch, resource, and why it takes so long.
    Unknown(Vec<(BranchId, String, String)>),
}

impl Leader {
    /// Decides to commit, or says how it ended instead.
    pub async fn commit(self: &Arc<Self>, xid: Xid) -> Answer {
        let mut watch = Watch::new(self, xid);
        let deadline = Instant::now() + RESOLVE;
        let answer = self.decide_commit(xid, &mut watch, deadline).await;
        // It was rolled back instead: the asker should find the rows as they were, if that does not take too long.
        match answer {
            Answer::Refused(Refusal::Finished { .. }) => match self.undone(xid, &mut watch, deadline).await {
                Answer::Status(status, reason) => Answer::Refused(Refusal::Finished { status, reason }),
                _ => answer,
            },
            Answer::Refused(Refusal::RollbackOnly { .. }) => {
                self.undone(xid, &mut watch, deadline).await;
                answer
            }
            answer => answer,
        }
    }

    async fn decide_commit(self: &Arc<Self>, xid: Xid, watch: &mut Watch, deadline: Instant) -> Answer {
        let mut asking: Option<Committing> = None;
        loop {
            let unknown = match self.known(xid) {
                Known::All(branches) => {
                    failpoint::reach("tc.before_decide").await;
                    let reply = self.node.proposer.propose(Entry::Commit { xid, branches }).await;
                    failpoint::reach("tc.after_decide").await;
                    match reply {
                        Ok(Reply::BranchesChanged) if Instant::now() < deadline => continue,
                        Ok(reply) => return plain(reply),
                        Err(error) => return unavailable(error),
                    }
                }
                Known::Unknown(unknown) => unknown,
            };
            match &asking {
                None => asking = Some(Committing::new(self, xid)),
                // A branch may have joined, or the primary may have changed, since we began to ask.
                Some(_) => {
                    self.with(|state, memory| memory.refresh(state, xid));
                    self.inbox.wake.notify_one();
                }
            }
            if tokio::time::timeout_at(deadline, watch.changed()).await.is_err() {
                return Answer::Unavailable(not_known(&unknown));
            }
        }
    }

    fn known(&self, xid: Xid) -> Known {
        self.with(|state, memory| {
            let Some(tx) = state.transaction(xid) else { return Known::All(Vec::new()) };
            // Decided or doomed already: the state answers without looking at branches.
            if tx.status() != TxStatus::Active || tx.rollback_only.is_some() {
                return Known::All(Vec::new());
            }
            let settled = |id, resource: &str| memory.proxies.is_settled(xid, id, resource);
            let unknown: Vec<_> = tx
                .registered()
                .filter(|(id, branch)| !settled(*id, &branch.resource))
                .map(|(id, branch)| {
                    let job = memory.jobs.table.get(&(xid, id));
                    let unreached = memory.proxies.unreached(&branch.resource, branch.lineage);
                    let why = match job.map(|job| job.why.clone()).filter(|why| !why.is_empty()) {
                        Some(why) if unreached.is_none() => why,
                        Some(_) | None => unreached.unwrap_or_else(|| "no proxy has answered".to_owned()),
                    };
                    (id, branch.resource.clone(), why)
                })
                .collect();
            if unknown.is_empty() {
                Known::All(tx.registered().map(|(id, _)| id).collect())
            } else {
                Known::Unknown(unknown)
            }
        })
    }
}

fn not_known(unknown: &[(BranchId, String, String)]) -> String {
    let (branch, resource, why) = match unknown {
        [first, ..] => first,
        [] => return "not decided in time; ask again".to_owned(),
    };
    format!(
        "not decided: it is not known whether branch {branch} on {resource} committed locally ({why}), nor {} others; \
         the transaction stays active until its timeout, ask again",
        unknown.len() - 1
    )
}
