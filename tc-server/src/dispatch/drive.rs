//! The driver: takes in effects and reports, wakes waiters, gives out tasks, and lets time pass.

use super::Leader;
use super::memory::Memory;
use super::proxies::SessionId;
use crate::state::{Decision, Effects, Entry, Lock, State};
use atone_protocol::messages::ToProxy;
use atone_protocol::{
    Bound, BranchId, Refusal, Resource, Stuck, TaskId, TaskKind, TaskOutcome, Xid, failpoint,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How exact deadlines are.
const TICK: Duration = Duration::from_millis(50);
/// How long reports that nobody waits for are gathered.
const PATIENCE: Duration = Duration::from_millis(10);
/// Without any event the driver looks again after this.
const IDLE: Duration = Duration::from_secs(1);

impl Leader {
    /// Drives for ever.
    pub async fn drive(&self) {
        loop {
            let effects = self.inbox.take();
            let can_pump = self.with(|state, memory| {
                absorb(state, memory, effects);
                for (session, task) in memory.jobs.expire(Instant::now()) {
                    memory.release(session, task);
                }
                memory.can_pump()
            });
            if can_pump {
                failpoint::reach("tc.before_dispatch").await;
                self.memory().pump(Instant::now());
            }
            let idle = Instant::now() + IDLE;
            let due = self.memory().jobs.next_due().unwrap_or(idle).min(idle);
            let _ = tokio::time::timeout_at(due, self.inbox.wake.notified()).await;
        }
    }

    /// Proposes what proxies have reported, all that is there in one go, for ever.
    pub async fn conclude(&self) {
        loop {
            // Nobody waits for a committed transaction's undo record to be forgotten: that need not cost the askers
            // of now a sync of its own.
            if self.memory().only_forgets() {
                tokio::time::sleep(PATIENCE).await;
            }
            let reports = std::mem::take(&mut self.memory().reports);
            if reports.is_empty() {
                self.reported.notified().await;
                continue;
            }
            let (entries, keys): (Vec<_>, Vec<_>) = reports.into_iter().unzip();
            if let Err(error) = self.node.proposer.propose_all(gather(entries)).await {
                tracing::warn!("reports of proxies not noted, their tasks will be repeated: {error}");
                let mut memory = self.memory();
                keys.into_iter().for_each(|key| memory.jobs.requeue(key));
            }
        }
    }

    /// Lets deadlines fall and outcomes be forgotten, for ever. Nothing is logged while nothing is due.
    pub async fn tick(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            let now = self.now();
            if self.node.read(|state| state.due(now))
                && let Err(error) = self.node.proposer.propose(Entry::Tick).await
            {
                tracing::debug!("no tick: {error}");
            }
        }
    }

    /// A proxy is there. Err: it serves another database under a name that is served already.
    pub fn connect(
        &self,
        name: String,
        resources: Vec<Resource>,
        outbox: mpsc::Sender<ToProxy>,
    ) -> Result<SessionId, String> {
        let id = self.memory().proxies.connect(name, resources, outbox)?;
        self.inbox.wake.notify_one();
        Ok(id)
    }

    /// A proxy's stream has ended.
    pub fn disconnect(&self, id: SessionId) {
        self.memory().disconnect(id);
        self.inbox.wake.notify_one();
    }

    /// A proxy has looked who the primary of a database is.
    pub fn sees(&self, id: SessionId, resource: Resource) {
        let mut memory = self.memory();
        if memory.proxies.sessions.get(&id).is_some_and(|s| s.resources.contains_key(&resource.name)) {
            memory.proxies.see(&resource.name, resource.primary);
        }
    }

    /// A proxy tells of a statement that waits in its database: if it waits in a circle, one of those in it yields.
    pub fn stuck(&self, id: SessionId, stuck: Stuck) {
        self.with(|state, memory| {
            if let Some(who) = memory.waiters.graph.tell(id, stuck) {
                memory.waiters.break_circles_of(&who, state);
            }
        });
    }

    /// A proxy tells in which global transaction a connection is for which others wait in their database.
    pub fn bound(&self, id: SessionId, bound: Bound) {
        self.with(|state, memory| {
            if let Some(who) = memory.waiters.graph.bound(id, bound) {
                memory.waiters.break_circles_of(&who, state);
            }
        });
    }

    /// A hint; worth remembering only for a live branch of an undecided transaction.
    pub fn settled(&self, xid: Xid, branch: BranchId, resource: &str, primary: &str) {
        self.with(|state, memory| {
            let Some(tx) = state.transaction(xid).filter(|tx| tx.decision.is_none()) else { return };
            if tx.registered().any(|(id, b)| id == branch && b.resource == resource) {
                memory.proxies.hint(xid, branch, resource, primary);
                memory.tell(xid);
            }
        });
    }

    /// A proxy reports on a task, perhaps on one that was given to another meanwhile: that is as good. What was done on
    /// a primary of former times is as good as not done.
    pub fn report(&self, session: SessionId, task: TaskId, outcome: TaskOutcome, primary: &str) {
        self.with(|state, memory| {
            memory.release(session, task);
            let Memory { looks, proxies, .. } = &mut *memory;
            let is_primary = |resource: &str| proxies.is_primary(resource, primary);
            let Some(outcome) = looks.answer(task, outcome, is_primary) else { return };
            let Some(key) = memory.jobs.find(task) else { return };
            conclude_one(state, memory, key, outcome, primary);
        });
        self.reported.notify_one();
        self.inbox.wake.notify_one();
    }
}

