//! A write inside a global transaction: run with three more columns in its RETURNING clause, which tell the table meant,
//! the table or partition of each row, and the row.

use super::{
    End, Failure, Session,
    counters::{Counters, Unseen, disproved, uncounted},
    guard::key_names,
    pipeline::{Fate, Ran, Seen},
    query::QUERY,
    statements::Prepared,
};
use crate::{backend::Entry, branch::Branch, wire::postgres::Bind};
use atone_protocol::planted::{Bug, planted};
use atone_undo_log::{
    analyze::Unsupported,
    capture::Captured,
    postgres::{Class, Verb, Write},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// undefined_column
const UNDEFINED_COLUMN: &str = "42703";
/// undefined_function
const UNDEFINED_FUNCTION: &str = "42883";
/// feature_not_supported
const NOT_SUPPORTED: &str = "0A000";
/// Bytes of rows that one local transaction may change; its undo record holds them twice.
pub(super) const BRANCH_BYTES: usize = 256 << 20;

/// How the client asked for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// By a simple Query: it awaits a description of the rows.
    Query,
    /// By Execute, for so many rows at most; 0 is all.
    Execute {
        /// Rows.
        most: usize,
    },
}

/// A write that was sent and whose rows are not in the branch yet.
#[derive(Debug)]
pub(super) struct Running {
    statement: Arc<Prepared>,
    /// The client's portal.
    portal: Vec<u8>,
    /// The tables of which only keys are told.
    entries: Vec<Option<Arc<Entry>>>,
}

/// A write or a locking read as we run it.
pub(super) struct Respelt {
    /// The client's.
    pub prepared: Arc<Prepared>,
    /// With formats for our columns too.
    pub bind: Bind,
    sql: String,
    entries: Vec<Option<Arc<Entry>>>,
    /// So many rows the client wants now; 0 is all.
    most: usize,
    /// It is a read that locks rows of so many tables; 0: a write.
    reads: usize,
    /// It came by a simple Query.
    simple: bool,
}

impl Running {
    fn write(&self) -> Option<&Write> {
        match self.statement.class() {
            Class::Write(write) => Some(write),
            _ => None,
        }
    }
}

impl Session {
    /// RETURNING tells what a row was before, from PostgreSQL 18 on.
    fn tells_old(&self) -> bool {
        self.major() >= 18
    }

    /// The server's version.
    pub(super) fn major(&self) -> u32 {
        let version = self.parameters.get("server_version").map_or("", String::as_str);
        let major = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        major.parse().unwrap_or(0)
    }

    /// A name for a statement or portal of ours that no other has or had.
    pub(super) fn own_name(&mut self) -> String {
        self.names += 1;
        format!("atone {}", self.names)
    }

