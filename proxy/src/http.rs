//! Health and metrics of this proxy.

use crate::{backend::Backend, metrics::Metrics};
use atone_protocol::Client;
use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use std::{collections::BTreeMap, sync::Arc};
use tokio::net::TcpListener;

/// What the pages show.
#[derive(Clone)]
pub struct Page {
    /// Is it connected?
    pub coordinator: Client,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The resources served.
    pub backends: Vec<Arc<Backend>>,
}

/// Serves `GET /v1/health` and `GET /metrics`.
pub async fn serve(listener: TcpListener, page: Page) {
    let router =
        Router::new().route("/v1/health", get(health)).route("/metrics", get(metrics)).with_state(page);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the HTTP pages ended");
    }
}

async fn health(State(page): State<Page>) -> impl IntoResponse {
    #[derive(serde::Serialize)]
    struct Health {
        status: &'static str,
        coordinator_connected: bool,
        /// Why not.
        #[serde(skip_serializing_if = "Option::is_none")]
        coordinator_trouble: Option<String>,
        databases: Vec<String>,
        /// Which server each database is now.
        primaries: BTreeMap<String, String>,
        /// Databases whose address leads to a server that cannot be theirs, and why.
        refused: BTreeMap<String, String>,
    }
    let (coordinator_connected, coordinator_trouble) =
        (page.coordinator.connected(), page.coordinator.trouble());
    let (mut primaries, mut refused) = (BTreeMap::new(), BTreeMap::new());
    for backend in &page.backends {
        let sight = backend.sight();
        primaries.insert(backend.name().to_owned(), sight.primary.to_string());
        refused.extend(sight.refused.map(|why| (backend.name().to_owned(), why)));
    }
    let (code, status) = match (coordinator_connected, refused.is_empty()) {
        (true, true) => (StatusCode::OK, "ready"),
        (true, false) => (StatusCode::SERVICE_UNAVAILABLE, "a database is refused"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "no coordinator"),
    };
    let databases = primaries.keys().cloned().collect();
    let health = Health { status, coordinator_connected, coordinator_trouble, databases, primaries, refused };
    (code, Json(health))
}

async fn metrics(State(page): State<Page>) -> String {
    let connected = u8::from(page.coordinator.connected());
    let head = "# HELP atone_proxy_coordinator_connected Whether a coordinator is connected.\n\
        # TYPE atone_proxy_coordinator_connected gauge\n";
    format!("{}{head}atone_proxy_coordinator_connected {connected}\n", page.metrics.render())
}
