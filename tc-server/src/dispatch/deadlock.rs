//! Circles in the wait-for graph. An edge appears only when somebody begins to wait, so that is when they are looked for.
//!
//! Who waits in the queue waits for transactions. Who waits in a database waits for connections there, of which proxies
//! tell; such a connection may belong to one who waits here, for the very transaction that waits there. Where nobody in the
//! circle waits here, a statement is interrupted in its database (`errands`).

use super::errands::Errands;
use super::proxies::SessionId;
use super::turn::{Connection, Held, Turn, Want, Who, conflict, with_circle};
use super::waiters::Waiters;
use atone_protocol::{Refusal, Stuck, Xid};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Statements that proxies may tell of at once.
const MAX_STUCK: usize = 4096;
/// Connections that one statement is said to wait for.
const MAX_BLOCKERS: usize = 64;

/// Who waits elsewhere than in the queue, and for whom.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Statements that wait in their databases.
    stuck: BTreeMap<Connection, InDatabase>,
    /// The same by their transactions.
    stuck_by: BTreeMap<Xid, BTreeSet<Connection>>,
    /// Those for which they wait, and how many do.
    awaited: BTreeMap<Connection, usize>,
    /// Local transactions that wait for a key here, holding row locks in their database.
    locals: BTreeMap<Connection, (Want, Arc<Turn>)>,
    /// The connections of those who are queued.
    queued: BTreeMap<Connection, Xid>,
    /// Those who wait to be given what they have read.
    readers: BTreeMap<Who, BTreeMap<u64, Reading>>,
    /// What proxies are asked.
    pub errands: Errands,
}

/// A reader, and whom he waits for.
#[derive(Debug)]
pub(super) struct Reading {
    pub behind: BTreeSet<Xid>,
    /// What he is told if he is to yield; the circle is filled in.
    pub refusal: Refusal,
    pub turn: Arc<Turn>,
}

#[derive(Debug)]
struct InDatabase {
    xid: Option<Xid>,
    by: Vec<Connection>,
    told_by: SessionId,
    /// It is being interrupted.
    yields: bool,
}

impl Graph {
    pub fn somebody_is_stuck(&self) -> bool {
        !self.stuck.is_empty()
    }

    /// A connection's local transaction is queued for a global lock.
    pub fn waits(&mut self, connection: Connection, xid: Xid) {
        self.queued.insert(connection, xid);
    }

    pub fn waits_no_more(&mut self, connection: &Connection) {
        self.queued.remove(connection);
    }

    /// A connection's local transaction, in no global one, waits for a key.
    pub fn local_waits(&mut self, connection: Connection, want: Want, turn: Arc<Turn>) {
        self.locals.insert(connection, (want, turn));
    }

    pub fn local_waits_no_more(&mut self, connection: &Connection) {
        self.locals.remove(connection);
    }

    /// Whoever waits here has got his row locks; what was told of him before is stale.
    pub(super) fn waits_here(&self, connection: &Connection) -> bool {
        self.queued.contains_key(connection) || self.locals.contains_key(connection)
    }

    /// Somebody waits to be given what he has read.
    pub fn reader_waits(&mut self, who: Who, id: u64, reading: Reading) {
        self.readers.entry(who).or_default().insert(id, reading);
    }

    pub fn reader_waits_no_more(&mut self, who: &Who, id: u64) {
        if let Some(readings) = self.readers.get_mut(who) {
            readings.remove(&id);
            if readings.is_empty() {
                self.readers.remove(who);
            }
        }
    }

    /// True: readers of his were told to yield.
    pub fn fail_readers(&mut self, who: &Who, circle: &[Who]) -> bool {
        let Some(readings) = self.readers.remove(who) else { return false };
        for Reading { refusal, turn, .. } in readings.into_values() {
            turn.fail(with_circle(refusal, circle));
        }
        true
    }

