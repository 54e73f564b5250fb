//! One INSERT, UPDATE or DELETE inside a global transaction: capture, run, count, remember; and settle at once
//! when the statement is its own local transaction.

use super::{
    Answer, Command, Echo, End, Failure, ServerError, Session, Settings,
    echo::NO_ROWS,
    guard::{combined, outside},
    keys::told_keys,
};
use crate::{
    branch::{self, Branch, Key, NoPlan, Plan, Planner, Statement},
    wire::{
        capability::{DEPRECATE_EOF, FOUND_ROWS},
        params::Param,
        reply::OkPacket,
    },
};
use atone_undo_log::{
    analyze::{TableName, Unsupported, Verb, analyze_write},
    capture::{self, Captured, Computed},
    sql::identifier,
};
use bytes::Bytes;
use std::sync::Arc;

/// How the statement came.
pub(super) enum Execution {
    /// As text.
    Text,
    /// Prepared, with these values.
    Prepared(Vec<Param>),
}

/// Bytes of rows that one local transaction may change; its undo record holds them twice.
const BRANCH_BYTES: usize = 256 << 20;

/// A value of a condition is none of its column's type (dates of zeros). MySQL says so of a SELECT; a write with the same
/// condition may say something else, or compare with it if it is a parameter.
const WRONG_VALUE: u16 = 1525;

/// How a statement ran.
struct Ran {
    /// Its own OK.
    payload: Bytes,
    ok: OkPacket,
    /// What it leaves behind, if something else was asked since.
    echo: Option<Echo>,
}

/// What is known before a statement runs.
struct Before {
    /// UPDATE, DELETE: its rows.
    captured: Vec<Captured>,
    /// What was asked for besides each of them.
    computed: Vec<Computed>,
    /// INSERT: the keys of its rows.
    keys: Vec<Key>,
    /// Why the rows could not be read.
    unread: Option<String>,
}

/// Why a statement did not run to its end.
pub(super) enum Stopped {
    /// The client is told this; the statement did nothing.
    Failure(Failure),
    /// The database said so.
    Server(ServerError),
    /// The local transaction cannot go on; the client is told this.
    Dead(Failure),
}

impl From<std::io::Error> for End2 {
    fn from(error: std::io::Error) -> Self {
        Self::End(End::Broken(error))
    }
}

/// Either the session ends or the statement does.
pub(super) enum End2 {
    End(End),
    Stopped(Stopped),
}

impl From<Stopped> for End2 {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

/// What the client is told when there is no plan.
pub(super) fn failure(no: NoPlan) -> Failure {
    match no {
        NoPlan::Unsupported(what) => Failure::unsupported(&what),
        NoPlan::Table(table, why) => Failure::table(&table, &why),
        NoPlan::NoTable(table) => Failure::no_table(&table.to_string()),
        NoPlan::Backend(error) => Failure::backend(&error),
    }
}

impl Session {
    pub(super) async fn write(
        &mut self,
        text: Bytes,
        command: Command,
        execution: Execution,
        settings: Arc<Settings>,
    ) -> Result<(), End> {
        let params = match &execution {
            Execution::Text => &[][..],
            Execution::Prepared(params) => params,
        };
        let plan = match self.plan(&text, params, &settings).await {
            Ok(plan) => plan,
            Err(NoPlan::NoTable(table)) => return self.no_table(&table).await,
            Err(NoPlan::Unsupported(what)) => return self.refuse(&text, &command, &what).await,
            Err(no) => return self.fail(&failure(no)).await,
        };
        let alone = self.autocommits();
        let opened_before = self.branch.is_some();
        let mut branch = self.branch.take().unwrap_or_else(|| Branch::new(crate::ids::branch()));
        let ran = self.capture_and_run(&mut branch, &plan, &text, &command, &settings, alone).await;
        match ran {
            Ok(ran) if !alone => {
                self.status = ran.ok.status;
                self.branch = Some(branch);
                self.echo = ran.echo;
                self.tell(&ran.payload).await
            }
            Ok(ran) => self.finish_alone(branch, ran).await,
            Err(End2::End(end)) => Err(end),
            Err(End2::Stopped(stopped)) => {
                self.branch = (!alone && (opened_before || !branch.changes.is_empty())).then_some(branch);
                self.stop(stopped, alone).await
            }
        }
    }

