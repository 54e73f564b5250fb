//! The demo's servers: the order database is MySQL, the account database PostgreSQL.

use crate::Result;
use crate::api::Api;
use crate::servers::{Coordinator, Database, Durability, Kind, Proxy};

/// What speaks MySQL's protocol, and what speaks PostgreSQL's.
pub(super) const ORDERS: Kind = Kind::MySql;
pub(super) const ACCOUNTS: Kind = Kind::Pg15;

/// All the servers.
pub(super) struct Stalls {
    pub orders: Database,
    pub accounts: Database,
    pub coordinator: Coordinator,
    pub proxy: Proxy,
}

impl Stalls {
    /// The coordinator's API.
    pub fn api(&self) -> Api {
        self.coordinator.api()
    }
}

/// Starts the two databases at the same time.
pub(super) fn databases() -> Result<(Database, Database)> {
    std::thread::scope(|scope| {
        let accounts = scope.spawn(|| Database::start_with(ACCOUNTS, Durability::Full));
        let orders = Database::start_with(ORDERS, Durability::Full)?;
        Ok((orders, accounts.join().expect("no panic")?))
    })
}
