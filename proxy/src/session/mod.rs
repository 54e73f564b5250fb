//! A client's conversation with its database, through us.
//!
//! Outside a global transaction commands and replies are relayed as bytes. Inside one ([`bound`]) every statement
//! is protected or refused; there is no third outcome.

mod ask;
mod bound;
mod checked;
mod connect;
mod control;
mod echo;
mod exchange;
mod failure;
mod guard;
mod keys;
mod local;
mod locking;
mod passing;
mod relay;
mod reset;
mod settings;
mod several;
mod skip_locked;
mod statements;
mod tracked;
mod write;
mod yielding;

pub use ask::{Answer, Backside, ServerError, TextRow};
pub use connect::{Connected, Door, SIGN_IN_LIMIT};
pub use settings::Settings;

use crate::{
    app::Resource,
    backend::MySql,
    bindings::Binding,
    branch::Branch,
    membership::Membership,
    net::Packets,
    wire::{auth::Method, capability, command, packet, params, scan},
};
use bytes::Bytes;
use echo::Echo;
use failure::Failure;
use guard::{Large, Touched};
use statements::Statements;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use write::Execution;

/// A command that is larger than this is relayed in pieces outside a global transaction.
const WHOLE_COMMAND: usize = 1 << 20;
/// A statement inside a global transaction may not be larger.
const STATEMENT_LIMIT: usize = 64 << 20;
/// Bytes of rows that one image may hold.
const IMAGE_BYTES: usize = 256 << 20;

/// Changes of schema and sql_mode that are remembered.
const READINGS: usize = 64;

/// Default schema and sql_mode.
type Reading = (Option<String>, String);

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
    mysql: Arc<MySql>,
    client: Packets,
    /// The number of the packet that answers the command, behind those of the command.
    answer: u8,
    backside: Backside,
    /// How the client signed in.
    method: Method,
    /// The server's last word on autocommit and open transactions.
    status: u16,
    /// None: they may have changed since they were last asked.
    settings: Option<Arc<Settings>>,
    statements: Statements,
    /// Which server the database connection is to; asked with the first settings.
    server: Option<Arc<str>>,
    membership: Membership,
    branch: Option<Branch>,
    /// The local transaction was rolled back behind the client's back; what every statement is told until it ends it.
    dead: Option<Failure>,
    /// Tables that no temporary table hides, as far as was asked since one could have been made.
    real_tables: BTreeSet<String>,
    /// Counts the possible changes of what text means: default schema and sql_mode.
    reading: u64,
    /// What they were, as far as was asked.
    readings: BTreeMap<u64, Reading>,
    /// LOCK TABLES is in force.
    tables_locked: bool,
    /// What the last statement left for the next one to ask about.
    echo: Option<Echo>,
    /// What it leaves if this one is refused.
    refused: Option<Echo>,
    /// The server's number of the connection.
    number: u64,
    /// How long it queued for global locks when it was last asked, if it said so.
    lock_wait: Option<Duration>,
    /// Outside global transactions: what the open local transaction has written.
    touched: Touched,
    opened: skip_locked::Opened,
    /// The last statement that was passed on as it came succeeded.
    last_relayed: bool,
    /// Outside global transactions: the error after which the local transaction may be over.
    doubt: Option<u16>,
    /// What was prepared in text, as far as it can be read, by its name.
    prepared_in_text: BTreeMap<String, Bytes>,
    /// How it wants to read.
    reads: checked::Reads,
    /// The client is told how its local transactions fare: what we ask in one would show.
    tracked: bool,
}

/// A command, whole.
#[derive(Clone)]
pub(crate) struct Command {
    /// Its frames as they came.
    frames: Bytes,
    /// Its payload.
    payload: Bytes,
}

impl Command {
    fn code(&self) -> u8 {
        self.payload.first().copied().unwrap_or_default()
    }
}

