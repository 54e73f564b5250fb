//! Plain reads under `atone.isolation = 'read_committed'`: their rows are held back until the coordinator has said that nobody
//! who wrote the tables is undecided, and read again if somebody has been undone meanwhile.
//!
//! Which tables those are the server tells by the locks that the session holds on them behind the read, whatever stood between:
//! views, functions, partitions, cursors. A session that has never named the setting pays nothing; from then on the server is
//! asked for its value before each read, since it may be set locally, taken back by a rollback, or reset.

use super::{
    End, Failure, IDLE, Session,
    counters::{PORTAL, Question},
    held::Held,
    pipeline::{Ask, Fate},
    query::{QUERY, runs_first},
    reading_words::{begins_block, gives_rows, is_fetch, names_setting, repeats, wrong_value},
    statements::Prepared,
};
use crate::{
    isolation::{self, HOLD_LIMIT, READS},
    lock_wait,
    wire::postgres::{Bind, build, message::Message, startup::Startup},
};
use atone_protocol::{CheckRead, UndoMark};
use atone_undo_log::postgres::Class;
use std::sync::Arc;

/// How the session wants to read.
pub(super) const READING: &str = "SELECT pg_catalog.current_setting('atone.isolation', true), \
    pg_catalog.current_setting('atone.lock_wait', true), pg_catalog.current_setting('transaction_isolation')";

/// Has the local transaction written or locked rows, are there cursors that outlived another, and all tables that it has
/// touched, under the names by which their rows are locked.
pub(super) const TOUCHED: &str = "SELECT CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL THEN 'w' END, \
    CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable) THEN 'h' END, t.kind, t.name FROM (VALUES (1)) one \
    LEFT JOIN (SELECT DISTINCT c.relkind::pg_catalog.text AS kind, (n.nspname || '.' || r.relname)::pg_catalog.text AS name \
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation \
    JOIN pg_catalog.pg_class r ON r.oid = coalesce(pg_catalog.pg_partition_root(c.oid), c.oid) \
    JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace WHERE l.locktype = 'relation' \
    AND l.pid = pg_catalog.pg_backend_pid() AND l.granted AND l.relation >= 16384 \
    AND c.relkind IN ('r', 'p', 'f', 'm') AND c.relpersistence <> 't') t ON true";

pub(super) const SETTING: &str = "atone.isolation";

/// What a session's checked reads need.
#[derive(Debug)]
pub(super) struct Reads {
    /// It has named the setting.
    pub watched: bool,
    /// Known before the local transaction began; None where that is not known.
    since: Option<UndoMark>,
    /// The message before this one ended what it stood in.
    ended: bool,
}

impl Reads {
    /// A session that begins like this.
    pub fn new(startup: &Startup) -> Self {
        let names = |text: &str| text.to_ascii_lowercase().contains(SETTING);
        let watched = startup.parameters.iter().any(|(name, value)| names(name) || names(value));
        Self { watched, since: None, ended: true }
    }
}

/// A read to be checked.
struct Reading<'r> {
    /// None: the server knows a cursor of this name, perhaps.
    prepared: Option<&'r Arc<Prepared>>,
    /// Executes it.
    frame: &'r [u8],
    /// Known before the server looked.
    since: Option<UndoMark>,
    /// By which it can be done once more.
    again: Option<&'r Bind>,
    /// It came by a simple Query.
    simple: bool,
    /// What it reads was chosen by another statement before.
    cursor: bool,
}

/// What the server told around a read.
struct Told {
    wait: Option<String>,
    /// Each statement sees what was committed before it.
    afresh: bool,
    written: bool,
    holdable: bool,
    tables: Vec<String>,
    /// A table that cannot be asked about, and why.
    unclear: Option<String>,
}

