//! A small client of the HTTP API, and of the `atone` command line.

use crate::servers::binaries::{Profile, binaries};
use crate::{Context, Failure, Result};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// The API at one address.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    agent: ureq::Agent,
}

/// A status code and what came with it.
pub type Answer = (u16, Value);

impl Api {
    /// The API on this loopback port.
    pub fn new(port: u16) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let config = config.timeout_global(Some(Duration::from_secs(20))).proxy(None).build();
        Self { base: format!("http://127.0.0.1:{port}"), agent: config.into() }
    }

    /// GET, with the body as text.
    pub fn get_text(&self, path: &str) -> Result<(u16, String)> {
        let mut response = self.agent.get(format!("{}{path}", self.base)).call().or_fail(path)?;
        let text = response.body_mut().read_to_string().or_fail(path)?;
        Ok((response.status().as_u16(), text))
    }

    /// GET of JSON.
    pub fn get(&self, path: &str) -> Result<Answer> {
        let (status, text) = self.get_text(path)?;
        Ok((status, parse(path, &text)?))
    }

    /// POST of JSON; `Value::Null` posts nothing.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let response = match body {
            Value::Null => request.send_empty(),
            body => request.header("content-type", "application/json").send(body.to_string()),
        };
        let mut response = response.or_fail(path)?;
        let text = response.body_mut().read_to_string().or_fail(path)?;
        Ok((response.status().as_u16(), parse(path, &text)?))
    }

    /// Begins a transaction and gives its xid.
    pub fn begin(&self, name: &str, timeout_ms: u64) -> Result<String> {
        let (status, body) =
            self.post("/v1/transactions", &json!({"name": name, "timeout_ms": timeout_ms}))?;
        let xid = body["xid"].as_str().filter(|_| status == 201);
        xid.map(str::to_owned).or_fail(format!("begin answered {status} {body}"))
    }

    /// Commits.
    pub fn commit(&self, xid: &str) -> Result<Answer> {
        self.post(&format!("/v1/transactions/{xid}/commit"), &Value::Null)
    }

    /// Rolls back.
    pub fn rollback(&self, xid: &str) -> Result<Answer> {
        self.post(&format!("/v1/transactions/{xid}/rollback"), &json!({"reason": "asked by a test"}))
    }

    /// One transaction.
    pub fn transaction(&self, xid: &str) -> Result<Answer> {
        self.get(&format!("/v1/transactions/{xid}"))
    }

    /// The status of a transaction, as the coordinator spells it.
    pub fn status(&self, xid: &str) -> Result<String> {
        let (code, body) = self.transaction(xid)?;
        let status = body["status"].as_str().filter(|_| code == 200);
        status.map(str::to_owned).or_fail(format!("{xid}: {code} {body}"))
    }

    /// Locks that match a query such as `xid=…` or `table=shop.item&key=1`; empty for all.
    pub fn locks(&self, query: &str) -> Result<Vec<Value>> {
        let (status, mut body) = self.get(&format!("/v1/locks?{query}"))?;
        match body["locks"].take() {
            Value::Array(locks) if status == 200 => Ok(locks),
            _ => Err(Failure::new(format!("locks answered {status} {body}"))),
        }
    }
}

fn parse(path: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text).or_fail(format!("{path} answered no JSON but '{text}'"))
}

/// Runs `atone` against a server, and gives exit code, stdout and stderr.
pub fn atone(server: &str, args: &[&str]) -> Result<(i32, String, String)> {
    let mut command = Command::new(binaries(Profile::Debug)?.atone);
    let output = command.args(["--server", server]).args(args).output().or_fail("running atone")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr)))
}