impl Session {
    /// A session that has been signed in.
    pub fn new(resource: Arc<Resource>, mysql: Arc<MySql>, connected: Connected) -> Self {
        let Connected { client, database, answer, method, status, number } = connected;
        // With an unknown sql_mode, which no other is like.
        let schema = answer.schema.as_ref().map(|schema| String::from_utf8_lossy(schema).into_owned());
        let readings = [(0, (schema.filter(|s| !s.is_empty()), "?".to_owned()))].into();
        let backside = Backside::new(database, answer.capabilities, resource.max_rows, IMAGE_BYTES);
        let statements = (resource.running.clone(), number);
        let membership = Membership::new(resource.coordinator.clone(), resource.bindings.clone(), statements);
        Self {
            resource,
            mysql,
            client,
            answer: 1,
            backside,
            method,
            status,
            settings: None,
            statements: Statements::default(),
            server: None,
            membership,
            branch: None,
            dead: None,
            real_tables: BTreeSet::new(),
            reading: 0,
            readings,
            tables_locked: false,
            echo: None,
            refused: None,
            number,
            lock_wait: None,
            touched: Touched::default(),
            opened: skip_locked::Opened::default(),
            last_relayed: false,
            doubt: None,
            prepared_in_text: BTreeMap::new(),
            reads: checked::Reads::default(),
            tracked: false,
        }
    }

    /// Serves the client until one side ends, or until we stop and it is between local transactions.
    pub async fn run(mut self, stop: CancellationToken) {
        let end = loop {
            match self.next(&stop).await {
                Ok(()) => {}
                Err(end) => break end,
            }
        };
        match end {
            End::Done => {}
            End::Broken(error) => {
                tracing::debug!(resource = self.resource.backend.name(), %error, "a session broke");
                self.resource.backend.doubt();
            }
        }
        // A branch that was not settled is rolled back by the server when its connection ends.
        self.client.close().await;
        self.backside.packets.close().await;
    }

    async fn next(&mut self, stop: &CancellationToken) -> Result<(), End> {
        self.wait_for_command(stop).await?;
        let Some((length, _)) = packet::header(self.client.arrived()) else { return Ok(()) };
        if length >= WHOLE_COMMAND && self.membership.binding.is_none() && !self.reads.watched {
            self.opened.forget();
            match self.look_at_large(length).await? {
                Large::Passed => return self.relay_large(length).await,
                Large::Guarded => return self.guard_large(length).await,
                Large::Held => {}
            }
        }
        if length >= packet::MAX_PAYLOAD {
            let payload = self.client.packet(STATEMENT_LIMIT).await?.payload;
            let (frames, answer) = packet::frames(&payload, 0);
            self.answer = answer;
            return self.dispatch(Command { frames: frames.into(), payload }).await;
        }
        self.answer = 1;
        self.client.fill_to(packet::HEADER + length).await?;
        let frames = self.client.take(packet::HEADER + length);
        let payload = frames.slice(packet::HEADER..);
        self.dispatch(Command { frames, payload }).await
    }

    /// Waits for the first bytes of a command; what the server says meanwhile (it is closing) goes to the client.
    async fn wait_for_command(&mut self, stop: &CancellationToken) -> Result<(), End> {
        while self.client.arrived().len() < packet::HEADER {
            let idle = self.status & capability::IN_TRANS == 0 && self.branch.is_none();
            tokio::select! {
                more = self.client.fill() => if !more? { return Err(End::Done) },
                more = self.backside.packets.fill() => {
                    let last = !more?;
                    let said = self.backside.packets.arrived().len();
                    self.backside.packets.pass_on(said, &mut self.client).await?;
                    if last {
                        self.resource.backend.doubt();
                        return Err(End::Done)
                    }
                }
                () = stop.cancelled(), if idle => return Err(End::Done),
                () = rolling_back(self.membership.binding.as_ref()), if !idle && self.membership.binding.is_some() => {
                    self.roll_back_locally().await?;
                    if let Some(binding) = &mut self.membership.binding {
                        binding.heard();
                        self.dead = Some(Failure::rolling_back(binding.xid));
                    }
                }
            }
        }
        Ok(())
    }

