//! Wire to domain and back: the one boundary that owns the bytes. What does not make sense is refused here, with
//! a sentence, so that nothing behind it has to look at a message twice.

use crate::messages::{
    Answer, Bound, Check, CheckRead, Errand, FromProxy, Register, Request, Resource, Stuck, Task, TaskId,
    TaskKind, TaskOutcome, ToProxy, UndoMark, Yield,
};
use crate::wire::{self, answer, coordinator_message, proxy_message, refusal, task_report};
use crate::{BranchId, Lineage, LockKey, Looked, Refusal, TxStatus, VERSION, Xid};
use std::time::Duration;

/// The message makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WireError(String);

fn missing(what: &str) -> WireError {
    WireError(format!("a message without {what}; the other side speaks another version than {VERSION}"))
}

fn xid(text: &str) -> Result<Xid, WireError> {
    text.parse().map_err(|error| WireError(format!("{error}")))
}

/// Empty: none.
fn some_xid(text: &str) -> Result<Option<Xid>, WireError> {
    if text.is_empty() { Ok(None) } else { xid(text).map(Some) }
}

fn shown(xid: Option<Xid>) -> String {
    xid.map_or_else(String::new, |xid| xid.to_string())
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// 0: none.
fn number(lineage: Option<Lineage>) -> u64 {
    lineage.map_or(0, Lineage::as_u64)
}

impl From<Resource> for wire::Resource {
    fn from(r: Resource) -> Self {
        Self { name: r.name, primary: r.primary, lineage: number(r.lineage), address: r.address }
    }
}

impl From<wire::Resource> for Resource {
    fn from(r: wire::Resource) -> Self {
        Self { name: r.name, primary: r.primary, lineage: Lineage::new(r.lineage), address: r.address }
    }
}

impl From<LockKey> for wire::LockKey {
    fn from(k: LockKey) -> Self {
        Self { table: k.table, index: k.index, key: k.key, shown: k.shown }
    }
}

impl From<wire::LockKey> for LockKey {
    fn from(k: wire::LockKey) -> Self {
        Self { table: k.table, index: k.index, key: k.key, shown: k.shown }
    }
}

impl From<UndoMark> for wire::UndoMark {
    fn from(mark: UndoMark) -> Self {
        Self { run: mark.run, count: mark.count }
    }
}

impl From<wire::UndoMark> for UndoMark {
    fn from(mark: wire::UndoMark) -> Self {
        Self { run: mark.run, count: mark.count }
    }
}

impl From<TxStatus> for wire::TxStatus {
    fn from(status: TxStatus) -> Self {
        match status {
            TxStatus::Active => Self::Active,
            TxStatus::Committed => Self::Committed,
            TxStatus::RollingBack => Self::RollingBack,
            TxStatus::Blocked => Self::Blocked,
            TxStatus::RolledBack => Self::RolledBack,
        }
    }
}

fn wire_status(status: TxStatus) -> i32 {
    wire::TxStatus::from(status).into()
}

fn status(number: i32) -> Result<TxStatus, WireError> {
    match wire::TxStatus::try_from(number) {
        Ok(wire::TxStatus::Active) => Ok(TxStatus::Active),
        Ok(wire::TxStatus::Committed) => Ok(TxStatus::Committed),
        Ok(wire::TxStatus::RollingBack) => Ok(TxStatus::RollingBack),
        Ok(wire::TxStatus::Blocked) => Ok(TxStatus::Blocked),
        Ok(wire::TxStatus::RolledBack) => Ok(TxStatus::RolledBack),
        Ok(wire::TxStatus::Unknown) | Err(_) => Err(missing("a known status")),
    }
}

/// The body of a request, without its id.
pub fn request_to_wire(request: Request) -> proxy_message::Body {
    use proxy_message::Body;
    match request {
        Request::Begin { xid, name, timeout } => {
            Body::Begin(wire::Begin { xid: xid.to_string(), name, timeout_ms: ms(timeout) })
        }
        Request::Register(r) => Body::Register(wire::Register {
            xid: r.xid.to_string(),
            branch: r.branch.as_u64(),
            resource: r.resource,
            lineage: number(r.lineage),
            keys: r.keys.into_iter().map(Into::into).collect(),
            shared: r.shared.into_iter().map(Into::into).collect(),
            wait_ms: ms(r.wait),
            session: r.session,
        }),
        Request::Check(c) => Body::Check(wire::Check {
            xid: shown(c.xid),
            resource: c.resource,
            keys: c.keys.into_iter().map(Into::into).collect(),
            shared: c.shared.into_iter().map(Into::into).collect(),
            tables: c.tables,
            everything: c.everything,
            wait_ms: ms(c.wait),
            session: c.session,
        }),
        Request::CheckRead(c) => Body::CheckRead(wire::CheckRead {
            xid: shown(c.xid),
            resource: c.resource,
            tables: c.tables,
            everything: c.everything,
            since: c.since.map(Into::into),
            wait_ms: ms(c.wait),
            session: c.session,
            holds_rows: c.holds_rows,
        }),
        Request::Failed { xid, branch } => {
            Body::Failed(wire::Failed { xid: xid.to_string(), branch: branch.as_u64() })
        }
        Request::Commit { xid } => Body::Commit(wire::Commit { xid: xid.to_string() }),
        Request::Rollback { xid, reason, wait } => {
            Body::Rollback(wire::Rollback { xid: xid.to_string(), reason, wait_ms: ms(wait) })
        }
        Request::StatusOf { xid } => Body::StatusOf(wire::StatusOf { xid: xid.to_string() }),
    }
}

/// Anything a proxy says, as a message.
pub fn proxy_to_wire(message: FromProxy) -> wire::ProxyMessage {
    use proxy_message::Body;
    let (id, body) = match message {
        FromProxy::Hello { version, proxy, resources } => {
            let resources = resources.into_iter().map(Into::into).collect();
            (0, Body::Hello(wire::Hello { version, proxy, resources }))
        }
        FromProxy::Request(id, request) => (id, request_to_wire(request)),
        FromProxy::Settled { xid, branch, resource, primary } => {
            let branch = branch.as_u64();
            (0, Body::Settled(wire::Settled { xid: xid.to_string(), branch, resource, primary }))
        }
        FromProxy::Sees(resource) => (0, Body::Sees(resource.into())),
        FromProxy::Bound(Bound { resource, session, xid }) => {
            (0, Body::Bound(wire::Bound { resource, session, xid: shown(xid) }))
        }
        FromProxy::Stuck(Stuck { resource, session, xid, by }) => {
            (0, Body::Stuck(wire::Stuck { resource, session, xid: shown(xid), by }))
        }
        FromProxy::GiveUp(request) => (0, Body::GiveUp(wire::GiveUp { request })),
        FromProxy::Report { task, outcome, primary } => {
            let outcome = Some(outcome_to_wire(outcome));
            (0, Body::TaskReport(wire::TaskReport { task: task.0, outcome, primary }))
        }
    };
    wire::ProxyMessage { id, body: Some(body) }
}

fn outcome_to_wire(outcome: TaskOutcome) -> task_report::Outcome {
    match outcome {
        TaskOutcome::Done => task_report::Outcome::Done(wire::Done {}),
        TaskOutcome::Committed => task_report::Outcome::Committed(wire::Done {}),
        TaskOutcome::Guarded => task_report::Outcome::Guarded(wire::Done {}),
        TaskOutcome::Blocked(why) => task_report::Outcome::Blocked(why),
        TaskOutcome::Retry(why) => task_report::Outcome::Retry(why),
        TaskOutcome::Looked(looked) => task_report::Outcome::Looked((*looked).into()),
    }
}

/// Reads what a proxy said.
pub fn proxy_from_wire(message: wire::ProxyMessage) -> Result<FromProxy, WireError> {
    use proxy_message::Body;
    let request = match message.body.ok_or_else(|| missing("a body"))? {
        Body::Hello(h) => {
            let resources = h.resources.into_iter().map(Into::into).collect();
            return Ok(FromProxy::Hello { version: h.version, proxy: h.proxy, resources });
        }
        Body::Settled(s) => {
            return Ok(FromProxy::Settled {
                xid: xid(&s.xid)?,
                branch: BranchId::new(s.branch),
                resource: s.resource,
                primary: s.primary,
            });
        }
        Body::Bound(b) => {
            let xid = some_xid(&b.xid)?;
            return Ok(FromProxy::Bound(Bound { resource: b.resource, session: b.session, xid }));
        }
        Body::Stuck(s) => {
            let (resource, xid) = (s.resource, some_xid(&s.xid)?);
            return Ok(FromProxy::Stuck(Stuck { resource, session: s.session, xid, by: s.by }));
        }
        Body::GiveUp(given_up) => return Ok(FromProxy::GiveUp(given_up.request)),
        Body::Sees(s) => return Ok(FromProxy::Sees(s.into())),
        Body::TaskReport(r) => {
            let outcome = match r.outcome.ok_or_else(|| missing("an outcome"))? {
                task_report::Outcome::Done(_) => TaskOutcome::Done,
                task_report::Outcome::Committed(_) => TaskOutcome::Committed,
                task_report::Outcome::Guarded(_) => TaskOutcome::Guarded,
                task_report::Outcome::Blocked(why) => TaskOutcome::Blocked(why),
                task_report::Outcome::Retry(why) => TaskOutcome::Retry(why),
                task_report::Outcome::Looked(looked) => TaskOutcome::Looked(Box::new(Looked::from(looked))),
            };
            return Ok(FromProxy::Report { task: TaskId(r.task), outcome, primary: r.primary });
        }
        Body::Begin(b) => {
            Request::Begin { xid: xid(&b.xid)?, name: b.name, timeout: Duration::from_millis(b.timeout_ms) }
        }
        Body::Register(r) => Request::Register(Register {
            xid: xid(&r.xid)?,
            branch: BranchId::new(r.branch),
            resource: r.resource,
            lineage: Lineage::new(r.lineage),
            keys: r.keys.into_iter().map(Into::into).collect(),
            shared: r.shared.into_iter().map(Into::into).collect(),
            wait: Duration::from_millis(r.wait_ms),
            session: r.session,
        }),
        Body::Check(c) => Request::Check(Check {
            xid: some_xid(&c.xid)?,
            resource: c.resource,
            keys: c.keys.into_iter().map(Into::into).collect(),
            shared: c.shared.into_iter().map(Into::into).collect(),
            tables: c.tables,
            everything: c.everything,
            wait: Duration::from_millis(c.wait_ms),
            session: c.session,
        }),
        Body::CheckRead(c) => Request::CheckRead(CheckRead {
            xid: some_xid(&c.xid)?,
            resource: c.resource,
            tables: c.tables,
            everything: c.everything,
            since: c.since.map(Into::into),
            wait: Duration::from_millis(c.wait_ms),
            session: c.session,
            holds_rows: c.holds_rows,
        }),
        Body::Failed(f) => Request::Failed { xid: xid(&f.xid)?, branch: BranchId::new(f.branch) },
        Body::Commit(c) => Request::Commit { xid: xid(&c.xid)? },
        Body::Rollback(r) => {
            Request::Rollback { xid: xid(&r.xid)?, reason: r.reason, wait: Duration::from_millis(r.wait_ms) }
        }
        Body::StatusOf(s) => Request::StatusOf { xid: xid(&s.xid)? },
    };
    Ok(FromProxy::Request(message.id, request))
}

/// The answer to the request `id`.
pub fn answer_to_wire(id: u64, answer: Answer) -> wire::CoordinatorMessage {
    let body = match answer {
        Answer::Registered(sequence) => answer::Body::Registered(wire::Registered { sequence }),
        Answer::Status(status, reason) => {
            answer::Body::Status(wire::Status { status: wire_status(status), reason })
        }
        Answer::Refused(refusal) => refused(refusal_to_wire(refusal)),
        Answer::Done => answer::Body::Done(wire::Done {}),
        Answer::ReadChecked { mark, again } => {
            answer::Body::ReadChecked(wire::ReadChecked { mark: Some(mark.into()), again })
        }
        Answer::Unavailable(why) => refused(refusal::Body::Unavailable(why)),
        Answer::NotLeader(leader) => refused(refusal::Body::NotLeader(wire::NotLeader { leader })),
    };
    let answer = wire::Answer { body: Some(body) };
    wire::CoordinatorMessage { id, body: Some(coordinator_message::Body::Answer(answer)) }
}

fn refused(body: refusal::Body) -> answer::Body {
    answer::Body::Refusal(wire::Refusal { body: Some(body) })
}

fn refusal_to_wire(refusal: Refusal) -> refusal::Body {
    match refusal {
        Refusal::Unknown => refusal::Body::Unknown(wire::UnknownTransaction {}),
        Refusal::Finished { status, reason } => {
            refusal::Body::Finished(wire::Finished { status: wire_status(status), reason })
        }
        Refusal::Conflict { key, holder, holder_status, deadlock } => {
            refusal::Body::Conflict(wire::Conflict {
                key: Some(key.into()),
                holder: holder.to_string(),
                holder_status: wire_status(holder_status),
                deadlock,
            })
        }
        Refusal::RollbackOnly { reason } => refusal::Body::RollbackOnly(wire::RollbackOnly { reason }),
        Refusal::Invalid(why) => refusal::Body::Invalid(why),
    }
}

/// Reads an answer.
pub fn answer_from_wire(answer: wire::Answer) -> Result<Answer, WireError> {
    Ok(match answer.body.ok_or_else(|| missing("an answer"))? {
        answer::Body::Registered(r) => Answer::Registered(r.sequence),
        answer::Body::Status(s) => Answer::Status(status(s.status)?, s.reason),
        answer::Body::Done(_) => Answer::Done,
        answer::Body::ReadChecked(r) => {
            let mark = r.mark.ok_or_else(|| missing("a mark"))?.into();
            Answer::ReadChecked { mark, again: r.again }
        }
        answer::Body::Refusal(r) => refusal_from_wire(r)?,
    })
}

fn refusal_from_wire(refusal: wire::Refusal) -> Result<Answer, WireError> {
    Ok(Answer::Refused(match refusal.body.ok_or_else(|| missing("a refusal"))? {
        refusal::Body::Unknown(_) => Refusal::Unknown,
        refusal::Body::Finished(f) => Refusal::Finished { status: status(f.status)?, reason: f.reason },
        refusal::Body::Conflict(c) => Refusal::Conflict {
            key: c.key.ok_or_else(|| missing("the key of a conflict"))?.into(),
            holder: xid(&c.holder)?,
            holder_status: status(c.holder_status)?,
            deadlock: c.deadlock,
        },
        refusal::Body::RollbackOnly(r) => Refusal::RollbackOnly { reason: r.reason },
        refusal::Body::Invalid(why) => Refusal::Invalid(why),
        refusal::Body::Unavailable(why) => return Ok(Answer::Unavailable(why)),
        refusal::Body::NotLeader(n) => return Ok(Answer::NotLeader(n.leader)),
    }))
}

/// What a coordinator says unasked, as a message.
pub fn unasked_to_wire(said: ToProxy) -> wire::CoordinatorMessage {
    let body = match said {
        ToProxy::Task(task) => return task_to_wire(task),
        ToProxy::Errand(Errand::Whose { resource, sessions }) => {
            coordinator_message::Body::Whose(wire::Whose { resource, sessions })
        }
        ToProxy::Errand(Errand::Yield(Yield { resource, xid, chain, circle })) => {
            coordinator_message::Body::Yield(wire::Yield { resource, xid: xid.to_string(), chain, circle })
        }
    };
    wire::CoordinatorMessage { id: 0, body: Some(body) }
}

/// Reads a question about connections.
pub fn whose_from_wire(whose: wire::Whose) -> Errand {
    Errand::Whose { resource: whose.resource, sessions: whose.sessions }
}

/// Reads who is to yield.
pub fn yield_from_wire(told: wire::Yield) -> Result<Errand, WireError> {
    let wire::Yield { resource, xid: text, chain, circle } = told;
    Ok(Errand::Yield(Yield { resource, xid: xid(&text)?, chain, circle }))
}

/// A task, as a message.
fn task_to_wire(task: Task) -> wire::CoordinatorMessage {
    let kind = match task.kind {
        TaskKind::Resolve => wire::TaskKind::Resolve,
        TaskKind::RollBack => wire::TaskKind::RollBack,
        TaskKind::Forget => wire::TaskKind::Forget,
        TaskKind::Restore => wire::TaskKind::Restore,
        TaskKind::Keep => wire::TaskKind::Keep,
        TaskKind::Look { .. } => wire::TaskKind::Look,
    };
    let (rows, all) = if let TaskKind::Look { rows, all } = task.kind { (rows, all) } else { (0, false) };
    let task = wire::Task {
        task: task.id.0,
        xid: task.xid.to_string(),
        branch: task.branch.as_u64(),
        resource: task.resource,
        kind: kind.into(),
        rows,
        all,
    };
    wire::CoordinatorMessage { id: 0, body: Some(coordinator_message::Body::Task(task)) }
}

/// Reads a task.
pub fn task_from_wire(task: wire::Task) -> Result<Task, WireError> {
    let kind = match wire::TaskKind::try_from(task.kind).map_err(|_| missing("a known kind of task"))? {
        wire::TaskKind::Resolve => TaskKind::Resolve,
        wire::TaskKind::RollBack => TaskKind::RollBack,
        wire::TaskKind::Forget => TaskKind::Forget,
        wire::TaskKind::Restore => TaskKind::Restore,
        wire::TaskKind::Keep => TaskKind::Keep,
        wire::TaskKind::Look => TaskKind::Look { rows: task.rows, all: task.all },
    };
    Ok(Task {
        id: TaskId(task.task),
        xid: xid(&task.xid)?,
        branch: BranchId::new(task.branch),
        resource: task.resource,
        kind,
    })
}

mod looked;
#[cfg(test)]
mod tests;
