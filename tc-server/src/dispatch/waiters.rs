//! The queue for held locks, pure: in order of arrival, woken when a key is freed, never polling.
//!
//! A waiter keeps its place until it has the keys, fails or leaves; whoever comes later for one of its keys waits
//! behind it, except for keys his own transaction holds already.

use crate::state::Lock;
use atone_protocol::{LockKey, Refusal, TxStatus, Xid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// All waiters of a coordinator; one more is answered with the conflict at once.
pub(super) const MAX_WAITERS: usize = 4096;

/// Who holds a key, and where that transaction stands.
pub(super) type Holder<'a> = &'a dyn Fn(&Lock) -> Option<(Xid, TxStatus)>;

/// How a waiter learns that it is its turn, or that it never will be.
#[derive(Debug, Default)]
pub(super) struct Turn {
    called: Notify,
    verdict: Mutex<Option<Refusal>>,
}

impl Turn {
    /// Waits for the call: `None` means try again.
    pub async fn called(&self) -> Option<Refusal> {
        self.called.notified().await;
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Try again.
    pub fn call(&self) {
        self.called.notify_one();
    }

    pub fn fail(&self, refusal: Refusal) {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refusal);
        self.called.notify_one();
    }
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub xid: Xid,
    pub locks: Vec<Lock>,
    turn: Arc<Turn>,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    next: u64,
    pub by_id: BTreeMap<u64, Waiter>,
    by_lock: BTreeMap<Lock, BTreeSet<u64>>,
    by_xid: BTreeMap<Xid, BTreeSet<u64>>,
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
        self.by_lock.get(&Lock { resource: resource.to_owned(), key: key.clone() }).map_or(0, BTreeSet::len)
    }

    /// What keeps `xid` from these locks now: another holder, or somebody who came before place `before`.
    pub fn obstacle(&self, xid: Xid, locks: &[Lock], before: u64, holder: Holder<'_>) -> Option<Refusal> {
        locks.iter().find_map(|lock| {
            let held = holder(lock);
            let (who, status) = match held {
                Some((who, _)) if who == xid => return None,
                Some(other) => other,
                None => (self.older(lock, xid, before)?, TxStatus::Active),
            };
            let key = lock.key.clone();
            Some(Refusal::Conflict { key, holder: who, holder_status: status, deadlock: false })
        })
    }

    /// Somebody is queued already for a key that `xid` does not hold.
    pub fn must_queue(&self, xid: Xid, locks: &[Lock], holder: Holder<'_>) -> bool {
        !self.by_lock.is_empty()
            && locks.iter().any(|lock| {
                self.older(lock, xid, u64::MAX).is_some() && holder(lock).is_none_or(|(who, _)| who != xid)
            })
    }

    /// The nearest waiter of another transaction that came before place `before`.
    fn older(&self, lock: &Lock, xid: Xid, before: u64) -> Option<Xid> {
        let places = self.by_lock.get(lock)?;
        places.range(..before).rev().map(|id| self.by_id[id].xid).find(|other| *other != xid)
    }

    /// Queues. Fails at once when the queue is full, a key's holder is decided already, or waiting on would close a
    /// circle in which `xid` is the youngest.
    pub fn join(
        &mut self,
        xid: Xid,
        holds_locks: bool,
        locks: Vec<Lock>,
        holder: Holder<'_>,
    ) -> Result<Place, Box<Refusal>> {
        let doomed =
            |lock: &&Lock| holder(lock).is_some_and(|(who, status)| who != xid && status != TxStatus::Active);
        if let Some(lock) = locks.iter().find(doomed)
            && let Some(refusal) = self.obstacle(xid, std::slice::from_ref(lock), u64::MAX, holder)
        {
            return Err(Box::new(refusal));
        }
        if self.by_id.len() >= MAX_WAITERS {
            let full =
                || Refusal::Invalid(format!("{MAX_WAITERS} requests wait for locks already; try again"));
            let refusal = self.obstacle(xid, &locks, u64::MAX, holder).unwrap_or_else(full);
            return Err(Box::new(refusal));
        }
        let id = self.next;
        self.next += 1;
        for lock in &locks {
            self.by_lock.entry(lock.clone()).or_default().insert(id);
        }
        let turn = Arc::new(Turn::default());
        self.by_id.insert(id, Waiter { xid, locks, turn: Arc::clone(&turn) });
        self.by_xid.entry(xid).or_default().insert(id);
        // Nobody can wait for one who holds nothing and stands last everywhere.
        let awaited = holds_locks || self.by_xid.get(&xid).is_some_and(|places| places.len() > 1);
        while awaited
            && self.by_id.contains_key(&id)
            && let Some(youngest) = self.youngest_in_circle(xid, holder)
        {
            if youngest == xid {
                let refusal = self.deadlock(id, holder);
                self.leave(id, holder);
                return Err(Box::new(refusal));
            }
            self.yield_all_of(youngest, holder);
        }
        // If it had to yield on the way, its turn says so.
        if self.by_id.get(&id).is_some_and(|w| self.obstacle(xid, &w.locks, id, holder).is_none()) {
            turn.call();
        }
        Ok(Place { id, turn })
    }

    /// Leaves, and calls those who were only waiting behind it.
    pub fn leave(&mut self, id: u64, holder: Holder<'_>) {
        let Some(waiter) = self.by_id.remove(&id) else { return };
        if let Some(places) = self.by_xid.get_mut(&waiter.xid) {
            places.remove(&id);
            if places.is_empty() {
                self.by_xid.remove(&waiter.xid);
            }
        }
        for lock in &waiter.locks {
            if let Some(places) = self.by_lock.get_mut(lock) {
                places.remove(&id);
                if places.is_empty() {
                    self.by_lock.remove(lock);
                }
            }
        }
        for lock in &waiter.locks {
            self.call_next(lock, holder);
        }
        self.break_circles(id, &waiter, holder);
    }

    /// Leaving makes new edges: whoever stood right behind now stands behind another, and if it left with its keys,
    /// those who wait for them wait for a holder.
    fn break_circles(&mut self, left: u64, waiter: &Waiter, holder: Holder<'_>) {
        let behind = |lock: &Lock| {
            let mut places = self.by_lock.get(lock)?.range(left..);
            places.find_map(|id| Some(self.by_id[id].xid).filter(|xid| *xid != waiter.xid))
        };
        let mut suspects: BTreeSet<Xid> = waiter.locks.iter().filter_map(behind).collect();
        suspects.insert(waiter.xid);
        for suspect in suspects {
            while self.by_xid.contains_key(&suspect)
                && let Some(youngest) = self.youngest_in_circle(suspect, holder)
            {
                self.yield_all_of(youngest, holder);
            }
        }
    }

    /// A key is free, or its queue has moved: calls whoever is next, if nothing else keeps him.
    pub fn call_next(&self, lock: &Lock, holder: Holder<'_>) {
        let Some(places) = self.by_lock.get(lock) else { return };
        let holding = holder(lock).map(|(who, _)| who);
        let waiters = places.iter().map(|id| (*id, &self.by_id[id]));
        let mut first = None;
        for (id, waiter) in waiters {
            // Behind the first, only those of his own transaction may go along, and those of the one that holds it.
            let turn = *first.get_or_insert(waiter.xid) == waiter.xid || holding == Some(waiter.xid);
            if turn && self.obstacle(waiter.xid, &waiter.locks, id, holder).is_none() {
                waiter.turn.call();
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
            for id in self.by_lock.get(lock).into_iter().flatten() {
                let (key, holder_status) = (lock.key.clone(), TxStatus::RollingBack);
                let turn = &self.by_id[id].turn;
                turn.fail(Refusal::Conflict { key, holder: xid, holder_status, deadlock: false });
            }
        }
    }

    fn yield_all_of(&mut self, xid: Xid, holder: Holder<'_>) {
        for id in self.by_xid.get(&xid).cloned().unwrap_or_default() {
            // One that left may have made others leave.
            if let Some(turn) = self.by_id.get(&id).map(|w| Arc::clone(&w.turn)) {
                turn.fail(self.deadlock(id, holder));
                self.leave(id, holder);
            }
        }
    }

    fn deadlock(&self, id: u64, holder: Holder<'_>) -> Refusal {
        let waiter = &self.by_id[&id];
        match self.obstacle(waiter.xid, &waiter.locks, id, holder) {
            Some(Refusal::Conflict { key, holder, holder_status, .. }) => {
                Refusal::Conflict { key, holder, holder_status, deadlock: true }
            }
            Some(other) => other,
            None => Refusal::Invalid("deadlock between global transactions; try again".to_owned()),
        }
    }

    /// Whom a transaction waits for: holders, and the nearest of those in front of it.
    pub(super) fn waits_for(&self, xid: Xid, holder: Holder<'_>) -> BTreeSet<Xid> {
        let mut found = BTreeSet::new();
        for id in self.by_xid.get(&xid).into_iter().flatten() {
            for lock in &self.by_id[id].locks {
                let held = holder(lock).map(|(who, _)| who);
                if held != Some(xid) {
                    found.extend(held);
                    found.extend(self.older(lock, xid, *id));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    fn lock(n: u8) -> Lock {
        let key = LockKey { table: "t".into(), index: "PRIMARY".into(), key: vec![n], shown: n.to_string() };
        Lock { resource: "orders".into(), key }
    }

    fn xid(n: u64) -> Xid {
        Xid::new(1, u128::from(n))
    }

    #[derive(Debug, Clone)]
    enum Act {
        Ask(u64, Vec<u8>),
        GiveUp(usize),
        Commit(u64),
        RollBack(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            6 => (0..5u64, prop::collection::btree_set(0..4u8, 1..3))
                .prop_map(|(x, keys)| Act::Ask(x, keys.into_iter().collect())),
            1 => (0..8usize).prop_map(Act::GiveUp),
            2 => (0..5u64).prop_map(Act::Commit),
            1 => (0..5u64).prop_map(Act::RollBack),
        ]
    }

    /// A lock table and askers, as the state and the request's futures are.
    #[derive(Default)]
    struct World {
        waiters: Waiters,
        held: BTreeMap<Lock, Xid>,
        waiting: Vec<(Xid, Vec<Lock>, Place)>,
    }

    fn holder(held: &BTreeMap<Lock, Xid>) -> impl Fn(&Lock) -> Option<(Xid, TxStatus)> + '_ {
        |lock| held.get(lock).map(|xid| (*xid, TxStatus::Active))
    }

    impl World {
        fn ask(&mut self, x: u64, keys: &[u8]) {
            let (xid, locks) = (xid(x), keys.iter().map(|n| lock(*n)).collect::<Vec<_>>());
            let free = !self.waiters.must_queue(xid, &locks, &holder(&self.held))
                && locks.iter().all(|lock| self.held.get(lock).is_none_or(|h| *h == xid));
            if free {
                self.held.extend(locks.into_iter().map(|lock| (lock, xid)));
            } else {
                let holds = self.held.values().any(|h| *h == xid);
                if let Ok(place) = self.waiters.join(xid, holds, locks.clone(), &holder(&self.held)) {
                    self.waiting.push((xid, locks, place));
                }
            }
            self.serve();
        }

        fn leave(&mut self, at: usize) {
            let (_, _, place) = self.waiting.remove(at);
            self.waiters.leave(place.id, &holder(&self.held));
        }

        /// Everybody who is called does what the request's future does, until nobody is.
        fn serve(&mut self) {
            while let Some((at, verdict)) = self
                .waiting
                .iter()
                .enumerate()
                .find_map(|(at, (_, _, place))| Some((at, place.turn.called().now_or_never()?)))
            {
                let (xid, locks, _) = self.waiting[at].clone();
                let granted = locks.iter().all(|lock| self.held.get(lock).is_none_or(|h| *h == xid));
                if verdict.is_none() && granted {
                    self.held.extend(locks.into_iter().map(|lock| (lock, xid)));
                }
                if verdict.is_some() || granted {
                    self.leave(at);
                }
            }
        }

        fn decide(&mut self, x: u64, rolls_back: bool) {
            let xid = xid(x);
            let freed: Vec<_> =
                self.held.iter().filter(|(_, h)| **h == xid).map(|(l, _)| l.clone()).collect();
            let own = Refusal::Finished { status: TxStatus::Committed, reason: String::new() };
            self.waiters.decided(xid, &own, if rolls_back { &freed } else { &[] });
            self.held.retain(|_, h| *h != xid);
            for lock in freed {
                self.waiters.call_next(&lock, &holder(&self.held));
            }
            self.serve();
        }
    }

    #[test]
    fn a_second_request_of_the_new_holder_goes_along() {
        let mut world = World::default();
        for (x, keys) in [(1, &[0][..]), (2, &[1]), (0, &[0]), (1, &[0, 1]), (3, &[0, 1]), (0, &[0])] {
            world.ask(x, keys);
        }
        world.decide(1, false);
        assert!(world.waiting.iter().all(|(who, _, _)| *who != xid(0)));
    }

    proptest! {
        #[test]
        fn nobody_waits_for_nothing_and_nobody_waits_in_a_circle(acts in prop::collection::vec(act(), 0..60)) {
            let mut world = World::default();
            for act in acts {
                match &act {
                    Act::Ask(x, keys) => world.ask(*x, keys),
                    Act::GiveUp(at) if *at < world.waiting.len() => {
                        world.leave(*at);
                        world.serve();
                    }
                    Act::GiveUp(_) => {}
                    Act::Commit(x) => world.decide(*x, false),
                    Act::RollBack(x) => world.decide(*x, true),
                }
                prop_assert_eq!(world.waiters.len(), world.waiting.len());
                for (who, locks, place) in &world.waiting {
                    let held = holder(&world.held);
                    prop_assert!(
                        world.waiters.obstacle(*who, locks, place.id, &held).is_some(),
                        "{who} waits for nothing after {act:?}"
                    );
                    prop_assert_eq!(world.waiters.youngest_in_circle(*who, &held), None, "after {:?}", act);
                }
            }
            // When all are decided, nobody is left.
            (0..5).for_each(|x| world.decide(x, false));
            prop_assert_eq!(world.waiters.len(), 0);
        }
    }
}
