//! Looks at rows, for a person: asked of a proxy, answered or given up, and kept nowhere.

use super::Leader;
use super::proxies::SessionId;
use atone_protocol::{BranchId, Lineage, Looked, Task, TaskId, TaskKind, TaskOutcome, Xid};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;

/// Looks under way at once.
const LOOKS: usize = 16;
/// How long a proxy may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why nothing was seen: a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unseen(String);

struct Look {
    session: SessionId,
    resource: String,
    reply: oneshot::Sender<TaskOutcome>,
}

/// The looks under way.
#[derive(Default)]
pub(super) struct Looks(BTreeMap<TaskId, Look>);

impl Looks {
    /// Hands an outcome to who looks; gives it back when it is another task's.
    /// What was seen on what is the primary no more is nothing.
    pub fn answer(
        &mut self,
        task: TaskId,
        outcome: TaskOutcome,
        is_primary: impl FnOnce(&str) -> bool,
    ) -> Option<TaskOutcome> {
        let Some(look) = self.0.remove(&task) else { return Some(outcome) };
        let outcome = match outcome {
            TaskOutcome::Looked(_) if !is_primary(&look.resource) => {
                TaskOutcome::Retry("the database has another primary now".to_owned())
            }
            outcome => outcome,
        };
        let _ = look.reply.send(outcome);
        None
    }

    /// A proxy has gone: who looks through it is told.
    pub fn disconnect(&mut self, session: SessionId) {
        self.0.retain(|_, look| look.session != session);
    }
}

/// Given up with the asker.
struct Looking<'a>(&'a Leader, TaskId);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.memory().looks.0.remove(&self.1);
    }
}

impl Leader {
    /// What stands in the rows of a branch, as a proxy sees them that reaches `resource`.
    pub async fn look_at_rows(
        &self,
        (xid, branch): (Xid, BranchId),
        (resource, lineage): (&str, Option<Lineage>),
        (rows, all): (u32, bool),
    ) -> Result<Looked, Unseen> {
        let (reply, answer) = oneshot::channel();
        let id = TaskId(rand::random());
        self.give_look(
            Task { id, xid, branch, resource: resource.to_owned(), kind: TaskKind::Look { rows, all } },
            lineage,
            reply,
        )?;
        let _looking = Looking(self, id);
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(TaskOutcome::Looked(looked))) => Ok(*looked),
            Ok(Ok(TaskOutcome::Retry(why))) => Err(Unseen(format!(
                "the rows of branch {branch} on {resource} cannot be read now: {why}; try again"
            ))),
            Ok(Ok(
                outcome @ (TaskOutcome::Done
                | TaskOutcome::Committed
                | TaskOutcome::Guarded
                | TaskOutcome::Blocked(_)),
            )) => Err(Unseen(format!("a proxy answered a look at {resource} with {outcome:?}"))),
            Ok(Err(_)) => Err(Unseen(format!(
                "the proxy that was asked for the rows on {resource} has gone; try again"
            ))),
            Err(_) => Err(Unseen(format!(
                "no proxy has told the rows on {resource} within {} s; try again",
                PATIENCE.as_secs()
            ))),
        }
    }

    fn give_look(
        &self,
        task: Task,
        lineage: Option<Lineage>,
        reply: oneshot::Sender<TaskOutcome>,
    ) -> Result<(), Unseen> {
        let mut memory = self.memory();
        let resource = &task.resource;
        if memory.looks.0.len() >= LOOKS {
            return Err(Unseen(format!("{LOOKS} others are looking at rows now; try again")));
        }
        if let Some(why) = memory.proxies.unreached(resource, lineage) {
            return Err(Unseen(format!(
                "no proxy that reaches '{resource}' is connected: start one, then the rows can be read ({why})"
            )));
        }
        let busy = || Unseen(format!("the proxies that reach '{resource}' are busy; try again"));
        let chosen = memory.proxies.choose(resource, lineage, None).ok_or_else(busy)?;
        let session = memory.proxies.sessions.get(&chosen).ok_or_else(busy)?;
        session.outbox.try_send(task.clone().into()).map_err(|_| busy())?;
        memory.looks.0.insert(task.id, Look { session: chosen, resource: task.resource, reply });
        Ok(())
    }
}
