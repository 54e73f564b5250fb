//! SELECT … SKIP LOCKED passes over rows that only a global transaction holds, too: their branch is committed locally, so that the
//! database does not know. The row locks just taken are let go of, the proxy's own account locks the rows in question for
//! a moment, and the statement is run again. It is the database that passes over them then, so that LIMIT, ORDER BY and joins mean
//! what they should; and what comes now is asked about as before.
//!
//! Row locks are let go of by going back to a savepoint, which within a block is set before each such read and in the same
//! message; outside a block the read must be the first statement of its implicit local transaction, which is then undone. To keep
//! them would keep the undo of those who hold the rows waiting for as long as the client likes.

use super::{End, Failure, Session, pipeline::Fate, texts::alone, write::Respelt};
use crate::{
    backend::{Entry, Hold},
    branch::{Encounters, lock_key},
};
use atone_protocol::{CallError, LockKey, Refusal};
use atone_undo_log::{
    capture::{self, Captured},
    postgres::Class,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Our savepoint.
const SAVEPOINT: &str = "\"atone skip locked\"";
/// So many rows that others hold are looked for among those of one run.
const MET_AT_ONCE: usize = 64;

/// A read with SKIP LOCKED that is being run.
pub(super) struct SkipLocked {
    /// The statement under way is the first of an implicit local transaction.
    pub is_first: bool,
    /// Portals were bound while messages were passed on, which are not known here.
    pub bound_unseen: bool,
    /// How its row locks can be let go of; or why they cannot.
    pub how: Result<LetGo, &'static str>,
    /// What it met.
    pub met: Option<Met>,
}

/// How row locks are let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LetGo {
    /// By going back to our savepoint.
    ToSavepoint,
    /// By undoing the implicit local transaction, of which it is all.
    Whole,
}

/// Rows that others hold globally.
pub(super) struct Met {
    rows: Vec<(Arc<Entry>, Captured)>,
    /// What the client is told if they cannot be passed over.
    failure: Failure,
}

impl Default for SkipLocked {
    fn default() -> Self {
        Self { is_first: false, bound_unseen: false, how: Err(ENDED), met: None }
    }
}

/// Nothing is run again behind an error.
const ENDED: &str = "SKIP LOCKED cannot pass over it any more";
const BEHIND_OTHERS: &str = "SKIP LOCKED cannot pass over it behind other statements of a pipeline or text: put them between BEGIN \
    and COMMIT, or run the read first";
/// The second run would take them once more.
const ADVISORY: &str =
    "SKIP LOCKED cannot pass over it in a read that takes advisory locks: take them by another statement";

impl SkipLocked {
    /// There was an error.
    pub fn give_up(&mut self) {
        self.how = Err(ENDED);
    }
}

impl Session {
    /// Before a statement is run: is it the first of an implicit local transaction?
    pub(super) fn note_first(&mut self) {
        let unsynced = self.unsynced || self.executed || self.queried;
        let begun = self.block || self.text_block || unsynced || self.skip_locked.bound_unseen;
        self.skip_locked.is_first = !begun;
    }

    /// Runs such a read, with all that was gathered before it.
    pub(super) async fn skip_locked(&mut self, read: &Respelt) -> Result<(), End> {
        let how = self.how_to_let_go(read);
        self.skip_locked.how = how;
        let savepoint = (how == Ok(LetGo::ToSavepoint)).then_some(SAVEPOINT);
        self.gather(read, savepoint);
        self.send().await?;
        if self.skip_locked.met.is_some() {
            let mut hold = None;
            let done = self.pass_over(read, &mut hold).await;
            if let Some(hold) = hold {
                hold.end().await;
            }
            done?;
        }
        self.skip_locked.give_up();
        if savepoint.is_some() && !self.skipping {
            self.gather_alone(&format!("RELEASE SAVEPOINT {SAVEPOINT}"));
        }
        Ok(())
    }

