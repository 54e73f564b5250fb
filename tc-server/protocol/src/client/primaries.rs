//! The primaries that the proxy's looks have found: what a hello may say, and what was said a moment ago.

use crate::Lineage;
use crate::messages::Resource;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A hello names a primary only if it was seen since then: an older sight could be of one that is it no more.
const FRESH: Duration = Duration::from_secs(3);
/// The same sight is not told twice within this.
const AGAIN: Duration = Duration::from_millis(500);

struct Sight {
    lineage: Option<Lineage>,
    address: String,
    primary: String,
    at: Instant,
    told: Instant,
}

/// By resource.
pub(super) struct Primaries(Mutex<BTreeMap<String, Sight>>);

impl Primaries {
    pub(super) fn new(resources: &[Resource]) -> Self {
        let now = Instant::now();
        let sight = |r: &Resource| {
            let (lineage, address, primary) = (r.lineage, r.address.clone(), r.primary.clone());
            (r.name.clone(), Sight { lineage, address, primary, at: now, told: now })
        };
        Self(Mutex::new(resources.iter().map(sight).collect()))
    }

    fn sights(&self) -> MutexGuard<'_, BTreeMap<String, Sight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look has found it. Is that worth telling?
    pub(super) fn seen(&self, now: Instant, resource: &str, primary: &str) -> bool {
        let mut sights = self.sights();
        match sights.get_mut(resource) {
            Some(sight) if sight.primary == primary => {
                sight.at = now;
                let tell = now.duration_since(sight.told) >= AGAIN;
                if tell {
                    sight.told = now;
                }
                tell
            }
            Some(sight) => {
                (sight.primary, sight.at, sight.told) = (primary.to_owned(), now, now);
                true
            }
            None => false,
        }
    }

    /// For a hello: every resource, with its primary if that is fresh.
    pub(super) fn now(&self, now: Instant) -> Vec<Resource> {
        let fresh = |sight: &Sight| {
            if now.duration_since(sight.at) < FRESH { sight.primary.clone() } else { String::new() }
        };
        self.sights()
            .iter()
            .map(|(name, sight)| Resource {
                name: name.clone(),
                primary: fresh(sight),
                lineage: sight.lineage,
                address: sight.address.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_names_no_primary_of_long_ago() {
        let resource = |primary: &str| Resource {
            name: "orders".into(),
            primary: primary.into(),
            lineage: Lineage::new(7),
            address: "db1:3306".into(),
        };
        let primaries = Primaries::new(&[resource("p1")]);
        let start = Instant::now();
        assert_eq!(primaries.now(start), [resource("p1")]);
        assert!(!primaries.seen(start, "orders", "p1"), "just told");
        assert!(primaries.seen(start, "orders", "p2"));
        let later = start + AGAIN;
        assert!(primaries.seen(later, "orders", "p2"));
        assert_eq!(primaries.now(later), [resource("p2")]);
        assert_eq!(primaries.now(later + FRESH), [resource("")]);
    }
}
