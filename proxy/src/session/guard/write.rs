//! One INSERT, UPDATE or DELETE outside global transactions: its rows are locked and their keys read in the message that
//! runs it, where it came as text.

use super::{
    end::outside,
    touched::{Mark, Touched, described},
};
use crate::{
    branch::{self, Locks, NoPlan, Plan, Planner, Statement, lock_key},
    session::{
        Answer, Command, Echo, End, ServerError, Session, Settings, ask, echo::NO_ROWS, keys::told_keys,
        write::Execution,
    },
    wire::{
        capability::{DEPRECATE_EOF, FOUND_ROWS as COUNTS_FOUND, IN_TRANS_READONLY},
        params::Param,
        reply::OkPacket,
    },
};
use atone_protocol::planted::{Bug, planted};
use atone_undo_log::{
    analyze::{Unsupported, Verb, analyze_write},
    capture::{self, Captured},
};
use bytes::Bytes;
use std::sync::Arc;

/// Rows of one statement whose keys are kept; of more, all of the table is asked for.
const ROWS: usize = 10_000;

/// A packet that is larger than the server takes.
pub(super) const TOO_LARGE: u16 = 1153;

/// Errors of a locking read that the statement itself would have met as well: waits, deadlocks, kills, time limits.
pub(in crate::session) const LOCKED: [u16; 7] = [1205, 1213, 1317, 1969, 3024, 1792, 3572];

/// How the statement ran.
enum Ran {
    /// To its end; what the keys' questions answered.
    Done { ok: OkPacket, payload: Bytes, questions: Vec<Answer>, image: Option<Answer> },
    /// It failed.
    Failed(ServerError),
    /// It did not run, since its keys could not be read.
    Unreadable,
}

impl Session {
    pub(super) async fn guarded_write(
        &mut self,
        text: &Bytes,
        command: Command,
        execution: Option<Execution>,
    ) -> Result<(), End> {
        if self.tracked && !self.autocommits() {
            return self.run_unread(text, command).await;
        }
        let settings = self.settings().await?;
        let alone = self.autocommits();
        let prepared = matches!(execution, Some(Execution::Prepared(_)));
        let readable = settings.readable(text) && self.status & IN_TRANS_READONLY == 0;
        let plan = match (&execution, readable && (!prepared || self.reads_as_prepared(&command.payload))) {
            (Some(Execution::Text), true) => self.plan_keys(text, &[], &settings).await,
            (Some(Execution::Prepared(params)), true) => self.plan_keys(text, params, &settings).await,
            _ => Err(Unsupported("what cannot be read".into()).into()),
        };
        let plan = match plan {
            Ok(plan) => plan,
            // A temporary table, or none at all.
            Err(NoPlan::NoTable(_)) => return self.relay_free(command).await.map(drop),
            Err(NoPlan::Table(table, why)) if why.starts_with("its engine") => {
                return self.run_without_transactions(text, &table, command).await;
            }
            Err(_) => return self.run_unread(text, command).await,
        };
        if planted(Bug::CheckBeforeRowLock)
            && let Err(failure) = self.check_early(&plan.entry.name).await
        {
            self.roll_back_locally().await?;
            self.touched.clear();
            return self.fail(&failure).await;
        }
        let ran = match prepared {
            true => self.run_prepared(&plan, &command, alone).await?,
            false => self.run_text(&plan, text, &command, &settings, alone).await?,
        };
        match ran {
            Ran::Unreadable => {
                if alone {
                    self.roll_back_locally().await?;
                }
                self.run_unread(text, command).await
            }
            Ran::Failed(error) => self.failed(error, alone).await,
            Ran::Done { ok, payload, questions, image } => {
                self.note_matched(plan.write.verb, &ok);
                let marks = self.marks(&plan, &settings, &ok, questions, image);
                if !alone {
                    self.status = ok.status;
                    self.touched.add(marks);
                    return self.tell(&payload).await;
                }
                let mut touched = Touched::default();
                touched.add(marks);
                let echo = Echo::keep(&mut self.backside, ok.affected.cast_signed(), ok.warnings > 0).await?;
                let told = self.commit_alone(&touched, Some((&ok, &payload))).await?;
                if told.is_ok() {
                    let deprecate_eof = self.backside.capabilities & DEPRECATE_EOF != 0;
                    self.echo = Some(echo.outside(deprecate_eof));
                }
                self.tell(&told.unwrap_or_else(|failed| failed)).await
            }
        }
    }

