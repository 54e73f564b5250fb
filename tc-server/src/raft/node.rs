//! One Raft node: opens its directory, forms a cluster of itself on first start, and waits until it leads.

use super::batcher::{Batcher, Proposer};
use super::log_store::LogStore;
use super::machine::Machine;
use super::network::Network;
use super::recover::LogError;
use super::segments::Segments;
use super::snapshot::{self, SnapshotError};
use super::{TypeConfig, writer};
use crate::clock::Clock;
use crate::state::{Effects, State};
use openraft::{BasicNode, Raft, SnapshotPolicy};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// How a node is run.
pub struct Options {
    /// Its number in the cluster.
    pub node_id: u64,
    /// Its address, as peers would be told.
    pub address: String,
    /// Everything it stores.
    pub data_dir: PathBuf,
    /// A snapshot is made after this many bytes of log.
    pub snapshot_after: u64,
    /// For stamping commands.
    pub clock: Arc<Clock>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The sentences are the documentation.
pub enum NodeError {
    #[error("data_dir {}: {source}; create it, or let this user write there", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("data_dir {} is in use by another process; stop it, or give this one a directory of its own", .0.display())]
    InUse(PathBuf),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("data_dir {}: the log begins behind entry {log}, but the snapshot ends before it; restore the directory from a backup", path.display())]
    Gap { path: PathBuf, log: u64 },
    #[error("{}: the first files of the log are missing; restore the data directory from a backup", .0.display())]
    Incomplete(PathBuf),
    #[error("data_dir {} belongs to node {stored}, not to node {node_id}; mend node_id or data_dir", path.display())]
    OtherNode { path: PathBuf, stored: String, node_id: u64 },
    #[error("Raft does not start: {0}")]
    Raft(String),
}

/// A running node.
pub struct Node {
    /// To change the state.
    pub proposer: Proposer,
    /// To read what is applied.
    pub state: Arc<RwLock<State>>,
    raft: Raft<TypeConfig>,
    fatal: watch::Receiver<Option<String>>,
    /// Held for as long as the node runs.
    lock: File,
    log: LogStore,
}

fn config() -> openraft::Config {
    openraft::Config {
        cluster_name: "atone".to_owned(),
        heartbeat_interval: 150,
        election_timeout_min: 1_000,
        election_timeout_max: 2_000,
        max_payload_entries: 64,
        // By bytes, not by entries: the batcher asks for snapshots.
        snapshot_policy: SnapshotPolicy::Never,
        // They are in memory, and a few may be large; nobody asks for them.
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: 1,
        replication_lag_threshold: 10_000,
        ..openraft::Config::default()
    }
}

impl Node {
    /// Opens the directory and returns once this node leads and has applied all its log. The future is the batcher,
    /// to be driven by the caller; `absorb` learns what applied entries mean.
    pub async fn start(
        options: Options,
        absorb: Box<dyn Fn(Effects) + Send + Sync>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), NodeError> {
        let directory = options.data_dir.clone();
        let lock = lock(&directory)?;
        let image = snapshot::load(&directory)?;
        let (segments, recovered) = Segments::open(&directory.join("log"))?;
        let covered = image.as_ref().and_then(|image| image.meta.last_log_id);
        if let Some(purged) = recovered.purged
            && covered.is_none_or(|covered| covered.index < purged.index)
        {
            return Err(NodeError::Gap { path: directory, log: purged.index });
        }
        let first = recovered.entries.keys().next().copied();
        let begins = recovered.purged.map_or(0, |purged| purged.index + 1);
        if first.is_some_and(|first| first != begins) || (image.is_some() && recovered.vote.is_none()) {
            return Err(NodeError::Incomplete(directory.join("log")));
        }
        let in_directory = |source| NodeError::Directory { path: directory.clone(), source };
        let jobs = writer::start(segments).map_err(in_directory)?;
        let log = LogStore::new(recovered, jobs).map_err(|error| NodeError::Raft(error.to_string()))?;
        let (machine, state) = Machine::new(image, directory.clone());
        let raft_error = |error: &dyn std::fmt::Display| NodeError::Raft(error.to_string());
        let config = Arc::new(config().validate().map_err(|error| raft_error(&error))?);
        let raft = Raft::new(options.node_id, config, Network, log.clone(), machine)
            .await
            .map_err(|error| raft_error(&error))?;
        if let Err(error) = join(&raft, &options).await {
            // Nothing of it may go on writing once the directory is unlocked.
            let _ = raft.shutdown().await;
            log.close().await;
            return Err(error);
        }
        options.clock.at_least(state.read().unwrap_or_else(PoisonError::into_inner).clock());
        let (fatal_sender, fatal) = watch::channel(None);
        let (batcher, proposer) = Batcher::new(
            raft.clone(),
            log.clone(),
            options.clock,
            absorb,
            options.snapshot_after,
            fatal_sender,
        );
        Ok((Self { proposer, state, raft, fatal, lock, log }, batcher.run()))
    }

    /// Looks at the applied state.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until this node must stop, and says why.
    pub async fn failed(&self) -> String {
        let mut fatal = self.fatal.clone();
        match fatal.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "Raft has ended".to_owned(),
        }
    }

    /// Who leads, as this node knows it.
    pub async fn leader(&self) -> Option<u64> {
        self.raft.current_leader().await
    }

    /// Returns once every entry acknowledged before the call is applied here (ReadIndex; no lease).
    pub async fn linearize(&self) -> Result<(), String> {
        self.raft.ensure_linearizable().await.map(drop).map_err(|error| error.to_string())
    }

    /// Stops Raft; returns when the log's last write is durable and the directory is free again.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!("Raft did not stop cleanly: {error}");
        }
        self.log.close().await;
        if let Err(error) = self.lock.unlock() {
            tracing::error!("data_dir stays locked until this process ends: {error}");
        }
    }
}

fn lock(directory: &Path) -> Result<File, NodeError> {
    let failed = |source| NodeError::Directory { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NodeError::InUse(directory.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Forms a cluster of this node alone if there is none, and waits until it leads.
async fn join(raft: &Raft<TypeConfig>, options: &Options) -> Result<(), NodeError> {
    let failed = |error: &dyn std::fmt::Display| NodeError::Raft(error.to_string());
    if raft.is_initialized().await.map_err(|error| failed(&error))? {
        let members = raft
            .with_raft_state(|state| {
                state.membership_state.effective().voter_ids().collect::<std::collections::BTreeSet<_>>()
            })
            .await
            .map_err(|error| failed(&error))?;
        if !members.contains(&options.node_id) {
            let stored = members.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            let (path, node_id) = (options.data_dir.clone(), options.node_id);
            return Err(NodeError::OtherNode { path, stored, node_id });
        }
        // Nobody else can lead: no need to wait for an election timeout.
        if members.len() == 1 && raft.current_leader().await.is_none() {
            raft.trigger().elect().await.map_err(|error| failed(&error))?;
        }
    } else {
        let alone = BTreeMap::from([(options.node_id, BasicNode::new(&options.address))]);
        raft.initialize(alone).await.map_err(|error| failed(&error))?;
    }
    let lead = async {
        while let Err(error) = raft.ensure_linearizable().await {
            if let openraft::error::RaftError::Fatal(fatal) = error {
                return Err(failed(&fatal));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    match tokio::time::timeout(Duration::from_secs(30), lead).await {
        Ok(result) => result,
        Err(_) => Err(NodeError::Raft("no leader within 30 s".to_owned())),
    }
}
