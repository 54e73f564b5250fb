//! A PostgreSQL client's conversation with its database, through us.
//!
//! Outside a global transaction messages are relayed as bytes, both ways at once ([`Session::run`]). Inside one, and where
//! the client speaks to us, each message is looked at in turn ([`turn`]); every statement is a read that the server's own
//! counters prove to be one, is protected, or is refused.

mod cancel;
mod connect;
mod control;
mod counters;
mod failure;
mod local;
mod pipeline;
mod query;
mod statements;
mod turn;
mod write;

pub use cancel::Cancels;
pub use connect::{Connected, Door};

use crate::{
    app::Resource,
    bindings::Binding,
    branch::Branch,
    membership::Membership,
    net::Packets,
    wire::postgres::{
        Pending, Startup, header,
        message::{HEADER, parameter},
    },
};
use cancel::Cancellable;
use counters::Counters;
use failure::Failure;
use pipeline::Pipeline;
use statements::Statements;
use std::{collections::BTreeMap, io, sync::Arc};
use tokio_util::sync::CancellationToken;

/// Texts larger than this are not looked at outside a global transaction.
const LOOK_LIMIT: usize = 1 << 20;
/// No transaction is open.
const IDLE: u8 = b'I';
/// A transaction is open and has failed.
const FAILED: u8 = b'E';

