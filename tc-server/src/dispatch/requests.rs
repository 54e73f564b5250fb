//! What a proxy or a person may ask, and how it is answered: from applied entries only.

use super::Leader;
use super::checks::Waiting;
use super::turn::{Connection, Want, Who, conflict};
use super::waiters::Place;
use crate::raft::ProposeError;
use crate::state::{DEFAULT_TIMEOUT_MS, Entry, Lock, MAX_TIMEOUT_MS, Reply, State, Transaction};
use atone_protocol::messages::{Answer, Request};
use atone_protocol::{Check, LockKey, Refusal, Register, TxStatus, Xid, failpoint};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The longest anybody waits for a lock.
pub(super) const MAX_LOCK_WAIT: Duration = Duration::from_secs(3);
/// The longest anybody waits for a rollback to finish.
const MAX_ROLLBACK_WAIT: Duration = Duration::from_secs(60);
/// Keys in one branch.
const MAX_KEYS: usize = 100_000;

/// Asks on behalf of one stream or one person.
pub type Caller = Arc<Leader>;

pub(super) fn unavailable(error: ProposeError) -> Answer {
    match error {
        ProposeError::NotLeader(leader) => Answer::NotLeader(leader),
        ProposeError::Stopped(why) => Answer::Unavailable(why),
    }
}

pub(super) fn plain(reply: Reply) -> Answer {
    match reply {
        Reply::Done => Answer::Done,
        Reply::Registered(sequence) => Answer::Registered(sequence),
        Reply::Status(status, reason) => Answer::Status(status, reason),
        Reply::Refused(refusal) => Answer::Refused(refusal),
        Reply::BranchesChanged => Answer::Unavailable("branches keep joining while it commits".to_owned()),
    }
}

/// A registered interest in a transaction; gone with the asker.
pub(super) struct Watch {
    leader: Arc<Leader>,
    xid: Xid,
    changes: Option<watch::Receiver<()>>,
}

impl Watch {
    pub(super) fn new(leader: &Arc<Leader>, xid: Xid) -> Self {
        let changes = Some(leader.memory().watch(xid));
        Self { leader: Arc::clone(leader), xid, changes }
    }

    /// Something has happened to the transaction since the last call.
    pub(super) async fn changed(&mut self) {
        if let Some(changes) = &mut self.changes {
            let _ = changes.changed().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.changes = None;
        self.leader.memory().unwatch(self.xid);
    }
}

/// A place in the queue for locks; given up with the asker.
struct Ticket {
    leader: Arc<Leader>,
    place: Place,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leader.with(|state, memory| memory.waiters.leave(self.place.id, state));
    }
}

/// Waits for one key; given up with the asker.
struct Standing {
    leader: Arc<Leader>,
    waiting: Waiting,
    connection: Option<Connection>,
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut memory = self.leader.memory();
        memory.checks.leave(&self.waiting);
        if let Some(connection) = &self.connection {
            memory.waiters.graph.local_waits_no_more(connection);
        }
    }
}

impl Leader {
    /// Answers a request. Dropping the future gives up waiting; what was proposed is applied all the same.
    pub async fn answer(self: &Arc<Self>, request: Request) -> Answer {
        match request {
            Request::Begin { xid, name, timeout } => self.begin(xid, name, timeout).await,
            Request::Register(register) => {
                failpoint::reach("tc.before_register").await;
                let answer = self.register(register).await;
                failpoint::reach("tc.after_register").await;
                answer
            }
            Request::Check(check) => self.check(check).await,
            Request::CheckRead(check) => self.check_read(check).await,
            Request::Failed { xid, branch } => self.propose(Entry::Failed { xid, branch }).await,
            Request::Commit { xid } => self.commit(xid).await,
            Request::Rollback { xid, reason, wait } => self.rollback(xid, reason, wait).await,
            Request::StatusOf { xid } => self.status_of(xid).await,
        }
    }

    async fn propose(&self, entry: Entry) -> Answer {
        self.node.proposer.propose(entry).await.map_or_else(unavailable, plain)
    }

