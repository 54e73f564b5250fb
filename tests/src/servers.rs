//! Private servers for one test process: databases, coordinator, proxy.
//!
//! Each listens on free loopback ports, keeps its files in a temporary folder, and ends with the value that stands for
//! it, or with this process, whichever is first.

pub mod atone;
pub mod binaries;
pub mod database;
mod janitor;
mod logs;
pub mod maria;
pub mod mysql;
mod ports;
pub mod postgres;
pub mod process;
pub mod scratch;
pub mod switch;

pub use atone::{Coordinator, Proxy};
pub use database::{Database, Durability, Kind};
pub use maria::Maria;
pub use mysql::MySql;
pub use postgres::Postgres;
pub use switch::Switch;
