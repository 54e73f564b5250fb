//! Statements outside global transactions of which only names are known: no key of the tables that they may reach may be
//! locked, nor any key at all where even these are not known.

use super::{
    end::{Wanted, outside},
    kind,
    touched::{Mark, Touched},
    write::TOO_LARGE,
};
use crate::{
    backend::Reach,
    session::{Answer, Command, Echo, End, Session, echo::NO_ROWS, locking::may_lock, relay},
    wire::{
        capability::{DEPRECATE_EOF, MORE_RESULTS},
        reply::OkPacket,
        scan::first_word,
    },
};
use atone_undo_log::{analyze::names_in, sql::SqlMode};
use bytes::Bytes;

impl Session {
    pub(in crate::session) async fn run_unread(&mut self, text: &Bytes, command: Command) -> Result<(), End> {
        let reach = self.reach_of(text, &command).await?;
        self.run_reaching(reach, text, command).await
    }

    pub(super) async fn run_reaching(
        &mut self,
        reach: Reach,
        text: &Bytes,
        command: Command,
    ) -> Result<(), End> {
        if !first_word(text).eq_ignore_ascii_case(b"EXECUTE") {
            // A procedure may have prepared others.
            self.prepared_in_text.clear();
        }
        if self.tables_locked {
            // Among several there may be one that unlocks.
            self.tables_locked = !text.contains(&b';');
            return self.run_under_table_locks(&reach, command).await;
        }
        if reach == Reach::Tables([].into()) {
            return self.relay_free(command).await.map(drop);
        }
        if !self.autocommits() {
            // Also where it fails: a procedure may have written before.
            self.touched.add(vec![Mark::Reach(reach)]);
            return self.relay_free(command).await.map(drop);
        }
        if let Answer::Error(error) = self.backside.ask_one("BEGIN").await? {
            return self.tell(&error.payload).await;
        }
        // What failed half-way has written all the same, if it consists of several statements.
        let one = ["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH"];
        let one = one.iter().any(|word| first_word(text).eq_ignore_ascii_case(word.as_bytes()));
        // A file is asked for in between, and what was said before cannot be held.
        let loads = text.windows(4).any(|w| w.eq_ignore_ascii_case(b"LOAD"));
        let several = self.backside.multi_statements && text.contains(&b';') && !loads;
        // Nothing is said of any of them before all are committed.
        if several {
            self.client.hold();
        }
        let run = relay::relay_but_end(&mut self.client, &mut self.backside, &command, true).await;
        let held = if several { self.client.release() } else { Vec::new() };
        let (relayed, end) = run?;
        self.note_counts(&command, relayed.outcome.error.is_some());
        let mut touched = Touched::default();
        touched.add(vec![Mark::Reach(reach)]);
        let failed = relayed.outcome.error.is_some();
        if failed && one && !several {
            touched.clear();
        }
        self.finish_relayed(&touched, held, end.sequence, &end.payload, failed).await
    }

    /// After a statement whose answer was passed on but for its end.
    pub(in crate::session) async fn finish_relayed(
        &mut self,
        touched: &Touched,
        held: Vec<u8>,
        sequence: u8,
        end: &Bytes,
        failed: bool,
    ) -> Result<(), End> {
        if failed && end.get(1..3) == Some(&TOO_LARGE.to_le_bytes()) {
            self.client.send(end, sequence).await?;
            return Err(End::Done);
        }
        let deprecate_eof = self.backside.capabilities & DEPRECATE_EOF != 0;
        let ok = OkPacket::read(end).filter(|_| end.first() == Some(&0));
        let last = OkPacket::read(end).filter(|_| deprecate_eof && end.first() == Some(&0xfe)).or(ok.clone());
        let (rows, warned) = match (&ok, failed) {
            (_, true) => (NO_ROWS, true),
            (Some(ok), _) => (ok.affected.cast_signed(), ok.warnings > 0),
            (None, _) => (NO_ROWS, last.as_ref().is_none_or(|ok| ok.warnings > 0)),
        };
        let echo = Echo::keep(&mut self.backside, rows, warned).await?;
        let told = match self.commit_alone(touched, ok.as_ref().map(|ok| (ok, end))).await? {
            Ok(told) => {
                self.echo = Some(echo.outside(deprecate_eof));
                match ok {
                    Some(_) => told,
                    None => ended_outside(end, failed, deprecate_eof),
                }
            }
            // Nothing was said yet, or rows were, which end in an error.
            Err(failed) if !held.is_empty() => return self.tell(&failed).await,
            Err(failed) => failed,
        };
        self.client.write(&held).await?;
        self.tell_end(&told, sequence).await
    }

