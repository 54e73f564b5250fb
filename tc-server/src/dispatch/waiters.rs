//! The queue for held locks, pure: in order of arrival, woken when a key is freed, never polling.
//!
//! A waiter keeps its place until it has the keys, fails or leaves; whoever comes later for one of its keys waits
//! behind it, except for keys his own transaction holds already, and keys that both only share.

use super::deadlock::Graph;
use super::turn::{Connection, Held, Turn, Want, Who, conflict, with_circle};
use crate::state::Lock;
use atone_protocol::{LockKey, Refusal, TxStatus, Xid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All waiters of a coordinator; one more is answered with the conflict at once.
pub(super) const MAX_WAITERS: usize = 4096;

#[derive(Debug)]
pub(super) struct Waiter {
    pub xid: Xid,
    pub wants: Vec<Want>,
    connection: Option<Connection>,
    turn: Arc<Turn>,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    next: u64,
    pub by_id: BTreeMap<u64, Waiter>,
    /// Places in order of arrival, and whether each only wants to share.
    by_lock: BTreeMap<Lock, BTreeMap<u64, bool>>,
    pub by_xid: BTreeMap<Xid, BTreeSet<u64>>,
    /// Who else waits, and cannot be seen from the queue.
    pub graph: Graph,
}

/// A place in the queue.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub id: u64,
    pub turn: Arc<Turn>,
}

impl Waiters {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many wait for a key.
    pub fn waiting_for(&self, resource: &str, key: &LockKey) -> usize {
        if self.by_lock.is_empty() {
            return 0;
        }
        self.by_lock.get(&Lock { resource: resource.to_owned(), key: key.clone() }).map_or(0, BTreeMap::len)
    }

    /// What keeps `xid` from these locks now: another holder, or somebody who came before place `before`.
    pub fn obstacle(&self, xid: Xid, wants: &[Want], before: u64, held: Held<'_>) -> Option<Refusal> {
        wants.iter().find_map(|want| {
            let holder = held.others(want, Some(xid)).into_iter().next();
            let (who, status) = match holder {
                Some(other) => other,
                None if held.holds(&want.lock, xid) => return None,
                None => (self.older(want, xid, before)?, TxStatus::Active),
            };
            Some(conflict(&want.lock, who, status))
        })
    }

    /// Somebody is queued already for a key that `xid` does not hold.
    pub fn must_queue(&self, xid: Xid, wants: &[Want], held: Held<'_>) -> bool {
        let behind = |want: &Want| self.older(want, xid, u64::MAX).is_some() && !held.holds(&want.lock, xid);
        !self.by_lock.is_empty() && wants.iter().any(behind)
    }

    /// The nearest waiter of another transaction that came before place `before` and cannot have it at the same time.
    fn older(&self, want: &Want, xid: Xid, before: u64) -> Option<Xid> {
        let places = self.by_lock.get(&want.lock)?.range(..before).rev();
        let against = places.filter(|(_, shared)| !(want.shared && **shared));
        against.map(|(id, _)| self.by_id[id].xid).find(|other| *other != xid)
    }