    fn how_to_let_go(&self, read: &Respelt) -> Result<LetGo, &'static str> {
        if self.failed() {
            return Err(ENDED);
        }
        let advisory = |word: &[u8]| word.eq_ignore_ascii_case(b"advisory");
        if read.prepared.text.as_bytes().windows(8).any(advisory) {
            return Err(ADVISORY);
        }
        if self.block || self.text_block {
            return Ok(LetGo::ToSavepoint);
        }
        // Portals go with the local transaction, and must come again.
        let whole = self.skip_locked.is_first && !self.guard_is_up() && self.statements.all_bound().is_some();
        if whole { Ok(LetGo::Whole) } else { Err(BEHIND_OTHERS) }
    }

    /// A statement of ours of which nobody needs the answer.
    pub(super) fn gather_alone(&mut self, sql: &str) {
        let name = self.own_name();
        alone(&mut self.pipeline, &name, sql, Fate::Drop);
        self.pipeline.close(b'P', &name);
    }

    /// Does anybody hold these rows, or any of these tables? True: some of the rows, and they will be passed over.
    pub(super) async fn meets(
        &mut self,
        shared: bool,
        taken: &[(Arc<Entry>, Captured)],
        tables: &BTreeSet<String>,
    ) -> Result<bool, Failure> {
        let key = |at: usize| lock_key(&taken[at].0.name, &taken[at].1.key);
        let mut free: BTreeMap<LockKey, usize> = (0..taken.len()).map(|at| (key(at), at)).collect();
        let (mut rows, mut first) = (Vec::new(), None);
        while rows.len() < MET_AT_ONCE {
            let (mut keys, mut others): (Vec<LockKey>, _) = (free.keys().cloned().collect(), Vec::new());
            if shared {
                std::mem::swap(&mut keys, &mut others);
            }
            let tables = tables.iter().cloned().collect();
            let Err(error) = self.ask_free(keys, others, tables, Duration::ZERO).await? else { break };
            let failure = self.not_free(&error);
            let CallError::Refused(Refusal::Conflict { key, .. }) = &error else { return Err(failure) };
            let Some(at) = free.remove(key) else {
                return Err(
                    failure.because("Its rows cannot be told one by one, for SKIP LOCKED to pass over")
                );
            };
            if let Err(why) = self.skip_locked.how {
                return Err(failure.because(why));
            }
            rows.push(taken[at].clone());
            first.get_or_insert(failure);
        }
        self.skip_locked.met = first.map(|failure| Met { rows, failure });
        Ok(self.skip_locked.met.is_some())
    }

    /// Runs the read again until nobody else holds any of its rows.
    async fn pass_over(&mut self, read: &Respelt, hold: &mut Option<Hold>) -> Result<(), End> {
        let mut encounters = Encounters::default();
        while let Some(met) = self.skip_locked.met.take() {
            let keys = met.rows.iter().map(|(entry, row)| lock_key(&entry.name, &row.key));
            let again = match encounters.with(keys) {
                Ok(()) => self.run_without(read, &met, hold).await?,
                few => few,
            };
            if let Err(why) = again {
                self.answer.extend(met.failure.because(&why).message("ERROR"));
                return self.fail_locally().await;
            }
        }
        Ok(())
    }

    /// Runs it once more, without these rows. Err: why that cannot be.
    async fn run_without(
        &mut self,
        read: &Respelt,
        met: &Met,
        hold: &mut Option<Hold>,
    ) -> Result<Result<(), String>, End> {
        match self.skip_locked.how {
            Ok(LetGo::ToSavepoint) => {
                self.gather_alone(&format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}"));
                Hold::during(hold, Box::pin(self.send())).await?;
            }
            Ok(LetGo::Whole) => Hold::during(hold, Box::pin(self.undo_implicit())).await?,
            Err(why) => return Ok(Err(why.to_owned())),
        }
        if self.skipping {
            return Ok(Ok(()));
        }
        if let Err(why) = self.hold_rows(read, met, hold).await {
            return Ok(Err(why));
        }
        if let Some(portal) = self.statements.portal(&read.bind.portal) {
            // What it had to give is void.
            portal.done = portal.done.take().map(|_| std::collections::VecDeque::new());
        }
        self.gather(read, None);
        Hold::during(hold, Box::pin(self.send())).await?;
        Ok(Ok(()))
    }

    /// The implicit local transaction is undone, and is as it was before its first statement.
    async fn undo_implicit(&mut self) -> Result<(), End> {
        let bound = self.statements.all_bound().unwrap_or_default();
        self.pipeline.poison();
        self.pipeline.sync(Fate::Drop);
        let ran = self.pipeline.run(&mut self.database, &mut self.client, &mut self.answer).await?;
        self.reported(ran.parameters);
        // They were asked within it.
        self.counters.forget();
        for bind in bound {
            self.pipeline.bind(&bind, Fate::Drop);
        }
        Ok(())
    }

    /// Our own account locks these rows, those that nobody else has locked.
    async fn hold_rows(&mut self, read: &Respelt, met: &Met, hold: &mut Option<Hold>) -> Result<(), String> {
        let failed = |error| format!("SKIP LOCKED could not pass over it: {error}");
        let weak = matches!(read.prepared.class(), Class::Locking(Some(locking)) if locking.weak);
        let held = match hold {
            Some(held) => held,
            None => hold.insert(Hold::begin(&self.resource.backend).await.map_err(failed)?),
        };
        let mut by_table: BTreeMap<&str, (&Entry, Vec<&Captured>)> = BTreeMap::new();
        for (entry, row) in &met.rows {
            by_table.entry(&entry.name).or_insert((entry, Vec::new())).1.push(row);
        }
        for (entry, rows) in by_table.into_values() {
            let Ok(table) = &entry.table else { continue };
            if rows.iter().any(|row| row.row.0.len() != table.columns.len()) {
                return Err(format!("Table {} was changed meanwhile", entry.name));
            }
            let keys = capture::keys_of(table, rows);
            if !held.take((entry, table), &keys, weak).await.map_err(failed)? {
                return Err("SKIP LOCKED met other such rows for too long".to_owned());
            }
        }
        Ok(())
    }
}
