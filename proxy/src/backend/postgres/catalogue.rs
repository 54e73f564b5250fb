//! Tables as the database described them, remembered for a second.

use crate::backend::Entry;
use dashmap::DashMap;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A change of schema made elsewhere is seen after this long at most; a local transaction that has touched the table
/// keeps its schema still, and looks again when it is settled.
const FRESH: Duration = Duration::from_secs(1);
/// Tables remembered at once.
const CAPACITY: usize = 10_000;

/// The cache.
#[derive(Default)]
pub(super) struct Catalogue(DashMap<u32, (Instant, Option<Arc<Entry>>)>);

impl Catalogue {
    pub fn recent(&self, oid: u32) -> Option<Option<Arc<Entry>>> {
        let known = self.0.get(&oid)?;
        (known.0.elapsed() < FRESH).then(|| known.1.clone())
    }

    pub fn remember(&self, oid: u32, asked: Instant, entry: Option<Arc<Entry>>) {
        if self.0.len() >= CAPACITY {
            self.0.clear();
        }
        self.0.insert(oid, (asked, entry));
    }

    pub fn forget(&self) {
        self.0.clear();
    }
}
