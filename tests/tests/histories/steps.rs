//! What a client does with lists, statement by statement, and what it keeps of it.

use crate::link::{Pair, Stopped};
use crate::lists::Shape;
use crate::stage::Room;
use atone_tests::history::{Key, Op, Outcome, Reading, Transaction, Value};
use atone_tests::servers::Kind;
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A client at work.
pub struct Steps {
    pub pair: Pair,
    pub room: Room,
    pub shape: Shape,
    pub random: StdRng,
    /// The next value to append, of all clients.
    values: Arc<AtomicU64>,
    /// Of the transaction under way.
    pub ops: Vec<Op>,
    /// What was taken back to savepoints, each as a transaction of its own.
    pub taken_back: Vec<Transaction>,
}

/// What became of a step.
type Ended = Result<(), Stopped>;

impl Steps {
    pub fn new(pair: Pair, room: Room, shape: Shape, random: StdRng, values: Arc<AtomicU64>) -> Self {
        Self { pair, room, shape, random, values, ops: Vec::new(), taken_back: Vec::new() }
    }

    /// A local transaction of several statements; and whether its end was asked for.
    pub async fn block(&mut self, side: usize, commits: bool) -> (bool, Ended) {
        if let Err(stopped) = self.pair.links[side].ask("BEGIN").await {
            return (false, Err(stopped));
        }
        let mut ended = Ok(());
        for _ in 0..self.random.random_range(1..=2) {
            ended = match self.random.random_range(0..12) {
                0 => self.take_back(side).await,
                1 if self.searches(side) => self.append_obscurely(side, true).await,
                _ => self.global_step(side).await,
            };
            if ended.is_err() {
                break;
            }
        }
        if ended == Err(Stopped::Lost) {
            return (false, ended);
        }
        let end = if ended.is_ok() && commits { "COMMIT" } else { "ROLLBACK" };
        let mut told = self.pair.links[side].ask(end).await.map(drop);
        if told == Err(Stopped::Refused) && end == "COMMIT" {
            told = self.pair.links[side].ask("ROLLBACK").await.and(told);
        }
        (true, ended.and(told))
    }

    /// Anything that may be done inside a global transaction.
    pub async fn global_step(&mut self, side: usize) -> Ended {
        match self.random.random_range(0..20) {
            0..8 => self.append(side).await,
            8..10 => self.append_to_two(side).await,
            10..14 => self.rewrite(side).await,
            14..18 => self.read(side).await,
            18 => self.read_all(side).await,
            _ => self.look(side).await,
        }
    }

    /// A statement that is a transaction by itself.
    pub async fn local_step(&mut self, side: usize) -> Ended {
        match self.random.random_range(0..20) {
            0..9 => self.append(side).await,
            9..11 => self.append_to_two(side).await,
            11..13 => self.append_obscurely(side, false).await,
            13..17 => self.read(side).await,
            17..19 => self.look(side).await,
            _ => self.read_all(side).await,
        }
    }

    /// Does it commit, if nothing is refused?
    pub fn commits(&mut self) -> bool {
        self.random.random_range(0..100) >= self.shape.rollbacks
    }

    fn list(&mut self) -> u32 {
        match self.random.random_bool(0.25) {
            true => 0,
            false => self.random.random_range(0..self.shape.lists),
        }
    }

    fn value(&self) -> Value {
        self.values.fetch_add(1, Relaxed)
    }

    /// Runs a statement that appends to these lists. If nobody knows whether it was done it is kept as well: what became of
    /// the transaction will be unknown.
    async fn write(&mut self, side: usize, lists: &[u32], value: Value, sql: &str) -> Ended {
        let prepared = self.random.random_bool(0.3);
        let ended = self.pair.links[side].run(sql, prepared).await;
        if ended != Err(Stopped::Refused) {
            let append = |id: &u32| Op::Append(Key(self.room.name(side, *id)), value);
            self.ops.extend(lists.iter().map(append));
        }
        ended
    }

    async fn append(&mut self, side: usize) -> Ended {
        let (id, value) = (self.list(), self.value());
        let longer = self.pair.links[side].behind("v", &format!("{value},"));
        self.write(side, &[id], value, &format!("UPDATE list SET v = {longer} WHERE id = {id}")).await
    }

