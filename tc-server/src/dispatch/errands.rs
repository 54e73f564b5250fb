//! What proxies are asked about circles of which no part waits here: in which transactions the connections are for which
//! others wait in their databases, and which statement is to be interrupted.

use super::deadlock::Graph;
use super::memory::Memory;
use super::proxies::SessionId;
use super::turn::{Connection, Who};
use atone_protocol::messages::ToProxy;
use atone_protocol::{Bound, Errand, Xid, Yield};
use std::collections::{BTreeMap, BTreeSet};

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// Who told of the statement.
    Proxy(SessionId),
    /// Everybody who reaches the database.
    All,
}

/// Whose connections are, as far as proxies have told, and what is still to be asked of them.
#[derive(Debug, Default)]
pub(super) struct Errands {
    bound: BTreeMap<Connection, (Xid, SessionId)>,
    /// Sent by whoever has looked for circles, before anybody else looks.
    pub to_send: Vec<(To, Errand)>,
}

impl Errands {
    pub fn bound(&self, connection: &Connection) -> Option<Xid> {
        self.bound.get(connection).map(|(xid, _)| *xid)
    }

    /// Only of connections that somebody waits for: who did not ask for them need not remember them.
    pub fn keep(&mut self, is_awaited: impl Fn(&Connection) -> bool) {
        self.bound.retain(|connection, _| is_awaited(connection));
    }

    /// A proxy is gone, and its connections with it.
    pub fn forget(&mut self, told_by: SessionId) {
        self.bound.retain(|_, (_, proxy)| *proxy != told_by);
    }
}

impl Graph {
    /// Asks whose the connections are for which somebody waits and of which nothing is known: each time that a wait is told of,
    /// since one that was at a statement when it was asked about is not told of then.
    pub(super) fn ask_whose(&mut self) {
        let mut unknown: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for connection in self.awaited() {
            let known = self.waits_here(connection) || matches!(self.owner(connection), Who::Global(_));
            if !known {
                unknown.entry(connection.resource.clone()).or_default().push(connection.number);
            }
        }
        let whose = |(resource, sessions)| (To::All, Errand::Whose { resource, sessions });
        self.errands.to_send.extend(unknown.into_iter().map(whose));
    }

    /// A proxy tells in which transaction a connection is; whom to look for in a circle.
    pub fn bound(&mut self, told_by: SessionId, bound: Bound) -> Option<Who> {
        let connection = Connection::new(&bound.resource, bound.session)?;
        match bound.xid {
            Some(xid) if self.is_awaited(&connection) => {
                self.errands.bound.insert(connection, (xid, told_by));
                Some(Who::Global(xid))
            }
            Some(_) => None,
            None => {
                let known = self.errands.bound.get(&connection);
                if known.is_some_and(|(_, proxy)| *proxy == told_by) {
                    self.errands.bound.remove(&connection);
                }
                None
            }
        }
    }

    /// Has the statement interrupted by which `xid` waits for the next in the circle. False: none of its waits there.
    pub(super) fn interrupt(&mut self, xid: Xid, circle: &[Who]) -> bool {
        let found =
            self.stuck_of(xid).find_map(|(first, told_by)| Some((self.chain(first, circle)?, told_by)));
        let Some((chain, told_by)) = found else { return false };
        // Until its proxy tells of it again it counts as yielding: no other is to yield for the same circle.
        self.yields(&chain[0]);
        let resource = chain[0].resource.clone();
        let circle = circle.iter().map(Who::to_string).collect();
        let chain = chain.into_iter().map(|connection| connection.number).collect();
        let told = Yield { resource, xid, chain, circle };
        self.errands.to_send.push((To::Proxy(told_by), Errand::Yield(told)));
        true
    }

    /// Goes round the circle from one connection on, in databases only; the connections behind which it waits in its own, up
    /// to the next transaction. Of a transaction with several sessions not every one waits for what any of them waits for: one
    /// that waits itself waits for no more than that, and one that waits here, or is about to go on, is in no such circle.
    fn chain(&self, first: &Connection, circle: &[Who]) -> Option<Vec<Connection>> {
        let mut chain = vec![first.clone()];
        let mut here = BTreeSet::from([first]);
        let mut same_database = true;
        for who in circle.iter().skip(1).chain(circle.first()) {
            let by = here.iter().filter_map(|connection| self.waits_there(connection)).flatten();
            let reached: BTreeSet<_> =
                by.filter(|by| self.owner(by) == *who && !self.waits_here(by)).collect();
            if same_database {
                chain.push((*reached.first()?).clone());
            }
            same_database &= matches!(who, Who::Local(_));
            here = BTreeSet::new();
            for connection in &reached {
                match who {
                    Who::Global(xid) if self.waits_there(connection).is_none() => {
                        here.extend(self.stuck_of(*xid).map(|(other, _)| other));
                    }
                    Who::Global(_) | Who::Local(_) => drop(here.insert(connection)),
                }
            }
        }
        here.contains(first).then_some(chain)
    }
}

impl Memory {
    /// Sends what is to be asked. What a proxy's queue does not take is asked again with the next word of a statement that
    /// still waits.
    pub fn send_errands(&mut self) {
        for (to, errand) in std::mem::take(&mut self.waiters.graph.errands.to_send) {
            let resource = match &errand {
                Errand::Whose { resource, .. } => resource,
                Errand::Yield(told) => &told.resource,
            };
            let meant = |id: &SessionId| match &to {
                To::Proxy(proxy) => proxy == id,
                To::All => true,
            };
            let sessions = self.proxies.sessions.iter().filter(|(id, _)| meant(id));
            for (_, session) in sessions.filter(|(_, session)| session.resources.contains_key(resource)) {
                let _ = session.outbox.try_send(ToProxy::Errand(errand.clone()));
            }
        }
    }
}
