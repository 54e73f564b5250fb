//! Statements inside global transactions that wait in their database for a row lock. The coordinator is told whom they wait
//! for, so that it finds circles of which one half is in a database and the other at the coordinator.

use crate::{backend::Backend, phase_two::PAUSE};
use atone_protocol::{Client, Stuck, Xid};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// A statement that has run for so long may be waiting.
const LONG: Duration = Duration::from_millis(40);
/// While the same statements go on running, the database is asked this seldom in the end.
const SELDOM: Duration = Duration::from_millis(160);

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
    running: BTreeMap<u64, (Xid, Instant)>,
    /// What the coordinator was told and must hear the end of.
    told: BTreeMap<u64, Waiting>,
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

impl Statements {
    /// None runs yet.
    pub fn new(resource: &str, coordinator: Client) -> Self {
        Self { resource: resource.to_owned(), coordinator, known: Mutex::default(), begun: Notify::new() }
    }

    /// A statement begins.
    pub fn begin(&self, connection: u64, xid: Xid) -> Running<'_> {
        let mut known = self.known();
        known.running.insert(connection, (xid, Instant::now()));
        if known.running.len() == 1 {
            self.begun.notify_one();
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
            tokio::time::sleep(LONG + pause).await;
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

    /// Tells what is new. What ended while the database was asked is left out.
    fn tell(&self, long: &BTreeMap<u64, (Xid, Instant)>, mut waits: BTreeMap<u64, Waiting>) {
        let mut known = self.known();
        waits.retain(|connection, _| match long.get(connection) {
            Some(same) => known.running.get(connection) == Some(same),
            None => true,
        });
        let ended = known.told.keys().filter(|connection| !waits.contains_key(connection));
        ended.for_each(|connection| self.say(*connection, None, Vec::new()));
        for (connection, waiting) in &waits {
            if known.told.get(connection) != Some(waiting) {
                self.say(*connection, waiting.xid, waiting.by.clone());
            }
        }
        known.told = waits;
    }

    fn say(&self, session: u64, xid: Option<Xid>, by: Vec<u64>) {
        self.coordinator.stuck(Stuck { resource: self.resource.clone(), session, xid, by });
    }
}

impl Known {
    fn is_quiet(&self) -> bool {
        self.running.is_empty() && self.told.is_empty()
    }

    fn long(&self) -> BTreeMap<u64, (Xid, Instant)> {
        let long = self.running.iter().filter(|(_, (_, since))| since.elapsed() >= LONG);
        long.map(|(connection, running)| (*connection, *running)).collect()
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
