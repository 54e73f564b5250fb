//! What is counted, for `/metrics`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// The counters.
#[derive(Default)]
pub struct Metrics {
    open: AtomicU64,
    total: AtomicU64,
    ended: Notify,
}

/// An open session, counted until it is dropped.
pub struct Counted(Arc<Metrics>);

impl Metrics {
    /// A session begins.
    pub fn session(self: &Arc<Self>) -> Counted {
        self.open.fetch_add(1, Relaxed);
        self.total.fetch_add(1, Relaxed);
        Counted(self.clone())
    }

    /// Waits until no session is open; false when that took too long.
    pub async fn wait_for_sessions(&self, limit: Duration) -> bool {
        let none_open = async {
            loop {
                let ended = self.ended.notified();
                if self.open.load(Relaxed) == 0 {
                    return;
                }
                ended.await;
            }
        };
        tokio::time::timeout(limit, none_open).await.is_ok()
    }

    /// Prometheus text.
    pub fn render(&self) -> String {
        format!(
            "# HELP atone_proxy_sessions_open Sessions open now.\n# TYPE atone_proxy_sessions_open gauge\n\
             atone_proxy_sessions_open {}\n\
             # HELP atone_proxy_sessions_total Sessions signed in since the start.\n\
             # TYPE atone_proxy_sessions_total counter\natone_proxy_sessions_total {}\n",
            self.open.load(Relaxed),
            self.total.load(Relaxed)
        )
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.ended.notify_waiters();
    }
}