    async fn plan(&mut self, text: &Bytes, params: &[Param], settings: &Settings) -> Result<Plan, NoPlan> {
        if let Some(what) = &settings.unreadable {
            return Err(what.clone().into());
        }
        let sql = std::str::from_utf8(text)
            .map_err(|_| Unsupported("a statement that is not valid UTF-8".into()))?;
        let resource = self.resource.clone();
        let write =
            resource.analyses.get(text, settings.mode, || analyze_write(text, settings.mode).map(Arc::new));
        let planner = Planner { mysql: &self.mysql, settings, only_keys: None };
        planner.plan(Statement { sql, write: write?, params }).await
    }

    /// The catalogue knows no such table: the database says so itself, unless the table is a temporary one.
    async fn no_table(&mut self, table: &TableName) -> Result<(), End> {
        let schema = table.schema.as_deref().unwrap_or_default();
        let show = format!("SHOW CREATE TABLE {}.{}", identifier(schema), identifier(&table.name));
        match self.backside.ask_one(&show).await? {
            Answer::Error(error) => self.tell(&error.payload).await,
            Answer::Ok(..) | Answer::Rows(_) | Answer::TooMany => {
                self.fail(&Failure::no_table(&table.to_string())).await
            }
        }
    }

    /// Captures and runs.
    async fn capture_and_run(
        &mut self,
        branch: &mut Branch,
        plan: &Plan,
        text: &Bytes,
        command: &Command,
        settings: &Settings,
        alone: bool,
    ) -> Result<Ran, End2> {
        let table = branch.table(&plan.entry);
        let Before { captured, computed, keys, unread } = self.capture(branch, table, plan, alone).await?;
        refuse_inexact(branch, table, plan, &captured)?;
        let bytes = branch.bytes + captured.iter().map(|c| c.row.size()).sum::<usize>();
        if bytes > BRANCH_BYTES {
            let what = "the local transaction would change over 256 MiB of rows";
            return Err(Stopped::Failure(Failure::too_large(what)).into());
        }
        if branch.rows() + captured.len() + plan.inserted.len() > self.resource.max_rows {
            let most = self.resource.max_rows;
            return Err(Stopped::Failure(Failure::too_large(&format!(
                "the local transaction would change over {most} rows (max_rows)"
            )))
            .into());
        }
        let Ok(description) = &plan.entry.table else {
            return Err(Stopped::Dead(Failure::dead("an unknown table")).into());
        };
        let moving = self.moving(description, plan, &captured, &computed).await?;
        let occupied = self.occupied(description, plan, &keys).await?;
        let rewritten = if plan.write.stable || plan.image.is_none() || unread.is_some() {
            None
        } else {
            rewrite(branch, table, plan, text, &captured)
        };
        let answer = match rewritten {
            Some(sql) => self.backside.ask_one(&sql).await?,
            None => self.backside.run_raw(&command.frames).await?,
        };
        let (ok, payload) = match answer {
            Answer::Ok(ok, payload) => (ok, payload),
            Answer::Error(error) => return Err(Stopped::Server(error).into()),
            Answer::Rows(_) | Answer::TooMany => {
                return Err(Stopped::Dead(Failure::dead("the server answered a write with rows")).into());
            }
        };
        if let (Some(why), 1..) = (unread, ok.affected) {
            return Err(Stopped::Dead(Failure::unread(&plan.entry.name, &why)).into());
        }
        self.count(branch, plan, &captured, &ok)?;
        self.note_matched(plan.write.verb, &ok);
        self.backside.tracked.wrote();
        let echo =
            self.keep_echo(moving.is_some() || !plan.asked.is_empty() || branch::mixes(&keys), &ok).await?;
        match (plan.write.verb, moving) {
            (Verb::Insert, _) => {
                let step = settings.auto_increment_increment;
                let keys = self.numbered(description, keys, &ok, step).await?;
                let there = match plan.asked.is_empty() {
                    true => None,
                    false => Some(self.inserted_there(description, &keys, occupied).await?),
                };
                branch.inserted(table, keys, there);
            }
            (Verb::Update, Some(moving)) => {
                branch.relinked |= description.assigns_references(&plan.write.assigned);
                branch.moved(table, self.moved(description, moving, captured, &computed).await?);
            }
            (Verb::Update, None) => {
                branch.relinked |= description.assigns_references(&plan.write.assigned);
                branch.captured(table, captured, false);
            }
            (Verb::Delete, _) => branch.captured(table, captured, true),
        }
        Ok(Ran { payload, ok, echo })
    }

