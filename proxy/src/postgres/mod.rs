//! A PostgreSQL client's conversation with its database, through us.
//!
//! Outside a global transaction messages are relayed as bytes, both ways at once ([`Session::run`]). Inside one, and where
//! the client speaks to us, each message is looked at in turn ([`turn`]); every statement is a read that the server's own
//! counters prove to be one, is protected, or is refused.

mod cancel;
mod checked;
mod connect;
mod control;
mod copy;
mod counters;
mod counting;
mod defining;
mod failure;
mod first_words;
mod guard;
mod held;
mod local;
mod locking;
mod moves;
mod own_columns;
mod pipeline;
mod query;
mod reach;
mod reading_words;
mod search;
mod skip_locked;
mod statements;
mod sync;
mod texts;
mod turn;
mod write;
mod yielding;

pub use cancel::Cancels;
pub use connect::{Connected, Door};
pub use reach::Reach;

use crate::{
    app::Resource,
    bindings::Binding,
    branch::Branch,
    membership::Membership,
    net::{Event, Packets, duplex},
    wire::postgres::{
        Pending, header,
        message::{HEADER, parameter},
        startup::Startup,
    },
};
use cancel::Cancellable;
use counters::Counters;
use failure::Failure;
use guard::Targets;
use pipeline::Pipeline;
use statements::Statements;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Texts larger than this are not looked at outside a global transaction.
const LOOK_LIMIT: usize = 1 << 20;
/// No transaction is open.
const IDLE: u8 = b'I';
/// A transaction is open.
const OPEN: u8 = b'T';
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
    membership: Membership,
    /// What it writes outside global transactions is checked against their locks.
    guards: bool,
    /// What the names are that it writes to.
    targets: Targets,
    cancellable: Cancellable,
    /// Which server the database connection is to; empty until it enters a global transaction.
    server: Arc<str>,
    /// Relaying: what is not answered yet.
    pending: Pending,
    /// Relaying: bytes still to come of messages that are passed on, from the client and from the server.
    passing: (usize, usize),
    /// Relaying: bytes that have come and may be passed on.
    free: (usize, usize),
    /// A statement under way may define tables anew.
    defines: bool,
    /// Statements were run that no Sync has followed yet.
    unsynced: bool,
    /// Outside a block an Execute was sent that no Sync has followed yet.
    executed: bool,
    /// And then a simple Query, which from PostgreSQL 18 on does not end that pipeline, and nothing since.
    queried: bool,
    /// The server's transaction status, as of the last ReadyForQuery or of what has ended one since.
    status: u8,
    /// An explicit local transaction is open.
    block: bool,
    /// A block of ours stands around statements of a text.
    text_block: bool,
    /// The notice that there is none of the client's, for a PREPARE TRANSACTION that ends it.
    no_block: Vec<u8>,
    statements: Statements,
    pipeline: Pipeline,
    /// What the client gets next.
    answer: Vec<u8>,
    /// It is a simple Query that is being answered: how a statement ended is told when the commit is done.
    querying: bool,
    /// Where in the answer it is told how the last statement ended.
    complete: Option<usize>,
    /// An error was met; the client's messages are skipped up to its Sync.
    skipping: bool,
    /// The counters told of rows that nobody captured.
    refused: bool,
    /// The server's local transaction was made to fail, and awaits a Sync.
    poisoned: bool,
    /// Writes whose rows are not in the branch yet.
    writes: Vec<write::Running>,
    branch: Option<Branch>,
    counters: Counters,
    /// The counters are among the questions gathered.
    counting: bool,
    /// Names of ours that are used up.
    names: u64,
    /// The server's number of the connection.
    number: u64,
    /// How long it queues for global locks, if it says so.
    lock_wait: Option<Duration>,
    skip_locked: skip_locked::SkipLocked,
    /// How it wants to read.
    reads: checked::Reads,
    /// The local transaction was ended behind the client's back: what its next statement is told.
    ended: Option<Failure>,
    /// The same of one within a pipeline, which no statement can end.
    due: Option<sync::Due>,
}

