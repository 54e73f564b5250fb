//! Plain reads under `@atone_isolation = 'read_committed'`: their answers are held back until the coordinator has said that
//! nobody who wrote the tables is undecided, and read again if somebody has been undone meanwhile.
//!
//! Which tables those are is told by the names in the text and by what stands behind these (views, routines, triggers); where
//! that is not sure it is every table. A session that has never named the variable pays nothing.

use super::{
    Answer, Command, End, Failure, Session, Settings, control,
    guard::{Mark, Touched, kind},
    locking::may_lock,
    relay,
    several::{Parts, may_be_several, parts},
};
use crate::{
    backend::Reach,
    isolation::{self, HOLD_LIMIT, READS},
    wire::{
        capability::{AUTOCOMMIT, IN_TRANS, QUERY_ATTRIBUTES},
        command, packet, params,
        scan::{first_word, mentions_atone, names_schema},
    },
};
use atone_protocol::{CallError, CheckRead, Refusal, TxStatus, UndoMark};
use atone_undo_log::{
    analyze::{Class, Locks, classify, locks, names_in},
    sql::{Kind as TokenKind, SqlMode, Token, tokens},
};
use bytes::Bytes;
use std::sync::Arc;

const SETTING: &str = "@atone_isolation";

/// What a session's checked reads need.
#[derive(Default)]
pub(super) struct Reads {
    /// It has named the variable.
    pub watched: bool,
    /// The statement under way may set it.
    pub named: bool,
    /// Known before the local transaction began.
    since: Option<UndoMark>,
    /// What the variable was when the session's settings were asked for: these.
    known: Option<(Arc<Settings>, Result<bool, Failure>)>,
}

/// A read to be checked.
struct Reading {
    reach: Reach,
    /// It calls functions, which may write.
    calls: bool,
    /// It may be done twice.
    repeats: bool,
}

/// What a command is here.
enum Look {
    /// Nothing to be checked.
    Other,
    Read(Reading),
    /// Several statements, each of which is looked at.
    Several(Bytes, Parts),
    Refused(Failure),
}

