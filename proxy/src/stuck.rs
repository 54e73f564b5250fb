//! Statements inside global transactions that wait in their database for a row lock. The coordinator is told whom they wait
//! for, and in which global transactions those are that it asks about, so that it finds circles that no database sees; and
//! what it chooses of these is interrupted.

use crate::{
    backend::Backend,
    phase_two::PAUSE,
    yielding::{Gate, Yielded},
};
use atone_protocol::{Bound, Client, Errand, Errands, Stuck, Xid, Yield};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::JoinSet};

/// A statement that has run for so long may be waiting.
const LONG: Duration = Duration::from_millis(40);
/// While the same statements go on running, the database is asked this seldom in the end.
const SELDOM: Duration = Duration::from_millis(160);
/// What was told is told again after this, if it still holds: a coordinator that has just come to lead does not know it.
const AGAIN: Duration = Duration::from_secs(1);
/// How long an interruption may take: the end of the statement waits for it.
const LIMIT: Duration = Duration::from_secs(2);
/// Interruptions under way at once; more come again.
const AT_ONCE: usize = 16;

/// Those of one database that run now.
pub struct Statements {
    resource: String,
    coordinator: Client,
    known: Mutex<Known>,
    begun: Notify,
}

#[derive(Default)]
struct Known {
    /// By the database's number of the connection.
    running: BTreeMap<u64, Statement>,
    /// What the coordinator was told and must hear the end of.
    told: BTreeMap<u64, Told>,
    /// Sessions that are in a global transaction.
    members: BTreeMap<u64, Member>,
    members_so_far: u64,
}

struct Statement {
    xid: Xid,
    since: Instant,
    gate: Arc<Gate>,
}

struct Told {
    waiting: Waiting,
    /// When it is told again.
    due: Instant,
}

struct Member {
    xid: Xid,
    number: u64,
    /// The coordinator was told of it, and must hear when it is so no more.
    told: bool,
}

/// A connection that waits, in a transaction if we know of one, and for whom.
#[derive(Clone, PartialEq)]
struct Waiting {
    xid: Option<Xid>,
    by: Vec<u64>,
}

/// A statement that runs; it is over when this is dropped.
pub struct Running<'a> {
    all: &'a Statements,
    connection: u64,
}

/// A session that is in a global transaction, until this is dropped.
pub struct Membership {
    all: Arc<Statements>,
    connection: u64,
    number: u64,
}

impl Statements {
    /// None runs yet.
    pub fn new(resource: &str, coordinator: Client) -> Self {
        Self { resource: resource.to_owned(), coordinator, known: Mutex::default(), begun: Notify::new() }
    }

    /// A session enters a global transaction: its row locks are held for that.
    pub fn enter(self: &Arc<Self>, connection: u64, xid: Xid) -> Membership {
        let mut known = self.known();
        known.members_so_far += 1;
        let number = known.members_so_far;
        known.members.insert(connection, Member { xid, number, told: false });
        Membership { all: self.clone(), connection, number }
    }