    /// Gathers a write.
    pub(super) async fn write(
        &mut self,
        prepared: &Arc<Prepared>,
        bind: &Bind,
        asked: Asked,
    ) -> Result<(), End> {
        if let Some(why) = self.ended.clone() {
            return self.refuse(&why).await;
        }
        let (returns, reads) = match prepared.class() {
            Class::Write(write) => (write.returning, 0),
            Class::Locking(Some(locking)) => (true, locking.tables.len()),
            _ => return Ok(()),
        };
        let bound = self.membership.binding.is_some();
        if bound && self.parameters.get("client_encoding").is_some_and(|e| e != "UTF8") {
            let what = "a session whose client_encoding is not UTF8".into();
            return self.refuse(&Failure::unsupported(&Unsupported(what))).await;
        }
        let entries = self.targets_of(prepared).await;
        if planted(Bug::CheckBeforeRowLock)
            && reads == 0
            && self.guarding()
            && let Err(failure) = self.check_early(&entries).await
        {
            return self.refuse(&failure).await;
        }
        let mut results = bind.results.clone();
        if results.len() > 1 {
            // One format per column of the client's; ours are text in any format.
            results.extend(vec![0; super::own_columns::OURS * reads.max(1)]);
        }
        self.pipeline.most = self.guarding().then_some(self.resource.max_rows);
        let columns: Vec<Option<Vec<String>>> =
            entries.iter().map(|e| Some(key_names(e.as_deref()?))).collect();
        let sql = match prepared.class() {
            Class::Locking(Some(locking)) => locking.with_rows(&prepared.text, &columns),
            Class::Write(write) => {
                let columns = columns.first().and_then(Option::as_deref);
                write.with_returning(&prepared.text, self.tells_old(), columns)
            }
            _ => prepared.text.clone(),
        };
        let most = match asked {
            // Without rows for the client it runs to its end at once.
            Asked::Execute { most } if returns => most,
            Asked::Execute { .. } | Asked::Query => 0,
        };
        let simple = asked == Asked::Query;
        let (prepared, bind) = (prepared.clone(), Bind { results, ..bind.clone() });
        let write = Respelt { prepared, bind, sql, entries, most, reads, simple };
        match write.prepared.class() {
            Class::Locking(Some(locking)) if locking.skips => Box::pin(self.skip_locked(&write)).await?,
            _ => self.gather(&write, None),
        }
        Ok(())
    }

    /// Gathers the messages of a write or a locking read; a savepoint of ours stands before it, if it has a name.
    pub(super) fn gather(&mut self, write: &Respelt, savepoint: Option<&str>) {
        let Respelt { prepared, bind, sql, entries, most, reads, simple } = write;
        let (simple, reads) = (*simple, *reads);
        let calls = matches!(prepared.class(), Class::Locking(Some(locking)) if locking.calls);
        if self.membership.binding.is_some() || calls || reads == 0 && !self.tells_all(prepared, entries) {
            self.begin_counting();
        }
        if calls {
            // What its functions write only the counts tell.
            self.counters.rely();
        }
        if let Some(name) = savepoint {
            self.gather_alone(&format!("SAVEPOINT {name}"));
        }
        let name = self.own_name();
        // A statement that the client keeps is kept by us too.
        let kept = !simple && !bind.statement.is_empty();
        let name = if simple { String::new() } else { name };
        let (statement, new) = match (simple, kept) {
            (true, _) => (QUERY.to_owned(), true),
            (false, true) => self.statements.own(&bind.statement, &name, sql),
            (false, false) => (name.clone(), true),
        };
        // One that was spelled otherwise.
        for stale in self.statements.stale() {
            self.pipeline.close(b'S', &stale);
        }
        if simple {
            self.pipeline.close(b'S', QUERY);
        }
        if new {
            // What the server says of our re-spelling of the client's statement is for the client.
            if simple && reads > 0 {
                // Our columns are not at its end: of its errors it tells itself, with their places.
                self.pipeline.parse(QUERY, &prepared.text, &[], Fate::DropUnlessError);
                self.pipeline.close(b'S', QUERY);
            }
            self.pipeline.parse(&statement, sql, &prepared.types, Fate::DropUnlessError);
        }
        let own =
            Bind { portal: name.clone().into_bytes(), statement: statement.into_bytes(), ..bind.clone() };
        self.pipeline.bind(&own, Fate::DropUnlessError);
        let number = self.writes.len();
        let capture = Fate::Capture { write: number, most: *most, reads };
        if simple {
            self.pipeline.describe(&name, capture.clone());
        }
        self.pipeline.execute(&name, capture);
        if !simple {
            self.pipeline.close(b'P', &name);
        }
        if !kept && !simple {
            self.pipeline.close(b'S', &name);
        }
        let (statement, entries) = (prepared.clone(), entries.clone());
        self.writes.push(Running { statement, portal: bind.portal.clone(), entries });
    }