    /// A proxy tells of a statement; whom to look for in a circle, if it waits.
    pub fn tell(&mut self, told_by: SessionId, stuck: Stuck) -> Option<Who> {
        let connection = Connection::new(&stuck.resource, stuck.session)?;
        // Another proxy may see the wait of a transaction of which it does not know.
        let known = self.stuck.get(&connection);
        if known.is_some_and(|known| known.told_by != told_by && known.xid.is_some() && stuck.xid.is_none()) {
            return None;
        }
        let by = stuck.by.iter().take(MAX_BLOCKERS);
        let by: Vec<_> = by.filter_map(|number| Connection::new(&stuck.resource, *number)).collect();
        self.remove(&connection);
        if by.is_empty() || self.stuck.len() >= MAX_STUCK {
            self.forget_bound();
            return None;
        }
        self.insert(connection.clone(), InDatabase { xid: stuck.xid, by, told_by, yields: false });
        self.forget_bound();
        self.ask_whose();
        Some(self.owner(&connection))
    }

    fn insert(&mut self, connection: Connection, stuck: InDatabase) {
        for other in &stuck.by {
            *self.awaited.entry(other.clone()).or_default() += 1;
        }
        if let Some(xid) = stuck.xid {
            self.stuck_by.entry(xid).or_default().insert(connection.clone());
        }
        self.stuck.insert(connection, stuck);
    }

    fn remove(&mut self, connection: &Connection) {
        let Some(stuck) = self.stuck.remove(connection) else { return };
        for other in &stuck.by {
            if let Some(count) = self.awaited.get_mut(other) {
                *count -= 1;
                if *count == 0 {
                    self.awaited.remove(other);
                }
            }
        }
        if let Some((xid, all)) = stuck.xid.and_then(|xid| Some((xid, self.stuck_by.get_mut(&xid)?))) {
            all.remove(connection);
            if all.is_empty() {
                self.stuck_by.remove(&xid);
            }
        }
    }

    /// Those for which somebody is said to wait, and that are not said to wait themselves.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &Connection> {
        self.awaited.keys().filter(|connection| !self.stuck.contains_key(connection))
    }

    /// Somebody is said to wait for it.
    pub(super) fn is_awaited(&self, connection: &Connection) -> bool {
        self.awaited.contains_key(connection)
    }

    fn forget_bound(&mut self) {
        let awaited = &self.awaited;
        self.errands.keep(|connection| awaited.contains_key(connection));
    }

    /// A statement is being interrupted: it is in no circle any more, unless it is told of again.
    pub(super) fn yields(&mut self, connection: &Connection) {
        if let Some(stuck) = self.stuck.get_mut(connection) {
            stuck.yields = true;
        }
    }

    /// The statements of a transaction that wait in their databases, and who told of each.
    pub(super) fn stuck_of(&self, xid: Xid) -> impl Iterator<Item = (&Connection, SessionId)> {
        let own = self.stuck_by.get(&xid).into_iter().flatten();
        let own = own.filter_map(|connection| Some((connection, self.stuck.get(connection)?)));
        own.filter(|(connection, stuck)| self.counts(connection, stuck)).map(|(c, stuck)| (c, stuck.told_by))
    }

    /// Those for which a connection waits in its database; None: it waits for none there.
    pub(super) fn waits_there(&self, connection: &Connection) -> Option<&[Connection]> {
        let stuck = self.stuck.get(connection).filter(|stuck| self.counts(connection, stuck));
        stuck.map(|stuck| stuck.by.as_slice())
    }

    /// What was told of it holds still, as far as is known here.
    fn counts(&self, connection: &Connection, stuck: &InDatabase) -> bool {
        !stuck.yields && !self.waits_here(connection)
    }

    /// A proxy is gone, and its connections with it.
    pub fn forget(&mut self, told_by: SessionId) {
        let told = self.stuck.iter().filter(|(_, stuck)| stuck.told_by == told_by);
        for connection in told.map(|(connection, _)| connection.clone()).collect::<Vec<_>>() {
            self.remove(&connection);
        }
        self.errands.forget(told_by);
    }

    pub(super) fn owner(&self, connection: &Connection) -> Who {
        let told = self.stuck.get(connection).and_then(|stuck| stuck.xid);
        let queued = || self.queued.get(connection).copied();
        match told.or_else(queued).or_else(|| self.errands.bound(connection)) {
            Some(xid) => Who::Global(xid),
            None => Who::Local(connection.clone()),
        }
    }

    pub fn fail_local(&mut self, connection: &Connection, circle: &[Who], held: Held<'_>) {
        let Some((want, turn)) = self.locals.remove(connection) else { return };
        match held.others(&want, None).into_iter().next() {
            Some((holder, status)) => turn.fail(with_circle(conflict(&want.lock, holder, status), circle)),
            // It is free meanwhile.
            None => turn.call(),
        }
    }
}