    /// One statement, two rows; or one, when both are the same.
    async fn append_to_two(&mut self, side: usize) -> Ended {
        let (mut lists, value) = (vec![self.list(), self.list()], self.value());
        let longer = self.pair.links[side].behind("v", &format!("{value},"));
        let sql = format!("UPDATE list SET v = {longer} WHERE id IN ({}, {})", lists[0], lists[1]);
        lists.dedup();
        self.write(side, &lists, value, &sql).await
    }

    /// Is what statements do not tell found there, inside a global transaction too? At READ COMMITTED only.
    fn searches(&self, side: usize) -> bool {
        let default = !self.pair.other_isolation;
        match self.room.kinds[side] {
            Kind::MySql | Kind::Maria => false,
            Kind::Pg15 | Kind::Pg18 => default,
        }
    }

    /// By a statement of which the proxy cannot tell the rows beforehand. (DO by itself could commit, so that PostgreSQL's is
    /// not held up outside a block.)
    async fn append_obscurely(&mut self, side: usize, in_block: bool) -> Ended {
        let (id, value) = (self.list(), self.value());
        let longer = self.pair.links[side].behind("v", &format!("{value},"));
        let update = format!("UPDATE list SET v = {longer} WHERE id = {id}");
        let sql = match self.room.kinds[side] {
            Kind::MySql | Kind::Maria => {
                format!("UPDATE list JOIN (SELECT {id} AS one) other ON list.id = other.one SET v = {longer}")
            }
            Kind::Pg15 | Kind::Pg18 if in_block => format!("DO $$BEGIN {update}; END$$"),
            Kind::Pg15 | Kind::Pg18 => {
                format!("WITH one AS ({update} RETURNING id) SELECT count(*) FROM one")
            }
        };
        self.write(side, &[id], value, &sql).await
    }

    /// Reads under a lock, and writes all of it anew with one more. Outside a block, and inside a global transaction, these
    /// are two local transactions: its locks last.
    async fn rewrite(&mut self, side: usize) -> Ended {
        let id = self.list();
        let lock = self.lock(side, false);
        let text = self.select(side, id, lock, Reading::Locking).await?;
        let value = self.value();
        self.write(side, &[id], value, &format!("UPDATE list SET v = '{text}{value},' WHERE id = {id}")).await
    }

    /// Appends, and takes it back to a savepoint.
    async fn take_back(&mut self, side: usize) -> Ended {
        self.pair.links[side].ask("SAVEPOINT before_it").await?;
        let start = self.ops.len();
        let appended = self.append(side).await;
        let ops = self.ops.split_off(start);
        if let Some(Op::Append(_, value)) = ops.first() {
            let name = format!("taken-back-{value}");
            self.taken_back.push(Transaction { name, ops, outcome: Outcome::RolledBack });
        }
        appended?;
        self.pair.links[side].ask("ROLLBACK TO SAVEPOINT before_it").await.map(drop)
    }

    async fn read(&mut self, side: usize) -> Ended {
        let (id, share) = (self.list(), self.random.random_bool(0.5));
        self.select(side, id, self.lock(side, share), Reading::Locking).await.map(drop)
    }

    async fn read_all(&mut self, side: usize) -> Ended {
        let lock = self.lock(side, true);
        for row in self.pair.links[side].ask(&format!("SELECT id, v FROM list {lock}")).await? {
            self.keep(side, row[0].parse().expect("a number"), &row[1], Reading::Locking);
        }
        Ok(())
    }

    async fn look(&mut self, side: usize) -> Ended {
        let id = self.list();
        let reading = if self.pair.strict { Reading::Checked } else { Reading::Plain };
        self.select(side, id, "", reading).await.map(drop)
    }

    fn lock(&self, side: usize, share: bool) -> &'static str {
        match (self.room.kinds[side], share) {
            (_, false) => "FOR UPDATE",
            (Kind::Maria, true) => "LOCK IN SHARE MODE",
            (Kind::MySql | Kind::Pg15 | Kind::Pg18, true) => "FOR SHARE",
        }
    }

    async fn select(
        &mut self,
        side: usize,
        id: u32,
        lock: &str,
        reading: Reading,
    ) -> Result<String, Stopped> {
        let mut rows =
            self.pair.links[side].ask(&format!("SELECT v FROM list WHERE id = {id} {lock}")).await?;
        let text = rows.swap_remove(0).swap_remove(0);
        self.keep(side, id, &text, reading);
        Ok(text)
    }

    fn keep(&mut self, side: usize, id: u32, text: &str, reading: Reading) {
        self.ops.push(Op::Read(reading, Key(self.room.name(side, id)), Shape::parse(text)));
    }
}
