//! All of the leader's memory in one place, behind one lock; what each part does is in its own file.

use super::checks::Checks;
use super::jobs::{Jobs, Phase, wanted};
use super::looks::Looks;
use super::proxies::{Home, Proxies, Session, SessionId};
use super::reads::Readers;
use super::turn::{Table, Want};
use super::waiters::Waiters;
use super::{Leader, jobs};
use crate::state::{Entry, Lock, State};
use atone_protocol::{BranchId, LockKey, Task, TaskId, TaskKind, TxStatus, Xid};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch;
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Memory {
    pub proxies: Proxies,
    pub waiters: Waiters,
    pub checks: Checks,
    pub readers: Readers,
    pub jobs: Jobs,
    pub looks: Looks,
    /// Transactions somebody wants to commit now, and how many do.
    pub committing: BTreeMap<Xid, usize>,
    /// Reported outcomes to be proposed, and whose task each answers. Never more than tasks outstanding.
    pub reports: Vec<(Entry, jobs::Key)>,
    /// Those who wait for something to happen to a transaction.
    pub watchers: BTreeMap<Xid, watch::Sender<()>>,
}

/// How many wait for locks, and what is connected: for metrics.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Waiters for locks.
    pub waiters: usize,
    /// Connected proxies.
    pub proxies: usize,
    /// Tasks of phase two that are not reported.
    pub tasks: usize,
}

/// How many wait for each lock.
pub struct Waiting<'a>(&'a Waiters, &'a Checks);

impl Waiting<'_> {
    /// Waiters for one key.
    pub fn of(&self, resource: &str, key: &LockKey) -> usize {
        self.0.waiting_for(resource, key) + self.1.waiting_for(resource, key)
    }
}

impl Table for State {
    fn others(&self, want: &Want, xid: Option<Xid>) -> Vec<(Xid, TxStatus)> {
        let status = |who| (who, self.transaction(who).map_or(TxStatus::Active, |tx| tx.status()));
        let hold = self.locks().hold(&want.lock.resource, &want.lock.key);
        hold.into_iter().flat_map(|hold| hold.against(xid, want.shared)).map(status).collect()
    }

    fn holds(&self, lock: &Lock, xid: Xid) -> bool {
        self.locks().hold(&lock.resource, &lock.key).is_some_and(|hold| hold.is_by(xid))
    }
}

impl Memory {
    /// Makes the tasks of a transaction agree with its state.
    pub fn refresh(&mut self, state: &State, xid: Xid) {
        let tasks = match state.transaction(xid) {
            Some(tx) => {
                let committing = self.committing.contains_key(&xid);
                wanted(tx, committing, |id, resource| self.proxies.is_settled(xid, id, resource))
            }
            None => BTreeMap::new(),
        };
        for (session, task) in self.jobs.agree(xid, tasks) {
            self.release(session, task);
        }
    }

    /// The proxy has the task no more.
    pub fn release(&mut self, session: SessionId, task: TaskId) {
        if let Some(session) = self.proxies.sessions.get_mut(&session) {
            session.outstanding.remove(&task);
        }
    }

    /// Gives queued tasks to proxies, as many as these take.
    pub fn pump(&mut self, now: Instant) {
        for home in self.jobs.ready_homes() {
            while let Some(key) = self.jobs.first_ready(&home)
                && self.give(&home, key, now)
            {}
        }
    }

    fn give(&mut self, (resource, lineage): &Home, key: jobs::Key, now: Instant) -> bool {
        let Some(job) = self.jobs.table.get(&key) else { return false };
        let Some(chosen) = self.proxies.choose(resource, *lineage, job.last) else { return false };
        let Some(session) = self.proxies.sessions.get_mut(&chosen) else { return false };
        let task = Task { id: job.id, xid: key.0, branch: key.1, resource: resource.clone(), kind: job.kind };
        if session.outbox.try_send(task.into()).is_err() {
            return false;
        }
        session.outstanding.insert(job.id);
        self.jobs.sent(key, chosen, now);
        true
    }

    /// There are reports, and all of them are of undo records deleted after a commit.
    pub fn only_forgets(&self) -> bool {
        let forgets = |key| self.jobs.table.get(key).is_none_or(|job| job.kind == TaskKind::Forget);
        !self.reports.is_empty() && self.reports.iter().all(|(_, key)| forgets(key))
    }

    /// Some task waits for a proxy that is there.
    pub fn can_pump(&self) -> bool {
        self.jobs.ready_homes().iter().any(|(resource, lineage)| self.proxies.reach(resource, *lineage))
    }

    /// A stream has ended: its tasks go to others at once.
    pub fn disconnect(&mut self, id: SessionId) {
        self.waiters.graph.forget(id);
        self.looks.disconnect(id);
        let Some(session) = self.proxies.sessions.remove(&id) else { return };
        for task in session.outstanding {
            if let Some(key) = self.jobs.find(task)
                && self.jobs.table.get(&key).is_some_and(|job| job.phase == Phase::Sent(id))
            {
                self.jobs.requeue(key);
            }
        }
    }

    /// Wakes who watches a transaction.
    pub fn tell(&mut self, xid: Xid) {
        if let Some(watchers) = self.watchers.get(&xid) {
            watchers.send_replace(());
        }
        self.readers.tell(xid);
    }

    pub fn watch(&mut self, xid: Xid) -> watch::Receiver<()> {
        self.watchers.entry(xid).or_insert_with(|| watch::channel(()).0).subscribe()
    }

    /// Called when a watcher has gone.
    pub fn unwatch(&mut self, xid: Xid) {
        if self.watchers.get(&xid).is_some_and(|watchers| watchers.receiver_count() == 0) {
            self.watchers.remove(&xid);
        }
    }
}

impl Leader {
    /// Counts, for metrics.
    pub fn seen(&self) -> Seen {
        let memory = self.memory();
        let waiters = memory.waiters.len() + memory.checks.len() + memory.readers.len();
        let proxies = memory.proxies.sessions.len();
        Seen { waiters, proxies, tasks: memory.jobs.table.len() }
    }

    /// State and waiters, for a list of locks.
    pub fn look<T>(&self, look: impl FnOnce(&State, Waiting<'_>) -> T) -> T {
        self.with(|state, memory| look(state, Waiting(&memory.waiters, &memory.checks)))
    }

    /// The connected proxies and their resources.
    pub fn proxies(&self) -> Vec<(String, BTreeSet<String>)> {
        let memory = self.memory();
        let names = |s: &Session| s.resources.keys().cloned().collect();
        memory.proxies.sessions.values().map(|s| (s.name.clone(), names(s))).collect()
    }

    /// Why phase two of a branch waits, if it was put off, or if nobody reaches its database.
    pub fn put_off(&self, xid: Xid, branch: BranchId) -> Option<String> {
        let memory = self.memory();
        let job = memory.jobs.table.get(&(xid, branch))?;
        let (resource, lineage) = &job.home;
        memory
            .proxies
            .unreached(resource, *lineage)
            .or_else(|| Some(job.why.clone()))
            .filter(|why| !why.is_empty())
    }
}
