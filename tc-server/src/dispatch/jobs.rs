//! What phase two has still to do, as far as it is under way: which task of which branch is with which proxy.
//!
//! Which tasks there should be follows from the state alone ([`wanted`]); this table only remembers how far each is.

use super::proxies::{Home, SessionId};
use crate::state::{BranchStatus, Decision, Transaction};
use atone_protocol::{BranchId, TaskId, TaskKind, Xid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// A task without a report is given out again after this.
pub(super) const RESEND: Duration = Duration::from_secs(10);
const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

pub(super) type Key = (Xid, BranchId);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for a proxy.
    Queued,
    /// With a proxy.
    Sent(SessionId),
    /// Waits to be tried again.
    Backoff,
    /// Reported; waits to be applied.
    Reported,
}

#[derive(Debug)]
pub(super) struct Job {
    pub id: TaskId,
    pub kind: TaskKind,
    pub home: Home,
    pub phase: Phase,
    pub last: Option<SessionId>,
    pub due: Option<Instant>,
    /// Why it was put off, for who asks.
    pub why: String,
    backoff: Duration,
    /// Its place among the queued jobs of its resource.
    place: Option<u64>,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub table: BTreeMap<Key, Job>,
    ids: BTreeMap<TaskId, Key>,
    ready: BTreeMap<Home, BTreeMap<u64, Key>>,
    next_place: u64,
    due: BTreeSet<(Instant, Key)>,
}

/// The tasks a transaction needs now. `committing`: somebody waits for its commit, and `settled` says which branches
/// need no question.
pub(super) fn wanted(
    tx: &Transaction,
    committing: bool,
    settled: impl Fn(BranchId, &str) -> bool,
) -> BTreeMap<BranchId, (TaskKind, Home)> {
    let home = |b: &crate::state::Branch| (b.resource.clone(), b.lineage);
    let task = |kind: TaskKind| move |(id, b): (BranchId, &crate::state::Branch)| (id, (kind, home(b)));
    match &tx.decision {
        None if committing && tx.rollback_only.is_none() => tx
            .registered()
            .filter(|(id, b)| !settled(*id, &b.resource))
            .map(task(TaskKind::Resolve))
            .collect(),
        None => BTreeMap::new(),
        Some(Decision::Commit) => tx.registered().map(task(TaskKind::Forget)).collect(),
        Some(Decision::Rollback(_)) => newest_of_each_resource(tx)
            .into_iter()
            .filter_map(|(id, b)| Some((id, (undo(b.status)?, home(b)))))
            .collect(),
    }
}

/// How a branch is undone now; not at all while it waits for a person.
fn undo(status: BranchStatus) -> Option<TaskKind> {
    match status {
        BranchStatus::Registered => Some(TaskKind::RollBack),
        BranchStatus::Restoring => Some(TaskKind::Restore),
        BranchStatus::Keeping => Some(TaskKind::Keep),
        BranchStatus::Failed | BranchStatus::Done | BranchStatus::Blocked => None,
    }
}

/// Undo goes newest first on each resource, one branch at a time; a blocked branch keeps the older ones waiting.
fn newest_of_each_resource(tx: &Transaction) -> Vec<(BranchId, &crate::state::Branch)> {
    let mut newest: BTreeMap<&str, (BranchId, &crate::state::Branch)> = BTreeMap::new();
    for (id, branch) in &tx.branches {
        let open = branch.status.is_open();
        let newer = newest.get(branch.resource.as_str()).is_none_or(|(_, b)| b.sequence < branch.sequence);
        if open && newer {
            newest.insert(&branch.resource, (*id, branch));
        }
    }
    newest.into_values().collect()
}