    async fn begin(&self, xid: Xid, name: String, timeout: Duration) -> Answer {
        let timeout_ms = match u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) {
            0 => DEFAULT_TIMEOUT_MS,
            ms if ms > MAX_TIMEOUT_MS => {
                let why = format!("a timeout of {ms} ms is over the most, which is {MAX_TIMEOUT_MS} ms");
                return Answer::Refused(Refusal::Invalid(why));
            }
            ms => ms,
        };
        if name.len() > 256 {
            return Answer::Refused(Refusal::Invalid("a name of over 256 bytes".to_owned()));
        }
        self.propose(Entry::Begin { xid, name, timeout_ms }).await
    }

    /// Where a transaction stands. Final outcomes never change; anything else is asked of the leader's log.
    pub async fn status_of(&self, xid: Xid) -> Answer {
        let look =
            || self.node.read(|state| state.transaction(xid).map(|tx| (tx.status(), tx.reason().to_owned())));
        if let Some((status @ (TxStatus::Committed | TxStatus::RolledBack), reason)) = look() {
            return Answer::Status(status, reason);
        }
        if let Err(why) = self.node.linearize().await {
            return Answer::Unavailable(why);
        }
        match look() {
            Some((status, reason)) => Answer::Status(status, reason),
            None => Answer::Refused(Refusal::Unknown),
        }
    }

    async fn register(self: &Arc<Self>, register: Register) -> Answer {
        let Register { xid, branch, resource, lineage, keys, shared, wait, session } = register;
        let count = keys.len() + shared.len();
        if count > MAX_KEYS {
            let why = format!("{count} locks in one branch are over the most, which is {MAX_KEYS}");
            return Answer::Refused(Refusal::Invalid(why));
        }
        let deadline = Instant::now() + wait.min(MAX_LOCK_WAIT);
        let connection = Connection::new(&resource, session);
        let wants = || wants(&resource, &keys, &shared).collect();
        let at = (resource.clone(), keys.clone(), shared.clone());
        let entry = match (lineage, at) {
            (Some(lineage), (resource, keys, shared)) => {
                Entry::RegisterOn { xid, branch, resource, lineage, keys, shared }
            }
            (None, (resource, keys, shared)) => Entry::RegisterShared { xid, branch, resource, keys, shared },
        };
        let queued = self.memory().waiters.len() > 0;
        let behind = queued.then(wants).filter(|wants: &Vec<Want>| {
            self.with(|state, memory| memory.waiters.must_queue(xid, wants, state))
        });
        let wants = match behind {
            Some(wants) => wants,
            None => match self.propose(entry.clone()).await {
                Answer::Refused(Refusal::Conflict { holder_status: TxStatus::Active, .. })
                    if !wait.is_zero() =>
                {
                    wants()
                }
                answer => {
                    if queued && !keys.is_empty() {
                        self.with(|state, memory| memory.waiters.granted(xid, state));
                    }
                    return answer;
                }
            },
        };
        self.wait_for_locks(xid, wants, connection, entry, deadline).await
    }

    async fn wait_for_locks(
        self: &Arc<Self>,
        xid: Xid,
        wants: Vec<Want>,
        connection: Option<Connection>,
        entry: Entry,
        deadline: Instant,
    ) -> Answer {
        let joined = self.with(|state, memory| {
            // Decided while we were asking: nobody will call us.
            if let Some(tx) = state.transaction(xid).filter(|tx| tx.decision.is_some()) {
                let (status, reason) = (tx.status(), tx.reason().to_owned());
                return Err(Box::new(Refusal::Finished { status, reason }));
            }
            let holds = |tx: &Transaction| tx.branches.values().any(|b| b.every_key().next().is_some());
            let holds_locks = state.transaction(xid).is_some_and(holds);
            memory.waiters.join(xid, holds_locks, wants.clone(), connection, state)
        });
        let ticket = match joined {
            Ok(place) => Ticket { leader: Arc::clone(self), place },
            Err(refusal) => return Answer::Refused(*refusal),
        };
        loop {
            match tokio::time::timeout_at(deadline, ticket.place.turn.called()).await {
                Ok(Some(refusal)) => return Answer::Refused(refusal),
                Ok(None) => {}
                Err(_) => {
                    let obstacle = self
                        .with(|state, memory| memory.waiters.obstacle(xid, &wants, ticket.place.id, state));
                    return match obstacle {
                        Some(refusal) => Answer::Refused(refusal),
                        None => self.propose(entry).await,
                    };
                }
            }
            match self.propose(entry.clone()).await {
                Answer::Refused(Refusal::Conflict { holder_status: TxStatus::Active, .. }) => {}
                answer => return answer,
            }
        }
    }

    /// Waits until nobody else holds any of these keys, nor any key of these tables or of the resource. Asked of the leader's log, by somebody
    /// who holds the rows' locks in the database: nobody can come to hold a key of theirs afterwards.
    async fn check(self: &Arc<Self>, check: Check) -> Answer {
        let count = check.keys.len() + check.shared.len();
        if count > MAX_KEYS {
            let why = format!("{count} keys in one check are over the most, which is {MAX_KEYS}");
            return Answer::Refused(Refusal::Invalid(why));
        }
        let deadline = Instant::now() + check.wait.min(MAX_LOCK_WAIT);
        // Within a global transaction it waits for its own answer only, as a statement in the database does.
        let connection = Connection::new(&check.resource, check.session).filter(|_| check.xid.is_none());
        loop {
            if let Err(why) = self.node.linearize().await {
                return Answer::Unavailable(why);
            }
            let joined = self.with(|state, memory| {
                #[cfg(feature = "planted-bugs")]
                if super::stale::was_free(state, &check) {
                    return Ok(None);
                }
                let Some((want, who)) = obstacle(state, &check) else { return Ok(None) };
                if check.wait.is_zero() || Instant::now() >= deadline {
                    let status = state.transaction(who).map_or(TxStatus::Active, Transaction::status);
                    return Err(Box::new(conflict(&want.lock, who, status)));
                }
                let waiting = memory.checks.join(want, check.xid, state)?;
                if let Some(connection) = connection.clone() {
                    let turn = Arc::clone(&waiting.turn);
                    memory.waiters.graph.local_waits(connection.clone(), waiting.want.clone(), turn);
                    if memory.waiters.graph.somebody_is_stuck() {
                        memory.waiters.break_circles_of(&Who::Local(connection), state);
                    }
                }
                Ok(Some(waiting))
            });
            let standing = match joined {
                Ok(None) => return Answer::Done,
                Ok(Some(waiting)) => {
                    Standing { leader: Arc::clone(self), waiting, connection: connection.clone() }
                }
                Err(refusal) => return Answer::Refused(*refusal),
            };
            // Otherwise it is free, or the time is up: looked at once more.
            if let Ok(Some(refusal)) = tokio::time::timeout_at(deadline, standing.waiting.turn.called()).await
            {
                return Answer::Refused(refusal);
            }
        }
    }

    /// Decides to roll back, sets blocked branches going again, and waits for the end.
    pub async fn rollback(self: &Arc<Self>, xid: Xid, reason: String, wait: Duration) -> Answer {
        let mut watch = Watch::new(self, xid);
        let reason = if reason.is_empty() { "rolled back by the application".to_owned() } else { reason };
        failpoint::reach("tc.before_decide").await;
        let mut answer = self.propose(Entry::Rollback { xid, reason: clip(reason) }).await;
        failpoint::reach("tc.after_decide").await;
        if let Answer::Status(TxStatus::Blocked, _) = answer {
            answer = self.propose(Entry::Retry { xid }).await;
        }
        match answer {
            Answer::Status(TxStatus::RollingBack, _) => {
                self.undone(xid, &mut watch, Instant::now() + wait.min(MAX_ROLLBACK_WAIT)).await
            }
            answer => answer,
        }
    }

    /// Waits until a rollback is finished or blocked, or the time is up.
    pub(super) async fn undone(&self, xid: Xid, watch: &mut Watch, deadline: Instant) -> Answer {
        loop {
            let now = self
                .node
                .read(|state| state.transaction(xid).map(|tx| (tx.status(), tx.reason().to_owned())));
            match now {
                Some((TxStatus::RollingBack, reason)) => {
                    if tokio::time::timeout_at(deadline, watch.changed()).await.is_err() {
                        return Answer::Status(TxStatus::RollingBack, reason);
                    }
                }
                Some((status, reason)) => return Answer::Status(status, reason),
                None => return Answer::Refused(Refusal::Unknown),
            }
        }
    }
}