    /// Takes in what came of running: errors, rows of writes, counts.
    pub(super) async fn absorb(&mut self, ran: Ran) -> Result<(), End> {
        let Ran { kept, seen, flood, writes, error, last_complete, parameters, mut rest, refused, .. } = ran;
        self.refused |= refused;
        self.complete = last_complete.or(self.complete);
        if let (Some((error, true)), true, Some(at)) = (&error, self.querying && refused, self.complete) {
            self.answer.truncate(at);
            self.answer.extend(&error.frame);
        }
        for (number, running) in self.writes.iter().enumerate() {
            let portal = self.statements.portal(&running.portal);
            if let (Some(rest), Some(portal)) = (rest.remove(&number), portal) {
                portal.done = Some(rest.frames);
            }
        }
        self.reported(parameters);
        self.counting = false;
        self.counters.answered(error.is_some());
        self.statements.answered(error.is_some());
        let begun = self.counters.known();
        let mut kept = kept.into_iter();
        if error.is_some() {
            self.skip_locked.give_up();
        }
        // The first counts of a local transaction stand before its statements, all others behind.
        if !begun && let Some(rows) = kept.next() {
            if let Err(what) = self.note_lock_wait(&rows) {
                self.answer.extend(Failure::misuse(&what).message("ERROR"));
                return self.fail_locally().await;
            }
            match Counters::read_baseline(&rows) {
                Some(counts) => self.counters.begin(counts),
                None => return self.uncountable().await,
            }
        }
        if let Err((at, failure)) = self.take_in(&writes, seen, flood).await {
            self.answer.truncate(at);
            self.answer.extend(failure.message("ERROR"));
            if error.is_some() {
                self.skipping = true;
                self.writes.clear();
                return Ok(());
            }
            return self.fail_locally().await;
        }
        self.writes.clear();
        if let Some((error, own)) = error {
            let fault = crate::wire::postgres::Fault::read(error.body());
            if own && fault.state == UNDEFINED_COLUMN && fault.message.contains("tableoid") {
                let what =
                    "a write to, or a read FOR UPDATE of, something other than a table (a view, most likely)";
                self.answer.truncate(self.answer.len().saturating_sub(error.frame.len()));
                self.answer.extend(Failure::unsupported(&Unsupported(what.into())).message("ERROR"));
            }
            if own && fault.state == NOT_SUPPORTED && fault.message.contains("RETURNING on relation") {
                let what = "a write to a table or view whose rules rewrite statements";
                self.answer.truncate(self.answer.len().saturating_sub(error.frame.len()));
                self.answer.extend(Failure::unsupported(&Unsupported(what.into())).message("ERROR"));
            }
            if own && fault.state == UNDEFINED_FUNCTION && fault.message.contains("no binary output function")
            {
                let what =
                    format!("a write to a table with a column that cannot be captured ({})", fault.message);
                self.answer.truncate(self.answer.len().saturating_sub(error.frame.len()));
                self.answer.extend(Failure::unsupported(&Unsupported(what)).message("ERROR"));
            }
            let told = ["57", "XX", "40P01"];
            if !own && told.iter().any(|state| fault.state.starts_with(state)) {
                // The client cancelled, or there was a deadlock, or the server is ending, or in no state to answer anybody.
                self.answer.extend(&error.frame);
            } else if !own {
                if let Some(table) = disproved(&fault.message) {
                    self.answer.truncate(last_complete.unwrap_or(self.answer.len()));
                    self.answer.extend(Failure::unseen_by_read(table).message("ERROR"));
                    (self.skipping, self.refused) = (true, true);
                    return Ok(());
                }
                if uncounted(&fault.message) {
                    self.answer.truncate(last_complete.unwrap_or(self.answer.len()));
                    self.answer.extend(Failure::unsupported(&Unsupported(UNCOUNTED.into())).message("ERROR"));
                    (self.skipping, self.refused) = (true, true);
                    return Ok(());
                }
                let what = format!("a question of the proxy failed: {} ({})", fault.message, fault.state);
                self.counters.forget_statement();
                self.answer.extend(Failure::internal(&what).message("ERROR"));
            }
            self.skipping = true;
            return Ok(());
        }
        for rows in kept {
            if let Err(what) = self.note_lock_wait(&rows) {
                self.answer.truncate(last_complete.unwrap_or(self.answer.len()));
                self.answer.extend(Failure::misuse(&what).message("ERROR"));
                return self.fail_locally().await;
            }
            match Counters::read(&rows) {
                Some(counts) => self.compare(counts, last_complete).await?,
                None => return self.uncountable().await,
            }
        }
        Ok(())
    }