impl Jobs {
    /// Makes the table agree with what `xid` wants: what is under way and still wanted goes on undisturbed.
    /// Gives back which tasks, with which proxies, are wanted no more.
    pub fn agree(
        &mut self,
        xid: Xid,
        mut wanted: BTreeMap<BranchId, (TaskKind, Home)>,
    ) -> Vec<(SessionId, TaskId)> {
        let first = (xid, BranchId::new(0));
        let last = (xid, BranchId::new(u64::MAX));
        let mut gone = Vec::new();
        for (key, job) in self.table.range(first..=last) {
            if wanted.get(&key.1).is_some_and(|(kind, _)| *kind == job.kind) {
                wanted.remove(&key.1);
            } else {
                gone.push(*key);
            }
        }
        let recalled = gone.into_iter().filter_map(|key| self.remove(key)).collect();
        for (branch, (kind, home)) in wanted {
            // Never reused, not even by the next process: a late report must not be taken for another task's.
            let id = TaskId(rand::random());
            let (phase, backoff, why) = (Phase::Queued, BACKOFF, String::new());
            let job = Job { id, kind, home, phase, last: None, due: None, why, backoff, place: None };
            self.table.insert((xid, branch), job);
            self.ids.insert(id, (xid, branch));
            self.requeue((xid, branch));
        }
        recalled
    }

    fn remove(&mut self, key: Key) -> Option<(SessionId, TaskId)> {
        self.unfile(key);
        let job = self.table.remove(&key)?;
        self.ids.remove(&job.id);
        if let Phase::Sent(session) = job.phase { Some((session, job.id)) } else { None }
    }

    /// Takes a job out of the queue and out of the timers.
    fn unfile(&mut self, key: Key) {
        let Some(job) = self.table.get_mut(&key) else { return };
        if let Some(at) = job.due.take() {
            self.due.remove(&(at, key));
        }
        if let Some(place) = job.place.take()
            && let Some(queue) = self.ready.get_mut(&job.home)
        {
            queue.remove(&place);
            if queue.is_empty() {
                self.ready.remove(&job.home);
            }
        }
    }

    /// The job of a task.
    pub fn find(&self, id: TaskId) -> Option<Key> {
        self.ids.get(&id).copied()
    }

    fn set(&mut self, key: Key, phase: Phase, due: Option<Instant>) {
        self.unfile(key);
        let Some(job) = self.table.get_mut(&key) else { return };
        (job.phase, job.due) = (phase, due);
        if let Some(at) = due {
            self.due.insert((at, key));
        }
        if phase == Phase::Queued {
            job.place = Some(self.next_place);
            self.ready.entry(job.home.clone()).or_default().insert(self.next_place, key);
            self.next_place += 1;
        }
    }

    pub fn sent(&mut self, key: Key, session: SessionId, now: Instant) {
        if let Some(job) = self.table.get_mut(&key) {
            job.last = Some(session);
        }
        self.set(key, Phase::Sent(session), Some(now + RESEND));
    }

    pub fn reported(&mut self, key: Key) {
        self.set(key, Phase::Reported, None);
    }

    pub fn requeue(&mut self, key: Key) {
        self.set(key, Phase::Queued, None);
    }

    /// Later: twice as late each time, somewhere in the second half of it.
    pub fn put_off(&mut self, key: Key, why: String, now: Instant) {
        let Some(job) = self.table.get_mut(&key) else { return };
        let wait = job.backoff.mul_f64(rand::random_range(0.5..1.0));
        job.backoff = (job.backoff * 2).min(BACKOFF_MAX);
        job.why = why;
        self.set(key, Phase::Backoff, Some(now + wait));
    }

    /// Jobs whose time has come are queued again; gives back those that a proxy kept for too long.
    pub fn expire(&mut self, now: Instant) -> Vec<(SessionId, TaskId)> {
        let mut late = Vec::new();
        while let Some((at, key)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, key));
            if let Some(job) = self.table.get(&key)
                && let Phase::Sent(session) = job.phase
            {
                late.push((session, job.id));
            }
            self.requeue(key);
        }
        late
    }

    /// When [`Jobs::expire`] has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Databases with queued jobs.
    pub fn ready_homes(&self) -> Vec<Home> {
        self.ready.keys().cloned().collect()
    }

    /// The longest queued job of a database.
    pub fn first_ready(&self, home: &Home) -> Option<Key> {
        self.ready.get(home)?.first_key_value().map(|(_, key)| *key)
    }
}