    async fn plan_keys(&self, text: &Bytes, params: &[Param], settings: &Settings) -> Result<Plan, NoPlan> {
        if let Some(what) = &settings.unreadable {
            return Err(what.clone().into());
        }
        let sql = std::str::from_utf8(text)
            .map_err(|_| Unsupported("a statement that is not valid UTF-8".into()))?;
        // What the session asks about itself would be asked behind our questions.
        if text.windows(2).any(|w| w == b"@@") {
            return Err(Unsupported("a variable of the server".into()).into());
        }
        let analyze = || analyze_write(text, settings.mode).map(Arc::new);
        let write = self.resource.analyses.get(text, settings.mode, analyze)?;
        if !write.stable {
            return Err(Unsupported("a condition that may match other rows the second time".into()).into());
        }
        let planner = Planner { mysql: &self.mysql, settings, only_keys: Some(ROWS + 1) };
        planner.plan(Statement { sql, write, params }).await
    }

    /// All in one message. A statement in it is run only if those before it succeeded.
    async fn run_text(
        &mut self,
        plan: &Plan,
        text: &Bytes,
        command: &Command,
        settings: &Settings,
        alone: bool,
    ) -> Result<Ran, End> {
        let begin = alone.then(|| "BEGIN".to_owned());
        let mut ours: Vec<String> =
            begin.into_iter().chain(plan.questions()).chain(plan.image.clone()).collect();
        if ours.is_empty() {
            return self.run_whole(command, Vec::new(), plan, alone).await;
        }
        let head = &command.payload[..command.payload.len() - text.len()];
        let together = command.payload.len() + ours.iter().map(|query| query.len() + 2).sum::<usize>();
        if together + 1024 > settings.max_allowed_packet {
            let answers = self.backside.ask(&ours).await?;
            return self.run_whole(command, answers, plan, alone).await;
        }
        let found =
            (ours.len() > usize::from(alone) && self.backside.found.is_none()).then_some(usize::from(alone));
        if let Some(at) = found {
            ours.insert(at, ask::FOUND_ROWS.to_owned());
        }
        let payload = [head, ours.join("; ").as_bytes(), b"; ", text].concat();
        let mut answers = self.backside.run_payload(&payload).await?;
        let own = if answers.len() > ours.len() { answers.pop() } else { None };
        if let Some(at) = found.filter(|at| matches!(answers.get(*at), Some(Answer::Rows(_)))) {
            let found = answers.remove(at);
            self.backside.note_found(found);
        }
        self.ran(answers, own, plan, alone)
    }

    /// Its keys are asked for first.
    async fn run_prepared(&mut self, plan: &Plan, command: &Command, alone: bool) -> Result<Ran, End> {
        let mut ours: Vec<String> = plan.questions().into_iter().chain(plan.image.clone()).collect();
        if alone {
            ours.insert(0, "BEGIN".into());
        }
        let answers = if ours.is_empty() { Vec::new() } else { self.backside.ask(&ours).await? };
        self.run_whole(command, answers, plan, alone).await
    }

    /// The command as it came, if nothing before it failed.
    async fn run_whole(
        &mut self,
        command: &Command,
        before: Vec<Answer>,
        plan: &Plan,
        alone: bool,
    ) -> Result<Ran, End> {
        let fine = !before.iter().any(|answer| matches!(answer, Answer::Error(_)));
        let own = if fine { Some(self.backside.run_raw(&command.frames).await?) } else { None };
        self.ran(before, own, plan, alone)
    }

    fn ran(
        &mut self,
        before: Vec<Answer>,
        own: Option<Answer>,
        plan: &Plan,
        alone: bool,
    ) -> Result<Ran, End> {
        let mut before = before.into_iter().peekable();
        if alone {
            match before.next() {
                Some(Answer::Ok(ok, _)) => self.status = ok.status,
                Some(Answer::Error(error)) => return Ok(Ran::Failed(error)),
                _ => return Err(End::Done),
            }
        }
        let mut before: Vec<Answer> = before.collect();
        match own {
            Some(Answer::Ok(ok, payload)) => {
                let image = if plan.image.is_some() { before.pop() } else { None };
                Ok(Ran::Done { ok, payload, questions: before, image })
            }
            Some(Answer::Error(error)) => Ok(Ran::Failed(error)),
            Some(Answer::Rows(_) | Answer::TooMany) => Err(End::Done),
            None => {
                let error = before.into_iter().find_map(|answer| match answer {
                    Answer::Error(error) => Some(error),
                    _ => None,
                });
                Ok(match error {
                    Some(error) if LOCKED.contains(&error.code) => Ran::Failed(error),
                    _ => Ran::Unreadable,
                })
            }
        }
    }

