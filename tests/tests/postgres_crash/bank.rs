//! A bank over PostgreSQL 15 and 18: each transfer takes money in one and gives it in the other, and both keep a journal.

use atone_tests::postgres::message::{self, Message};
use atone_tests::postgres::{PgWorld, Raw, sql};
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::postgres::SHOP;
use atone_tests::servers::{Durability, Kind};
use atone_tests::{Failure, Result, wait};
use std::collections::BTreeSet;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Client;

/// Accounts per database, and what each holds at first.
pub const ACCOUNTS: usize = 4;
const BALANCE: usize = 1000;

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

/// Where the proxy listens: before PostgreSQL 15 and 18.
pub type Ports = [u16; 2];

/// The servers and what was tried on them.
pub struct Bank {
    pub world: PgWorld,
    pub attempts: Vec<Attempt>,
}

/// The bank, empty of trouble: every test leaves it settled, and they take turns.
pub async fn bank() -> MutexGuard<'static, Option<Bank>> {
    static BANK: Mutex<Option<Bank>> = Mutex::const_new(None);
    let mut guard = BANK.lock().await;
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
        let world = PgWorld::start(Profile::Debug, Durability::Full)?;
        let bank = Self { world, attempts: Vec::new() };
        for kind in Kind::POSTGRES {
            let service = bank.service(kind).await?;
            service
                .batch_execute(&format!(
                    "CREATE SCHEMA bank AUTHORIZATION app; SET ROLE app; SET search_path = bank;
                     CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);
                     INSERT INTO account SELECT g, {BALANCE} FROM generate_series(0, {ACCOUNTS} - 1) g;
                     CREATE TABLE journal (id bigserial PRIMARY KEY, xid text UNIQUE, note text)"
                ))
                .await?;
        }
        Ok(bank)
    }

    pub fn ports(&self) -> Ports {
        Kind::POSTGRES.map(|kind| self.world.proxy.port(kind))
    }

    async fn service(&self, kind: Kind) -> Result<Client> {
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
        for kind in Kind::POSTGRES {
            let client = self.service(kind).await.unwrap();
            wait::until(&format!("{place}: no undo row is left in {kind:?}"), async || {
                match sql::one(&client, "SELECT count(*) FROM atone.undo_log").await {
                    Ok(Some(count)) if count == "0" => Ok(()),
                    other => Err(format!("{other:?}")),
                }
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
        for kind in Kind::POSTGRES {
            let client = self.service(kind).await.unwrap();
            let sum = sql::one(&client, "SELECT sum(balance) FROM bank.account").await.unwrap().unwrap();
            total += sum.parse::<usize>().unwrap();
            let rows = client.query("SELECT xid FROM bank.journal", &[]).await.unwrap();
            journals.push(rows.iter().map(|row| row.get(0)).collect::<BTreeSet<String>>());
        }
        for attempt in &self.attempts {
            let committed = self.outcome(attempt).unwrap();
            let present = [journals[0].contains(&attempt.xid), journals[1].contains(&attempt.xid)];
            assert_eq!(
                present, [committed; 2],
                "{place}: {attempt:?} in 15, 18 against the coordinator's word"
            );
            if let Some(told) = &attempt.told {
                let truth = if committed { "committed" } else { "rolled_back" };
                assert_eq!(told, truth, "{place}: {attempt:?} was told otherwise");
            }
        }
        assert_eq!(journals[0], journals[1], "{place}: both journals name the same transfers");
        assert_eq!(total, 2 * ACCOUNTS * BALANCE, "{place}: the money");
    }
}

/// One transfer of a client that gives up at the first error. `None`: it did not even begin.
pub async fn transfer(ports: Ports, account: usize, end: End) -> Option<Attempt> {
    let mut ledger = connect(ports[0]).await.ok()?;
    let xid = ledger.one("SELECT atone_begin('transfer', 3000)").await.ok()?;
    let told = go_on(&mut ledger, ports, &xid, account, end).await.ok().flatten();
    let told = told.filter(|told| told == "committed" || told == "rolled_back");
    Some(Attempt { xid, told })
}

async fn connect(port: u16) -> Result<Raw> {
    Raw::connect(port, APP, SHOP, &[("options", "-c search_path=bank")]).await
}

/// An answer without an error.
fn well(answer: Result<Vec<Message>>) -> Result<()> {
    let answer = answer?;
    match answer.iter().find(|message| message.kind == b'E') {
        Some(error) => Err(Failure::new(error.to_string())),
        None => Ok(()),
    }
}

async fn go_on(
    ledger: &mut Raw,
    ports: Ports,
    xid: &str,
    account: usize,
    end: End,
) -> Result<Option<String>> {
    let mut archive = connect(ports[1]).await?;
    archive.one(&format!("SELECT atone_join('{xid}')")).await?;
    for statement in [
        "BEGIN",
        &format!("UPDATE account SET balance = balance - 7 WHERE id = {account}"),
        &format!("INSERT INTO journal (xid, note) VALUES ('{xid}', 'out') RETURNING id"),
        "COMMIT",
    ] {
        well(ledger.query(statement).await)?;
    }
    // The other side in one pipeline of prepared statements, committed by its Sync.
    let mut pipeline = Vec::new();
    for (text, parameters) in [
        ("INSERT INTO journal (xid, note) VALUES ($1, 'in')", vec![(0, Some(xid.as_bytes().to_vec()))]),
        (
            "UPDATE account SET balance = balance + $1 WHERE id = $2",
            vec![(0, Some(b"7".to_vec())), (0, Some(account.to_string().into_bytes()))],
        ),
    ] {
        pipeline.extend(message::parse("", text, &[]));
        pipeline.extend(message::bind("", "", &parameters, &[]));
        pipeline.extend(message::execute("", 0));
    }
    pipeline.extend(message::message(b'S', b""));
    archive.send(&pipeline).await?;
    well(archive.until(b'Z').await)?;
    match end {
        End::Commit => ledger.one("SELECT atone_commit()").await.map(Some),
        End::Rollback => archive.one("SELECT atone_rollback()").await.map(Some),
        End::Vanish => Ok(None),
    }
}
