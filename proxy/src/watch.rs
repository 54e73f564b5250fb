//! Looks who the primary of a database is, every second and when a connection has broken, and tells the coordinator.

use crate::{backend::Backend, phase_two::PAUSE};
use atone_protocol::Client;
use std::{sync::Arc, time::Duration};

/// Between two looks without any doubt. A failover that breaks no connection is seen this late.
const EVERY: Duration = Duration::from_secs(1);
/// Many connections that break together are one reason to look.
const TOGETHER: Duration = Duration::from_millis(10);

/// For ever.
pub async fn watch(backend: Arc<Backend>, coordinator: Client) {
    loop {
        if tokio::time::timeout(EVERY, backend.doubted()).await.is_ok() {
            tokio::time::sleep(TOGETHER).await;
        }
        match backend.look().await {
            // Also one that is refused: it is not the primary, but neither is the one before it now.
            Ok(sight) => coordinator.sees(backend.name(), &sight.primary),
            Err(error) => {
                tracing::debug!(resource = backend.name(), %error, "cannot see who the primary is");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
