//! What people do by force is noted before and after; and the page that tells it.

use super::{Desk, Problem, Ready, desk, limit, parameters};
use crate::audit::Deed;
use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

/// Bytes of a name.
const WHO: usize = 128;
/// Bytes of a reason.
const WHY: usize = 1024;

/// A name or a reason on one line; refused when it is too long.
fn clean(what: &str, text: &str, most: usize) -> Result<String, Problem> {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim().to_owned();
    match text.len() {
        length if length > most => {
            Err(Problem::bad(format!("{what} of {length} bytes is over the most, which is {most}")))
        }
        _ => Ok(text),
    }
}

/// Somebody's deed, in clean words.
pub(super) fn deed(
    action: &str,
    xid: String,
    (who, why): (&str, &str),
    peer: SocketAddr,
) -> Result<Deed, Problem> {
    let (who, why) = (clean("'by'", who, WHO)?, clean("'reason'", why, WHY)?);
    Ok(Deed { action: action.to_owned(), xid, branch: String::new(), who, why, peer: peer.to_string() })
}

/// Does it, once it is noted. `outcome` is a word for a success.
pub(super) async fn audited<T>(
    desk: &Desk,
    deed: Deed,
    act: impl Future<Output = Result<T, Problem>>,
    outcome: impl FnOnce(&T) -> String,
) -> Result<T, Problem> {
    let audit = Arc::clone(&desk.audit);
    let action = deed.action.clone();
    let noted = tokio::task::spawn_blocking(move || audit.asked(&deed)).await;
    let under_way = noted.map_err(std::io::Error::other).flatten().map_err(|error| {
        let path = desk.audit.path().display();
        let why = format!("{action} was not begun, because the audit log {path} cannot be written ({error}); make room there, or mend the file");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)
    })?;
    let done = act.await;
    let outcome = match &done {
        Ok(done) => outcome(done),
        Err(Problem(code, body)) => {
            format!("{}: {}", code.as_u16(), body["error"].as_str().unwrap_or_default())
        }
    };
    let _ = tokio::task::spawn_blocking(move || under_way.ended(&outcome)).await;
    done
}

pub(super) async fn list(
    Shared(ready): Shared<Ready>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let desk = desk(&ready)?;
    let parameters = parameters(query, &["xid", "limit"])?;
    let limit = limit(&parameters, 100)?;
    let xid = parameters.get("xid").map(|text| text.parse::<atone_protocol::Xid>()).transpose();
    let xid = xid.map_err(Problem::bad)?.map(|xid| xid.to_string());
    let audit = Arc::clone(&desk.audit);
    let read = tokio::task::spawn_blocking(move || audit.latest(xid.as_deref(), limit)).await;
    let deeds = read.map_err(std::io::Error::other).flatten().map_err(|error| {
        let path = desk.audit.path().display();
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("the audit log {path} cannot be read: {error}"))
    })?;
    Ok(Json(json!({ "node_id": desk.node_id, "audit": deeds })))
}
