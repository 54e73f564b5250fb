//! What an application sees of Atone, on MySQL 9 and on MariaDB, through the proxy and the coordinator as processes.
//!
//! One binary, so that all of it shares one set of servers; each test has its own schema in them.

mod atomic;
mod battery;
mod battery_binary;
mod battery_guard;
mod battery_inside;
mod battery_refused;
mod battery_text;
mod battery_transactions;
mod case;
mod conflict;
mod deadlock;
mod dirty;
mod finished;
mod inserted_keys;
mod isolation;
mod keys;
mod local;
mod local_tables;
mod local_writes;
mod locking_reads;
mod operator;
mod payload;
mod prepared;
mod references;
mod refused;
mod resolved;
mod savepoints;
mod secrecy;
mod session;
mod skip_locked;
mod slips;
mod statements;
mod tls;
mod transparent;
mod types;
