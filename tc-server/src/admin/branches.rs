//! Pages about one branch: what stands in its rows, and how a person ends it.

use super::audit::{audited, deed};
use super::transactions::{Page, ROLLBACK_WAIT, body, xid};
use super::{Desk, Problem, Ready, desk, limit, parameters, problem};
use crate::dispatch::Resolved;
use crate::state::{Branch, BranchStatus, Resolution, Transaction};
use atone_protocol::messages::Answer;
use atone_protocol::{BranchId, Looked, LookedColumn, LookedRow, Refusal, Xid};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;

/// Rows told when no number is asked for.
const ROWS: usize = 20;
/// Rows told at most.
const MOST_ROWS: usize = 1_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ResolveBody {
    how: Option<Resolution>,
    by: String,
    reason: String,
}

fn branch_id(text: &str) -> Result<BranchId, Problem> {
    text.parse().map_err(Problem::bad)
}

/// The branch as the leader's log has it now, with its transaction.
async fn branch(desk: &Desk, (xid, id): (Xid, BranchId)) -> Result<(Transaction, Branch), Problem> {
    let node = desk.leader.node();
    node.linearize().await.map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    let tx = node.read(|state| state.transaction(xid).cloned()).ok_or_else(|| Problem::unknown(xid))?;
    let branch = tx.branches.get(&id).cloned().ok_or_else(|| {
        let why = format!("global transaction {xid} has no branch {id}; atone tx show {xid} lists them");
        Problem::new(StatusCode::NOT_FOUND, why)
    })?;
    Ok((tx, branch))
}

pub(super) async fn rows(
    Shared(ready): Shared<Ready>,
    Path((text, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Page {
    let desk = desk(&ready)?;
    let (xid, id) = (xid(&text)?, branch_id(&id)?);
    let parameters = parameters(query, &["limit", "all"])?;
    let limit = limit(&parameters, ROWS)?.min(MOST_ROWS);
    let all = match parameters.get("all").map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(Problem::bad(format!("all '{other}' is neither true nor false"))),
    };
    let (_, branch) = branch(desk, (xid, id)).await?;
    if branch.resource.is_empty() {
        let why = format!(
            "branch {id} of global transaction {xid} failed before it was registered: it has no rows"
        );
        return Err(Problem::new(StatusCode::CONFLICT, why));
    }
    let asked = (u32::try_from(limit).unwrap_or(u32::MAX), all);
    let home = (branch.resource.as_str(), branch.lineage);
    let looked = desk.leader.look_at_rows((xid, id), home, asked).await;
    let looked = looked.map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    Ok(Json(page(xid, id, &branch, &looked)))
}

fn page(xid: Xid, id: BranchId, branch: &Branch, looked: &Looked) -> Value {
    json!({
        "xid": xid.to_string(),
        "branch": id.to_string(),
        "resource": branch.resource,
        "status": branch.status.as_str(),
        "reason": branch.reason,
        "record": looked.record,
        "in_the_way": looked.in_the_way,
        "as_left": looked.as_left,
        "as_before": looked.as_before,
        "unknown": looked.unknown,
        "trouble": looked.trouble,
        "rows": looked.rows.iter().map(row).collect::<Vec<_>>(),
        "more": looked.more,
    })
}

/// A column has `before`, `after` and `current` where there is such a row; null is NULL.
fn row(row: &LookedRow) -> Value {
    let column = |column: &LookedColumn| {
        let mut line = Map::new();
        line.insert("column".to_owned(), json!(column.name));
        for (name, there, value) in [
            ("before", row.before, &column.before),
            ("after", row.after, &column.after),
            ("current", row.current, &column.current),
        ] {
            if there {
                line.insert(name.to_owned(), json!(value));
            }
        }
        line.insert("differs".to_owned(), json!(column.differs));
        Value::Object(line)
    };
    json!({
        "table": row.table,
        "key": row.key,
        "state": row.state,
        "columns": row.columns.iter().map(column).collect::<Vec<_>>(),
    })
}

pub(super) async fn resolve(
    Shared(ready): Shared<Ready>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path((text, id)): Path<(String, String)>,
    bytes: Bytes,
) -> Page {
    let desk = desk(&ready)?;
    let (xid, id) = (xid(&text)?, branch_id(&id)?);
    let ResolveBody { how, by, reason } = body(&bytes)?;
    let how = how.ok_or_else(|| {
        Problem::bad("say how: \"how\" is one of \"retry\", \"restore\", \"keep-current\" and \"gone\"")
    })?;
    let mut deed = deed(&format!("resolve {}", how.as_str()), xid.to_string(), (&by, &reason), peer)?;
    deed.branch = id.to_string();
    if deed.who.is_empty() {
        return Err(Problem::bad("say who decides: \"by\" is missing (--by)"));
    }
    if deed.why.is_empty() && how != Resolution::Retry {
        let why = format!("{} needs a \"reason\" (--reason): it is kept with the transaction", how.as_str());
        return Err(Problem::bad(why));
    }
    let words = (deed.who.clone(), deed.why.clone());
    let act = async {
        branch(desk, (xid, id)).await?;
        match desk.leader.resolve((xid, id), how, words, ROLLBACK_WAIT).await {
            Ok(resolved) => ended(xid, id, how, &resolved),
            Err(Answer::Refused(Refusal::Invalid(why))) => {
                let status = desk.leader.node().read(|state| state.transaction(xid).map(Transaction::status));
                Err(Problem(StatusCode::CONFLICT, json!({ "error": why, "status": status })))
            }
            Err(answer) => Err(problem(xid, answer, None)),
        }
    };
    let done = audited(desk, deed, act, |page| page["branch_status"].as_str().unwrap_or_default().to_owned());
    Ok(Json(done.await?))
}

/// What became of the decision.
fn ended(xid: Xid, id: BranchId, how: Resolution, resolved: &Resolved) -> Result<Value, Problem> {
    let Resolved { status, branch, reason } = resolved;
    if *branch == BranchStatus::Blocked {
        let why = format!(
            "{} of branch {id} of global transaction {xid} did not work, nothing was changed, and it is blocked as before: {reason}",
            how.as_str()
        );
        return Err(Problem(StatusCode::CONFLICT, json!({ "error": why, "status": status })));
    }
    Ok(json!({
        "xid": xid.to_string(),
        "branch": id.to_string(),
        "how": how,
        "status": status,
        "branch_status": branch.as_str(),
    }))
}