    /// LOCK TABLES is in force, which a BEGIN would end. Whoever wrote to these tables before has committed, and nobody can
    /// come to write to them now: asked before is as good as asked after.
    async fn run_under_table_locks(&mut self, reach: &Reach, command: Command) -> Result<(), End> {
        let mut wanted = Wanted::default();
        wanted.reach(reach);
        if let Err(failure) = self.await_free(wanted, self.lock_wait()).await {
            self.roll_back_locally().await?;
            self.touched.clear();
            return self.fail(&failure).await;
        }
        self.relay_free(command).await.map(drop)
    }

    /// A table whose engine has no transactions is nobody's but the statement's, unless its triggers reach others.
    pub(super) async fn run_without_transactions(
        &mut self,
        text: &Bytes,
        table: &str,
        command: Command,
    ) -> Result<(), End> {
        match self.reach_of(text, &command).await? {
            Reach::Tables(tables) if tables.iter().all(|name| name == table) => {
                self.relay_free(command).await.map(drop)
            }
            _ => self.run_unread(text, command).await,
        }
    }

    /// The same while nothing may be asked of the server, by the schema that is known already.
    async fn reach_unasked(&self, text: &Bytes) -> Reach {
        let plain = text.is_ascii() && !text.iter().any(|b| matches!(b, b'"' | b'\\'));
        let verbs = [&b"INSERT"[..], b"UPDATE", b"DELETE", b"REPLACE"];
        let known = verbs.iter().any(|verb| first_word(text).eq_ignore_ascii_case(verb)) && plain;
        let reading = self.readings.get(&self.reading).filter(|_| known);
        let (Some((schema, _)), Some(names)) = (reading, names_in(text, SqlMode::default())) else {
            return Reach::Everything;
        };
        let schema = schema.as_ref().map(|schema| schema.to_lowercase());
        self.mysql.reach(&names, schema.as_deref()).await
    }

    /// What it may write.
    pub(in crate::session) async fn reach_of(
        &mut self,
        text: &Bytes,
        command: &Command,
    ) -> Result<Reach, End> {
        let settings = match &self.settings {
            Some(known) => known.clone(),
            None if self.tracked && !self.autocommits() => return Ok(self.reach_unasked(text).await),
            None => self.settings().await?,
        };
        let is_query = command.code() == crate::wire::command::QUERY;
        let word = first_word(text);
        let executes = word.eq_ignore_ascii_case(b"EXECUTE");
        let prepared = kind::executes(text, settings.mode).filter(|_| executes);
        let prepared = prepared.and_then(|name| self.prepared_in_text.get(&name)).cloned();
        let dynamic = executes && prepared.is_none() || word.eq_ignore_ascii_case(b"BINLOG");
        let text = prepared.as_ref().unwrap_or(text);
        let known = settings.readable(text) && (is_query || self.reads_as_prepared(&command.payload));
        if dynamic || !known {
            return Ok(Reach::Everything);
        }
        let reads = executes && kind::only_reads(text, settings.mode) && !may_lock(text);
        if reads && !self.mysql.catalogue.had_writing_views() {
            return Ok(Reach::Tables([].into()));
        }
        let names = names_in(text, settings.mode);
        let names = names.filter(|names| settings.is_utf8() || names.all.iter().all(|n| n.is_ascii()));
        let Some(names) = names else { return Ok(Reach::Everything) };
        let schema = settings.schema.as_ref().map(|schema| schema.to_lowercase());
        Ok(self.mysql.reach(&names, schema.as_deref()).await)
    }
}

/// The end of a reply that is no OK, told behind our COMMIT.
fn ended_outside(end: &[u8], failed: bool, deprecate_eof: bool) -> Vec<u8> {
    let mut told = end.to_vec();
    let status_at = match deprecate_eof {
        _ if failed => None,
        true => OkPacket::read(end).map(|ok| ok.status_at),
        false => Some(3),
    };
    if let Some(status) = status_at.and_then(|at| told.get_mut(at..at + 2)) {
        let said = outside(u16::from_le_bytes([status[0], status[1]])) & !MORE_RESULTS;
        status.copy_from_slice(&said.to_le_bytes());
    }
    told
}
