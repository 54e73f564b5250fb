//! Carries out the coordinator's tasks: each on its own, but deletions of undo records gathered.

use super::{
    PAUSE, forget,
    guard::{Probe, resolve},
    look,
    restore::{Mode, Restored, restore},
    sweep::sweep,
    under_way::UnderWay,
};
use crate::{backend::Backend, bindings::Bindings};
use atone_protocol::{BranchId, Client, Task, TaskId, TaskKind, TaskOutcome, Tasks, Xid};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Rollbacks and resolutions under way at once, over all databases.
const AT_ONCE: usize = 16;
/// Looks for people under way at once.
const LOOKS: usize = 4;
/// Deletions that may wait; more are asked for again later.
const WAITING: usize = 10_000;
/// How long deletions are gathered.
const GATHER: Duration = Duration::from_millis(20);
/// Between two looks for guards and undone records.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Everything phase two needs.
pub struct Runner {
    coordinator: Client,
    backends: BTreeMap<String, Arc<Backend>>,
    bindings: Arc<Bindings>,
}

type Deletion = (TaskId, Xid, BranchId);

impl Runner {
    /// For these databases.
    pub fn new(
        coordinator: Client,
        backends: BTreeMap<String, Arc<Backend>>,
        bindings: Arc<Bindings>,
    ) -> Self {
        Self { coordinator, backends, bindings }
    }

    /// Runs until the coordinator's client ends. Dropping it is safe at any point: every task comes again.
    pub async fn run(self, mut tasks: Tasks) {
        let (under_way, mut running) = (UnderWay::new(AT_ONCE), JoinSet::new());
        let looks = Arc::new(Semaphore::new(LOOKS));
        let mut deletions = BTreeMap::new();
        for (name, backend) in &self.backends {
            let (sender, receiver) = mpsc::channel(WAITING);
            deletions.insert(name.clone(), sender);
            running.spawn(delete(backend.clone(), self.coordinator.clone(), receiver));
            running.spawn(sweep_for_ever(backend.clone(), self.coordinator.clone()));
        }
        while let Some(task) = tasks.next().await {
            while running.try_join_next().is_some() {}
            let Some(backend) = self.backends.get(&task.resource).cloned() else {
                let why = format!("this proxy does not serve '{}'", task.resource);
                self.coordinator.report(task.id, TaskOutcome::Retry(why), "");
                continue;
            };
            if task.kind == TaskKind::Forget {
                let full = deletions
                    .get(&task.resource)
                    .is_none_or(|d| d.try_send((task.id, task.xid, task.branch)).is_err());
                if full {
                    let why = TaskOutcome::Retry("too many deletions are waiting".into());
                    self.coordinator.report(task.id, why, "");
                }
                continue;
            }
            // Each look is answered for itself: two people may want to know.
            if matches!(task.kind, TaskKind::Look { .. }) {
                let Ok(place) = looks.clone().try_acquire_owned() else {
                    let why = TaskOutcome::Retry("its proxy shows rows to others now".into());
                    self.coordinator.report(task.id, why, "");
                    continue;
                };
                let coordinator = self.coordinator.clone();
                running.spawn(async move {
                    let (outcome, primary) = perform(&backend, &task).await;
                    coordinator.report(task.id, outcome, &primary);
                    drop(place);
                });
                continue;
            }
            if matches!(task.kind, TaskKind::RollBack | TaskKind::Restore | TaskKind::Keep) {
                self.bindings.roll_back(task.xid);
            }
            let named = ((task.xid, task.branch, task.kind), task.id);
            let coordinator = self.coordinator.clone();
            let report = move |id: TaskId, (outcome, primary): (TaskOutcome, Arc<str>)| {
                coordinator.report(id, outcome, &primary);
            };
            let perform = async move { perform(&backend, &task).await };
            under_way.begin(&mut running, named, perform, report).await;
        }
    }
}

/// Carries out a task: how it ended, and on which primary.
async fn perform(backend: &Backend, task: &Task) -> (TaskOutcome, Arc<str>) {
    let Task { xid, branch, .. } = *task;
    let undo = async |mode| {
        let (restored, primary) = restore(backend, xid, branch, mode).await?;
        let outcome = match restored {
            Restored::Done => TaskOutcome::Done,
            Restored::Blocked(why) => {
                tracing::error!(%xid, %branch, resource = backend.name(), why, "rollback is blocked: a person must decide");
                TaskOutcome::Blocked(why)
            }
        };
        Ok((outcome, primary))
    };
    let result = match task.kind {
        TaskKind::Resolve => resolve(backend, xid, branch).await.map(|(probe, primary)| match probe {
            Probe::Committed => (TaskOutcome::Committed, primary),
            Probe::Guarded | Probe::Undone => (TaskOutcome::Guarded, primary),
        }),
        TaskKind::RollBack => undo(Mode::Careful).await,
        TaskKind::Restore => undo(Mode::Forced).await,
        TaskKind::Keep => undo(Mode::Keep).await,
        TaskKind::Look { rows, all } => look::look(backend, (xid, branch), (rows, all))
            .await
            .map(|(looked, primary)| (TaskOutcome::Looked(Box::new(looked)), primary)),
        TaskKind::Forget => {
            forget::forget(backend, &[(xid, branch)]).await.map(|primary| (TaskOutcome::Done, primary))
        }
    };
    result.unwrap_or_else(|error| {
        tracing::warn!(%xid, %branch, %error, "phase two will be tried again");
        (TaskOutcome::Retry(error.to_string()), "".into())
    })
}

/// Deletes undo records as they come, as many as are waiting in one statement.
async fn delete(backend: Arc<Backend>, coordinator: Client, mut waiting: mpsc::Receiver<Deletion>) {
    let mut batch = Vec::with_capacity(forget::BATCH);
    while let Some(first) = waiting.recv().await {
        batch.push(first);
        // Nobody waits for this: a moment later there is more to delete in the same statement.
        tokio::time::sleep(GATHER).await;
        while batch.len() < forget::BATCH
            && let Ok(next) = waiting.try_recv()
        {
            batch.push(next);
        }
        let branches: Vec<(Xid, BranchId)> = batch.iter().map(|d| (d.1, d.2)).collect();
        let result = forget::forget(&backend, &branches).await;
        for (task, _, _) in batch.drain(..) {
            match &result {
                Ok(primary) => coordinator.report(task, TaskOutcome::Done, primary),
                Err(error) => coordinator.report(task, TaskOutcome::Retry(error.to_string()), ""),
            }
        }
        if let Err(error) = result {
            tracing::warn!(%error, "undo records will be deleted later");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn sweep_for_ever(backend: Arc<Backend>, coordinator: Client) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        if let Err(error) = sweep(&backend, &coordinator).await {
            tracing::debug!(%error, "sweeping will be tried again");
        }
    }
}
