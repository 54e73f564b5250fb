//! Tables as the database described them, remembered for a second.

use crate::backend::Entry;
use dashmap::DashMap;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A change of schema made elsewhere is seen after this long at most; a local transaction that has touched the table
/// keeps its schema still, and looks again when it is settled.
const FRESH: Duration = Duration::from_secs(1);
/// Tables remembered at once.
const CAPACITY: usize = 10_000;

/// The cache.
#[derive(Default)]
pub(super) struct Catalogue {
    tables: DashMap<u32, (Instant, Option<Arc<Entry>>)>,
    /// Are there triggers that may be deferred?
    deferrable: Mutex<Option<(Instant, bool)>>,
}

impl Catalogue {
    pub fn recent(&self, oid: u32) -> Option<Option<Arc<Entry>>> {
        let known = self.tables.get(&oid)?;
        (known.0.elapsed() < FRESH).then(|| known.1.clone())
    }

    pub fn remember(&self, oid: u32, asked: Instant, entry: Option<Arc<Entry>>) {
        if self.tables.len() >= CAPACITY {
            self.tables.clear();
        }
        self.tables.insert(oid, (asked, entry));
    }

    pub fn forget(&self) {
        self.tables.clear();
        *self.deferrable() = None;
    }

    pub fn recently_deferrable(&self) -> Option<bool> {
        self.deferrable().filter(|(asked, _)| asked.elapsed() < FRESH).map(|(_, some)| some)
    }

    pub fn remember_deferrable(&self, asked: Instant, some: bool) {
        *self.deferrable() = Some((asked, some));
    }

    fn deferrable(&self) -> MutexGuard<'_, Option<(Instant, bool)>> {
        self.deferrable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