impl Told {
    /// None: not what was asked for. Err: the setting makes no sense.
    fn read(held: &Held) -> Option<Result<Self, String>> {
        let [before, behind] = held.told.as_slice() else { return None };
        let text = |row: &[Option<Vec<u8>>], at: usize| {
            row.get(at)?.as_deref().map(|text| String::from_utf8_lossy(text).into_owned())
        };
        let before = before.first()?;
        if let Err(why) = isolation::read(SETTING, text(before, 0).as_deref()) {
            return Some(Err(why));
        }
        let first = behind.first()?;
        let mut told = Self {
            wait: text(before, 1),
            afresh: matches!(text(before, 2)?.as_str(), "read committed" | "read uncommitted"),
            written: first.first()?.is_some(),
            holdable: first.get(1)?.is_some(),
            tables: Vec::new(),
            unclear: None,
        };
        for row in behind {
            let (Some(kind), Some(name)) = (text(row, 2), text(row, 3)) else { continue };
            match kind.as_str() {
                "f" => told.unclear = Some(format!("foreign table {name}, whose rows are elsewhere,")),
                "m" => told.unclear = Some(format!("materialized view {name}, filled whenever that was,")),
                _ => told.tables.push(name),
            }
        }
        Some(Ok(told))
    }
}

/// What cannot be checked is refused.
pub(super) fn uncheckable(what: &str) -> Failure {
    let sentence = format!(
        "{what} cannot be checked under {SETTING} = 'read_committed'; nothing was given. Read it with SET {SETTING} = \
         'read_uncommitted'"
    );
    Failure::new("0A000", sentence)
}

/// The older of two marks; of two runs of the coordinator neither is.
fn older(one: Option<UndoMark>, other: Option<UndoMark>) -> Option<UndoMark> {
    let (one, other) = (one?, other?);
    (one.run == other.run).then_some(if one.count < other.count { one } else { other })
}

impl Session {
    /// Takes note of what is known before a message that may begin a local transaction, and of the setting's name. True: the
    /// message was seen to.
    pub(super) async fn attend_to_isolation(&mut self, message: &Message) -> Result<bool, End> {
        let (tag, body) = (message.tag, message.body());
        if matches!(tag, b'Q' | b'P') && names_setting(body) {
            self.reads.watched = true;
            let text = body.split(|b| *b == 0).nth(usize::from(tag == b'P')).unwrap_or_default();
            if let (Some(why), false) = (wrong_value(text), self.failed()) {
                self.refuse(&Failure::new("22023", why)).await?;
                if tag == b'Q' {
                    self.on_sync().await?;
                }
                return Ok(true);
            }
        }
        self.reads.watched |= tag == b'B' && names_setting(body);
        let begins = std::mem::replace(&mut self.reads.ended, matches!(tag, b'S' | b'Q'));
        let between = self.status == IDLE && !self.block && !self.unsynced && self.pipeline.is_empty();
        if self.reads.watched && begins && between {
            let resource = self.resource.clone();
            let text = body.split(|b| *b == 0).nth(usize::from(tag == b'P')).unwrap_or_default();
            let begins = matches!(tag, b'Q' | b'P') && begins_block(text);
            resource.marks.prepare(&resource.coordinator, resource.backend.name(), begins).await;
            self.reads.since = resource.marks.known();
        }
        Ok(false)
    }

    /// Is this a read to be checked, if the session wants that?
    pub(super) fn is_checked(&self, prepared: &Prepared) -> bool {
        self.reads.watched
            && !self.failed()
            && gives_rows(prepared)
            && !(self.membership.binding.is_some() && matches!(prepared.class(), Class::Unsupported(_)))
    }

    /// Does the session want to see only what is decided? Asked of the server where its words do not matter.
    pub(super) async fn wants_committed(&mut self) -> Result<bool, End> {
        if !self.reads.watched || self.failed() || self.skipping {
            return Ok(false);
        }
        self.send().await?;
        if self.skipping {
            return Ok(false);
        }
        self.ask_around(Question::Reading, Fate::Gate);
        let mut ran = self.pipeline.run(&mut self.database, &mut self.client, &mut self.answer).await?;
        let held = std::mem::take(&mut ran.held);
        self.absorb(ran).await?;
        Ok(!held.passed)
    }