    /// Locks and reads the rows of an UPDATE or DELETE; opens the local transaction of a statement that stands alone;
    /// makes sure that no temporary table hides the real one. All in one go. Rows inserted before into the same table
    /// are read first: the statement may change or delete them.
    async fn capture(
        &mut self,
        branch: &mut Branch,
        table: usize,
        plan: &Plan,
        alone: bool,
    ) -> Result<Before, End2> {
        if plan.image.is_some() {
            branch::read_inserts(&mut self.backside, branch, Some(table)).await.map_err(stopped_by_settle)?;
        }
        let lost = || Stopped::Dead(Failure::dead("an unknown table"));
        let description = branch.description(table).ok_or_else(lost)?;
        let mut queries = Vec::new();
        let unchecked = !self.real_tables.contains(&plan.entry.name);
        if unchecked {
            let (schema, name) = (identifier(&description.schema), identifier(&description.name));
            queries.push(format!("SHOW CREATE TABLE {schema}.{name}"));
        }
        if alone {
            queries.push("BEGIN".into());
        }
        let questions = plan.questions();
        queries.extend(questions.clone());
        queries.extend(plan.image.clone());
        let mut answers = self.backside.ask(&queries).await?;
        let image = if plan.image.is_some() { answers.pop() } else { None };
        let told = answers.split_off(answers.len().saturating_sub(questions.len()));
        if unchecked {
            refuse_temporary(&plan.entry.name, answers.remove(0))?;
            self.real_tables.insert(plan.entry.name.clone());
        }
        if let Some(Answer::Error(error)) = answers.pop() {
            return Err(Stopped::Server(error).into());
        }
        let rows = match image {
            None => {
                let keys = told_keys(plan, description, told)?;
                return Ok(Before { captured: Vec::new(), computed: Vec::new(), keys, unread: None });
            }
            Some(Answer::Rows(rows)) => rows,
            Some(Answer::Error(error)) if error.code == WRONG_VALUE => {
                let unread = Some(error.message());
                return Ok(Before { captured: Vec::new(), computed: Vec::new(), keys: Vec::new(), unread });
            }
            Some(Answer::Error(error)) => return Err(Stopped::Server(error).into()),
            Some(Answer::TooMany) => {
                let most = self.resource.max_rows;
                let what = format!("the statement matches over {most} rows (max_rows) or too many bytes");
                return Err(Stopped::Failure(Failure::too_large(&what)).into());
            }
            Some(Answer::Ok(..)) => return Err(Stopped::Dead(Failure::dead("an image without rows")).into()),
        };
        let changed = "an image that does not fit its table; its schema was changed";
        let more = plan.key_change.as_ref().map_or(0, |change| change.expressions.len());
        let (mut captured, mut computed) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for mut row in rows {
            computed.push(row.split_off(row.len().saturating_sub(more)));
            let image = capture::decode(description, row);
            captured.push(image.ok_or_else(|| Stopped::Dead(Failure::dead(changed)))?);
        }
        Ok(Before { captured, computed, keys: Vec::new(), unread: None })
    }

    /// Rows written must be rows captured.
    fn count(&self, branch: &Branch, plan: &Plan, captured: &[Captured], ok: &OkPacket) -> Result<(), End2> {
        let found_rows = self.backside.capabilities & FOUND_ROWS != 0;
        let written = match plan.write.verb {
            Verb::Update if found_rows => ok.affected,
            // MariaDB says nothing more where it knows beforehand that no row matches, as with LIMIT 0.
            Verb::Update => ok.matched().unwrap_or(if ok.affected == 0 { 0 } else { u64::MAX }),
            Verb::Insert | Verb::Delete => ok.affected,
        };
        let expected = match plan.write.verb {
            Verb::Insert => plan.inserted.len() as u64,
            Verb::Update | Verb::Delete => captured.len() as u64,
        };
        debug_assert!(branch.tables.iter().any(|t| t.name == plan.entry.name));
        if written == expected {
            return Ok(());
        }
        Err(Stopped::Dead(Failure::moved(&plan.entry.name, expected, written)).into())
    }

    /// A statement that is its own local transaction is settled before its answer is given.
    async fn finish_alone(&mut self, branch: Branch, ran: Ran) -> Result<(), End> {
        let Ran { payload, ok, echo } = ran;
        self.status = outside(ok.status);
        let echo = match echo {
            Some(echo) => echo,
            None => Echo::keep(&mut self.backside, ok.affected.cast_signed(), ok.warnings > 0).await?,
        };
        let echo = echo.outside(self.backside.capabilities & DEPRECATE_EOF != 0);
        if branch.changes.is_empty() {
            self.roll_back_locally().await?;
            self.echo = Some(echo);
            return self.tell(&combined(&ok, &payload, None)).await;
        }
        match self.settle(branch, "COMMIT AND NO CHAIN NO RELEASE").await? {
            Ok(Some(commit)) => {
                self.echo = Some(echo);
                self.tell(&combined(&ok, &payload, Some(&commit))).await
            }
            Ok(None) => {
                self.tell(&combined(&ok, &payload, None)).await?;
                Err(End::Done)
            }
            Err((failure, lost)) => {
                self.fail(&failure).await?;
                if lost { Err(End::Done) } else { Ok(()) }
            }
        }
    }