impl Session {
    /// A session that has been signed in.
    pub fn new(resource: Arc<Resource>, cancels: &Arc<Cancels>, connected: Connected) -> Self {
        let Connected { client, database, startup, parameters, key, status } = connected;
        let number = key.first_chunk::<4>().map_or(0, |number| u32::from_be_bytes(*number).into());
        let statements = (resource.running.clone(), number);
        let membership = Membership::new(resource.coordinator.clone(), resource.bindings.clone(), statements);
        let (fit, reads) = (fit(&resource, &startup), checked::Reads::new(&startup));
        let mut session = Self {
            guards: resource.guards && fit.is_ok(),
            targets: Targets::default(),
            fit,
            membership,
            lock_wait: None,
            number,
            skip_locked: skip_locked::SkipLocked::default(),
            cancellable: cancels.enter(key),
            resource,
            client,
            database,
            parameters: BTreeMap::new(),
            server: "".into(),
            pending: Pending::default(),
            passing: (0, 0),
            free: (0, 0),
            defines: false,
            unsynced: false,
            executed: false,
            queried: false,
            status,
            block: false,
            text_block: false,
            no_block: Vec::new(),
            statements: Statements::default(),
            pipeline: Pipeline::default(),
            answer: Vec::new(),
            querying: false,
            complete: None,
            skipping: false,
            poisoned: false,
            refused: false,
            writes: Vec::new(),
            branch: None,
            counters: Counters::default(),
            counting: false,
            names: 0,
            reads,
            ended: None,
            due: None,
        };
        session.reported(parameters);
        session
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
            tracing::debug!(resource = %self.resource.backend.name(), %error, "a session broke");
        }
        // A branch that was not settled is rolled back by the server when its connection ends.
        let _ = self.client.write(&self.answer).await;
        self.client.close().await;
        self.database.close().await;
    }

    async fn step(&mut self, stop: &CancellationToken) -> Result<(), End> {
        if self.look_at_client()? && self.free == (0, 0) {
            self.settle_down().await?;
            Box::pin(self.attend(stop)).await?;
            // What is relayed from here on is not counted.
            self.counters.forget();
            return Ok(());
        }
        let idle = self.pending.is_empty() && self.status == IDLE && self.free == (0, 0);
        tokio::select! {
            event = duplex(&mut self.client, &mut self.database, self.free) => self.on_event(event?),
            () = stop.cancelled(), if idle => Err(End::Done),
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::FirstSaid => Ok(()),
            Event::SecondSaid => self.look_at_database(),
            Event::FirstPassed(bytes) => {
                self.free.0 -= bytes;
                Ok(())
            }
            Event::SecondPassed(bytes) => {
                self.free.1 -= bytes;
                Ok(())
            }
            Event::FirstEnded => Err(End::Done),
            Event::SecondEnded => {
                // What it said last is still the client's.
                self.answer.extend(self.database.arrived());
                Err(End::Done)
            }
        }
    }

    /// Frees what the client sent to be passed on; true when the next message is to be looked at.
    fn look_at_client(&mut self) -> Result<bool, End> {
        self.client.want(0);
        loop {
            let arrived = self.client.arrived().len() - self.free.0;
            let here = self.passing.0.min(arrived);
            self.passing.0 -= here;
            self.free.0 += here;
            if self.passing.0 > 0 {
                return Ok(false);
            }
            let arrived = &self.client.arrived()[self.free.0..];
            if self.membership.binding.is_some() || self.reads.watched {
                return Ok(!arrived.is_empty());
            }
            let Some(head) = header(arrived) else { return Ok(false) };
            let (tag, length) = head.map_err(invalid)?;
            if tag == b'Q' && self.guards && length <= turn::MESSAGE_LIMIT && self.goes_on() {
                return Ok(true);
            }
            if matches!(tag, b'Q' | b'P' | b'B') && length <= LOOK_LIMIT {
                let Some(message) = arrived.get(..length) else {
                    self.client.want(self.free.0 + length);
                    return Ok(false);
                };
                let body = &message[HEADER..];
                if self.statements.is_ours(tag, body) || self.guards && self.statements.may_write(tag, body) {
                    return Ok(true);
                }
                self.statements.note(tag, body);
                if tag != b'B' && first_words::changes_names(body) {
                    self.targets.forget();
                }
                self.defines |= tag != b'B' && statements::may_define(body);
            } else if self.guards && matches!(tag, b'Q' | b'P' | b'B') && length <= turn::MESSAGE_LIMIT {
                // What is so large is a write, or bound to one.
                return Ok(true);
            } else if matches!(tag, b'Q' | b'P') {
                let Some(name) = arrived[HEADER..].split_inclusive(|b| *b == 0).next() else {
                    self.client.want(self.free.0 + HEADER + 1);
                    return Ok(false);
                };
                if tag == b'P' && !name.ends_with(&[0]) && arrived.len() < length {
                    self.client.want(self.free.0 + arrived.len() + 1);
                    return Ok(false);
                }
                self.statements.overlook(tag, name.strip_suffix(&[0]).unwrap_or(name));
            }
            match tag {
                b'E' => (self.executed, self.unsynced) = (self.executed || self.status == IDLE, true),
                b'B' => self.skip_locked.bound_unseen = true,
                b'S' => {
                    (self.executed, self.queried, self.unsynced) = (false, false, false);
                    self.skip_locked.bound_unseen = false;
                }
                b'Q' => self.unsynced &= self.goes_on(),
                _ => {}
            }
            self.pending.sent(tag);
            self.passing.0 = length;
        }
    }

    /// Frees what the server sent to be passed on.
    fn look_at_database(&mut self) -> Result<(), End> {
        self.database.want(0);
        loop {
            let arrived = self.database.arrived().len() - self.free.1;
            let here = self.passing.1.min(arrived);
            self.passing.1 -= here;
            self.free.1 += here;
            if self.passing.1 > 0 {
                return Ok(());
            }
            let arrived = &self.database.arrived()[self.free.1..];
            let Some(head) = header(arrived) else { return Ok(()) };
            let (tag, length) = head.map_err(invalid)?;
            if matches!(tag, b'Z' | b'S') {
                let Some(message) = arrived.get(..length) else {
                    self.database.want(self.free.1 + length);
                    return Ok(());
                };
                let body = &message[HEADER..];
                if tag == b'Z' {
                    if std::mem::take(&mut self.defines)
                        && let Some(backend) = self.resource.backend.postgres()
                    {
                        // Other sessions are not to wait for the catalogue to be asked again by itself.
                        backend.forget_tables();
                    }
                    self.status = body.first().copied().unwrap_or(IDLE);
                } else {
                    let reported = parameter(body);
                    self.reported(reported);
                }
            }
            self.pending.answered(tag);
            self.passing.1 = length;
        }
    }

    /// The server reports settings.
    fn reported(&mut self, settings: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in settings {
            self.statements.reported(&name, &value);
            self.parameters.insert(name, value);
        }
    }

    /// Waits until all that was relayed is answered, so that what we say ourselves stands in its place.
    async fn settle_down(&mut self) -> Result<(), End> {
        // Statements that no Sync followed are part of a local transaction that is not over.
        if !self.pending.is_empty() {
            self.unsynced = !self.pending.ends_with_sync();
            let mut flush = Vec::new();
            crate::wire::postgres::build::flush(&mut flush);
            self.database.write(&flush).await?;
        }
        while !self.pending.is_empty() || self.passing.1 > 0 || self.free.1 > 0 {
            let event = duplex(&mut self.client, &mut self.database, self.free).await?;
            self.on_event(event)?;
        }
        self.block = self.status != IDLE && !self.goes_on();
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
