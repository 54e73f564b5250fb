//! The HTTP API for people and monitoring: the command line can do nothing that this cannot.

mod audit;
mod branches;
mod metrics;
mod show;
mod transactions;

use crate::audit::Audit;
use crate::dispatch::Caller;
use atone_protocol::{Refusal, TxStatus, Xid, messages::Answer};
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// What the pages work with.
pub struct Desk {
    /// The leader.
    pub leader: Caller,
    /// This node's number.
    pub node_id: u64,
    /// What people did by force.
    pub(crate) audit: Arc<Audit>,
}

/// The desk, once it is there.
pub type Ready = Arc<OnceLock<Desk>>;

/// An error as people get it.
struct Problem(StatusCode, Value);

impl Problem {
    fn new(code: StatusCode, error: impl std::fmt::Display) -> Self {
        Self(code, json!({ "error": error.to_string() }))
    }

    fn bad(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    fn unknown(xid: Xid) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("no global transaction {xid}: it never began here, or its outcome is forgotten"),
        )
    }

    fn starting() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the coordinator is starting; try again")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// What an answer that is no success means to people.
fn problem(xid: Xid, answer: Answer, status: Option<TxStatus>) -> Problem {
    match answer {
        Answer::Refused(Refusal::Unknown) => Problem::unknown(xid),
        Answer::Refused(refusal @ (Refusal::Finished { .. } | Refusal::RollbackOnly { .. })) => {
            let status = match &refusal {
                Refusal::Finished { status, .. } => Some(*status),
                _ => status,
            };
            let status = status.map(TxStatus::as_str);
            Problem(StatusCode::CONFLICT, json!({ "error": refusal.to_string(), "status": status }))
        }
        Answer::Refused(refusal) => Problem::bad(refusal),
        Answer::Unavailable(why) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, why),
        Answer::NotLeader(leader) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("this node does not lead; '{leader}' may"))
        }
        answer @ (Answer::Done | Answer::Registered(_) | Answer::ReadChecked { .. } | Answer::Status(..)) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("answered {answer:?}"))
        }
    }
}

fn desk(ready: &Ready) -> Result<&Desk, Problem> {
    ready.get().ok_or_else(Problem::starting)
}

fn leader(ready: &Ready) -> Result<&Caller, Problem> {
    desk(ready).map(|desk| &desk.leader)
}

/// The routes.
pub fn router(ready: Ready) -> Router {
    Router::new()
        .route("/v1/health", get(health))
        .route("/v1/transactions", get(transactions::list).post(transactions::begin))
        .route("/v1/transactions/{xid}", get(transactions::show))
        .route("/v1/transactions/{xid}/commit", post(transactions::commit))
        .route("/v1/transactions/{xid}/rollback", post(transactions::rollback))
        .route("/v1/transactions/{xid}/branches/{branch}/rows", get(branches::rows))
        .route("/v1/transactions/{xid}/branches/{branch}/resolve", post(branches::resolve))
        .route("/v1/locks", get(transactions::locks))
        .route("/v1/audit", get(audit::list))
        .route("/metrics", get(metrics::render))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "no such page; the API is under /v1") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this page does not know that method")
        })
        .with_state(ready)
}

async fn health(Shared(ready): Shared<Ready>) -> Response {
    let Some(Desk { leader, node_id, .. }) = ready.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "starting" }))).into_response();
    };
    let leads = leader.node().leader().await;
    let proxies: Vec<_> = leader
        .proxies()
        .into_iter()
        .map(|(name, resources)| json!({ "name": name, "resources": resources }))
        .collect();
    let (code, status) = match leads {
        Some(_) => (StatusCode::OK, "ready"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
    };
    let body = json!({ "status": status, "node_id": node_id, "leader": leads, "proxies": proxies });
    (code, Json(body)).into_response()
}

/// The parameters of a query, each at most once, none but `known`.
fn parameters(query: Option<String>, known: &[&str]) -> Result<BTreeMap<String, String>, Problem> {
    let uri: axum::http::Uri = format!("/?{}", query.unwrap_or_default()).parse().map_err(Problem::bad)?;
    let axum::extract::Query(pairs) =
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).map_err(Problem::bad)?;
    let mut found = BTreeMap::new();
    for (key, value) in pairs {
        if !known.contains(&key.as_str()) {
            return Err(Problem::bad(format!("unknown parameter '{key}'; known are {}", known.join(", "))));
        }
        if found.insert(key.clone(), value).is_some() {
            return Err(Problem::bad(format!("parameter '{key}' is there twice")));
        }
    }
    Ok(found)
}

fn limit(parameters: &BTreeMap<String, String>, default: usize) -> Result<usize, Problem> {
    match parameters.get("limit") {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(limit @ 1..=10_000) => Ok(limit),
            _ => Err(Problem::bad(format!("limit '{text}' is not a number from 1 to 10000"))),
        },
    }
}

fn status(text: &str) -> Result<TxStatus, Problem> {
    use TxStatus::{Active, Blocked, Committed, RolledBack, RollingBack};
    let all = [Active, Committed, RollingBack, Blocked, RolledBack];
    all.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
        let words = all.map(TxStatus::as_str).join(", ");
        Problem::bad(format!("status '{text}' is none of {words}"))
    })
}
