//! kill -9 of the proxy and of the coordinator at every step of a global transaction, and of the databases at any.
//!
//! Afterwards, whatever the clients were told: each transaction is in both databases or in neither, as the coordinator
//! says; what was answered holds; no lock and no undo row is left; the money is all there. The tests take turns with
//! one bank, since each kills its servers.

mod bank;
mod databases;
mod failpoints;
mod random;
mod resolved;
