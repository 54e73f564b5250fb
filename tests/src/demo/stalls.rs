//! The demo's servers: three databases of three makes, a coordinator, and a proxy before the databases.

use crate::api::Api;
use crate::servers::binaries::{Profile, binaries};
use crate::servers::{Coordinator, Database, Durability, Kind, Proxy};
use crate::{Result, install};

/// Who keeps the orders, the accounts and the stock.
pub(super) const ORDERS: Kind = Kind::MySql;
pub(super) const ACCOUNTS: Kind = Kind::Maria;
pub(super) const LEDGER: Kind = Kind::Pg15;

/// All the servers.
pub(super) struct Stalls {
    pub orders: Database,
    pub accounts: Database,
    pub ledger: Database,
    pub coordinator: Coordinator,
    pub proxy: Proxy,
}

impl Stalls {
    /// Starts the coordinator and the proxy before the databases.
    pub fn before([orders, accounts, ledger]: [Database; 3]) -> Result<Self> {
        install::step("compiling atone-tc, atone-proxy and atone, if they have changed");
        binaries(Profile::Debug)?;
        let coordinator = Coordinator::start(Profile::Debug)?;
        let databases = [&orders, &accounts, &ledger];
        let proxy = Proxy::start(Profile::Debug, Some(&coordinator.grpc()), &databases)?;
        Ok(Self { orders, accounts, ledger, coordinator, proxy })
    }

    /// The proxy's ports, before the orders, the accounts and the stock.
    pub fn ports(&self) -> [u16; 3] {
        [ORDERS, ACCOUNTS, LEDGER].map(|kind| self.proxy.port(kind))
    }

    /// The coordinator's API.
    pub fn api(&self) -> Api {
        self.coordinator.api()
    }
}

/// Starts the databases at the same time.
pub(super) fn databases() -> Result<[Database; 3]> {
    std::thread::scope(|scope| {
        let accounts = scope.spawn(|| Database::start_with(ACCOUNTS, Durability::Full));
        let ledger = scope.spawn(|| Database::start_with(LEDGER, Durability::Full));
        let orders = Database::start_with(ORDERS, Durability::Full)?;
        Ok([orders, accounts.join().expect("no panic")?, ledger.join().expect("no panic")?])
    })
}