    async fn dispatch(&mut self, command: Command) -> Result<(), End> {
        self.statements.note(&command.payload);
        self.note_command(&command);
        match command.code() {
            command::QUIT => {
                self.backside.packets.write(&command.frames).await?;
                return Err(End::Done);
            }
            command::RESET_CONNECTION => return self.reset(command).await,
            command::CHANGE_USER => return self.change_user(command).await,
            command::STMT_PREPARE => return self.prepare(command).await,
            command::INIT_DB => {
                self.note_effect(scan::Effect::Reading);
                if command.payload[1..].eq_ignore_ascii_case(b"atone") {
                    return self.fail(&Failure::private()).await;
                }
            }
            _ => {}
        }
        self.backside.found = self.echo.as_ref().and_then(|echo| echo.found);
        self.refused = None;
        let command = match self.echo.take() {
            Some(echo) => match self.answer_from(echo, command).await? {
                Some((command, echo)) => {
                    self.refused = Some(echo);
                    command
                }
                None => return Ok(()),
            },
            None => command,
        };
        match self.reads.watched {
            true => self.dispatch_watched(command).await?,
            false => self.dispatch_plain(command).await?,
        }
        if let Some(found) = self.backside.found {
            self.echo.get_or_insert_default().found = Some(found);
        }
        Ok(())
    }

    async fn dispatch_plain(&mut self, command: Command) -> Result<(), End> {
        let done = match self.membership.xid() {
            Some(xid) => self.dispatch_inside(xid, command).await,
            None => self.dispatch_free(command).await,
        };
        if std::mem::take(&mut self.reads.named) {
            self.settings = None;
        }
        done
    }

    /// Outside a global transaction: only our own functions and our own schema are not simply relayed.
    async fn dispatch_free(&mut self, mut command: Command) -> Result<(), End> {
        let mut effect = scan::Effect::None;
        match command.code() {
            command::QUERY => {
                let Some(at) = self.text_at(&command) else { return self.relay(command).await.map(drop) };
                let text = command.payload.slice(at..);
                if scan::mentions_atone(&text) {
                    if let Err(failure) = self.hear_of_isolation(&text) {
                        return self.fail(&failure).await;
                    }
                    if let Some(control) = control::read(&text) {
                        return self.control(control, &[], control::Reply::Text(&command)).await;
                    }
                    if scan::names_schema(&text) {
                        return self.fail(&Failure::private()).await;
                    }
                }
                effect = scan::effect(&text);
                self.note_effect(effect);
                if self.guarding() {
                    match self.guard(&text, command, Some(Execution::Text)).await? {
                        Some(left) => command = left,
                        None => return Ok(()),
                    }
                } else {
                    self.note_lock(&text);
                }
            }
            command::STMT_EXECUTE | command::STMT_BULK_EXECUTE => {
                if let Some(control) = self.statements.control(&command.payload) {
                    return self.execute_control(control, command).await;
                }
                let text = self.statements.text(&command.payload);
                effect = text.as_ref().map_or(scan::Effect::None, |text| scan::effect(text));
                self.note_effect(effect);
                if self.guarding() {
                    match self.guard_prepared(text, command).await? {
                        Some(left) => command = left,
                        None => return Ok(()),
                    }
                } else {
                    let attributes = self.backside.capabilities & capability::QUERY_ATTRIBUTES != 0;
                    self.statements.note_types(&command.payload, attributes);
                    if let Some(text) = text {
                        self.note_lock(&text);
                    }
                }
            }
            _ => {}
        }
        let executed = (command.code() == command::STMT_EXECUTE).then(|| command.payload.clone());
        self.relay(command).await?;
        if let Some(payload) = executed {
            self.statements.forget_long_data(&payload);
        }
        if matches!(effect, scan::Effect::TemporaryTables | scan::Effect::Everything) {
            // It may have been DDL: other sessions are not to wait for the catalogue to be asked again by itself.
            self.mysql.catalogue.forget();
        }
        Ok(())
    }

    fn note_effect(&mut self, effect: scan::Effect) {
        if effect != scan::Effect::None {
            self.settings = None;
        }
        if matches!(effect, scan::Effect::Reading | scan::Effect::Everything) {
            self.reading += 1;
        }
        if matches!(effect, scan::Effect::TemporaryTables | scan::Effect::Everything) {
            self.real_tables.clear();
        }
    }

