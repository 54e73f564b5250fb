//! The durable log and its order: openraft on a segment log of our own, hidden behind [`Node`] and [`Proposer`].
//!
//! openraft 0.9 proposes one entry per fsync, so a batcher puts all that waits into one command, one at a time.
//! Clusters of several nodes are not built in this version: the network refuses clearly, and nothing else here
//! would have to change its shape. What entries mean is deliberately not known here.

mod batcher;
mod frame;
mod log_store;
mod machine;
mod network;
mod node;
mod recover;
mod segments;
mod snapshot;
mod writer;

pub use batcher::{ProposeError, Proposer};
pub use node::{Node, NodeError, Options};
#[doc(hidden)]
pub use recover::{LogError, Recovered};
#[doc(hidden)]
pub use segments::Segments;
#[doc(hidden)]
pub use snapshot::{Image, SnapshotError};

use crate::state::{Command, Effects, Reply};
use serde::{Deserialize, Serialize};
use std::io::Cursor;

/// What a command's entries were answered, in order; empty for entries of Raft's own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Applied(pub Vec<(Reply, Effects)>);

openraft::declare_raft_types!(
    /// Raft of commands.
    pub TypeConfig:
        D = Command,
        R = Applied,
);

/// One durable fact. The log is a sequence of these, votes and entries in the one order they were written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Record {
    /// The latest vote.
    Vote(openraft::Vote<u64>),
    /// An entry at the end of the log.
    Append(openraft::Entry<TypeConfig>),
    /// Entries from this index on are gone: another leader overwrote them.
    Truncate(u64),
    /// Entries up to this one are in the snapshot.
    Purged(openraft::LogId<u64>),
}