/// Why a conversation ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said goodbye or went away, or we are stopping.
    Done,
    /// A connection broke.
    Broken(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// One session.
pub struct Session {
    resource: Arc<Resource>,
    client: Packets,
    database: Packets,
    /// What the server reported of its settings.
    parameters: BTreeMap<String, String>,
    /// The session may enter global transactions; otherwise why not.
    fit: Result<(), String>,
    account: String,
    membership: Membership,
    cancellable: Cancellable,
    /// Relaying: what is not answered yet.
    pending: Pending,
    /// Relaying: bytes of a message under way from the client, and from the server.
    passing: (usize, usize),
    /// The server's transaction status, as of the last ReadyForQuery.
    status: u8,
    /// An explicit local transaction is open.
    block: bool,
    statements: Statements,
    pipeline: Pipeline,
    /// What the client gets next.
    answer: Vec<u8>,
    /// An error was met; the client's messages are skipped up to its Sync.
    skipping: bool,
    /// Writes whose rows are not in the branch yet.
    writes: Vec<write::Running>,
    branch: Option<Branch>,
    counters: Counters,
    /// The counters are among the questions gathered.
    counting: bool,
    /// Names of ours that are used up.
    names: u64,
    /// The local transaction was ended behind the client's back: what its next statement is told.
    ended: Option<Failure>,
}

impl Session {
    /// A session that has been signed in.
    pub fn new(resource: Arc<Resource>, cancels: &Arc<Cancels>, connected: Connected) -> Self {
        let Connected { client, database, startup, parameters, key, status } = connected;
        let membership = Membership::new(resource.coordinator.clone(), resource.bindings.clone());
        let fit = fit(&resource, &startup);
        Self {
            fit,
            account: startup.get("user").unwrap_or_default().to_owned(),
            membership,
            cancellable: cancels.enter(key),
            resource,
            client,
            database,
            parameters,
            pending: Pending::default(),
            passing: (0, 0),
            status,
            block: false,
            statements: Statements::default(),
            pipeline: Pipeline::default(),
            answer: Vec::new(),
            skipping: false,
            writes: Vec::new(),
            branch: None,
            counters: Counters::default(),
            counting: false,
            names: 0,
            ended: None,
        }
    }

    /// Serves the client until one side ends, or until we stop and it is between local transactions.
    pub async fn run(mut self, stop: CancellationToken) {
        let end = loop {
            match self.step(&stop).await {
                Ok(()) => {}
                Err(end) => break end,
            }
        };
        if let End::Broken(error) = end {
            tracing::debug!(resource = %self.resource.backend.name, %error, "a session broke");
        }
        // A branch that was not settled is rolled back by the server when its connection ends.
        let _ = self.client.write(&self.answer).await;
        self.client.close().await;
        self.database.close().await;
    }

    async fn step(&mut self, stop: &CancellationToken) -> Result<(), End> {
        if self.pass_client().await? {
            self.settle_down().await?;
            return Box::pin(self.attend(stop)).await;
        }
        let idle = self.pending.is_empty() && self.status == IDLE && self.passing == (0, 0);
        tokio::select! {
            more = self.client.fill() => if !more? { return Err(End::Done) },
            more = self.database.fill() => {
                let last = !more?;
                self.pass_database().await?;
                if last { return Err(End::Done) }
            }
            () = stop.cancelled(), if idle => return Err(End::Done),
        }
        Ok(())
    }

    /// Passes on what the client sent; true when the next message is to be looked at.
    async fn pass_client(&mut self) -> Result<bool, End> {
        let mut at = self.passing.0.min(self.client.arrived().len());
        self.passing.0 -= at;
        let mut attention = false;
        while self.passing.0 == 0 {
            if self.membership.binding.is_some() {
                attention = true;
                break;
            }
            let arrived = &self.client.arrived()[at..];
            let Some(head) = header(arrived) else { break };
            let (tag, length) = head.map_err(invalid)?;
            let looked_at = matches!(tag, b'Q' | b'P' | b'B') && length <= LOOK_LIMIT;
            if looked_at && arrived.len() < length {
                break;
            }
            if looked_at {
                let body = &arrived[HEADER..length];
                if self.statements.is_ours(tag, body) {
                    attention = true;
                    break;
                }
                self.statements.note(tag, body);
            }
            self.pending.sent(tag);
            let here = length.min(arrived.len());
            self.passing.0 = length - here;
            at += here;
        }
        self.client.pass_on(at, &mut self.database).await?;
        Ok(attention)
    }

    /// Passes on what the server sent.
    async fn pass_database(&mut self) -> Result<(), End> {
        let mut at = self.passing.1.min(self.database.arrived().len());
        self.passing.1 -= at;
        while self.passing.1 == 0 {
            let arrived = &self.database.arrived()[at..];
            let Some(head) = header(arrived) else { break };
            let (tag, length) = head.map_err(invalid)?;
            if matches!(tag, b'Z' | b'S') {
                if arrived.len() < length {
                    break;
                }
                let body = &arrived[HEADER..length];
                if tag == b'Z' {
                    self.status = body.first().copied().unwrap_or(IDLE);
                } else {
                    self.parameters.extend(parameter(body));
                }
            }
            self.pending.answered(tag);
            let here = length.min(arrived.len());
            self.passing.1 = length - here;
            at += here;
        }
        self.database.pass_on(at, &mut self.client).await?;
        Ok(())
    }

    /// Waits until all that was relayed is answered, so that what we say ourselves stands in its place.
    async fn settle_down(&mut self) -> Result<(), End> {
        if !self.pending.is_empty() {
            let mut flush = Vec::new();
            crate::wire::postgres::build::flush(&mut flush);
            self.database.write(&flush).await?;
        }
        while !self.pending.is_empty() || self.passing.1 > 0 {
            if !self.database.fill().await? {
                self.pass_database().await?;
                return Err(End::Done);
            }
            self.pass_database().await?;
        }
        self.block = self.status != IDLE;
        Ok(())
    }
}

fn invalid(what: &'static str) -> End {
    End::Broken(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Waits until the global transaction of a binding is being rolled back.
async fn rolling_back(binding: Option<&Binding>) {
    match binding {
        Some(binding) => binding.rolled_back().await,
        None => std::future::pending().await,
    }
}

/// Which sessions may enter a global transaction.
fn fit(resource: &Resource, startup: &Startup) -> Result<(), String> {
    if startup.get("replication").is_some_and(|r| !matches!(r, "false" | "off" | "no" | "0")) {
        return Err("a replication connection".into());
    }
    let ours = resource.backend.database();
    if startup.database() != ours {
        return Err(format!(
            "a session in database '{}'; this listener protects '{ours}' (add a [[database]] whose url names the other)",
            startup.database()
        ));
    }
    Ok(())
}
