//! Connected proxies, the primaries they see, and the hints they gave.

use atone_protocol::messages::ToProxy;
use atone_protocol::{BranchId, Lineage, Resource, TaskId, Xid};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

/// Tasks a proxy may have at once; under what its client queues.
pub(super) const OUTSTANDING: usize = 256;

/// Names a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub(super) u64);

pub(super) struct Session {
    pub name: String,
    /// By name.
    pub resources: BTreeMap<String, Served>,
    pub outbox: mpsc::Sender<ToProxy>,
    pub outstanding: BTreeSet<TaskId>,
}

/// A database that a proxy serves.
#[derive(Debug, Clone)]
pub(super) struct Served {
    /// Which one, of all that may bear the name.
    pub lineage: Option<Lineage>,
    /// Where the proxy reaches it, for people.
    pub address: String,
}

/// Where a branch ran: the resource's name, and which database of that name, if that is known.
pub(super) type Home = (String, Option<Lineage>);

impl Session {
    /// It reaches the database where a branch ran.
    fn serves(&self, resource: &str, lineage: Option<Lineage>) -> bool {
        let served = self.resources.get(resource);
        served.is_some_and(|served| lineage.is_none() || served.lineage == lineage)
    }
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
    /// Err: it serves another database under a name that a connected proxy serves; what its operator is to do.
    pub fn connect(
        &mut self,
        name: String,
        resources: Vec<Resource>,
        outbox: mpsc::Sender<ToProxy>,
    ) -> Result<SessionId, String> {
        if let Some(why) = resources.iter().find_map(|resource| self.is_another(&name, resource)) {
            return Err(why);
        }
        let id = SessionId(self.next);
        self.next += 1;
        let mut served = BTreeMap::new();
        for Resource { name, primary, lineage, address } in resources {
            self.see(&name, primary);
            served.insert(name, Served { lineage, address });
        }
        self.sessions.insert(id, Session { name, resources: served, outbox, outstanding: BTreeSet::new() });
        Ok(id)
    }

    /// Branches on two databases under one name could not be told apart by what a primary says.
    fn is_another(&self, proxy: &str, new: &Resource) -> Option<String> {
        let (lineage, name, address) = (new.lineage?, &new.name, &new.address);
        let other = |session: &Session| {
            let served = session.resources.get(name)?;
            let differs = served.lineage.is_some_and(|other| other != lineage);
            differs.then(|| (session.name.clone(), served.clone()))
        };
        let (other, Served { lineage: known, address: place }) = self.sessions.values().find_map(other)?;
        let known = known.map_or_else(String::new, |known| known.to_string());
        Some(format!(
            "'{name}' of proxy {proxy} at {address} (identity {lineage}) is not the database that proxy {other} serves \
             under this name at {place} (identity {known}): these are two servers; give one another name. Set \
             database.name in the configuration of its proxies, and the same name in it: UPDATE atone.resource SET name \
             = '<the new name>'. If it has replaced the other for good, or is the same whose \
             atone.lineage was made anew, stop proxy {other} first"
        ))
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

    /// The proxy to give a task on a database: the least busy, rather not `last`, which had it before.
    pub fn choose(
        &self,
        resource: &str,
        lineage: Option<Lineage>,
        last: Option<SessionId>,
    ) -> Option<SessionId> {
        self.sessions
            .iter()
            .filter(|(_, session)| session.serves(resource, lineage))
            .filter(|(_, session)| session.outstanding.len() < OUTSTANDING && !session.outbox.is_closed())
            .min_by_key(|(id, session)| (Some(**id) == last, session.outstanding.len()))
            .map(|(id, _)| *id)
    }

    /// Somebody is connected who reaches the database where a branch ran.
    pub fn reach(&self, resource: &str, lineage: Option<Lineage>) -> bool {
        self.sessions.values().any(|session| session.serves(resource, lineage))
    }

    /// Why nobody is, and what a person can do.
    pub fn unreached(&self, resource: &str, lineage: Option<Lineage>) -> Option<String> {
        if self.reach(resource, lineage) {
            return None;
        }
        let named = self.sessions.values().find_map(|s| Some((&s.name, s.resources.get(resource)?)));
        let (Some((proxy, served)), Some(lineage)) = (named, lineage) else {
            return Some("no proxy that reaches it is connected".to_owned());
        };
        let (address, now) = (&served.address, served.lineage.map_or_else(String::new, |l| l.to_string()));
        Some(format!(
            "it ran on another server that was called '{resource}' (identity {lineage}) than the one that proxy {proxy} \
             serves at {address} (identity {now}), and waits for it. When no transaction is open on the one at {address}, \
             give that another name (database.name, and UPDATE atone.resource SET name = …), and connect a proxy to the \
             other under the name '{resource}'. If the \
             server at {address} is that server, restored from a backup of before: UPDATE atone.lineage SET lineage = \
             '{lineage}' there, and restart its proxies. If it is gone for good: atone tx resolve --gone"
        ))
    }
}
