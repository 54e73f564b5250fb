//! What is being carried out now. The coordinator sends a task again when it hears nothing for some time; one that is
//! repeated while it is still under way is answered by the one under way, and not begun a second time.

use atone_protocol::{BranchId, TaskId, TaskKind, Xid};
use dashmap::DashMap;
use std::sync::Arc;
use tokio::{sync::Semaphore, task::JoinSet};

/// Which branch, and what is done about it.
pub(super) type Work = (Xid, BranchId, TaskKind);

/// The latest task of each work, and how many may be under way.
#[derive(Clone)]
pub(super) struct UnderWay {
    tasks: Arc<DashMap<Work, TaskId>>,
    limit: Arc<Semaphore>,
}

/// Its place is free again whatever ends it.
struct Place(Arc<DashMap<Work, TaskId>>, Work);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.remove(&self.1);
    }
}

impl UnderWay {
    pub(super) fn new(at_once: usize) -> Self {
        Self { tasks: Arc::default(), limit: Arc::new(Semaphore::new(at_once)) }
    }

    /// Begins `perform` when its turn comes, unless it is under way; `report` gets the latest task's id.
    pub(super) async fn begin<T: Send + 'static>(
        &self,
        running: &mut JoinSet<()>,
        (work, task): (Work, TaskId),
        perform: impl Future<Output = T> + Send + 'static,
        report: impl FnOnce(TaskId, T) + Send + 'static,
    ) {
        if self.tasks.insert(work, task).is_some() {
            return;
        }
        let place = Place(self.tasks.clone(), work);
        let Ok(permit) = self.limit.clone().acquire_owned().await else { return };
        running.spawn(async move {
            let outcome = perform.await;
            let latest = place.0.get(&work).map_or(task, |latest| *latest);
            drop(place);
            report(latest, outcome);
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tokio::sync::{Notify, mpsc};

    #[tokio::test]
    async fn a_rollback_that_takes_longer_than_the_resend_is_done_once_and_reported_under_the_latest_id() {
        let (under_way, mut running) = (UnderWay::new(16), JoinSet::new());
        let (begun, row_is_free) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (reports, mut reported) = mpsc::channel(8);
        let branch = (Xid::from_u128(1), BranchId::new(2));
        let mut send = async |id: u64, undo: TaskKind| {
            let (begun, row_is_free, reports) = (begun.clone(), row_is_free.clone(), reports.clone());
            let perform = async move {
                begun.fetch_add(1, SeqCst);
                row_is_free.notified().await;
            };
            let work = (branch.0, branch.1, undo);
            let report = move |id, ()| reports.try_send((id, undo)).unwrap();
            under_way.begin(&mut running, (work, TaskId(id)), perform, report).await;
            tokio::task::yield_now().await;
        };
        for id in [1, 2, 3] {
            send(id, TaskKind::RollBack).await;
        }
        assert_eq!(begun.load(SeqCst), 1, "repeated while under way");
        // Asking is another work than undoing.
        send(4, TaskKind::Resolve).await;
        assert_eq!(begun.load(SeqCst), 2);
        row_is_free.notify_waiters();
        let mut both = [reported.recv().await.unwrap(), reported.recv().await.unwrap()];
        both.sort_by_key(|(id, _)| *id);
        assert_eq!(both, [(TaskId(3), TaskKind::RollBack), (TaskId(4), TaskKind::Resolve)]);
        // What comes after the end is begun again: the report may have been lost.
        send(5, TaskKind::RollBack).await;
        assert_eq!(begun.load(SeqCst), 3);
        row_is_free.notify_waiters();
        assert_eq!(reported.recv().await, Some((TaskId(5), TaskKind::RollBack)));
        assert!(reported.is_empty());
    }
}