    /// A question of ours, with its answer's fate.
    pub(super) fn ask_around(&mut self, question: Question, fate: Fate) {
        for name in self.counters.stale() {
            self.pipeline.close(b'S', &name);
        }
        let (parse, bind) = self.counters.ask(question);
        self.statements.names_in_use = true;
        if let Some((name, sql)) = parse {
            self.pipeline.parse(&name, sql, &[], Fate::Drop);
        }
        self.pipeline.bind(&bind, Fate::Drop);
        self.pipeline.execute(PORTAL, fate);
        self.pipeline.close(b'P', PORTAL);
    }

    /// Execute of a read.
    pub(super) async fn checked_portal(
        &mut self,
        name: &[u8],
        prepared: &Arc<Prepared>,
        bind: &Bind,
        frame: &[u8],
    ) -> Result<(), End> {
        let now = self.statements.statement(&bind.statement);
        let same = now.is_some_and(|now| Arc::ptr_eq(&now, prepared));
        let Some(portal) = self.statements.portal(name) else { return Ok(()) };
        let (since, begun) = (portal.since, std::mem::replace(&mut portal.begun, true));
        let again = (same && !begun).then_some(bind);
        let (prepared, cursor) = (Some(prepared), is_fetch(prepared));
        self.checked(Reading { prepared, frame, since, again, simple: false, cursor }).await
    }

    /// Execute of a portal that only the server knows: a cursor that was declared in SQL, for one.
    pub(super) async fn checked_cursor(&mut self, frame: &[u8]) -> Result<(), End> {
        let reading =
            Reading { prepared: None, frame, since: None, again: None, simple: false, cursor: true };
        self.checked(reading).await
    }

    /// A read that came by a simple Query.
    pub(super) async fn checked_simple(&mut self, prepared: &Arc<Prepared>, none: &Bind) -> Result<(), End> {
        let since = self.resource.marks.known();
        self.pipeline.close(b'S', QUERY);
        self.pipeline.parse(QUERY, &prepared.text, &[], Fate::DropUnlessError);
        self.pipeline.bind(none, Fate::DropUnlessError);
        self.pipeline.describe("", if runs_first(prepared) { Fate::Withhold } else { Fate::DropNoData });
        let mut frame = Vec::new();
        build::execute(&mut frame, "");
        let cursor = is_fetch(prepared);
        let prepared = Some(prepared);
        self.checked(Reading { prepared, frame: &frame, since, again: Some(none), simple: true, cursor })
            .await
    }

    async fn checked(&mut self, reading: Reading<'_>) -> Result<(), End> {
        if self.skipping {
            return Ok(());
        }
        self.ask_around(Question::Reading, Fate::Gate);
        match reading.prepared {
            Some(prepared) if self.captures() => Box::pin(self.statement(prepared, reading.frame)).await?,
            Some(_) | None => self.pipeline.pass(reading.frame, Ask::Execute),
        }
        if self.skipping || !self.pipeline.hold_last() {
            return Ok(());
        }
        let mut since = reading.since;
        for round in 1.. {
            let Some(held) = self.run_held().await? else { return Ok(()) };
            let undone = match self.examine(&reading, &held, since).await? {
                Ok(None) => {
                    let at = self.answer.len();
                    self.complete = held.complete.map(|complete| at + complete).or(self.complete);
                    self.answer.extend(held.frames);
                    return Ok(());
                }
                Ok(Some(undone)) => undone,
                Err(failure) => return self.refuse(&failure).await,
            };
            let Some(bind) = reading.again.filter(|_| round < READS && undone.repeats) else {
                return self.refuse(&undone.failure(round)).await;
            };
            since = Some(undone.mark);
            if let (false, Some(portal)) = (reading.simple, self.statements.portal(&bind.portal)) {
                portal.since = since;
            }
            self.once_more(&reading, bind);
        }
        Ok(())
    }

    /// The same read again, within the same local transaction.
    fn once_more(&mut self, reading: &Reading<'_>, bind: &Bind) {
        if !bind.portal.is_empty() {
            self.pipeline.close(b'P', &String::from_utf8_lossy(&bind.portal));
        }
        self.pipeline.bind(bind, Fate::DropUnlessError);
        if reading.simple && reading.prepared.is_some_and(|p| runs_first(p)) {
            self.pipeline.describe("", Fate::Withhold);
        }
        self.ask_around(Question::Reading, Fate::Gate);
        self.pipeline.give(reading.frame, Ask::Execute, Fate::Hold);
    }

