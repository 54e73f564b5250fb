//! Those who ask whether keys are free and take none: writers and locking reads outside global transactions. Pure.
//!
//! They stand in nobody's way here, so that they need no queue: each waits for one key at a time, and is called when it is
//! freed or when its holder begins to roll back. In the wait-for graph they are because of the row locks they hold.

use super::turn::{Held, Turn, Want, conflict};
use super::waiters::MAX_WAITERS;
use crate::state::Lock;
use atone_protocol::{LockKey, Refusal, TxStatus, Xid};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Checks {
    next: u64,
    by_lock: BTreeMap<Lock, BTreeMap<u64, Arc<Turn>>>,
    count: usize,
}

/// One who waits for a key.
#[derive(Debug)]
pub(super) struct Waiting {
    pub want: Want,
    id: u64,
    pub turn: Arc<Turn>,
}

impl Checks {
    pub fn len(&self) -> usize {
        self.count
    }

    /// How many wait for a key.
    pub fn waiting_for(&self, resource: &str, key: &LockKey) -> usize {
        if self.by_lock.is_empty() {
            return 0;
        }
        self.by_lock.get(&Lock { resource: resource.to_owned(), key: key.clone() }).map_or(0, BTreeMap::len)
    }

    /// Waits for a key that another transaction than `xid` holds. Fails at once when that one is being rolled back: its undo
    /// may need row locks of the asker's.
    pub fn join(&mut self, want: Want, xid: Option<Xid>, held: Held<'_>) -> Result<Waiting, Box<Refusal>> {
        let turn = Arc::new(Turn::default());
        let others = held.others(&want, xid);
        let doomed =
            others.iter().find(|(_, status)| *status != TxStatus::Active || self.count >= MAX_WAITERS);
        if let Some((who, status)) = doomed {
            return Err(Box::new(conflict(&want.lock, *who, *status)));
        }
        if others.is_empty() {
            turn.call();
        }
        let id = self.next;
        self.next += 1;
        self.count += 1;
        self.by_lock.entry(want.lock.clone()).or_default().insert(id, Arc::clone(&turn));
        Ok(Waiting { want, id, turn })
    }

    pub fn leave(&mut self, waiting: &Waiting) {
        let Some(turns) = self.by_lock.get_mut(&waiting.want.lock) else { return };
        self.count -= usize::from(turns.remove(&waiting.id).is_some());
        if turns.is_empty() {
            self.by_lock.remove(&waiting.want.lock);
        }
    }

    /// A key was freed.
    pub fn freed(&self, lock: &Lock) {
        self.by_lock.get(lock).into_iter().flat_map(BTreeMap::values).for_each(|turn| turn.call());
    }

    /// The holder of these keys is being rolled back.
    pub fn rolls_back(&self, xid: Xid, locks: &[Lock]) {
        for lock in locks {
            for turn in self.by_lock.get(lock).into_iter().flat_map(BTreeMap::values) {
                turn.fail(conflict(lock, xid, TxStatus::RollingBack));
            }
        }
    }
}
