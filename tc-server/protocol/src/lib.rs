//! The contract between proxy and coordinator: ids, lock keys, status, refusals, messages and the client.
//!
//! The proxy and the coordinator both speak these types; neither imports the other. Rows, images and SQL are
//! deliberately not here: the coordinator never sees them, but for the words a proxy tells a person who looks ([`Looked`]).

pub mod client;
pub mod convert;
pub mod failpoint;
mod ids;
mod lock_key;
mod looked;
pub mod messages;
pub mod planted;
mod status;

pub use client::{CallError, Client, ClientOptions, Errands, Tasks};
pub use ids::{BranchId, Lineage, ParseIdError, Xid};
pub use lock_key::LockKey;
pub use looked::{Looked, LookedColumn, LookedRow};
pub use messages::{
    Bound, Check, CheckRead, Errand, Register, Resource, Stuck, Task, TaskId, TaskKind, TaskOutcome,
    UndoMark, Yield,
};
pub use status::{Refusal, TxStatus};

/// The generated wire messages.
#[allow(missing_docs, clippy::all)]
pub mod wire {
    tonic::include_proto!("atone.v1");
}

/// The version of this contract; both sides refuse another one.
pub const VERSION: u32 = 7;