    /// None: there is nothing held back; an error came, or the session does not want it.
    async fn run_held(&mut self) -> Result<Option<Held>, End> {
        self.ask_around(Question::Touched, Fate::Behind);
        let mut ran = self.pipeline.run(&mut self.database, &mut self.client, &mut self.answer).await?;
        let held = std::mem::take(&mut ran.held);
        self.absorb(ran).await?;
        Ok((!self.skipping && !held.passed).then_some(held))
    }

    /// Ok(None): it is the client's. Ok(Some): it may not be there any more.
    async fn examine(
        &mut self,
        reading: &Reading<'_>,
        held: &Held,
        since: Option<UndoMark>,
    ) -> Result<Result<Option<Undone>, Failure>, End> {
        let told = match Told::read(held) {
            None => return Ok(Err(Failure::internal("a question of the proxy was not answered"))),
            Some(Err(why)) => return Ok(Err(Failure::new("22023", why))),
            Some(Ok(told)) => told,
        };
        if let Err(why) = &self.fit {
            return Ok(Err(uncheckable(why)));
        }
        if held.overflow {
            let what = format!(
                "the result is over {} MiB, more than is held back until it is known to be committed. Read it in parts, or \
                 with SET {SETTING} = 'read_uncommitted'",
                HOLD_LIMIT >> 20
            );
            return Ok(Err(Failure::new("54000", what)));
        }
        if let Some(what) = told.unclear {
            return Ok(Err(uncheckable(&what)));
        }
        if reading.cursor && told.holdable {
            return Ok(Err(uncheckable("a cursor beside one WITH HOLD, which outlives what it has read,")));
        }
        match lock_wait::read("atone.lock_wait", told.wait.as_deref()) {
            Ok(wait) => self.lock_wait = wait,
            Err(what) => return Ok(Err(Failure::misuse(what))),
        }
        if told.tables.is_empty() && !reading.cursor {
            return Ok(Ok(None));
        }
        let since = match (reading.cursor, told.afresh) {
            (true, _) => self.reads.since.filter(|_| self.block),
            (false, true) => since,
            (false, false) => older(since, self.reads.since),
        };
        let check = CheckRead {
            xid: self.membership.xid(),
            resource: self.resource.backend.name().to_owned(),
            tables: told.tables,
            everything: false,
            since,
            wait: self.lock_wait(),
            session: self.number,
            holds_rows: told.written,
        };
        let (resource, xid) = (self.resource.clone(), check.xid);
        let checked = tokio::select! {
            checked = resource.marks.check(&resource.coordinator, check) => checked,
            () = self.client.gone() => return Err(End::Done),
        };
        let fresh = told.afresh && !told.written && !reading.cursor;
        let repeats = fresh && reading.prepared.is_some_and(|p| repeats(p));
        Ok(match checked {
            Ok(None) => Ok(None),
            Ok(Some(mark)) => Ok(Some(Undone { mark, repeats })),
            Err(error) => Err(Failure::read(xid, &error)),
        })
    }
}

/// What was read may have been undone.
struct Undone {
    mark: UndoMark,
    /// It may be read again within the same local transaction.
    repeats: bool,
}

impl Undone {
    fn failure(&self, rounds: usize) -> Failure {
        let why = match self.repeats {
            true => format!("{rounds} times in a row"),
            false => "and cannot be read again within this local transaction".to_owned(),
        };
        let sentence = format!(
            "what was read was undone meanwhile by the rollback of a global transaction, or was one part of several that it \
             has committed, {why} ({SETTING} = 'read_committed'); try the local transaction again"
        );
        Failure::new("40001", sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_mark_counts_and_runs_are_not_compared() {
        let mark = |run, count| Some(UndoMark { run, count });
        assert_eq!(older(mark(1, 2), mark(1, 3)), mark(1, 2));
        assert_eq!(older(mark(1, 2), mark(2, 1)), None);
        assert_eq!(older(None, mark(1, 1)), None);
    }
}
