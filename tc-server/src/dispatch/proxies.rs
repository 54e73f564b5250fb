//! Connected proxies, the primaries they see, and the hints they gave.

use atone_protocol::{BranchId, Resource, Task, TaskId, Xid};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

/// Tasks a proxy may have at once; under what its client queues.
pub(super) const OUTSTANDING: usize = 256;

/// Names a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub(super) u64);

pub(super) struct Session {
    pub name: String,
    pub resources: BTreeSet<String>,
    pub outbox: mpsc::Sender<Task>,
    pub outstanding: BTreeSet<TaskId>,
}

#[derive(Default)]
pub(super) struct Proxies {
    next: u64,
    pub sessions: BTreeMap<SessionId, Session>,
    /// The primary of each resource as last seen; kept after its proxies are gone.
    primaries: BTreeMap<String, String>,
    /// "This branch is locally committed", and where: always on what is the primary of that resource now.
    hints: BTreeMap<(Xid, BranchId), String>,
}

impl Proxies {
    pub fn connect(
        &mut self,
        name: String,
        resources: Vec<Resource>,
        outbox: mpsc::Sender<Task>,
    ) -> SessionId {
        let id = SessionId(self.next);
        self.next += 1;
        let names = resources.iter().map(|resource| resource.name.clone()).collect();
        for resource in resources {
            self.see(&resource.name, resource.primary);
        }
        self.sessions.insert(id, Session { name, resources: names, outbox, outstanding: BTreeSet::new() });
        id
    }

    /// The database has told a proxy who its primary is. Hints of another primary count no more from here on, not even
    /// when that one comes back: it may have been made anew from the one between.
    /// A proxy that has not reached its database lately names none, which says nothing.
    pub fn see(&mut self, resource: &str, primary: String) {
        if !primary.is_empty() && self.primaries.get(resource) != Some(&primary) {
            if let Some(old) = self.primaries.get(resource) {
                tracing::warn!(
                    resource,
                    old,
                    new = primary,
                    "the primary has changed; its branches are asked again"
                );
            }
            self.primaries.insert(resource.to_owned(), primary);
            self.hints.retain(|_, place| place != resource);
        }
    }

    /// Is this the primary now? Only a look can tell: while nobody has looked since the start, nothing is.
    pub fn is_primary(&self, resource: &str, primary: &str) -> bool {
        self.primaries.get(resource).is_some_and(|now| now == primary)
    }

    /// A branch is locally committed on `primary`.
    pub fn hint(&mut self, xid: Xid, branch: BranchId, resource: &str, primary: &str) {
        if self.is_primary(resource, primary) {
            self.hints.insert((xid, branch), resource.to_owned());
        }
    }

    /// The branch is known to be locally committed, on what is still the primary.
    pub fn is_settled(&self, xid: Xid, branch: BranchId, resource: &str) -> bool {
        self.hints.get(&(xid, branch)).is_some_and(|place| place == resource)
    }

    /// The transaction is decided: its hints have served.
    pub fn drop_hints(&mut self, xid: Xid) {
        let first = (xid, BranchId::new(0));
        let last = (xid, BranchId::new(u64::MAX));
        let gone: Vec<_> = self.hints.range(first..=last).map(|(key, _)| *key).collect();
        for key in gone {
            self.hints.remove(&key);
        }
    }

    /// The proxy to give a task on `resource`: the least busy, rather not `last`, which had it before.
    pub fn choose(&self, resource: &str, last: Option<SessionId>) -> Option<SessionId> {
        self.sessions
            .iter()
            .filter(|(_, session)| session.resources.contains(resource))
            .filter(|(_, session)| session.outstanding.len() < OUTSTANDING && !session.outbox.is_closed())
            .min_by_key(|(id, session)| (Some(**id) == last, session.outstanding.len()))
            .map(|(id, _)| *id)
    }

    /// Somebody is connected who reaches `resource`.
    pub fn reach(&self, resource: &str) -> bool {
        self.sessions.values().any(|session| session.resources.contains(resource))
    }
}
