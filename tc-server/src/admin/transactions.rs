//! Pages about transactions and locks.

use super::audit::{audited, deed};
use super::{Problem, Ready, desk, leader, limit, parameters, problem, show, status};
use crate::clock::wall_ms;
use crate::state::{DEFAULT_TIMEOUT_MS, LockRow, MAX_TIMEOUT_MS, State, Transaction};
use atone_protocol::messages::{Answer, Request};
use atone_protocol::{TxStatus, Xid};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// How long a person's rollback waits for the branches.
pub(super) const ROLLBACK_WAIT: Duration = Duration::from_secs(10);

pub(super) type Page = Result<Json<Value>, Problem>;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BeginBody {
    name: String,
    timeout_ms: Option<u64>,
    by: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DecideBody {
    reason: String,
    by: String,
}

pub(super) fn body<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::bad(format!("the body is not what it should be: {error}")))
}

pub(super) fn xid(text: &str) -> Result<Xid, Problem> {
    text.parse().map_err(Problem::bad)
}

pub(super) async fn begin(
    Shared(ready): Shared<Ready>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let desk = desk(&ready)?;
    let BeginBody { name, timeout_ms, by } = body(&bytes)?;
    let timeout_ms = timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
    if !(1..=MAX_TIMEOUT_MS).contains(&timeout_ms) {
        return Err(Problem::bad(format!("timeout_ms {timeout_ms} is not from 1 to {MAX_TIMEOUT_MS}")));
    }
    let xid = Xid::new(wall_ms(), rand::random());
    let timeout = Duration::from_millis(timeout_ms);
    let act = async {
        match desk.leader.answer(Request::Begin { xid, name: name.clone(), timeout }).await {
            Answer::Done => Ok(json!({
                "xid": xid.to_string(),
                "status": TxStatus::Active,
                "name": name,
                "timeout_ms": timeout_ms,
            })),
            answer => Err(problem(xid, answer, None)),
        }
    };
    let page = audited(desk, deed("begin", xid.to_string(), (&by, ""), peer)?, act, outcome).await?;
    Ok((StatusCode::CREATED, Json(page)))
}

/// How a deed that worked ended.
fn outcome(page: &Value) -> String {
    page["status"].as_str().unwrap_or_default().to_owned()
}

pub(super) async fn list(Shared(ready): Shared<Ready>, RawQuery(query): RawQuery) -> Page {
    let leader = leader(&ready)?;
    let parameters = parameters(query, &["status", "limit"])?;
    let limit = limit(&parameters, 100)?;
    let wanted = parameters.get("status").map(|text| status(text)).transpose()?;
    leader.node().linearize().await.map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    let rows: Vec<_> = leader
        .node()
        .read(|state| newest(state, wanted).take(limit).map(|(xid, tx)| show::summary(xid, tx)).collect());
    Ok(Json(json!({ "transactions": rows })))
}

/// Newest first. Active ones have an index; the finished ones of an hour need not be walked for them.
fn newest(state: &State, wanted: Option<TxStatus>) -> Box<dyn Iterator<Item = (Xid, &Transaction)> + '_> {
    match wanted {
        None => Box::new(state.transactions().rev()),
        Some(TxStatus::Active) => {
            let mut active: Vec<_> = state.active().collect();
            active.sort_unstable_by_key(|(xid, _)| std::cmp::Reverse(*xid));
            Box::new(active.into_iter())
        }
        Some(status @ (TxStatus::RollingBack | TxStatus::Blocked)) => {
            Box::new(state.unfinished().rev().filter(move |(_, tx)| tx.status() == status))
        }
        Some(status @ (TxStatus::Committed | TxStatus::RolledBack)) => {
            Box::new(state.transactions().rev().filter(move |(_, tx)| tx.status() == status))
        }
    }
}

pub(super) async fn show(Shared(ready): Shared<Ready>, Path(text): Path<String>) -> Page {
    let leader = leader(&ready)?;
    let xid = xid(&text)?;
    leader.node().linearize().await.map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    let page = leader.node().read(|state| {
        let tx = state.transaction(xid)?;
        Some(show::whole(xid, tx, &state.locks_of(xid)))
    });
    let mut page = page.ok_or_else(|| Problem::unknown(xid))?;
    show::add_put_off(&mut page, leader, xid);
    Ok(Json(page))
}

pub(super) async fn commit(
    Shared(ready): Shared<Ready>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(text): Path<String>,
    bytes: Bytes,
) -> Page {
    let desk = desk(&ready)?;
    let xid = xid(&text)?;
    let DecideBody { reason, by } = body(&bytes)?;
    let deed = deed("commit", xid.to_string(), (&by, &reason), peer)?;
    let act = async {
        match desk.leader.answer(Request::Commit { xid }).await {
            Answer::Status(status, _) => Ok(json!({ "xid": text, "status": status })),
            answer => {
                let now = desk.leader.node().read(|state| state.transaction(xid).map(Transaction::status));
                Err(problem(xid, answer, now))
            }
        }
    };
    Ok(Json(audited(desk, deed, act, outcome).await?))
}

pub(super) async fn rollback(
    Shared(ready): Shared<Ready>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(text): Path<String>,
    bytes: Bytes,
) -> Page {
    let desk = desk(&ready)?;
    let xid = xid(&text)?;
    let DecideBody { reason, by } = body(&bytes)?;
    let deed = deed("rollback", xid.to_string(), (&by, &reason), peer)?;
    let reason = if deed.why.is_empty() { "rolled back by an operator" } else { &deed.why }.to_owned();
    let act = async {
        match desk.leader.answer(Request::Rollback { xid, reason, wait: ROLLBACK_WAIT }).await {
            Answer::Status(status, _) => Ok(json!({ "xid": text, "status": status })),
            answer => Err(problem(xid, answer, None)),
        }
    };
    Ok(Json(audited(desk, deed, act, outcome).await?))
}

pub(super) async fn locks(Shared(ready): Shared<Ready>, RawQuery(query): RawQuery) -> Page {
    let leader = leader(&ready)?;
    let parameters = parameters(query, &["database", "table", "key", "xid", "limit"])?;
    let limit = limit(&parameters, 1_000)?;
    let holder = parameters.get("xid").map(|text| xid(text)).transpose()?;
    let is = |name: &str, value: &str| parameters.get(name).is_none_or(|wanted| wanted == value);
    let in_table = |table: &str| {
        let wanted = parameters.get("table");
        wanted.is_none_or(|wanted| wanted == table || table.split_once('.').is_some_and(|(_, t)| t == wanted))
    };
    leader.node().linearize().await.map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    let rows: Vec<_> = leader.look(|state, waiting| {
        let of_holder = holder.map(|xid| state.locks_of(xid).into_iter());
        let rows: Box<dyn Iterator<Item = LockRow<'_>>> = match of_holder {
            Some(rows) => Box::new(rows),
            None => Box::new(state.lock_rows()),
        };
        rows.filter(|row| {
            is("database", row.resource) && in_table(row.key.table()) && is("key", row.key.shown())
        })
        .take(limit)
        .map(|row| show::lock(&row, &waiting))
        .collect()
    });
    Ok(Json(json!({ "locks": rows })))
}
