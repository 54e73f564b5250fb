//! A bank over both databases: each transfer takes money in one and gives it in the other, and both keep a journal.

use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::SERVICE;
use atone_tests::servers::{Durability, Kind};
use atone_tests::world::World;
use atone_tests::{Result, sql, wait};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::collections::BTreeSet;
use tokio::sync::{Mutex, MutexGuard};

const SCHEMA: &str = "shop_bank";

/// Accounts per database, and what each holds at first.
pub const ACCOUNTS: u64 = 4;
const BALANCE: i64 = 1000;

/// How the client means to end a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Commit,
    Rollback,
    /// The client goes away without a word.
    Vanish,
}

/// What became of a transfer as far as its client knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    pub xid: String,
    /// `committed`, `rolled_back`, or nothing certain.
    pub told: Option<String>,
}

/// Where the proxy listens.
#[derive(Clone, Copy)]
pub struct Ports {
    orders: u16,
    accounts: u16,
}

/// The servers and what was tried on them.
pub struct Bank {
    pub world: World,
    pub attempts: Vec<Attempt>,
}

/// A bank of one's own for a while, empty of trouble: every test leaves it settled. There are two, as the tests mostly
/// wait; more would want memory.
pub async fn bank() -> MutexGuard<'static, Option<Bank>> {
    static BANKS: [Mutex<Option<Bank>>; 2] = [Mutex::const_new(None), Mutex::const_new(None)];
    let mut guard = loop {
        match BANKS.iter().find_map(|bank| bank.try_lock().ok()) {
            Some(guard) => break guard,
            None => tokio::time::sleep(wait::STEP).await,
        }
    };
    // A test that failed leaves servers in an unknown state: the next one gets new ones.
    let fresh = match guard.take() {
        Some(bank) if bank.attempts.is_empty() => bank,
        _ => Bank::open().await.expect("the servers start"),
    };
    *guard = Some(fresh);
    guard
}

impl Bank {
    async fn open() -> Result<Self> {
        let world = World::start(Profile::Debug, Durability::Full)?;
        let bank = Self { world, attempts: Vec::new() };
        for kind in Kind::ALL {
            let mut conn = bank.service(kind).await?;
            for statement in [
                format!("CREATE DATABASE {SCHEMA}"),
                format!("CREATE TABLE {SCHEMA}.account (id INT PRIMARY KEY, balance BIGINT NOT NULL)"),
                format!("CREATE TABLE {SCHEMA}.journal (xid CHAR(26) PRIMARY KEY, note VARCHAR(50))"),
            ] {
                conn.query_drop(statement).await?;
            }
            for id in 0..ACCOUNTS {
                conn.query_drop(format!("INSERT INTO {SCHEMA}.account VALUES ({id}, {BALANCE})")).await?;
            }
        }
        Ok(bank)
    }

    pub fn ports(&self) -> Ports {
        Ports { orders: self.world.proxy.port(Kind::MySql), accounts: self.world.proxy.port(Kind::Maria) }
    }

    async fn service(&self, kind: Kind) -> Result<Conn> {
        sql::connect(self.world.database(kind).port(), SERVICE, None).await
    }

    /// Waits until nothing is under way any more, then checks all that must hold, and forgets the attempts.
    pub async fn settle(&mut self, place: &str) {
        let api = self.world.api();
        wait::until(&format!("{place}: no lock is left"), async || {
            let locks = api.locks("limit=1000").map_err(|error| error.to_string())?;
            if locks.is_empty() { Ok(()) } else { Err(format!("{locks:?}")) }
        })
        .await;
        for attempt in &self.attempts {
            wait::until(&format!("{place}: {attempt:?} is finished"), async || self.outcome(attempt)).await;
        }
        for kind in Kind::ALL {
            let mut conn = self.service(kind).await.unwrap();
            wait::until(&format!("{place}: no undo row is left in {kind:?}"), async || {
                let rows: Vec<mysql_async::Row> = conn
                    .query("SELECT xid, branch_id, status FROM atone.undo_log")
                    .await
                    .map_err(|e| e.to_string())?;
                if rows.is_empty() { Ok(()) } else { Err(format!("{rows:?}")) }
            })
            .await;
        }
        self.check(place).await;
        self.attempts.clear();
    }