impl Waiters {
    fn waits_for(&self, who: &Who, held: Held<'_>) -> BTreeSet<Who> {
        let graph = &self.graph;
        let mut found = BTreeSet::new();
        let in_database = |connection: &Connection| {
            let by = graph.waits_there(connection).unwrap_or_default();
            by.iter().map(|other| graph.owner(other)).collect::<Vec<_>>()
        };
        match who {
            Who::Global(xid) => {
                found.extend(self.queued_behind(*xid, held).into_iter().map(Who::Global));
                graph.stuck_of(*xid).for_each(|(connection, _)| found.extend(in_database(connection)));
            }
            Who::Local(connection) => {
                if let Some((want, _)) = graph.locals.get(connection) {
                    let others = held.others(want, None);
                    found.extend(others.into_iter().map(|(other, _)| Who::Global(other)));
                }
                found.extend(in_database(connection));
            }
        }
        let readings = graph.readers.get(who).into_iter().flat_map(BTreeMap::values);
        found.extend(readings.flat_map(|reading| &reading.behind).map(|xid| Who::Global(*xid)));
        found.remove(who);
        found
    }

    /// Those who wait for each other, beginning with `who`; the fewest, so that nobody yields who is only in between.
    fn circle(&self, who: &Who, held: Held<'_>) -> Option<Vec<Who>> {
        let mut reached: BTreeMap<Who, Who> = BTreeMap::new();
        let mut next = VecDeque::from([who.clone()]);
        while let Some(at) = next.pop_front() {
            for behind in self.waits_for(&at, held) {
                if behind == *who {
                    let before = |last: &Who| reached.get(last).cloned();
                    let mut circle: Vec<Who> = std::iter::successors(Some(at), before).collect();
                    circle.reverse();
                    return Some(circle);
                }
                if !reached.contains_key(&behind) {
                    reached.insert(behind.clone(), at.clone());
                    next.push_back(behind);
                }
            }
        }
        None
    }

    /// Who is to yield in a circle through `who`, and the circle from him on: a reader, a local transaction before a global one, of
    /// those the youngest; and a statement that waits in a database only where nobody waits here, since that must be interrupted.
    pub(super) fn yielding(&self, who: &Who, held: Held<'_>) -> Option<(Who, Vec<Who>)> {
        let mut circle = self.circle(who, held)?;
        let rank = |who: &Who| match who {
            _ if self.graph.readers.contains_key(who) => Some((3, None)),
            Who::Local(connection) => self.graph.locals.contains_key(connection).then_some((2, None)),
            Who::Global(xid) if self.is_kept_waiting(*xid, held) => Some((1, Some(*xid))),
            Who::Global(xid) => self.graph.stuck_of(*xid).next().map(|_| (0, Some(*xid))),
        };
        let (at, _) = circle
            .iter()
            .enumerate()
            .filter_map(|(at, who)| Some((at, rank(who)?)))
            .max_by(|a, b| a.1.cmp(&b.1))?;
        circle.rotate_left(at);
        Some((circle[0].clone(), circle))
    }
}
