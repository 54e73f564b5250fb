//! Local transactions outside global ones that write: before they commit, the coordinator is asked whether somebody holds a
//! global lock on a row of theirs, while they hold its row lock in the database. So nobody can come to hold one afterwards.
//!
//! Their rows are captured as those of a branch are, but only by their keys, and nothing is registered. What cannot be
//! captured is never refused here: then no key of the tables that it may reach may be locked.

mod defining;
mod end;
pub(super) mod kind;
mod large;
mod touched;
mod unread;
mod write;

use super::{
    Command, End, Session, locking,
    several::{self, may_be_several},
    write::Execution,
};
use crate::{
    backend::Reach,
    wire::{
        capability::{AUTOCOMMIT, IN_TRANS, QUERY_ATTRIBUTES},
        command, params, scan,
    },
};
use atone_undo_log::{
    analyze::{names_in, split},
    sql::SqlMode,
};
use bytes::Bytes;
pub(super) use end::{Wanted, combined, outside};
use kind::{Kind, Look};
pub(super) use large::Large;
use std::ops::Range;
pub(super) use touched::{Mark, Touched};
pub(super) use write::LOCKED;

/// Statements prepared in text that are remembered.
const PREPARED: usize = 1000;
/// The setting by which a client is told of every step of its local transactions.
const TRACKING: &[u8] = b"session_track_transaction_info";

impl Session {
    /// In no global transaction, and what it writes is checked.
    pub(super) fn guarding(&self) -> bool {
        self.resource.guards && self.membership.binding.is_none()
    }

    /// A statement outside global transactions, or what it became: None when it is answered.
    pub(super) async fn guard(
        &mut self,
        text: &Bytes,
        command: Command,
        execution: Option<Execution>,
    ) -> Result<Option<Command>, End> {
        self.tracked |= text.windows(TRACKING.len()).any(|w| w.eq_ignore_ascii_case(TRACKING));
        let open = !self.touched.is_clear() || self.tables_locked;
        let look = kind::look(text, open);
        let concerns = look != Look::None || locking::may_lock(text);
        if let Some(code) = self.doubt.take_if(|_| concerns) {
            self.ask_status(code).await?;
        }
        if self.status & IN_TRANS == 0 && self.status & AUTOCOMMIT != 0 {
            self.touched.clear();
        }
        self.note_prepared(text);
        let look = match look {
            Look::None if kind::is_read(text) && self.mysql.catalogue.had_writing_views() => Look::Calls,
            look => look,
        };
        match look {
            Look::None if !locking::may_lock(text) => return Ok(Some(command)),
            Look::None => return self.guarded_read(text, command, execution).await,
            Look::Calls => {
                if self.calls_writers(text).await? {
                    self.run_unread(text, command).await?;
                    return Ok(None);
                }
                if locking::may_lock(text) {
                    return self.guarded_read(text, command, execution).await;
                }
                return Ok(Some(command));
            }
            Look::Full => {}
        }
        let mode = self.mode_of(text).await?;
        if matches!(execution, Some(Execution::Text)) && may_be_several(text) {
            let parts = split(text, mode).unwrap_or_default();
            if self.only_read(text, &parts, mode).await? {
                return Ok(Some(command));
            }
            if let Some(parts) = several::parts(text, mode) {
                return self.several(text, parts, command).await.map(|()| None);
            }
            if kind::defines_routine(text, mode) {
                return self.guard_one(Kind::Commits { chain: false }, text, command, None).await;
            }
            if !kind::ends_plainly(text, mode) {
                return self.guard_one(Kind::Unread, text, command, None).await;
            }
        }
        self.guard_one(kind::kind(text, mode), text, command, execution).await
    }

    async fn guard_one(
        &mut self,
        kind: Kind,
        text: &Bytes,
        command: Command,
        execution: Option<Execution>,
    ) -> Result<Option<Command>, End> {
        match kind {
            Kind::Pass => return Ok(Some(command)),
            Kind::Read if !self.calls_writers(text).await? => return Ok(Some(command)),
            Kind::Write if !self.tables_locked => self.guarded_write(text, command, execution).await?,
            Kind::Write | Kind::Read | Kind::Unread => self.run_unread(text, command).await?,
            Kind::Defines(taken) => self.guarded_definition(taken, command).await?,
            Kind::Commits { chain } => self.commits(command, chain, None).await?,
            Kind::XaCommits(name) => self.commits(command, false, Some(name)).await?,
            Kind::Lock => {
                self.commits(command, false, None).await?;
                self.tables_locked = self.last_relayed;
            }
            Kind::Unlock => {
                self.commits(command, true, None).await?;
                self.tables_locked &= !self.last_relayed;
            }
            Kind::Rollback | Kind::XaRollback => {
                if self.relay_free(command).await? {
                    self.touched.clear();
                }
            }
            Kind::XaEnd => {
                self.resolve_keys().await?;
                self.relay_free(command).await?;
            }
            Kind::Savepoint(name) => {
                if self.relay_free(command).await? {
                    self.touched.savepoint(name);
                }
            }
            Kind::RollbackTo(name) => {
                if self.relay_free(command).await? {
                    self.touched.rollback_to(&name);
                }
            }
            Kind::Release(name) => {
                if self.relay_free(command).await? {
                    self.touched.release(&name);
                }
            }
        }
        Ok(None)
    }