    /// To MySQL rows that were updated are found.
    pub(in crate::session) fn note_matched(&mut self, verb: Verb, ok: &OkPacket) {
        if verb == Verb::Update && !self.mysql.is_mariadb() {
            self.backside.found = Some(self.matched(ok).cast_signed());
        }
    }

    /// How many rows an UPDATE found.
    fn matched(&self, ok: &OkPacket) -> u64 {
        match self.backside.capabilities & COUNTS_FOUND {
            0 => ok.matched().unwrap_or(ok.affected),
            _ => ok.affected,
        }
    }

    /// What it wrote.
    fn marks(
        &self,
        plan: &Plan,
        settings: &Settings,
        ok: &OkPacket,
        questions: Vec<Answer>,
        image: Option<Answer>,
    ) -> Vec<Mark> {
        let whole = || vec![Mark::table(&plan.entry.name)];
        let Some(table) = described(&plan.entry) else { return whole() };
        if plan.write.verb == Verb::Insert {
            let Ok(keys) = told_keys(plan, table, questions) else { return whole() };
            let step = settings.auto_increment_increment;
            let number = |at: u64| ok.last_insert_id.saturating_add(step.saturating_mul(at)).to_string();
            if branch::mixes(&keys) || ok.affected != keys.len() as u64 {
                return whole();
            }
            let keys = branch::numbered(keys, (0..).map(number));
            let told = keys.as_ref().filter(|_| ok.warnings == 0).and_then(|keys| {
                let one = |key: &Vec<String>| capture::key_of_number(table, key.first()?);
                keys.iter().map(|key| Some(lock_key(&plan.entry.name, &one(key)?))).collect::<Option<_>>()
            });
            return match keys {
                Some(_) if told.is_some() => {
                    vec![Mark::Keys(Locks { alone: told.unwrap_or_default(), ..Locks::default() })]
                }
                Some(keys) => vec![Mark::Inserted(plan.entry.clone(), keys)],
                None => whole(),
            };
        }
        let written = if plan.write.verb == Verb::Update { self.matched(ok) } else { ok.affected };
        let Some(Answer::Rows(rows)) = image else { return whole() };
        if written != rows.len() as u64 || rows.len() > ROWS {
            return if written == 0 { Vec::new() } else { whole() };
        }
        let more = plan.key_change.as_ref().map_or(0, |change| change.expressions.len());
        let mut captured: Vec<Captured> = Vec::with_capacity(rows.len());
        for mut row in rows {
            let computed = row.split_off(row.len().saturating_sub(more));
            let Some(row) = capture::decode(table, row) else { return whole() };
            if plan.key_change.as_ref().is_some_and(|change| !change.keeps(table, &row.row, &computed)) {
                return whole();
            }
            captured.push(row);
        }
        if captured.is_empty() {
            return Vec::new();
        }
        let (deletes, assigned) = (plan.write.verb == Verb::Delete, &plan.write.assigned);
        let linked = deletes || table.assigns_references(assigned);
        let again = !deletes && (linked || table.assigns_unique(assigned));
        vec![Mark::Rows { entry: plan.entry.clone(), rows: captured, linked, again }]
    }

    /// The statement failed: so does the local transaction that was opened for it.
    pub(in crate::session) async fn failed(&mut self, error: ServerError, alone: bool) -> Result<(), End> {
        if error.code == TOO_LARGE {
            // The server has hung up.
            self.tell(&error.payload).await?;
            return Err(End::Done);
        }
        if alone {
            let echo = Echo::keep(&mut self.backside, NO_ROWS, true).await?;
            let deprecate_eof = self.backside.capabilities & DEPRECATE_EOF != 0;
            self.roll_back_locally().await?;
            self.status = outside(self.status);
            self.echo = Some(echo.outside(deprecate_eof));
        } else {
            self.check_local_transaction(error.code).await?;
        }
        self.tell(&error.payload).await
    }
}
