//! kill -9 of the proxy at every step of a global transaction over PostgreSQL, and of the databases at any.
//!
//! Afterwards, whatever the clients were told: each transaction is in both databases or in neither, as the coordinator
//! says; what was answered holds; no lock and no undo row is left; the money is all there.

mod bank;
mod deaths;
mod resolved;