    /// A statement begins, which may be interrupted as long as the gate is open.
    pub fn begin(&self, connection: u64, xid: Xid, gate: Arc<Gate>) -> Running<'_> {
        let mut known = self.known();
        known.running.insert(connection, Statement { xid, since: Instant::now(), gate });
        if known.running.len() == 1 {
            self.begun.notify_one();
        }
        if let Some(member) = known.members.get_mut(&connection)
            && std::mem::take(&mut member.told)
        {
            // It goes on: whoever waits for it waits for no more than this does.
            self.say_bound(connection, None);
        }
        Running { all: self, connection }
    }

    /// For ever. The database is only asked while a statement runs for long.
    pub async fn watch(self: Arc<Self>, backend: Arc<Backend>) {
        let (mut before, mut pause) = (BTreeSet::new(), Duration::ZERO);
        loop {
            if self.known().is_quiet() {
                self.begun.notified().await;
            }
            // Other proxies may ask at the same pace, and MariaDB remembers its answer as long as it is asked.
            tokio::time::sleep(LONG + pause.mul_f64(rand::random_range(1.0..1.5))).await;
            let long = self.known().long();
            if long.is_empty() {
                pause = Duration::ZERO;
                self.tell(&long, BTreeMap::new());
                continue;
            }
            match backend.row_lock_waits().await {
                Ok(waits) => self.tell(&long, reachable(&long, &waits)),
                Err(error) => {
                    tracing::debug!(resource = self.resource, %error, "cannot see who waits for whom");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            let same = long.keys().copied().collect::<BTreeSet<_>>();
            pause = if same == before { (pause * 2).clamp(LONG, SELDOM - LONG) } else { Duration::ZERO };
            before = same;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what is new, or due again. What ended while the database was asked is left out.
    fn tell(&self, long: &BTreeMap<u64, (Xid, Instant)>, mut waits: BTreeMap<u64, Waiting>) {
        let mut known = self.known();
        waits.retain(|connection, _| match long.get(connection) {
            Some(same) => known.running.get(connection).is_some_and(|s| (s.xid, s.since) == *same),
            None => true,
        });
        let ended = known.told.keys().filter(|connection| !waits.contains_key(connection));
        ended.for_each(|connection| self.say(*connection, None, Vec::new()));
        let now = Instant::now();
        let mut told = BTreeMap::new();
        for (connection, waiting) in waits {
            let before = known.told.remove(&connection);
            let known = before.filter(|before| before.waiting == waiting && before.due > now);
            told.insert(
                connection,
                known.unwrap_or_else(|| {
                    self.say(connection, waiting.xid, waiting.by.clone());
                    Told { waiting, due: now + AGAIN }
                }),
            );
        }
        known.told = told;
    }

    fn say(&self, session: u64, xid: Option<Xid>, by: Vec<u64>) {
        self.coordinator.stuck(Stuck { resource: self.resource.clone(), session, xid, by });
    }

    fn say_bound(&self, session: u64, xid: Option<Xid>) {
        self.coordinator.bound(Bound { resource: self.resource.clone(), session, xid });
    }

    /// The coordinator asks in which global transactions these are. Of one that runs a statement nothing is said: whether it
    /// waits is told already, and otherwise it may end its local transaction by itself.
    fn asked(&self, connections: &[u64]) {
        let mut known = self.known();
        for connection in connections {
            let runs = known.running.contains_key(connection);
            if let Some(member) = known.members.get_mut(connection).filter(|_| !runs) {
                member.told = true;
                self.say_bound(*connection, Some(member.xid));
            }
        }
    }

    /// A statement is to be interrupted, if it is the one that is meant and waits as the coordinator believes.
    async fn yields(&self, told: Yield, backend: &Backend) {
        let Yield { xid, chain, circle, .. } = told;
        let Some(connection) = chain.first().copied() else { return };
        let gate = match self.known().running.get(&connection) {
            Some(statement) if statement.xid == xid => statement.gate.clone(),
            _ => return,
        };
        let waits = async || match backend.row_lock_waits().await {
            Ok(waits) => chain.windows(2).all(|pair| waits.contains(&(pair[0], pair[1]))),
            Err(error) => {
                tracing::debug!(resource = self.resource, %error, "cannot see who waits for whom");
                false
            }
        };
        let shown = circle.join(" waits for ");
        let yielded = tokio::time::timeout(LIMIT, gate.yields(circle, waits)).await;
        match yielded.unwrap_or_else(|_| Yielded::Failed("its database does not answer in time".into())) {
            Yielded::Interrupted => {
                tracing::info!(resource = self.resource, %xid, connection, circle = shown, "a statement was interrupted for a deadlock");
            }
            Yielded::Over => {}
            Yielded::Goes => {
                // If it waits all the same, or for others, that is said now.
                if let Some(told) = self.known().told.get_mut(&connection) {
                    told.due = Instant::now();
                }
            }
            Yielded::Failed(why) => {
                tracing::warn!(resource = self.resource, %xid, connection, circle = shown, "a statement could not be interrupted for a deadlock: {why}");
            }
        }
    }
}

/// Does what the coordinator asks about circles, until its client ends.
pub async fn run_errands(mut errands: Errands, databases: BTreeMap<String, (Arc<Statements>, Arc<Backend>)>) {
    let mut interruptions = JoinSet::new();
    while let Some(errand) = errands.next().await {
        while interruptions.try_join_next().is_some() {}
        match errand {
            Errand::Whose { resource, sessions } => {
                if let Some((statements, _)) = databases.get(&resource) {
                    statements.asked(&sessions);
                }
            }
            Errand::Yield(told) => {
                if let Some((statements, backend)) = databases.get(&told.resource)
                    && interruptions.len() < AT_ONCE
                {
                    let (statements, backend) = (statements.clone(), backend.clone());
                    interruptions.spawn(async move { statements.yields(told, &backend).await });
                }
            }
        }
    }
}

impl Known {
    fn is_quiet(&self) -> bool {
        self.running.is_empty() && self.told.is_empty()
    }

    fn long(&self) -> BTreeMap<u64, (Xid, Instant)> {
        let long = self.running.iter().filter(|(_, statement)| statement.since.elapsed() >= LONG);
        long.map(|(connection, statement)| (*connection, (statement.xid, statement.since))).collect()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut known = self.all.known();
        known.running.remove(&self.connection);
        if known.told.remove(&self.connection).is_some() {
            self.all.say(self.connection, None, Vec::new());
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut known = self.all.known();
        let Some(member) = known.members.get(&self.connection) else { return };
        if member.number == self.number {
            if member.told {
                self.all.say_bound(self.connection, None);
            }
            known.members.remove(&self.connection);
        }
    }
}

/// Whom these wait for, whom those wait for, and so on.
fn reachable(long: &BTreeMap<u64, (Xid, Instant)>, waits: &[(u64, u64)]) -> BTreeMap<u64, Waiting> {
    let mut all: BTreeMap<u64, Waiting> = BTreeMap::new();
    let mut next: Vec<u64> = long.keys().copied().collect();
    while let Some(connection) = next.pop() {
        let by: Vec<u64> =
            waits.iter().filter(|(waiter, _)| *waiter == connection).map(|(_, by)| *by).collect();
        if by.is_empty() || all.contains_key(&connection) {
            continue;
        }
        next.extend(&by);
        let xid = long.get(&connection).map(|(xid, _)| *xid);
        all.insert(connection, Waiting { xid, by });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ours_wait_for_is_told() {
        let long = BTreeMap::from([(1, (Xid::from_u128(7), Instant::now()))]);
        let told = reachable(&long, &[(1, 2), (1, 3), (3, 4), (4, 1), (8, 9)]);
        assert_eq!(told.keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!((told[&1].xid, told[&1].by.as_slice()), (Some(Xid::from_u128(7)), &[2, 3][..]));
        assert_eq!((told[&3].xid, told[&3].by.as_slice()), (None, &[4][..]));
    }
}