    /// Would these be too many rows?
    pub(super) fn few_enough(&self, more: usize) -> Result<(), Failure> {
        let most = self.resource.max_rows;
        let rows = self.branch.as_ref().map_or(0, |b| b.rows().saturating_add(b.counted));
        if rows.saturating_add(more) <= most {
            return Ok(());
        }
        let what = format!("the local transaction would change over {most} rows (max_rows)");
        Err(Failure::too_large(&what))
    }

    /// The rows of writes become changes of the branch. An error stands where the write's result began.
    async fn take_in(
        &mut self,
        writes: &[(usize, usize, u64)],
        seen: Vec<Seen>,
        mut flood: BTreeMap<usize, BTreeMap<u32, u64>>,
    ) -> Result<(), (usize, Failure)> {
        let mut seen = seen.into_iter().peekable();
        for (number, at, counted) in writes {
            let mut rows = Vec::new();
            while let Some(row) = seen.next_if(|s| s.write == *number) {
                rows.push(row);
            }
            let Some(running) = self.writes.get(*number) else { continue };
            let (statement, entries) = (running.statement.clone(), running.entries.clone());
            let entries: Vec<Arc<Entry>> = entries.into_iter().flatten().collect();
            if let Class::Locking(Some(locking)) = statement.class() {
                let flood = flood.remove(number).unwrap_or_default();
                self.locked_rows(locking, &rows, &flood, &entries).await.map_err(|failure| (*at, failure))?;
                if self.skip_locked.met.is_some() {
                    // Others hold some of them: none is given.
                    self.answer.truncate(*at);
                    self.complete = self.complete.filter(|complete| complete < at);
                }
                continue;
            }
            let Some(write) = running.write() else { continue };
            let verb = (write.verb, write.assigned.clone());
            if let Some(flood) = flood.remove(number) {
                self.guard_flood(&flood).await.map_err(|failure| (*at, failure))?;
            } else if rows.len() as u64 != *counted {
                let what = format!("{} rows were told of {counted} that were written", rows.len());
                return Err((*at, Failure::internal(&what)));
            }
            if self.guarding() {
                let (verb, assigned) = (verb.0, verb.1.as_slice());
                self.guard_rows(verb, assigned, &rows, &entries).await.map_err(|failure| (*at, failure))?;
                continue;
            }
            self.change(verb, rows).await.map_err(|failure| (*at, failure))?;
        }
        Ok(())
    }

