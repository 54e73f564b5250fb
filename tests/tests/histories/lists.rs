//! Lists that are appended to and read, by global transactions over both databases and by local ones, some of which are
//! rolled back, all at the same time; and the history of it.

use crate::link::{Pair, Stopped};
use crate::settled::{Told, outcome};
use crate::stage::{Room, Stage};
use crate::steps::Steps;
use crate::tally::Tally;
use atone_tests::history::{History, Key, Op, Outcome, Transaction, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
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
    /// So often the proxy, the coordinator or both die.
    pub deaths: u32,
}

impl Shape {
    /// What a list's text holds.
    pub fn parse(text: &str) -> Vec<Value> {
        text.split_terminator(',').map(|value| value.parse().expect("a number")).collect()
    }
}

/// A transaction of which it is not known yet what became of it, if it is a global one.
struct Done {
    transaction: Transaction,
    global: Option<Told>,
}

/// What a client has done.
#[derive(Default)]
struct Work {
    done: Vec<Done>,
    refusals: u32,
}

/// Runs all of it, in a room of its own.
pub async fn run(stage: &mut Stage, name: &str, shape: Shape, seed: u64) -> History {
    let rows: Vec<String> = (0..shape.lists).map(|id| format!("({id}, '')")).collect();
    let tables = format!(
        "CREATE TABLE list (id INT PRIMARY KEY, v TEXT NOT NULL); INSERT INTO list VALUES {}",
        rows.join(", ")
    );
    let room = stage.room(name, &tables, shape.deaths > 0).await.expect("a room");
    let values = Arc::new(AtomicU64::new(1));
    let clients: Vec<_> = (0..shape.clients)
        .map(|number| tokio::spawn(client(number, room.clone(), shape, seed, Arc::clone(&values))))
        .collect();
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..shape.deaths {
        tokio::time::sleep(Duration::from_millis(random.random_range(300..1500))).await;
        let [proxy, coordinator] = [[true, false], [false, true], [true, true]][random.random_range(0..3)];
        tokio::task::block_in_place(|| stage.die(proxy, coordinator)).expect("they start again");
    }
    let (mut history, mut refusals) = (History::default(), 0);
    for client in clients {
        let work = client.await.expect("the client does not panic");
        refusals += work.refusals;
        for Done { mut transaction, global } in work.done {
            if let Some(told) = global {
                transaction.outcome = outcome(stage, &told).await;
            }
            history.transactions.push(transaction);
        }
    }
    let mut direct = Pair::direct(&room).await;
    for (side, link) in direct.links.iter_mut().enumerate() {
        for row in link.ask("SELECT id, v FROM list").await.expect("the lists") {
            let id = row[0].parse().expect("a number");
            history.end.insert(Key(room.name(side, id)), Shape::parse(&row[1]));
        }
    }
    println!("{name}: {refusals} transactions were refused something; {}", Tally::of(&history));
    history
}

async fn client(number: u64, room: Room, shape: Shape, seed: u64, values: Arc<AtomicU64>) -> Work {
    let random = StdRng::seed_from_u64(seed ^ ((number + 1) << 32));
    let pair = Pair::through(&room, number).await;
    let mut client = Client { steps: Steps::new(pair, room, shape, random, values), number };
    let mut work = Work::default();
    for turn in 0..shape.each {
        let name = format!("local-{number}-{turn}");
        let (done, stopped) = match client.steps.random.random_range(0..10) {
            0..6 => client.global().await,
            6..8 => client.local_block(name).await,
            _ => client.local_statement(name).await,
        };
        work.refusals += u32::from(stopped.is_some());
        work.done.extend(done);
        if stopped == Some(Stopped::Lost) {
            client.steps.pair = Pair::through(&client.steps.room, client.number).await;
        }
    }
    let taken_back = std::mem::take(&mut client.steps.taken_back).into_iter();
    work.done.extend(taken_back.map(|transaction| Done { transaction, global: None }));
    work
}

struct Client {
    steps: Steps,
    number: u64,
}

impl Client {
    /// Two or three local transactions on either side.
    async fn global(&mut self) -> (Option<Done>, Option<Stopped>) {
        let steps = &mut self.steps;
        let first = steps.random.random_range(0..2);
        let xid = match steps.pair.begin(first).await {
            Ok(xid) => xid,
            // Begun or not, nothing was done in it.
            Err(stopped) => return (None, Some(stopped)),
        };
        let mut stopped = None;
        for _ in 0..steps.random.random_range(2..=3) {
            let side = steps.random.random_range(0..2);
            stopped = match steps.random.random_bool(0.5) {
                true => steps.block(side, true).await.1.err(),
                false => steps.global_step(side).await.err(),
            };
            if stopped.is_some() {
                break;
            }
            let pause = steps.random.random_range(0..steps.shape.pause);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let commits = stopped.is_none() && steps.commits();
        let mut told = None;
        if stopped != Some(Stopped::Lost) {
            match steps.pair.end(steps.random.random_range(0..2), commits).await {
                Ok(status) => told = Some(status),
                Err(why) => stopped = Some(why),
            }
        }
        let transaction = self.transaction(format!("global-{xid}"), Outcome::Unknown);
        (Some(Done { transaction, global: Some(Told { xid, told }) }), stopped)
    }

    async fn local_block(&mut self, name: String) -> (Option<Done>, Option<Stopped>) {
        let (side, commits) = (self.steps.random.random_range(0..2), self.steps.commits());
        let (ending, ended) = self.steps.block(side, commits).await;
        let outcome = match ended {
            Ok(()) if commits => Outcome::Committed,
            Err(Stopped::Lost) if ending => Outcome::Unknown,
            Ok(()) | Err(_) => Outcome::RolledBack,
        };
        (Some(Done { transaction: self.transaction(name, outcome), global: None }), ended.err())
    }

    /// One that commits by itself.
    async fn local_statement(&mut self, name: String) -> (Option<Done>, Option<Stopped>) {
        let side = self.steps.random.random_range(0..2);
        let ended = self.steps.local_step(side).await;
        let outcome = match ended {
            Ok(()) => Outcome::Committed,
            Err(Stopped::Refused) => Outcome::RolledBack,
            Err(Stopped::Lost) => Outcome::Unknown,
        };
        (Some(Done { transaction: self.transaction(name, outcome), global: None }), ended.err())
    }

    fn transaction(&mut self, name: String, outcome: Outcome) -> Transaction {
        let ops: Vec<Op> = std::mem::take(&mut self.steps.ops);
        Transaction { name, ops, outcome }
    }
}
