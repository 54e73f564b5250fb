//! Atone's coordinator: global transactions, branches and global locks behind a durable Raft log.

pub mod dispatch;
pub mod raft;
pub mod state;
