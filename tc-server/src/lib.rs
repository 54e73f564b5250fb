//! Atone's coordinator: global transactions, branches and global locks behind a durable Raft log.
//!
//! `state` is the truth and is pure; `raft` makes its entries durable and ordered; `dispatch` is the leader's memory,
//! which drives decided branches to their end; `service` (gRPC) and `admin` (HTTP) let proxies and people ask. SQL and
//! row images are deliberately unknown here.

mod admin;
mod audit;
pub mod cli;
mod clock;
mod config;
mod dispatch;
mod drain;
pub mod raft;
mod server;
mod service;
pub mod state;

pub use config::{Config, ConfigError};
pub use server::{Running, StartError, start};