/// What a statement's words say.
enum Words {
    Other,
    Read,
    /// It runs the statement of this name.
    Executes(String),
    Uncheckable(&'static str),
}

fn words(text: &[u8], mode: SqlMode) -> Words {
    let Ok(all) = tokens(text, mode) else {
        return Words::Uncheckable("a text that the proxy cannot read");
    };
    let says = |words: &[&str]| all.iter().any(|t| words.iter().any(|word| t.is_word(text, word)));
    let Some(first) = all.iter().find(|t| !t.is_punct(text, b'(')) else { return Words::Other };
    let gives = ["SELECT", "TABLE", "VALUES"];
    if first.kind != TokenKind::Word {
        return if says(&gives) {
            Words::Uncheckable("a text that begins with no word")
        } else {
            Words::Other
        };
    }
    let writes = || says(&["INSERT", "UPDATE", "DELETE", "REPLACE"]);
    match first.text(text).to_ascii_uppercase().as_slice() {
        b"SELECT" | b"TABLE" | b"VALUES" | b"WITH" => {
            let locking = may_lock(text) && locks(text, mode) != Locks::None;
            let with = first.is_word(text, "WITH") && says(&["UPDATE", "DELETE"]);
            match classify(text, mode) {
                Class::Write | Class::Control(_) => Words::Other,
                _ if locking || with => Words::Other,
                _ if keeps(text, &all) => {
                    Words::Uncheckable("a read that keeps what it finds in a variable or a file")
                }
                _ => Words::Read,
            }
        }
        b"EXPLAIN" | b"DESC" | b"DESCRIBE" if says(&["ANALYZE"]) && !writes() => Words::Read,
        b"ANALYZE" if says(&gives[..1]) && !writes() => Words::Read,
        b"EXECUTE" => match kind::executes(text, mode) {
            Some(name) => Words::Executes(name),
            None => Words::Uncheckable("EXECUTE of no name"),
        },
        b"HANDLER" => Words::Uncheckable("HANDLER"),
        b"SET" if says(&["STATEMENT"]) && says(&gives) => Words::Uncheckable("SET STATEMENT … FOR a read"),
        b"SET" if says(&["TRANSACTION"]) && says(&["UNCOMMITTED"]) => Words::Uncheckable(
            "the isolation level READ UNCOMMITTED, which shows what is not even committed locally,",
        ),
        _ => Words::Other,
    }
}

/// Does a read put what it finds into variables or files, where it stays whatever becomes of the answer?
fn keeps(text: &[u8], all: &[Token]) -> bool {
    let assigns = |two: &[Token]| {
        two[0].is_punct(text, b':') && two[1].is_punct(text, b'=') && two[0].end == two[1].start
    };
    all.iter().any(|t| t.is_word(text, "INTO"))
        || all.windows(2).any(assigns)
        || all.iter().any(|t| t.text(text) == b":=")
}

/// Does it name the setting?
fn names_setting(text: &[u8]) -> bool {
    text.windows(15).any(|w| w.eq_ignore_ascii_case(b"atone_isolation"))
}

/// Surely reads no table, by a cheap look.
fn reads_nothing(text: &[u8]) -> bool {
    let says = |word: &[u8]| text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
    let plain = text.is_ascii() && !text.iter().any(|b| matches!(b, b'"' | b'\\' | b';'));
    let names = || names_in(text, SqlMode::default()).is_some_and(|names| names.called.is_empty());
    first_word(text).eq_ignore_ascii_case(b"SELECT") && plain && !says(b"FROM") && !says(b"TABLE") && names()
}

/// Somebody who is waited for is being rolled back.
fn is_being_undone(error: &CallError) -> bool {
    use CallError::Refused;
    matches!(error, Refused(Refusal::Conflict { holder_status: TxStatus::RollingBack, deadlock, .. }) if deadlock.is_empty())
}

/// A value that `SET @atone_isolation = '…'` may not have.
fn wrong_value(text: &[u8]) -> Option<String> {
    let all = tokens(text, SqlMode::default()).ok()?;
    let variable = all.get(1)?.text(text).eq_ignore_ascii_case(SETTING.as_bytes());
    if !all.first()?.is_word(text, "SET") || !variable {
        return None;
    }
    let value = all[2..].iter().find(|t| !t.is_punct(text, b'=') && !t.is_punct(text, b':'))?;
    if value.kind != TokenKind::String {
        return None;
    }
    let value = std::str::from_utf8(value.text(text)).ok()?;
    isolation::read(SETTING, Some(value.trim_matches(['\'', '"']))).err()
}

impl Session {
    /// A text that names us. A value that cannot be is refused.
    pub(super) fn hear_of_isolation(&mut self, text: &[u8]) -> Result<(), Failure> {
        if !names_setting(text) {
            return Ok(());
        }
        (self.reads.watched, self.reads.named) = (true, true);
        match wrong_value(text) {
            Some(why) => Err(Failure::wrong_value(&why)),
            None => Ok(()),
        }
    }

    /// A command of a session that has named the variable.
    pub(super) async fn dispatch_watched(&mut self, command: Command) -> Result<(), End> {
        if self.status & IN_TRANS == 0 {
            let resource = self.resource.clone();
            let text = self.text_of(&command).unwrap_or_default();
            let word = first_word(&text);
            let begins = word.eq_ignore_ascii_case(b"BEGIN")
                || word.eq_ignore_ascii_case(b"START")
                || self.status & AUTOCOMMIT == 0;
            resource.marks.prepare(&resource.coordinator, resource.backend.name(), begins).await;
            self.reads.since = resource.marks.known();
        }
        match self.look_at_read(&command).await? {
            Look::Other => self.dispatch_plain(command).await,
            Look::Refused(failure) => self.fail(&failure).await,
            Look::Several(text, parts) => Box::pin(self.several(&text, parts, command)).await,
            // A BEGIN would end LOCK TABLES; inside a global transaction calls are refused.
            Look::Read(reading)
                if reading.calls
                    && self.autocommits()
                    && !self.tables_locked
                    && self.membership.binding.is_none() =>
            {
                let payload = command.payload.clone();
                let attributes = self.backside.capabilities & QUERY_ATTRIBUTES != 0;
                self.statements.note_types(&payload, attributes);
                let done = self.checked_alone(&reading, command).await;
                self.statements.forget_long_data(&payload);
                done
            }
            Look::Read(reading) => self.checked(&reading, command).await,
        }
    }

