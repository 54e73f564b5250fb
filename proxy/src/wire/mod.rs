//! MySQL's bytes: packets, replies, parameters. Pure: no I/O, no clock, nothing of transactions.
//!
//! Only what the proxy must understand is read; everything else is counted and passed on.

pub mod auth;
pub mod capability;
pub mod changes;
pub mod command;
pub mod greeting;
pub mod packet;
pub mod params;
pub mod postgres;
pub mod reply;
pub mod scan;

#[cfg(test)]
mod tests;