fn conclude_one(
    state: &State,
    memory: &mut Memory,
    key: (Xid, BranchId),
    outcome: TaskOutcome,
    primary: &str,
) {
    let (xid, branch) = key;
    let Some(job) = memory.jobs.table.get(&key) else { return };
    let resource = job.home.0.clone();
    let tried = matches!(outcome, TaskOutcome::Retry(_));
    if !tried && !memory.proxies.is_primary(&resource, primary) {
        tracing::warn!(%xid, %branch, resource, primary, "{:?} on what is not the primary; trying again", job.kind);
        memory.jobs.put_off(key, "it was done on what is the primary no more".to_owned(), Instant::now());
        return;
    }
    let entry = match (job.kind, outcome) {
        (TaskKind::RollBack | TaskKind::Restore | TaskKind::Keep | TaskKind::Forget, TaskOutcome::Done) => {
            Entry::Done { xid, branches: vec![branch] }
        }
        (TaskKind::RollBack | TaskKind::Restore | TaskKind::Keep, TaskOutcome::Blocked(reason)) => {
            tracing::warn!(%xid, %branch, resource, "rollback is blocked, a person is needed: {reason}");
            Entry::Blocked { xid, branch, reason }
        }
        (TaskKind::Resolve, TaskOutcome::Committed) => {
            memory.proxies.hint(xid, branch, &resource, primary);
            memory.refresh(state, xid);
            memory.tell(xid);
            return;
        }
        (TaskKind::Resolve, TaskOutcome::Guarded) => {
            Entry::Rollback { xid, reason: format!("branch {branch} on {resource} never committed locally") }
        }
        (kind, TaskOutcome::Retry(why)) => {
            tracing::debug!(%xid, %branch, resource, ?kind, "put off: {why}");
            memory.jobs.put_off(key, why, Instant::now());
            return;
        }
        (
            kind @ (TaskKind::Resolve
            | TaskKind::RollBack
            | TaskKind::Forget
            | TaskKind::Restore
            | TaskKind::Keep
            | TaskKind::Look { .. }),
            outcome @ (TaskOutcome::Done
            | TaskOutcome::Committed
            | TaskOutcome::Guarded
            | TaskOutcome::Blocked(_)
            | TaskOutcome::Looked(_)),
        ) => {
            tracing::warn!(%xid, %branch, resource, "{kind:?} was reported as {outcome:?}; trying again");
            memory.jobs.put_off(key, format!("reported as {outcome:?}"), Instant::now());
            return;
        }
    };
    memory.jobs.reported(key);
    memory.reports.push((entry, key));
}

/// One `Done` per transaction, the rest as it is.
fn gather(entries: Vec<Entry>) -> Vec<Entry> {
    let mut done: BTreeMap<Xid, Vec<BranchId>> = BTreeMap::new();
    let mut others = Vec::new();
    for entry in entries {
        match entry {
            Entry::Done { xid, mut branches } => done.entry(xid).or_default().append(&mut branches),
            other => others.push(other),
        }
    }
    others.extend(done.into_iter().map(|(xid, branches)| Entry::Done { xid, branches }));
    others
}

fn absorb(state: &State, memory: &mut Memory, effects: Effects) {
    let nobody_waits = memory.waiters.len() + memory.checks.len() == 0;
    for xid in &effects.decided {
        memory.proxies.drop_hints(*xid);
        let Some(tx) = state.transaction(*xid) else { continue };
        if nobody_waits {
            continue;
        }
        let own = Refusal::Finished { status: tx.status(), reason: tx.reason().to_owned() };
        let theirs: Vec<_> = match &tx.decision {
            Some(Decision::Rollback(_)) => state.locks_of(*xid).iter().map(|row| row.lock()).collect(),
            Some(Decision::Commit) | None => Vec::new(),
        };
        memory.waiters.decided(*xid, &own, &theirs);
        memory.checks.rolls_back(*xid, &theirs);
    }
    for xid in effects.decided.iter().chain(&effects.moved).chain(&effects.forgotten) {
        memory.refresh(state, *xid);
        memory.tell(*xid);
    }
    if nobody_waits {
        return;
    }
    for (resource, keys) in &effects.freed {
        for key in keys.iter() {
            let lock = Lock { resource: resource.clone(), key: key.to_lock_key() };
            memory.waiters.call_next(&lock, state);
            memory.checks.freed(&lock);
        }
    }
}
