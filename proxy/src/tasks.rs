//! Every task of the proxy is started here, has a name, and is waited for at the end; but for those of phase two and
//! interruptions, which are kept in sets of their own by what starts them and end with it.

use std::{future::Future, sync::OnceLock, time::Duration};
use tokio_util::task::TaskTracker;

fn tracker() -> &'static TaskTracker {
    static TRACKER: OnceLock<TaskTracker> = OnceLock::new();
    TRACKER.get_or_init(TaskTracker::new)
}

/// Starts a task.
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    tracker().spawn(async move {
        task.await;
        tracing::trace!(name, "task ended");
    });
}

/// Waits for every task, but not for ever; false when some were still running.
pub async fn drain(limit: Duration) -> bool {
    tracker().close();
    tokio::time::timeout(limit, tracker().wait()).await.is_ok()
}