    async fn look_at_read(&mut self, command: &Command) -> Result<Look, End> {
        let text = match command.code() {
            command::QUERY => self.text_at(command).map(|at| command.payload.slice(at..)),
            command::STMT_EXECUTE | command::STMT_BULK_EXECUTE => {
                if self.statements.control(&command.payload).is_some() {
                    return Ok(Look::Other);
                }
                self.statements.text(&command.payload)
            }
            _ => return Ok(Look::Other),
        };
        let unknown =
            command.code() == command::QUERY || params::statement_id(&command.payload) == Some(u32::MAX);
        if text.as_ref().is_some_and(|text| reads_nothing(text)) || text.is_none() && !unknown {
            return Ok(Look::Other);
        }
        if let Some(text) = text.as_ref().filter(|text| mentions_atone(text)) {
            // It may be set behind a statement that sets nothing else.
            self.reads.named |= names_setting(text);
            // The first are answered by us, the second are refused as ever.
            if control::read(text).is_some() || names_schema(text) {
                return Ok(Look::Other);
            }
        }
        let wants = self.wants_committed().await?;
        if let Ok(false) = wants {
            return Ok(Look::Other);
        }
        let uncheckable = |what: &str| Ok(Look::Refused(Failure::uncheckable(what)));
        let Some(text) = text else { return uncheckable("a statement that the proxy has not seen") };
        let settings = self.settings().await?;
        if let Err(failure) = wants {
            // Whatever it is that the variable is, it can be set again, and what is open can be ended.
            let reads = !matches!(words(&text, settings.mode), Words::Other)
                && !first_word(&text).eq_ignore_ascii_case(b"SET");
            return Ok(if reads { Look::Refused(failure) } else { Look::Other });
        }
        if !settings.readable(&text) {
            return uncheckable("text beyond ASCII in a character set that may hide quotes");
        }
        let is_query = command.code() == command::QUERY;
        if is_query && may_be_several(&text) {
            match parts(&text, settings.mode) {
                Some(parts) if self.backside.multi_statements => return Ok(Look::Several(text, parts)),
                // The server does not take them.
                Some(parts) if parts.ranges.len() > 1 => return Ok(Look::Other),
                Some(_) => {}
                None if kind::defines_routine(&text, settings.mode) => return Ok(Look::Other),
                None if kind::ends_plainly(&text, settings.mode) => {}
                None => return uncheckable("several statements in one text that cannot be told apart"),
            }
        }
        let read = match words(&text, settings.mode) {
            Words::Other => return Ok(Look::Other),
            Words::Uncheckable(what) => return uncheckable(what),
            Words::Read => text,
            Words::Executes(name) => match self.prepared_in_text.get(&name).cloned() {
                Some(prepared) => match words(&prepared, settings.mode) {
                    Words::Read if !self.calls_writers(&prepared).await? => prepared,
                    Words::Other => return Ok(Look::Other),
                    Words::Read | Words::Executes(_) | Words::Uncheckable(_) => {
                        return uncheckable(
                            "EXECUTE of a statement that calls functions, or cannot be read,",
                        );
                    }
                },
                None => return uncheckable("EXECUTE of a statement whose text the proxy has not seen"),
            },
        };
        if command.code() == command::STMT_BULK_EXECUTE {
            return uncheckable("a read with many sets of parameters at once");
        }
        let reach = self.reach_of(&read, command).await?;
        if reach == Reach::Tables([].into()) {
            return Ok(Look::Other);
        }
        let calls = self.calls_writers(&read).await?;
        let repeats = !self.statements.sent_ahead(&command.payload);
        Ok(Look::Read(Reading { reach, calls, repeats }))
    }