    /// Queues. Fails at once when the queue is full, a key's holder is decided already, or waiting on would close a
    /// circle in which `xid` is the one to yield.
    pub fn join(
        &mut self,
        xid: Xid,
        holds_locks: bool,
        wants: Vec<Want>,
        connection: Option<Connection>,
        held: Held<'_>,
    ) -> Result<Place, Box<Refusal>> {
        let doomed = |want: &Want| {
            let mut others = held.others(want, Some(xid)).into_iter();
            let (who, status) = others.find(|(_, status)| *status != TxStatus::Active)?;
            Some(conflict(&want.lock, who, status))
        };
        if let Some(refusal) = wants.iter().find_map(doomed) {
            return Err(Box::new(refusal));
        }
        if self.by_id.len() >= MAX_WAITERS {
            let full =
                || Refusal::Invalid(format!("{MAX_WAITERS} requests wait for locks already; try again"));
            let refusal = self.obstacle(xid, &wants, u64::MAX, held).unwrap_or_else(full);
            return Err(Box::new(refusal));
        }
        let id = self.next;
        self.next += 1;
        for want in &wants {
            let shared = self.by_lock.entry(want.lock.clone()).or_default().entry(id).or_insert(want.shared);
            *shared &= want.shared;
        }
        if let Some(connection) = &connection {
            self.graph.waits(connection.clone(), xid);
        }
        let turn = Arc::new(Turn::default());
        self.by_id.insert(id, Waiter { xid, wants, connection, turn: Arc::clone(&turn) });
        self.by_xid.entry(xid).or_default().insert(id);
        // Nobody can wait for one who holds nothing and stands last everywhere.
        let alone = self.by_xid.get(&xid).is_some_and(|places| places.len() == 1);
        if holds_locks || !alone || self.graph.somebody_is_stuck() {
            self.break_circles_of(&Who::Global(xid), held);
        }
        // If it had to yield on the way, its turn says so.
        if self.by_id.get(&id).is_some_and(|w| self.obstacle(xid, &w.wants, id, held).is_none()) {
            turn.call();
        }
        Ok(Place { id, turn })
    }

    /// `xid` has got keys without queueing. One that it shared and holds alone now keeps others who share it waiting; and
    /// requests of its own need not stand behind others for what it has.
    pub fn granted(&mut self, xid: Xid, held: Held<'_>) {
        if self.by_xid.contains_key(&xid) || self.graph.somebody_is_stuck() {
            self.break_circles_of(&Who::Global(xid), held);
            self.call_own(xid, held);
        }
    }

    fn call_own(&self, xid: Xid, held: Held<'_>) {
        for id in self.by_xid.get(&xid).into_iter().flatten() {
            let waiter = &self.by_id[id];
            if self.obstacle(xid, &waiter.wants, *id, held).is_none() {
                waiter.turn.call();
            }
        }
    }

    /// Leaves, and calls those who were only waiting behind it.
    pub fn leave(&mut self, id: u64, held: Held<'_>) {
        let Some(waiter) = self.by_id.remove(&id) else { return };
        if let Some(places) = self.by_xid.get_mut(&waiter.xid) {
            places.remove(&id);
            if places.is_empty() {
                self.by_xid.remove(&waiter.xid);
            }
        }
        if let Some(connection) = &waiter.connection {
            self.graph.waits_no_more(connection);
        }
        for want in &waiter.wants {
            if let Some(places) = self.by_lock.get_mut(&want.lock) {
                places.remove(&id);
                if places.is_empty() {
                    self.by_lock.remove(&want.lock);
                }
            }
        }
        for want in &waiter.wants {
            self.call_next(&want.lock, held);
        }
        self.break_circles(id, &waiter, held);
    }

    /// Leaving makes new edges: whoever stood right behind now stands behind another, and if it left with its keys,
    /// those who wait for them wait for a holder.
    fn break_circles(&mut self, left: u64, waiter: &Waiter, held: Held<'_>) {
        let mut suspects = BTreeSet::from([waiter.xid]);
        for want in &waiter.wants {
            let Some(places) = self.by_lock.get(&want.lock) else { continue };
            for (id, shared) in places.range(left..) {
                let xid = self.by_id[id].xid;
                if xid != waiter.xid {
                    suspects.insert(xid);
                    // Those behind him stand behind him as before.
                    if !shared {
                        break;
                    }
                }
            }
        }
        for suspect in suspects {
            if self.by_xid.contains_key(&suspect) {
                self.break_circles_of(&Who::Global(suspect), held);
            }
        }
    }