    fn note_lock(&mut self, text: &[u8]) {
        let word = scan::first_word(text);
        if word.eq_ignore_ascii_case(b"LOCK") || word.eq_ignore_ascii_case(b"UNLOCK") {
            self.tables_locked = word.eq_ignore_ascii_case(b"LOCK");
        }
    }

    /// Where the text of a COM_QUERY begins.
    fn text_at(&self, command: &Command) -> Option<usize> {
        params::query_text(&command.payload, self.backside.capabilities & capability::QUERY_ATTRIBUTES != 0)
    }

    /// COM_STMT_PREPARE: the text is remembered under the id that the server gives.
    async fn prepare(&mut self, command: Command) -> Result<(), End> {
        let text = command.payload.slice(1..);
        let mut sent = command;
        let mut control = None;
        if scan::mentions_atone(&text) {
            if let Err(failure) = self.hear_of_isolation(&text) {
                return self.fail(&failure).await;
            }
            control = control::read(&text);
            match &control {
                Some(Err(what)) => return self.fail(&Failure::unsupported(what)).await,
                Some(Ok(control)) => sent = control::prepared(control, &sent),
                None if scan::names_schema(&text) => return self.fail(&Failure::private()).await,
                None => {}
            }
        }
        let relayed = self.relay(sent).await?;
        if let Some((id, params)) = relayed.outcome.prepared {
            self.statements.prepared(id, params, text, control.and_then(Result::ok), self.reading);
        }
        Ok(())
    }

    /// Answers the client with an error of ours.
    async fn fail(&mut self, failure: &Failure) -> Result<(), End> {
        tracing::debug!(resource = self.resource.backend.name(), message = failure.message(), "refused");
        self.echo = self.refused.take();
        self.tell(&failure.payload()).await
    }

    /// Answers the client with one packet, an OK or an error.
    async fn tell(&mut self, payload: &[u8]) -> Result<(), End> {
        self.tell_end(payload, self.answer).await
    }

    /// The last packet of an answer, which has this number.
    async fn tell_end(&mut self, payload: &[u8], number: u8) -> Result<(), End> {
        let payload = self.backside.tracked.tell(payload);
        Ok(self.client.send(&payload, number).await?)
    }

    /// The settings, asked again if they may have changed.
    async fn settings(&mut self) -> Result<Arc<Settings>, End> {
        if let Some(known) = &self.settings {
            return Ok(known.clone());
        }
        let settings = match self.server {
            Some(_) => Settings::read(&mut self.backside).await?,
            None => {
                let identity = self.resource.backend.identity();
                let (settings, server) = Settings::read_first(&mut self.backside, identity).await?;
                self.server = Some(server);
                settings
            }
        };
        self.lock_wait = settings.lock_wait;
        let settings = Arc::new(settings);
        self.settings = Some(settings.clone());
        self.readings.insert(self.reading, (settings.schema.clone(), settings.sql_mode.clone()));
        if self.readings.len() > READINGS {
            self.readings.pop_first();
        }
        Ok(settings)
    }

    /// How long it queues for global locks.
    fn lock_wait(&self) -> Duration {
        self.lock_wait.unwrap_or(self.resource.lock_wait)
    }
    /// Does a prepared statement mean what it would mean if it were prepared now?
    fn reads_as_prepared(&self, payload: &[u8]) -> bool {
        let then = self.statements.reading(payload);
        let same =
            |then| self.readings.get(&then).is_some_and(|r| self.readings.get(&self.reading) == Some(r));
        then.is_some_and(|then| then == self.reading || same(then))
    }

    /// Is every statement its own local transaction?
    fn autocommits(&self) -> bool {
        self.status & capability::AUTOCOMMIT != 0 && self.status & capability::IN_TRANS == 0
    }
}

/// Waits until the bound transaction is being rolled back; for ever when there is none.
async fn rolling_back(binding: Option<&Binding>) {
    match binding {
        Some(binding) => binding.rolled_back().await,
        None => std::future::pending().await,
    }
}