    async fn change(
        &mut self,
        (verb, assigned): (Verb, Vec<String>),
        rows: Vec<Seen>,
    ) -> Result<(), Failure> {
        let Some(meant) = rows.first().map(|r| r.meant) else { return Ok(()) };
        let resource = self.resource.clone();
        let Some(backend) = resource.backend.postgres() else { return Ok(()) };
        let entry = backend.entry(meant).await.map_err(|e| Failure::backend(&e))?;
        let entry = entry.ok_or_else(|| Failure::table(&format!("number {meant}"), NOT_KEPT))?;
        let table = protectable(&entry).map_err(|why| Failure::table(&entry.name, &why))?;
        let layout = entry.layout.as_ref().ok_or_else(|| Failure::internal("a table without a layout"))?;
        let key = |column: &&String| table.key.parts.iter().any(|p| table.columns[p.column].name == **column);
        // An assigned key does not tell from where a row came, unless the server tells what the row was. An assigned identity
        // takes no other value than the next. A trigger may assign either, which shows in an UPDATE, but not where the row
        // may be new.
        let always = table.auto_increment.map(|c| &table.columns[c].name);
        let upsert = verb == Verb::Insert && !assigned.is_empty();
        let told = rows.iter().all(|row| row.old.is_some());
        let moves = assigned.iter().any(|a| key(&a) || Some(a) == always) || upsert && entry.fires;
        let records = rows.iter().flat_map(Seen::records).collect::<Vec<_>>();
        let folds = backend.folds(&entry, &records).await.map_err(|e| Failure::backend(&e))?;
        let mut unseen = moves && !told;
        let mut moved = false;
        let (mut captured, mut heirs) = (Vec::with_capacity(rows.len()), BTreeSet::new());
        for row in &rows {
            self.counters.captured(row.found, 1);
            if row.found != row.meant && !layout.partitioned {
                // A table that inherits from it, with a key and columns of its own.
                heirs.insert(row.found);
                continue;
            }
            let changed = || Failure::internal("a row that does not fit its table; its schema was changed");
            let image = |bytes: &Vec<u8>| layout.decode(table, bytes, &folds).ok_or_else(changed);
            let now = image(&row.row)?;
            let old = match verb {
                // All rows are new; or this is what they were.
                Verb::Insert if !upsert => Some(None),
                Verb::Delete => None,
                Verb::Insert | Verb::Update => {
                    row.old.as_ref().map(|old| old.as_ref().map(image).transpose()).transpose()?
                }
            };
            moved |= matches!(&old, Some(Some(old)) if old.key.bytes != now.key.bytes);
            captured.push((now, old));
        }
        let branch = self.branch.get_or_insert_with(|| Branch::new(crate::ids::branch()));
        // Under two names, a partition's and its parent's, the same row may have been written.
        unseen |= branch.tables.iter().any(|other| other.name == entry.name && other.table != entry.table);
        let own = rows.iter().filter(|row| !heirs.contains(&row.found));
        branch.written.extend(own.map(|row| (row.found, entry.name.clone())));
        if unseen {
            branch.unseen.insert(entry.name.clone());
        } else if moved {
            branch.moved.insert(entry.name.clone());
        }
        let size = |(row, _): &(Captured, _)| row.row.size();
        let bytes = branch.bytes + captured.iter().map(size).sum::<usize>();
        if bytes > BRANCH_BYTES {
            return Err(Failure::too_large("the local transaction would change over 256 MiB of rows"));
        }
        self.few_enough(captured.len())?;
        let Some(branch) = self.branch.as_mut() else { return Ok(()) };
        let at = branch.table(&entry);
        branch.left(at, captured, verb == Verb::Delete, verb == Verb::Insert, &assigned);
        for heir in heirs {
            let rows = rows.iter().filter(|row| row.found == heir).count() as u64;
            let table = format!("a table that inherits from {}", entry.name);
            let unseen = Unseen { oid: heir, table, captured: 0, counted: rows };
            self.unseen(&unseen).await?;
        }
        Ok(())
    }
}

/// Counts that are off would prove nothing.
pub(super) const UNCOUNTED: &str = "a session whose track_counts is off";
/// Why a table of ours cannot be there.
pub(super) const NOT_KEPT: &str = "it is a temporary table, or was made in this transaction";

pub(super) fn protectable(entry: &Entry) -> Result<&atone_undo_log::capture::Table, String> {
    if let Some(trigger) = entry.triggers.first() {
        return Err(format!(
            "it has the trigger {trigger}, which the undo would fire. For most triggers the proxy's account can keep it \
             still, if a DBA lets it: GRANT SET ON PARAMETER session_replication_role TO that account"
        ));
    }
    entry.table.as_ref().map_err(Clone::clone)
}