    /// The statement did not run; the local transaction is as it was before it, or ends.
    async fn stop(&mut self, stopped: Stopped, alone: bool) -> Result<(), End> {
        let stopped = match (stopped, self.backside.yielded.take()) {
            (Stopped::Server(_), Some(failure)) => Stopped::Dead(failure),
            (stopped, _) => stopped,
        };
        let (payload, failed) = match stopped {
            Stopped::Failure(failure) => (failure.payload(), None),
            Stopped::Dead(failure) => {
                self.dead = (!alone).then(|| failure.clone());
                (failure.payload(), None)
            }
            Stopped::Server(error) => (error.payload.to_vec(), Some(error.code)),
        };
        if alone || self.dead.is_some() {
            if failed.is_some() {
                let echo = Echo::keep(&mut self.backside, NO_ROWS, true).await?;
                self.echo = Some(echo.outside(self.backside.capabilities & DEPRECATE_EOF != 0));
            }
            self.roll_back_locally().await?;
        } else if let Some(code) = failed {
            self.check_local_transaction(code).await?;
        }
        self.tell(&payload).await
    }
}

/// A temporary table under the table's name cannot be undone.
fn refuse_temporary(table: &str, shown: Answer) -> Result<(), End2> {
    match shown {
        Answer::Rows(rows) => {
            let text = rows.first().and_then(|r| r.get(1)).cloned().flatten().unwrap_or_default();
            if text.starts_with(b"CREATE TABLE") {
                Ok(())
            } else {
                Err(Stopped::Failure(Failure::no_table(table)).into())
            }
        }
        Answer::Error(error) => Err(Stopped::Server(error).into()),
        Answer::Ok(..) | Answer::TooMany => Err(Stopped::Failure(Failure::no_table(table)).into()),
    }
}

/// What the statement takes away must be a value that can be written back.
fn refuse_inexact(branch: &Branch, table: usize, plan: &Plan, captured: &[Captured]) -> Result<(), End2> {
    let Some(description) = branch.description(table) else { return Ok(()) };
    let touches = |column: &str| {
        let assigned = |a: &String| a.to_lowercase() == column.to_lowercase();
        plan.write.verb == Verb::Delete || plan.write.assigned.iter().any(assigned)
    };
    let found = captured
        .iter()
        .find_map(|c| description.inexact(&c.row).filter(|k| touches(&k.name)).map(|k| (c, k)));
    match found {
        None => Ok(()),
        Some((row, column)) => {
            let why = format!(
                "row {} holds JSON in {} with a decimal, date or binary value, which its text does not keep",
                row.key.shown, column.name
            );
            Err(Stopped::Failure(Failure::table(&plan.entry.name, &why)).into())
        }
    }
}

/// The statement on exactly the captured rows, and on none if none was captured.
fn rewrite(
    branch: &Branch,
    table: usize,
    plan: &Plan,
    text: &Bytes,
    captured: &[Captured],
) -> Option<String> {
    let sql = std::str::from_utf8(text).ok()?;
    capture::on_captured_rows(branch.description(table)?, sql, &plan.write, &plan.params, captured)
}

pub(super) fn stopped_by_settle(error: branch::SettleError) -> End2 {
    use branch::SettleError;
    match error {
        SettleError::Database(error) => Stopped::Server(error).into(),
        SettleError::NotFound(table, inserted, found) => {
            Stopped::Dead(Failure::not_found_again(&table, inserted, found)).into()
        }
        SettleError::TooLarge => {
            Stopped::Failure(Failure::too_large("the local transaction changed too many rows")).into()
        }
        SettleError::Malformed(what) => Stopped::Dead(Failure::dead(what)).into(),
        SettleError::Elsewhere => Stopped::Dead(Failure::elsewhere()).into(),
        SettleError::Backend(error) => Stopped::Dead(Failure::backend(&error)).into(),
        SettleError::Unsupported(table, why) | SettleError::Unsearchable(table, why) => {
            Stopped::Dead(Failure::table(&table, &why)).into()
        }
        SettleError::Changed(_) => Stopped::Dead(Failure::dead("its table changed")).into(),
        SettleError::Call(_) | SettleError::Lost | SettleError::LostUncommitted | SettleError::InDoubt => {
            End2::End(End::Broken(std::io::ErrorKind::UnexpectedEof.into()))
        }
    }
}
