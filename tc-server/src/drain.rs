//! The one place that starts tasks (the log has a thread besides). Every task has a name, and all end before `drain`
//! returns.

use std::future::Future;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long tasks that finish by themselves may take to do so.
const PATIENCE: Duration = Duration::from_secs(2);

/// Spawns tasks; cheap to clone.
#[derive(Clone)]
pub struct Spawner {
    stop: watch::Receiver<bool>,
    running: mpsc::Sender<()>,
}

/// Ends what its spawners have spawned.
pub struct Drain {
    stop: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
}

/// A drain and its first spawner.
pub fn drain() -> (Drain, Spawner) {
    let (stop, stopped) = watch::channel(false);
    let (running, ended) = mpsc::channel(1);
    (Drain { stop, ended }, Spawner { stop: stopped, running })
}

impl Spawner {
    /// Runs a task that is dropped, wherever it is, when the drain begins.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopped();
        let running = self.running.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = task => tracing::debug!(name, "task has ended"),
                () = stopped => {}
            }
            drop(running);
        });
    }

    /// Runs a task that listens to [`Spawner::stopped`] itself, and has a little time to finish.
    pub fn spawn_finishing(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopped();
        self.spawn_unstopped(async move {
            let patience = async {
                stopped.await;
                tokio::time::sleep(PATIENCE).await;
            };
            tokio::select! {
                () = task => {}
                () = patience => tracing::debug!(name, "task did not finish by itself"),
            }
        });
    }

    fn spawn_unstopped(&self, task: impl Future<Output = ()> + Send + 'static) {
        let running = self.running.clone();
        tokio::spawn(async move {
            task.await;
            drop(running);
        });
    }

    /// Ends when the drain begins.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.clone();
        async move {
            // An error means that the drain itself is gone: stop as well.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }
}

impl Drain {
    /// Ends all tasks; `spawner` is the last one the caller has.
    pub async fn drain(mut self, spawner: Spawner) {
        self.stop.send_replace(true);
        drop(spawner);
        // Nothing is ever sent: this ends when the last task has dropped its sender.
        let _ = tokio::time::timeout(2 * PATIENCE, self.ended.recv()).await;
    }
}