    /// Whether a transfer committed by the coordinator's word; an error while that is open. A transaction that never
    /// registered a branch may be unknown.
    fn outcome(&self, attempt: &Attempt) -> std::result::Result<bool, String> {
        let (code, body) = self.world.api().transaction(&attempt.xid).map_err(|error| error.to_string())?;
        match (code, body["status"].as_str()) {
            (404, _) | (200, Some("rolled_back")) => Ok(false),
            (200, Some("committed")) => Ok(true),
            _ => Err(format!("{code} {body}")),
        }
    }

    async fn check(&self, place: &str) {
        let mut total = 0;
        let mut journals = Vec::new();
        for kind in Kind::ALL {
            let mut conn = self.service(kind).await.unwrap();
            let sum: Option<i64> =
                conn.query_first(format!("SELECT SUM(balance) FROM {SCHEMA}.account")).await.unwrap();
            total += sum.unwrap();
            let xids: Vec<String> = conn.query(format!("SELECT xid FROM {SCHEMA}.journal")).await.unwrap();
            journals.push(xids.into_iter().collect::<BTreeSet<_>>());
        }
        for attempt in &self.attempts {
            let committed = self.outcome(attempt).unwrap();
            let present = [journals[0].contains(&attempt.xid), journals[1].contains(&attempt.xid)];
            assert_eq!(
                present, [committed; 2],
                "{place}: {attempt:?} in MySQL, MariaDB against the coordinator's word"
            );
            if let Some(told) = &attempt.told {
                let truth = if committed { "committed" } else { "rolled_back" };
                assert_eq!(told, truth, "{place}: {attempt:?} was told otherwise");
            }
        }
        assert_eq!(journals[0], journals[1], "{place}: both journals name the same transfers");
        assert_eq!(total, 2 * i64::try_from(ACCOUNTS).unwrap() * BALANCE, "{place}: the money");
    }
}

/// One transfer of a client that gives up at the first error. `None`: it did not even begin.
pub async fn transfer(ports: Ports, account: u64, end: End) -> Option<Attempt> {
    let mut orders = connect(ports.orders).await.ok()?;
    let xid = sql::one(&mut orders, "SELECT atone_begin('transfer', 3000)").await.ok()??;
    let told = go_on(&mut orders, ports, &xid, account, end).await.ok().flatten();
    let told = told.filter(|told| told == "committed" || told == "rolled_back");
    Some(Attempt { xid, told })
}

async fn connect(port: u16) -> Result<Conn> {
    let attempt = sql::connect_app(port, SCHEMA);
    match tokio::time::timeout(wait::PATIENCE, attempt).await {
        Ok(result) => result,
        Err(_) => panic!("a connection to port {port} neither opens nor fails"),
    }
}

async fn go_on(orders: &mut Conn, ports: Ports, xid: &str, account: u64, end: End) -> Result<Option<String>> {
    let steps = async {
        let mut accounts = connect(ports.accounts).await?;
        sql::join(&mut accounts, xid).await?;
        orders.query_drop("BEGIN").await?;
        orders.query_drop(format!("UPDATE account SET balance = balance - 7 WHERE id = {account}")).await?;
        orders.query_drop(format!("INSERT INTO journal VALUES ('{xid}', 'out')")).await?;
        orders.query_drop("COMMIT").await?;
        accounts.exec_drop("START TRANSACTION", ()).await?;
        accounts.exec_drop("INSERT INTO journal VALUES (?, 'in')", (xid,)).await?;
        accounts.exec_drop("UPDATE account SET balance = balance + ? WHERE id = ?", (7, account)).await?;
        accounts.exec_drop("COMMIT", ()).await?;
        match end {
            End::Commit => sql::commit(orders).await.map(Some),
            End::Rollback => sql::rollback(&mut accounts).await.map(Some),
            End::Vanish => Ok(None),
        }
    };
    match tokio::time::timeout(wait::PATIENCE, steps).await {
        Ok(told) => told,
        Err(_) => panic!("{xid}: a step neither works nor fails"),
    }
}
