//! Health and metrics of this proxy.

use crate::metrics::Metrics;
use atone_protocol::Client;
use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the pages show.
#[derive(Clone)]
pub struct Page {
    /// Is it connected?
    pub coordinator: Client,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The resources served.
    pub backends: Vec<String>,
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
        databases: Vec<String>,
    }
    let connected = page.coordinator.connected();
    let (code, status) = if connected {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no coordinator")
    };
    (code, Json(Health { status, coordinator_connected: connected, databases: page.backends }))
}

async fn metrics(State(page): State<Page>) -> String {
    let connected = u8::from(page.coordinator.connected());
    let head = "# HELP atone_proxy_coordinator_connected Whether a coordinator is connected.\n\
        # TYPE atone_proxy_coordinator_connected gauge\n";
    format!("{}{head}atone_proxy_coordinator_connected {connected}\n", page.metrics.render())
}
