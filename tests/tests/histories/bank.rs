//! Accounts in both databases, transfers within and between them, and audits, which read all of them under locks.

use crate::link::{Pair, Rows, Stopped};
use crate::settled::{Told, outcome};
use crate::stage::{Room, Stage};
use atone_tests::history::Outcome;
use atone_tests::history::bank::{Balances, Bank, Transfer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Accounts in each database.
const ACCOUNTS: u32 = 8;
const BALANCE: i64 = 1000;
/// An audit needs all locks at once, and is tried so often.
const TRIES: u32 = 6;

/// What a client did.
#[derive(Default)]
struct Work {
    transfers: Vec<(Transfer, Option<Told>)>,
    audits: Vec<(String, Balances)>,
}

struct Client {
    pair: Pair,
    room: Room,
    random: StdRng,
    /// The transfer under way.
    moves: Vec<(String, i64)>,
}

/// Runs all of it, in a room of its own.
pub async fn run(stage: &Stage, name: &str, clients: u64, each: u32, seed: u64) -> Bank {
    let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    let tables = format!(
        "CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL); INSERT INTO account VALUES {}",
        rows.join(", ")
    );
    let room = stage.room(name, &tables, false).await.expect("a room");
    let mut direct = Pair::direct(&room).await;
    let mut bank = Bank { opening: all(&mut direct, &room).await, ..Bank::default() };
    let clients: Vec<_> =
        (0..clients).map(|number| tokio::spawn(client(number, room.clone(), each, seed))).collect();
    for client in clients {
        let work = client.await.expect("the client does not panic");
        bank.audits.extend(work.audits);
        for (mut transfer, global) in work.transfers {
            if let Some(told) = global {
                transfer.outcome = outcome(stage, &told).await;
            }
            bank.transfers.push(transfer);
        }
    }
    bank.closing = all(&mut direct, &room).await;
    bank
}

async fn all(pair: &mut Pair, room: &Room) -> Balances {
    let mut balances = Balances::new();
    for (side, link) in pair.links.iter_mut().enumerate() {
        let rows = link.ask("SELECT id, balance FROM account").await.expect("the accounts");
        balances.extend(named(room, side, &rows));
    }
    balances
}

fn named(room: &Room, side: usize, rows: &Rows) -> Vec<(String, i64)> {
    let number = |text: &String| text.parse::<i64>().expect("a number");
    rows.iter().map(|row| (room.name(side, row[0].parse().expect("a number")), number(&row[1]))).collect()
}

async fn client(number: u64, room: Room, each: u32, seed: u64) -> Work {
    let pair = Pair::through(&room, number).await;
    let random = StdRng::seed_from_u64(seed ^ ((number + 1) << 32));
    let mut client = Client { pair, room, random, moves: Vec::new() };
    let mut work = Work::default();
    for turn in 0..each {
        match client.random.random_range(0..10) {
            0..6 => work.transfers.push(client.global().await),
            6..9 => work.transfers.push(client.local(format!("local-{number}-{turn}")).await),
            _ => {
                for _ in 0..TRIES {
                    let audit = client.audit().await;
                    work.audits.extend(audit.clone());
                    if audit.is_some() {
                        break;
                    }
                }
            }
        }
    }
    work
}

impl Client {
    /// Between two accounts anywhere, in a local transaction each.
    async fn global(&mut self) -> (Transfer, Option<Told>) {
        let (side, other) = (self.random.random_range(0..2), self.random.random_range(0..2));
        let xid = self.pair.begin(side).await.expect("it begins");
        let fine = self.between(side, other).await.is_ok();
        let commits = fine && self.random.random_bool(0.82);
        let told = self.pair.end(self.random.random_range(0..2), commits).await.ok();
        let moves = std::mem::take(&mut self.moves);
        let transfer = Transfer { name: format!("global-{xid}"), moves, outcome: Outcome::Unknown };
        (transfer, Some(Told { xid, told }))
    }

    async fn between(&mut self, from: usize, to: usize) -> Result<(), Stopped> {
        let amount = self.random.random_range(1..50);
        self.add(from, -amount).await?;
        self.add(to, amount).await
    }

    /// Between two accounts of one database, in one local transaction outside global ones.
    async fn local(&mut self, name: String) -> (Transfer, Option<Told>) {
        let (side, commits) = (self.random.random_range(0..2), self.random.random_bool(0.85));
        let ended = self.transfer_locally(side, commits).await;
        let outcome = if ended.is_ok() && commits { Outcome::Committed } else { Outcome::RolledBack };
        (Transfer { name, moves: std::mem::take(&mut self.moves), outcome }, None)
    }

    async fn transfer_locally(&mut self, side: usize, commits: bool) -> Result<(), Stopped> {
        self.pair.links[side].ask("BEGIN").await?;
        let ended = self.between(side, side).await;
        let end = if ended.is_ok() && commits { "COMMIT" } else { "ROLLBACK" };
        let told = self.pair.links[side].ask(end).await.map(drop);
        if told.is_err() {
            self.pair.links[side].ask("ROLLBACK").await?;
        }
        ended.and(told)
    }

    /// Adds to some account: blindly, or by what it reads under a lock.
    async fn add(&mut self, side: usize, amount: i64) -> Result<(), Stopped> {
        let (id, prepared) = (self.random.random_range(0..ACCOUNTS), self.random.random_bool(0.3));
        let link = &mut self.pair.links[side];
        let write = match self.random.random_bool(0.5) {
            true => format!("UPDATE account SET balance = balance + {amount} WHERE id = {id}"),
            false => {
                let read = format!("SELECT id, balance FROM account WHERE id = {id} FOR UPDATE");
                let balance = named(&self.room, side, &link.ask(&read).await?)[0].1 + amount;
                format!("UPDATE account SET balance = {balance} WHERE id = {id}")
            }
        };
        link.run(&write, prepared).await?;
        self.moves.push((self.room.name(side, id), amount));
        Ok(())
    }

    /// All accounts under locks, in one global transaction.
    async fn audit(&mut self) -> Option<(String, Balances)> {
        let side = self.random.random_range(0..2);
        let xid = self.pair.begin(side).await.expect("it begins");
        let mut balances = Balances::new();
        let mut fine = true;
        for side in [side, 1 - side] {
            let lock = ["FOR UPDATE", "FOR SHARE"][self.random.random_range(0..2)];
            let lock = match self.room.kinds[side] {
                atone_tests::servers::Kind::Maria if lock == "FOR SHARE" => "LOCK IN SHARE MODE",
                _ => lock,
            };
            match self.pair.links[side].ask(&format!("SELECT id, balance FROM account {lock}")).await {
                Ok(rows) => balances.extend(named(&self.room, side, &rows)),
                Err(_) => fine = false,
            }
            if !fine {
                break;
            }
        }
        // What it read under locks is true, however it ends.
        let _ = self.pair.end(side, fine).await;
        fine.then(|| (format!("global-{xid}"), balances))
    }
}