    /// As long as somebody waits in a circle with `who`, one of them yields.
    pub fn break_circles_of(&mut self, who: &Who, held: Held<'_>) {
        while let Some((victim, circle)) = self.yielding(who, held) {
            if self.graph.fail_readers(&victim, &circle) {
                continue;
            }
            match victim {
                Who::Global(xid) if self.is_kept_waiting(xid, held) => self.yield_all_of(xid, &circle, held),
                Who::Global(xid) => {
                    if !self.graph.interrupt(xid, &circle) {
                        return;
                    }
                }
                Who::Local(connection) => self.graph.fail_local(&connection, &circle, held),
            }
        }
    }

    /// A key is free, or its queue has moved: calls whoever is next, if nothing else keeps him.
    pub fn call_next(&self, lock: &Lock, held: Held<'_>) {
        let Some(places) = self.by_lock.get(lock) else { return };
        // Behind the first who wants it alone, only those of his own transaction may go along, and those who hold it.
        let mut first = None;
        for (id, shared) in places {
            let waiter = &self.by_id[id];
            let turn = first.is_none_or(|first| first == waiter.xid) || held.holds(lock, waiter.xid);
            if turn && self.obstacle(waiter.xid, &waiter.wants, *id, held).is_none() {
                waiter.turn.call();
            }
            if !shared {
                first.get_or_insert(waiter.xid);
            }
        }
    }

    /// `xid` is decided: its own waiters fail with `own`. When it rolls back, those who wait for the keys it holds
    /// (`theirs`) fail too, so that no row lock of theirs delays the undo.
    pub fn decided(&self, xid: Xid, own: &Refusal, theirs: &[Lock]) {
        for id in self.by_xid.get(&xid).into_iter().flatten() {
            self.by_id[id].turn.fail(own.clone());
        }
        for lock in theirs {
            for id in self.by_lock.get(lock).into_iter().flat_map(BTreeMap::keys) {
                let waiter = &self.by_id[id];
                if waiter.xid != xid {
                    waiter.turn.fail(conflict(lock, xid, TxStatus::RollingBack));
                }
            }
        }
    }

    fn yield_all_of(&mut self, xid: Xid, circle: &[Who], held: Held<'_>) {
        for id in self.by_xid.get(&xid).cloned().unwrap_or_default() {
            // One that left may have made others leave, and one that was called is about to have its keys.
            let Some(waiter) = self.by_id.get(&id) else { continue };
            if let Some(obstacle) = self.obstacle(xid, &waiter.wants, id, held) {
                waiter.turn.fail(with_circle(obstacle, circle));
                self.leave(id, held);
            }
        }
    }

    /// It waits here for others, and not only to hear that it has its keys.
    pub(super) fn is_kept_waiting(&self, xid: Xid, held: Held<'_>) -> bool {
        let mut places = self.by_xid.get(&xid).into_iter().flatten().map(|id| (id, &self.by_id[id]));
        places.any(|(id, waiter)| self.obstacle(xid, &waiter.wants, *id, held).is_some())
    }

    /// Whom a transaction waits for in the queue: holders, and the nearest of those in front of it.
    pub(super) fn queued_behind(&self, xid: Xid, held: Held<'_>) -> BTreeSet<Xid> {
        let mut found = BTreeSet::new();
        for id in self.by_xid.get(&xid).into_iter().flatten() {
            for want in &self.by_id[id].wants {
                found.extend(held.others(want, Some(xid)).into_iter().map(|(who, _)| who));
                if !held.holds(&want.lock, xid) {
                    found.extend(self.all_older(want, xid, *id));
                }
            }
        }
        found
    }

    /// Those in front of place `before` that it cannot have the lock beside: up to the nearest who wants it alone, since he
    /// waits for the rest himself.
    fn all_older(&self, want: &Want, xid: Xid, before: u64) -> Vec<Xid> {
        let mut found = Vec::new();
        let places = self.by_lock.get(&want.lock).into_iter().flat_map(|p| p.range(..before).rev());
        for (id, shared) in places {
            let other = self.by_id[id].xid;
            if other != xid && !(want.shared && *shared) {
                found.push(other);
                if !shared {
                    break;
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
