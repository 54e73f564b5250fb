//! One task that puts all waiting entries into one Raft command, and one command at a time into Raft.
//!
//! openraft 0.9 syncs once per proposal and gains nothing from several under way, so this is where group commit
//! happens. Effects are handed over before any of the command's askers is answered.

use super::TypeConfig;
use super::log_store::LogStore;
use crate::clock::Clock;
use crate::state::{Command, Effects, Entry, Reply};
use openraft::Raft;
use openraft::error::{ClientWriteError, RaftError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot, watch};

/// Proposals that may wait.
const QUEUE: usize = 16_384;
/// Entries in one command.
const BATCH: usize = 1_024;
/// Keys in one command, about: a command should stay a few MB.
const BATCH_KEYS: usize = 32_768;

/// Why a proposal has no reply. Its outcome is unknown unless another node leads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads, or none (empty).
    #[error("this node does not lead; '{0}' may")]
    NotLeader(String),
    /// This node has stopped.
    #[error("this coordinator has stopped: {0}")]
    Stopped(String),
}

struct Proposal {
    entries: Vec<Entry>,
    replies: oneshot::Sender<Result<Vec<Reply>, ProposeError>>,
}

/// Proposes entries; cheap to clone.
#[derive(Clone)]
pub struct Proposer {
    queue: mpsc::Sender<Proposal>,
    commands: Arc<AtomicU64>,
}

impl Proposer {
    /// Proposes entries that are applied one after another, and waits for the replies.
    pub async fn propose_all(&self, entries: Vec<Entry>) -> Result<Vec<Reply>, ProposeError> {
        let (replies, answer) = oneshot::channel();
        let stopped = || ProposeError::Stopped("it is shutting down".to_owned());
        self.queue.send(Proposal { entries, replies }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Proposes one entry and waits until it is applied.
    pub async fn propose(&self, entry: Entry) -> Result<Reply, ProposeError> {
        let reply = self.propose_all(vec![entry]).await?.pop();
        reply.ok_or_else(|| ProposeError::Stopped("an entry was not answered".to_owned()))
    }

    /// Commands committed through this node since it started.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }
}

/// The other end of a [`Proposer`].
pub(super) struct Batcher {
    pub raft: Raft<TypeConfig>,
    pub log: LogStore,
    pub clock: Arc<Clock>,
    pub absorb: Box<dyn Fn(Effects) + Send + Sync>,
    pub snapshot_after: u64,
    pub fatal: watch::Sender<Option<String>>,
    queue: mpsc::Receiver<Proposal>,
    commands: Arc<AtomicU64>,
}

impl Batcher {
    pub(super) fn new(
        raft: Raft<TypeConfig>,
        log: LogStore,
        clock: Arc<Clock>,
        absorb: Box<dyn Fn(Effects) + Send + Sync>,
        snapshot_after: u64,
        fatal: watch::Sender<Option<String>>,
    ) -> (Self, Proposer) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let commands = Arc::new(AtomicU64::new(0));
        let proposer = Proposer { queue: sender, commands: Arc::clone(&commands) };
        (Self { raft, log, clock, absorb, snapshot_after, fatal, queue, commands }, proposer)
    }

    /// Runs until every proposer is gone.
    pub(super) async fn run(mut self) {
        let mut crowd = 0;
        while let Some(first) = self.queue.recv().await {
            // Several askers were answered together: let all of them come back before the next command leaves.
            if crowd > 1 {
                tokio::task::yield_now().await;
            }
            let batch = self.gather(first);
            crowd = batch.len();
            self.write(batch).await;
            self.snapshot_if_due().await;
        }
    }

    fn gather(&mut self, first: Proposal) -> Vec<Proposal> {
        let weigh = |proposal: &Proposal| -> (usize, usize) {
            let keys = |entry: &Entry| match entry {
                Entry::Register { keys, .. } => keys.len(),
                Entry::RegisterShared { keys, shared, .. } => keys.len() + shared.len(),
                _ => 0,
            };
            (proposal.entries.len(), proposal.entries.iter().map(keys).sum())
        };
        let (mut entries, mut keys) = weigh(&first);
        let mut batch = vec![first];
        while entries < BATCH && keys < BATCH_KEYS {
            let Ok(next) = self.queue.try_recv() else { break };
            let (more, more_keys) = weigh(&next);
            (entries, keys) = (entries + more, keys + more_keys);
            batch.push(next);
        }
        batch
    }

    async fn write(&mut self, batch: Vec<Proposal>) {
        let mut entries = Vec::new();
        let mut askers = Vec::new();
        for mut proposal in batch {
            askers.push((proposal.entries.len(), proposal.replies));
            entries.append(&mut proposal.entries);
        }
        let command = Command { at: self.clock.now(), entries };
        match self.raft.client_write(command).await {
            Ok(response) => {
                self.commands.fetch_add(1, Ordering::Relaxed);
                let (replies, effects): (Vec<_>, Vec<_>) = response.data.0.into_iter().unzip();
                let all = effects.into_iter().fold(Effects::default(), |mut all, later| {
                    all.merge(later);
                    all
                });
                if !all.is_empty() {
                    (self.absorb)(all);
                }
                let mut replies = replies.into_iter();
                for (count, asker) in askers {
                    let _ = asker.send(Ok(replies.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                let error = self.understand(error);
                for (_, asker) in askers {
                    let _ = asker.send(Err(error.clone()));
                }
            }
        }
    }

    fn understand(&self, error: RaftError<u64, ClientWriteError<u64, openraft::BasicNode>>) -> ProposeError {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
                ProposeError::NotLeader(to.leader_node.map(|node| node.addr).unwrap_or_default())
            }
            RaftError::APIError(error) => ProposeError::Stopped(error.to_string()),
            RaftError::Fatal(error) => {
                let why = error.to_string();
                self.fatal.send_replace(Some(why.clone()));
                ProposeError::Stopped(why)
            }
        }
    }

    async fn snapshot_if_due(&self) {
        if self.log.written.load(Ordering::Relaxed) >= self.snapshot_after {
            self.log.written.store(0, Ordering::Relaxed);
            if let Err(error) = self.raft.trigger().snapshot().await {
                tracing::error!("no snapshot: {error}");
            }
        }
    }
}
