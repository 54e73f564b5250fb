//! Transactions and locks as JSON. Times are RFC 3339 in UTC with milliseconds.

use crate::audit::time;
use crate::dispatch::{Caller, Waiting};
use crate::state::{LockRow, Transaction};
use atone_protocol::Xid;
use serde_json::{Value, json};

/// A line of a list.
pub(super) fn summary(xid: Xid, tx: &Transaction) -> Value {
    json!({
        "xid": xid.to_string(),
        "name": tx.name,
        "status": tx.status(),
        "reason": tx.reason(),
        "begun_at": time(tx.begun_at),
        "deadline_at": time(tx.deadline_at),
        "branches": tx.branches.len(),
        "locks": tx.lock_count(),
    })
}

/// Everything about one.
pub(super) fn whole(xid: Xid, tx: &Transaction, locks: &[LockRow<'_>]) -> Value {
    let mut branches: Vec<_> = tx.branches.iter().collect();
    branches.sort_by_key(|(id, branch)| (branch.sequence, **id));
    let branches: Vec<_> = branches
        .into_iter()
        .map(|(id, branch)| {
            let mut line = json!({
                "branch": id.to_string(),
                "resource": branch.resource,
                "sequence": branch.sequence,
                "status": branch.status.as_str(),
                "reason": branch.reason,
                "keys": branch.registered_keys,
            });
            if let Some(lineage) = branch.lineage {
                line["lineage"] = json!(lineage.to_string());
            }
            line
        })
        .collect();
    let locks: Vec<_> = locks
        .iter()
        .map(|lock| {
            json!({
                "resource": lock.resource,
                "table": lock.key.table(),
                "index": lock.key.index(),
                "key": lock.key.shown(),
                "mode": mode(lock),
            })
        })
        .collect();
    let timeline: Vec<_> = tx
        .timeline
        .iter()
        .map(|event| {
            let mut line =
                json!({ "at": time(event.at), "event": event.kind.as_str(), "detail": event.detail });
            if let Some(branch) = event.branch {
                line["branch"] = json!(branch.to_string());
            }
            line
        })
        .collect();
    json!({
        "xid": xid.to_string(),
        "name": tx.name,
        "status": tx.status(),
        "reason": tx.reason(),
        "begun_at": time(tx.begun_at),
        "deadline_at": time(tx.deadline_at),
        "branches": branches,
        "locks": locks,
        "timeline": timeline,
    })
}

/// Branches whose phase two was put off, or whose database nobody reaches, say why, although that is no replicated truth.
pub(super) fn add_put_off(body: &mut Value, leader: &Caller, xid: Xid) {
    let Some(branches) = body["branches"].as_array_mut() else { return };
    let under_way = ["registered", "restoring", "keeping"];
    for branch in branches.iter_mut().filter(|b| under_way.iter().any(|status| b["status"] == *status)) {
        let id = branch["branch"].as_str().and_then(|id| id.parse().ok());
        if let Some(why) = id.and_then(|id| leader.put_off(xid, id)) {
            branch["reason"] = json!(why);
        }
    }
}

fn mode(row: &LockRow<'_>) -> &'static str {
    if row.shared { "shared" } else { "exclusive" }
}

/// A held lock.
pub(super) fn lock(row: &LockRow<'_>, waiting: &Waiting<'_>) -> Value {
    json!({
        "resource": row.resource,
        "table": row.key.table(),
        "index": row.key.index(),
        "key": row.key.shown(),
        "mode": mode(row),
        "xid": row.xid.to_string(),
        "branch": row.branch.to_string(),
        "since": time(row.since),
        "waiting": waiting.of(row.resource, &row.key.to_lock_key()),
    })
}