    /// The execution of a prepared statement outside global transactions.
    pub(super) async fn guard_prepared(
        &mut self,
        text: Option<Bytes>,
        command: Command,
    ) -> Result<Option<Command>, End> {
        let attributes = self.backside.capabilities & QUERY_ATTRIBUTES != 0;
        let Some(text) = text else {
            // MariaDB's name for the one prepared last; any other the server does not know either.
            let last = params::statement_id(&command.payload) == Some(u32::MAX);
            return match last {
                true => self.run_reaching(Reach::Everything, &Bytes::new(), command).await.map(|()| None),
                false => Ok(Some(command)),
            };
        };
        let open = !self.touched.is_clear() || self.tables_locked;
        if kind::look(&text, open) == Look::None && !locking::may_lock(&text) {
            self.statements.note_types(&command.payload, attributes);
            return Ok(Some(command));
        }
        let payload = command.payload.clone();
        let execution = match command.code() {
            command::STMT_EXECUTE => self.statements.params(&payload, attributes).map(Execution::Prepared),
            _ => None,
        };
        let left = self.guard(&text, command, execution).await?;
        if left.is_none() {
            self.statements.forget_long_data(&payload);
        }
        Ok(left)
    }

    /// What PREPARE gives a name to.
    pub(super) fn note_prepared(&mut self, text: &Bytes) {
        let mode = self.settings.as_ref().map_or_else(SqlMode::default, |s| s.mode);
        if kind::prepares_nothing(text, mode) {
            return;
        }
        match kind::prepares(text, mode) {
            Some((name, Some(what))) if self.prepared_in_text.len() < PREPARED => {
                self.prepared_in_text.insert(name, text.slice(what));
            }
            Some((name, _)) => drop(self.prepared_in_text.remove(&name)),
            None => self.prepared_in_text.clear(),
        }
    }

    /// Several statements, or what the server may take for several, none of which writes or ends anything.
    async fn only_read(&mut self, text: &[u8], parts: &[Range<usize>], mode: SqlMode) -> Result<bool, End> {
        let quiet = |part: &Range<usize>| {
            let part = &text[part.clone()];
            matches!(kind::kind(part, mode), Kind::Pass | Kind::Read) && !locking::may_lock(part)
                || !self.tables_locked && kind::look(part, !self.touched.is_clear()) == Look::None
        };
        Ok(!parts.is_empty() && parts.iter().all(quiet) && !self.calls_writers(text).await?)
    }

    /// How this text is read. The settings are asked for only where they matter.
    async fn mode_of(&mut self, text: &[u8]) -> Result<SqlMode, End> {
        let plain = text.is_ascii() && !text.iter().any(|b| matches!(b, b'"' | b'\\'));
        Ok(match &self.settings {
            Some(known) => known.mode,
            None if plain => SqlMode::default(),
            None => self.settings().await?.mode,
        })
    }

    /// Does a read call what may write?
    pub(super) async fn calls_writers(&mut self, text: &[u8]) -> Result<bool, End> {
        let mode = self.mode_of(text).await?;
        let Some(names) = names_in(text, mode) else { return Ok(true) };
        let by_view = names.called.is_empty();
        if by_view && (names.all.is_empty() || !self.mysql.catalogue.had_writing_views()) {
            return Ok(false);
        }
        // While our own account reaches no server, reads go on; only a view could hide what writes in them.
        let Ok(mut writers) = self.mysql.writers(&names, None, false).await else { return Ok(!by_view) };
        // Of functions only names are compared.
        let mut schema = None;
        if writers.named(&names) {
            schema = self.settings().await?.schema.as_ref().map(|s| s.to_lowercase());
            match self.mysql.writers(&names, schema.as_deref(), false).await {
                Ok(now) => writers = now,
                Err(_) => return Ok(!by_view),
            }
        }
        Ok(writers.mentioned(&names, schema.as_deref()).is_some())
    }

    /// Passes on a statement that is understood; was it done?
    async fn relay_free(&mut self, command: Command) -> Result<bool, End> {
        let text = self.text_of(&command).unwrap_or_default();
        let effect = scan::effect(&text);
        let done = self.relay(command).await?.outcome.error.is_none();
        if matches!(effect, scan::Effect::TemporaryTables | scan::Effect::Everything) {
            self.mysql.catalogue.forget();
        }
        self.last_relayed = done;
        Ok(done)
    }

    /// The text that a command runs.
    pub(super) fn text_of(&self, command: &Command) -> Option<Bytes> {
        match command.code() {
            crate::wire::command::QUERY => self.text_at(command).map(|at| command.payload.slice(at..)),
            _ => self.statements.text(&command.payload),
        }
    }
}