    /// Does the session want to see only what is decided? Asked again whenever its settings may have changed.
    async fn wants_committed(&mut self) -> Result<Result<bool, Failure>, End> {
        let settings = self.settings().await?;
        if let Some((of, known)) = &self.reads.known
            && Arc::ptr_eq(of, &settings)
        {
            return Ok(known.clone());
        }
        let level = if self.mysql.is_mariadb() { "@@tx_isolation" } else { "@@transaction_isolation" };
        let answer = self.backside.ask_one(&format!("SELECT {SETTING}, {level}")).await?;
        let Answer::Rows(rows) = answer else { return Err(End::Done) };
        let text = |at: usize| {
            let value = rows.first()?.get(at)?.as_deref()?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let wants = match isolation::read(SETTING, text(0).as_deref()) {
            Err(why) => Err(Failure::wrong_value(&why)),
            Ok(true) if text(1).is_some_and(|level| level.eq_ignore_ascii_case("READ-UNCOMMITTED")) => {
                let what = "a read at isolation level READ UNCOMMITTED, which shows what is not even committed locally,";
                Err(Failure::uncheckable(what))
            }
            Ok(wants) => Ok(wants),
        };
        self.reads.known = Some((settings, wants.clone()));
        Ok(wants)
    }

    /// Ok(None): what was read is the client's. Ok(Some): it may be gone.
    async fn ask_about(
        &mut self,
        reach: &Reach,
        since: Option<UndoMark>,
        holds_rows: bool,
    ) -> Result<Result<Option<UndoMark>, CallError>, End> {
        let (tables, everything) = match reach {
            Reach::Tables(tables) => (tables.iter().cloned().collect(), false),
            Reach::Everything => (Vec::new(), true),
        };
        let check = CheckRead {
            xid: self.membership.xid(),
            resource: self.resource.backend.name().to_owned(),
            tables,
            everything,
            since,
            wait: self.lock_wait(),
            session: self.number,
            holds_rows,
        };
        let resource = self.resource.clone();
        tokio::select! {
            checked = resource.marks.check(&resource.coordinator, check) => Ok(checked),
            () = self.client.gone() => Err(End::Done),
        }
    }

    /// A read whose own words write nothing. In a local transaction the snapshot is taken already: there it is not read again.
    async fn checked(&mut self, reading: &Reading, command: Command) -> Result<(), End> {
        let alone = self.autocommits();
        for round in 1.. {
            let since = if alone { self.resource.marks.known() } else { self.reads.since };
            self.client.hold_up_to(HOLD_LIMIT);
            let done = Box::pin(self.dispatch_plain(command.clone())).await;
            let held = self.client.release_whole();
            done?;
            let Some(held) = held else { return self.stop_checked(Failure::too_much_held(), alone).await };
            if held.get(packet::HEADER) == Some(&0xff) {
                return Ok(self.client.write(&held).await?);
            }
            match self.ask_about(&reading.reach, since, !alone).await? {
                Ok(None) => return Ok(self.client.write(&held).await?),
                Ok(Some(_)) if alone && reading.repeats && !reading.calls && round < READS => {
                    self.echo = None
                }
                Ok(Some(_)) => return self.stop_checked(Failure::undone(alone), alone).await,
                Err(error) => {
                    let failure = Failure::read(self.membership.xid(), &error);
                    return self.stop_checked(failure, alone).await;
                }
            }
        }
        Ok(())
    }

    /// One that calls functions, which may write: in a local transaction of ours, that can be taken back. Row locks of its must
    /// not keep an undo waiting, so it is taken back first where somebody is being undone, and run again afterwards.
    async fn checked_alone(&mut self, reading: &Reading, command: Command) -> Result<(), End> {
        for round in 1.. {
            let since = self.resource.marks.known();
            if let Answer::Error(error) = self.backside.ask_one("BEGIN").await? {
                return self.tell(&error.payload).await;
            }
            self.client.hold_up_to(HOLD_LIMIT);
            let run = relay::relay_but_end(&mut self.client, &mut self.backside, &command, true).await;
            let held = self.client.release_whole();
            let (relayed, end) = run?;
            let Some(held) = held else { return self.stop_checked(Failure::too_much_held(), false).await };
            let mut asked = self.ask_about(&reading.reach, since, true).await?;
            if let Ok(None) = asked {
                let mut touched = Touched::default();
                if self.guarding() {
                    touched.add(vec![Mark::Reach(reading.reach.clone())]);
                }
                let failed = relayed.outcome.error.is_some();
                return self.finish_relayed(&touched, held, end.sequence, &end.payload, failed).await;
            }
            self.roll_back_locally().await?;
            if asked.as_ref().is_err_and(is_being_undone) {
                asked = self.ask_about(&reading.reach, since, false).await?;
            }
            match asked {
                Ok(_) if reading.repeats && round < READS => {}
                Ok(_) => return self.stop_checked(Failure::undone(true), true).await,
                Err(error) => {
                    let failure = Failure::read(self.membership.xid(), &error);
                    return self.stop_checked(failure, true).await;
                }
            }
        }
        Ok(())
    }

    async fn stop_checked(&mut self, failure: Failure, alone: bool) -> Result<(), End> {
        self.echo = None;
        if !alone {
            let wrapped = self.status & IN_TRANS == 0 && self.status & AUTOCOMMIT != 0;
            self.roll_back_locally().await?;
            self.touched.clear();
            self.dead = (self.membership.binding.is_some() && !wrapped).then(|| failure.clone());
        }
        self.fail(&failure).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_reads_from_the_rest() {
        let of = |sql: &str| match words(sql.as_bytes(), SqlMode::default()) {
            Words::Other => "other",
            Words::Read => "read",
            Words::Executes(_) => "executes",
            Words::Uncheckable(_) => "uncheckable",
        };
        for (sql, expected) in [
            ("SELECT * FROM t", "read"),
            ("/* x */ (SELECT v FROM t) UNION SELECT 1", "read"),
            ("WITH a AS (SELECT 1 FROM t) SELECT * FROM a", "read"),
            ("TABLE t", "read"),
            ("EXPLAIN ANALYZE SELECT * FROM t", "read"),
            ("ANALYZE SELECT * FROM t", "read"),
            ("EXECUTE s", "executes"),
            ("HANDLER t READ FIRST", "uncheckable"),
            ("SELECT v INTO @x FROM t", "uncheckable"),
            ("SELECT @x := v FROM t", "uncheckable"),
            ("SET STATEMENT max_statement_time = 1 FOR SELECT * FROM t", "uncheckable"),
            ("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "uncheckable"),
            ("SELECT * FROM t FOR UPDATE", "other"),
            ("WITH a AS (SELECT 1) UPDATE t SET v = 1", "other"),
            ("ANALYZE TABLE t", "other"),
            ("SHOW TABLES", "other"),
            ("CALL p()", "other"),
            ("SET NAMES utf8mb4", "other"),
            ("UPDATE t SET v = (SELECT 1)", "other"),
        ] {
            assert_eq!(of(sql), expected, "{sql}");
        }
    }

    #[test]
    fn what_names_no_table_needs_no_look() {
        for sql in ["SELECT 1", "SELECT FOUND_ROWS()", "select last_insert_id(), @@version"] {
            assert!(reads_nothing(sql.as_bytes()), "{sql}");
        }
        for sql in ["SELECT f(1)", "SELECT v FROM t", "TABLE t", "SELECT (SELECT 1 FROM t)"] {
            assert!(!reads_nothing(sql.as_bytes()), "{sql}");
        }
    }

    #[test]
    fn a_value_that_is_none_is_told_from_the_statement() {
        for sql in ["SET @atone_isolation = 'x'", "set @Atone_Isolation := \"serializable\""] {
            assert!(wrong_value(sql.as_bytes()).is_some(), "{sql}");
        }
        for sql in [
            "SET @atone_isolation = 'read_committed'",
            "SET @atone_isolation = NULL",
            "SET @atone_isolation = ?",
            "SELECT @atone_isolation",
        ] {
            assert_eq!(wrong_value(sql.as_bytes()), None, "{sql}");
        }
    }
}
