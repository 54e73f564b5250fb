//! Histories of transactions, and what may not be in them: a pure checker, which knows no server.
//!
//! `model` is what was done and what came of it, `text` how a history is written down, `order` in which order each key's
//! versions came to be, `graph` who depends on whom, `cycles` finds circles, `anomaly` says what is wrong in words, `bank`
//! counts money. Each value is appended once, and a list tells by itself in which order its values came, so that the order
//! of versions is read and not guessed.
//!
//! Names and definitions of the anomalies: A. Adya, *Weak Consistency: A Generalized Theory and Optimistic
//! Implementations for Distributed Transactions*, MIT 1999 (G0, G1a, G1b, G1c, G-single, G2). How they are inferred from
//! lists: K. Kingsbury and P. Alvaro, *Elle: Inferring Isolation Anomalies from Experimental Observations*, VLDB 2020
//! (dirty update, lost update, incompatible order, internal).
//!
//! What is promised, and so checked: writes, and reads that lock, are serializable with one another, inside global
//! transactions and outside. A plain read may see what a global transaction has committed locally and not decided yet
//! (read uncommitted); of it only what it could not have seen at all is reported.

mod anomaly;
pub mod bank;
mod cycles;
mod graph;
mod model;
mod order;
#[cfg(test)]
mod tests;
mod text;

pub use anomaly::{Anomaly, Kind, check};
pub use model::{History, Key, Op, Outcome, Reading, Transaction, Value};
