//! The harness: real databases, real Atone processes and the clients that watch them.
//!
//! Everything here sees Atone from outside only: its binaries, its ports, its HTTP API. No product crate is linked, so
//! that a test cannot share a mistake with what it tests.
//!
//! `install` gets the database servers onto this machine, `servers` starts private ones, `world` is the usual
//! set-up of two databases, a coordinator and a proxy, `sql` and `api` are what tests talk through. `mysql` speaks
//! MySQL's protocol packet by packet, `postgres` has all of this for PostgreSQL. `demo` is what `cargo demo` shows.

pub mod api;
pub mod demo;
pub mod failure;
pub mod history;
pub mod install;
pub mod mysql;
pub mod postgres;
pub mod references;
pub mod servers;
pub mod sql;
pub mod wait;
pub mod world;

pub use failure::{Context, Failure, Result};
