//! What an application sees of Atone on PostgreSQL 15 and 18, through the proxy and the coordinator as processes.
//!
//! One binary, so that all of it shares one set of servers; each test has its own schema in them.

mod battery;
mod battery_blocks;
mod battery_extended;
mod battery_local;
mod battery_pipelines;
mod battery_simple;
mod case;
mod conflict;
mod counted;
mod deadlock;
mod dirty;
mod honest;
mod isolation;
mod keys;
mod keys_of_extensions;
mod local;
mod local_tables;
mod local_writes;
mod locking_reads;
mod mixed;
mod names;
mod pipelines;
mod prepared;
mod reads;
mod references;
mod refused;
mod resolved;
mod savepoints;
mod session;
mod skip_locked;
mod startup;
mod statements;
mod together;
mod triggers;
mod types;
mod unseen;
mod unseen_names;
