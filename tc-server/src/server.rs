//! A whole coordinator: listeners, node, leader. The binary runs one, and so does a proxy without a coordinator.

use crate::admin::{self, Desk};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::dispatch::{Inbox, Leader};
use crate::drain::{Drain, Spawner, drain};
use crate::raft::{Node, NodeError, Options};
use crate::service::Service;
use atone_protocol::wire::coordinator_server::CoordinatorServer;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

/// The largest frame a proxy may send.
const MAX_FRAME: usize = 64 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Why a coordinator does not start. The sentences name key and mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener.
    #[error("{key} = \"{address}\": {source}; choose a free address of this machine")]
    Listen {
        /// The key in the configuration.
        key: &'static str,
        /// Its value.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// A running coordinator.
pub struct Running {
    /// Where proxies connect.
    pub grpc: SocketAddr,
    /// Where people connect.
    pub http: SocketAddr,
    node: Arc<Node>,
    drain: Drain,
    spawner: Spawner,
}

/// Starts a coordinator and returns once it answers.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let (grpc_listener, grpc) = listen("listen", &config.listen).await?;
    let (http_listener, http) = listen("http", &config.http).await?;
    let (drain, spawner) = drain();
    // From here on health says "starting".
    let ready = Arc::new(OnceLock::new());
    let pages = admin::router(Arc::clone(&ready)).into_make_service_with_connect_info::<SocketAddr>();
    let pages = axum::serve(http_listener, pages);
    let serve = pages.with_graceful_shutdown(spawner.stopped());
    spawner.spawn_finishing("http", async move {
        if let Err(error) = serve.await {
            tracing::error!("HTTP has ended: {error}");
        }
    });
    let (node, leader) = match lead(&config, grpc, &spawner).await {
        Ok(leading) => leading,
        Err(error) => {
            drain.drain(spawner).await;
            return Err(error.into());
        }
    };
    let service = CoordinatorServer::new(Service::new(Arc::clone(&leader), spawner.clone()))
        .max_decoding_message_size(MAX_FRAME)
        .max_encoding_message_size(MAX_FRAME);
    let server = tonic::transport::Server::builder()
        // A branch of many keys should not need a round trip per 64 kB.
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_service(service);
    let incoming = TcpIncoming::from(grpc_listener).with_nodelay(Some(true));
    let serve = server.serve_with_incoming_shutdown(incoming, spawner.stopped());
    spawner.spawn_finishing("grpc", async move {
        if let Err(error) = serve.await {
            tracing::error!("gRPC has ended: {error}");
        }
    });
    let audit = Audit::new(&config.data_dir);
    let _ = ready.set(Desk { leader, node_id: config.node_id, audit });
    tracing::info!(%grpc, %http, node = config.node_id, "coordinator ready");
    Ok(Running { grpc, http, node, drain, spawner })
}

async fn listen(key: &'static str, address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { key, address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// Starts the node and everything that drives it.
async fn lead(
    config: &Config,
    address: SocketAddr,
    spawner: &Spawner,
) -> Result<(Arc<Node>, Arc<Leader>), NodeError> {
    let inbox = Arc::new(Inbox::default());
    let absorbing = Arc::clone(&inbox);
    let clock = Arc::new(Clock::default());
    let options = Options {
        node_id: config.node_id,
        address: address.to_string(),
        data_dir: config.data_dir.clone(),
        snapshot_after: config.snapshot_after,
        clock: Arc::clone(&clock),
    };
    let (node, batcher) = Node::start(options, Box::new(move |effects| absorbing.absorb(effects))).await?;
    spawner.spawn("raft batcher", batcher);
    let node = Arc::new(node);
    let leader = Leader::new(Arc::clone(&node), inbox, clock);
    let driven = Arc::clone(&leader);
    spawner.spawn("drive", async move { driven.drive().await });
    let driven = Arc::clone(&leader);
    spawner.spawn("conclude", async move { driven.conclude().await });
    let driven = Arc::clone(&leader);
    spawner.spawn("tick", async move { driven.tick().await });
    Ok((node, leader))
}

impl Running {
    /// Waits until this coordinator can go on no more (its disk fails), and says why. Its process should then end.
    pub async fn failed(&self) -> String {
        self.node.failed().await
    }

    /// Ends it: no new connections, streams closed, log synced, data directory free.
    pub async fn stop(self) {
        self.drain.drain(self.spawner).await;
        self.node.stop().await;
    }
}