fn wants(resource: &str, keys: &[LockKey], shared: &[LockKey]) -> impl Iterator<Item = Want> {
    let want = move |key: &LockKey, shared| {
        let lock = Lock { resource: resource.to_owned(), key: key.clone() };
        Want { lock, shared }
    };
    keys.iter().map(move |key| want(key, false)).chain(shared.iter().map(move |key| want(key, true)))
}

/// The first key that another transaction holds, and which one.
pub(super) fn obstacle(state: &State, check: &Check) -> Option<(Want, Xid)> {
    let against =
        |key: &LockKey, shared| state.locks().hold(&check.resource, key)?.against(check.xid, shared).next();
    let want = |key: LockKey, shared| {
        let lock = Lock { resource: check.resource.clone(), key };
        Want { lock, shared }
    };
    let of = |keys: &[LockKey], shared| {
        keys.iter().find_map(|key| Some((want(key.clone(), shared), against(key, shared)?)))
    };
    of(&check.keys, false).or_else(|| of(&check.shared, true)).or_else(|| {
        let in_table = |table: &String| state.locks().held_in(&check.resource, table, check.xid);
        let held = match check.everything {
            true => state.locks().held_at(&check.resource, check.xid),
            false => check.tables.iter().find_map(in_table),
        };
        held.map(|(key, who)| (want(key.to_lock_key(), false), who))
    })
}

/// Reasons come from outside and are kept for an hour.
pub(super) fn clip(mut reason: String) -> String {
    if reason.len() > 1024 {
        let end = (0..=1024).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or_default();
        reason.truncate(end);
    }
    reason
}
