//! Lists that are appended to and read, by global transactions over both databases and by local ones, some of which are
//! rolled back, all at the same time; and the history of it.

use crate::link::{Pair, Refused};
use crate::settled::{Told, outcome};
use crate::stage::{Room, Stage};
use atone_tests::history::{History, Key, Op, Outcome, Reading, Transaction, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How much, and in how narrow a place.
#[derive(Clone, Copy)]
pub struct Shape {
    pub clients: u64,
    /// Transactions of each client.
    pub each: u32,
    /// Lists in each database. The first is taken a quarter of the time.
    pub lists: u32,
    /// So many of a hundred are rolled back though nothing was refused.
    pub rollbacks: u32,
    /// Milliseconds between local transactions of a global one, at most.
    pub pause: u64,
}

/// One thing to do with a list.
enum Step {
    /// Append blindly.
    Append,
    /// Read under a lock, then write all of it anew with one more.
    Rewrite,
    /// Read under a lock, which others may share.
    Read { share: bool },
    /// Read without.
    Look,
    /// Append, and take it back to a savepoint. In a block only.
    TakeBack,
}

/// A client and what it has done.
struct Client {
    pair: Pair,
    room: Room,
    shape: Shape,
    random: StdRng,
    /// The next value to append, of all clients.
    values: Arc<AtomicU64>,
    ops: Vec<Op>,
    /// What was taken back to savepoints, each as a transaction of its own.
    taken_back: Vec<Transaction>,
    refusals: u32,
}

/// A transaction of which it is not known yet what became of it, if it is a global one.
struct Done {
    transaction: Transaction,
    global: Option<Told>,
}

/// Runs all of it, in a room of its own.
pub async fn run(stage: &Stage, name: &str, shape: Shape, seed: u64) -> History {
    let rows: Vec<String> = (0..shape.lists).map(|id| format!("({id}, '')")).collect();
    let tables = format!(
        "CREATE TABLE list (id INT PRIMARY KEY, v TEXT NOT NULL); INSERT INTO list VALUES {}",
        rows.join(", ")
    );
    let room = stage.room(name, &tables).await.expect("a room");
    let values = Arc::new(AtomicU64::new(1));
    let clients: Vec<_> = (0..shape.clients)
        .map(|number| tokio::spawn(client(number, room.clone(), shape, seed, Arc::clone(&values))))
        .collect();
    let (mut done, mut refusals) = (Vec::new(), 0);
    for client in clients {
        let (transactions, refused) = client.await.expect("the client does not panic");
        done.extend(transactions);
        refusals += refused;
    }
    let mut history = History::default();
    for Done { mut transaction, global } in done {
        if let Some(told) = global {
            transaction.outcome = outcome(stage, &told).await;
        }
        history.transactions.push(transaction);
    }
    let mut direct = Pair::direct(&room).await;
    for (side, link) in direct.links.iter_mut().enumerate() {
        for row in link.ask("SELECT id, v FROM list").await.expect("the lists") {
            let id = row[0].parse().expect("a number");
            history.end.insert(Key(room.name(side, id)), parse(&row[1]));
        }
    }
    println!("{name}: {refusals} transactions were refused something; {}", Tally::of(&history));
    history
}

async fn client(
    number: u64,
    room: Room,
    shape: Shape,
    seed: u64,
    values: Arc<AtomicU64>,
) -> (Vec<Done>, u32) {
    let pair = Pair::through(&room).await;
    let random = StdRng::seed_from_u64(seed ^ ((number + 1) << 32));
    let mut client =
        Client { pair, room, shape, random, values, ops: Vec::new(), taken_back: Vec::new(), refusals: 0 };
    let mut done = Vec::new();
    for turn in 0..shape.each {
        let name = format!("local-{number}-{turn}");
        done.push(match client.random.random_range(0..10) {
            0..6 => client.global().await,
            6..8 => client.local_block(name).await,
            _ => client.local_statement(name).await,
        });
    }
    done.extend(client.taken_back.into_iter().map(|transaction| Done { transaction, global: None }));
    (done, client.refusals)
}

impl Client {
    /// Two or three local transactions on either side.
    async fn global(&mut self) -> Done {
        let first = self.random.random_range(0..2);
        let xid = self.pair.begin(first).await;
        let branches = self.random.random_range(2..=3);
        let mut fine = true;
        for _ in 0..branches {
            let side = self.random.random_range(0..2);
            let branch = match self.random.random_bool(0.5) {
                true => self.block(side, true).await,
                false => self.step(side, false).await,
            };
            fine &= branch.is_ok();
            if !fine {
                break;
            }
            tokio::time::sleep(Duration::from_millis(self.random.random_range(0..self.shape.pause))).await;
        }
        let commits = fine && self.commits();
        let told = self.pair.end(self.random.random_range(0..2), commits).await;
        self.refusals += u32::from(!fine);
        let transaction = self.transaction(format!("global-{xid}"), Outcome::Unknown);
        Done { transaction, global: Some(Told { xid, told }) }
    }

    async fn local_block(&mut self, name: String) -> Done {
        let (side, commits) = (self.random.random_range(0..2), self.commits());
        let ended = self.block(side, commits).await;
        self.refusals += u32::from(ended.is_err());
        let outcome = if ended.is_ok() && commits { Outcome::Committed } else { Outcome::RolledBack };
        Done { transaction: self.transaction(name, outcome), global: None }
    }

    /// One that commits by itself.
    async fn local_statement(&mut self, name: String) -> Done {
        let (side, id, share) = (self.random.random_range(0..2), self.list(), self.random.random_bool(0.5));
        let ended = match self.random.random_bool(0.6) {
            true => self.append(side, id).await,
            false => self.read(side, id, share).await.map(drop),
        };
        self.refusals += u32::from(ended.is_err());
        let outcome = if ended.is_ok() { Outcome::Committed } else { Outcome::RolledBack };
        Done { transaction: self.transaction(name, outcome), global: None }
    }

    fn transaction(&mut self, name: String, outcome: Outcome) -> Transaction {
        Transaction { name, ops: std::mem::take(&mut self.ops), outcome }
    }

    /// A local transaction of several statements.
    async fn block(&mut self, side: usize, commits: bool) -> Result<(), Refused> {
        self.pair.links[side].ask("BEGIN").await?;
        let mut ended = Ok(());
        for _ in 0..self.random.random_range(1..=2) {
            ended = self.step(side, true).await;
            if ended.is_err() {
                break;
            }
        }
        let end = if ended.is_ok() && commits { "COMMIT" } else { "ROLLBACK" };
        let told = self.pair.links[side].ask(end).await.map(drop);
        if told.is_err() {
            self.pair.links[side].ask("ROLLBACK").await?;
        }
        ended.and(told)
    }

    fn list(&mut self) -> u32 {
        match self.random.random_bool(0.25) {
            true => 0,
            false => self.random.random_range(0..self.shape.lists),
        }
    }

    fn commits(&mut self) -> bool {
        self.random.random_range(0..100) >= self.shape.rollbacks
    }

    async fn step(&mut self, side: usize, in_block: bool) -> Result<(), Refused> {
        let id = self.list();
        let step = match self.random.random_range(0..20) {
            0..9 => Step::Append,
            9..13 => Step::Rewrite,
            13..17 => Step::Read { share: self.random.random_bool(0.5) },
            17..19 if in_block => Step::TakeBack,
            _ => Step::Look,
        };
        match step {
            Step::Append => self.append(side, id).await,
            Step::Rewrite => self.rewrite(side, id).await,
            Step::Read { share } => self.read(side, id, share).await.map(drop),
            Step::Look => self.look(side, id).await,
            Step::TakeBack => self.take_back(side, id).await,
        }
    }

    async fn append(&mut self, side: usize, id: u32) -> Result<(), Refused> {
        let (value, prepared) = (self.values.fetch_add(1, Relaxed), self.random.random_bool(0.3));
        let link = &mut self.pair.links[side];
        let sql = format!("UPDATE list SET v = {} WHERE id = {id}", link.behind("v", &format!("{value},")));
        link.run(&sql, prepared).await?;
        self.ops.push(Op::Append(Key(self.room.name(side, id)), value));
        Ok(())
    }

    async fn take_back(&mut self, side: usize, id: u32) -> Result<(), Refused> {
        self.pair.links[side].ask("SAVEPOINT before_it").await?;
        self.append(side, id).await?;
        let ops = self.ops.split_off(self.ops.len() - 1);
        let values = ops
            .iter()
            .filter_map(|op| if let Op::Append(_, value) = op { Some(value.to_string()) } else { None });
        let name = format!("taken-back-{}", values.collect::<String>());
        self.taken_back.push(Transaction { name, ops, outcome: Outcome::RolledBack });
        self.pair.links[side].ask("ROLLBACK TO SAVEPOINT before_it").await.map(drop)
    }

    /// Outside a block, and inside a global transaction, these are two local transactions: its locks last.
    async fn rewrite(&mut self, side: usize, id: u32) -> Result<(), Refused> {
        let text = self.read(side, id, false).await?;
        let value = self.values.fetch_add(1, Relaxed);
        let sql = format!("UPDATE list SET v = '{text}{value},' WHERE id = {id}");
        self.pair.links[side].run(&sql, false).await?;
        self.ops.push(Op::Append(Key(self.room.name(side, id)), value));
        Ok(())
    }

    async fn read(&mut self, side: usize, id: u32, share: bool) -> Result<String, Refused> {
        let lock = if share { "SHARE" } else { "UPDATE" };
        let lock = match self.room.kinds[side] {
            atone_tests::servers::Kind::Maria if share => "LOCK IN SHARE MODE".to_owned(),
            _ => format!("FOR {lock}"),
        };
        self.select(side, id, &lock, Reading::Locking).await
    }

    async fn look(&mut self, side: usize, id: u32) -> Result<(), Refused> {
        self.select(side, id, "", Reading::Plain).await.map(drop)
    }

    async fn select(
        &mut self,
        side: usize,
        id: u32,
        lock: &str,
        reading: Reading,
    ) -> Result<String, Refused> {
        let rows = self.pair.links[side].ask(&format!("SELECT v FROM list WHERE id = {id} {lock}")).await?;
        let text = rows[0][0].clone();
        self.ops.push(Op::Read(reading, Key(self.room.name(side, id)), parse(&text)));
        Ok(text)
    }
}

fn parse(text: &str) -> Vec<Value> {
    text.split_terminator(',').map(|value| value.parse().expect("a number")).collect()
}

/// What a history is about; without enough of each it would say nothing.
pub struct Tally {
    pub committed: usize,
    pub rolled_back: usize,
    pub local: usize,
    pub appends: usize,
    pub locking_reads: usize,
}

impl Tally {
    pub fn of(history: &History) -> Self {
        let ended = |global: bool, outcome| {
            let all = history.transactions.iter().filter(|t| t.outcome == outcome && !t.ops.is_empty());
            all.filter(|t| t.name.starts_with("global-") == global).count()
        };
        let committed = history.transactions.iter().filter(|t| t.outcome == Outcome::Committed);
        let ops: Vec<&Op> = committed.flat_map(|t| &t.ops).collect();
        let reads = |op: &&&Op| matches!(op, Op::Read(Reading::Locking, _, list) if !list.is_empty());
        Self {
            committed: ended(true, Outcome::Committed),
            rolled_back: ended(true, Outcome::RolledBack),
            local: ended(false, Outcome::Committed),
            appends: ops.iter().filter(|op| matches!(op, Op::Append(..))).count(),
            locking_reads: ops.iter().filter(reads).count(),
        }
    }

    /// At least these parts of all transactions.
    pub fn must_mean_something(&self, shape: Shape) {
        let all = shape.clients as usize * shape.each as usize;
        for (what, count, least) in [
            ("global transactions committed", self.committed, all / 20),
            ("global transactions were rolled back", self.rolled_back, all / 40),
            ("local transactions committed", self.local, all / 20),
            ("values were appended", self.appends, all / 8),
            ("locking reads saw values", self.locking_reads, all / 16),
        ] {
            assert!(count >= least, "only {count} {what}, of {all} transactions: this says too little");
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { committed, rolled_back, local, appends, locking_reads } = self;
        write!(
            f,
            "{committed} global ones committed, {rolled_back} were rolled back, {local} local ones committed, \
             with {appends} appends and {locking_reads} locking reads"
        )
    }
}
