//! Local transactions outside global ones that write: before they commit, the coordinator is asked whether somebody holds a
//! global lock on a row of theirs, while they hold its row lock in the database. So nobody can come to hold one afterwards.
//!
//! Their writes are captured as those of a branch are, but only keys are kept, and nothing is registered. What cannot be
//! captured is never refused here: then no key of the table may be locked, or the keys are looked for (`search`).

use super::{
    End, Failure, Session,
    counters::Unseen,
    defining::takes_tables,
    first_words::{counts, prepares_transaction},
    local::{Ending, Unsettled, told},
    pipeline::{Fate, Pipeline, Seen},
    statements::Prepared,
};
use crate::{
    backend::Entry,
    branch::{AfterImages, Branch, CHECK_LIMIT, Change, Committing, Local, Locks, SettleError},
    wire::postgres::Bind,
};
use atone_protocol::{
    CallError, Check,
    planted::{Bug, WINDOW, planted},
};
use atone_undo_log::{
    capture::{Captured, Row},
    postgres::{Class, Counted, Folds, Locking, Verb},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// Tables of the catalogue have smaller numbers.
const FIRST_OF_USERS: u32 = 16_384;
/// What is known of a name in a session is asked for again after this.
const FRESH: Duration = Duration::from_secs(5);
/// Names known at once.
const NAMES: usize = 1000;

/// What a session knows of the names it writes to.
#[derive(Default)]
pub(super) struct Targets {
    known: BTreeMap<String, (Option<u32>, Instant)>,
    /// The session says how long it waits for locks, or did so once.
    says_wait: bool,
}

impl Targets {
    /// A statement may have changed what names mean, or what may be done with them.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// Is it plain?
    fn get(&self, name: &str) -> Option<bool> {
        self.known.get(name).filter(|(_, at)| at.elapsed() < FRESH).map(|(plain, _)| plain.is_some())
    }

    /// The number of a plain table.
    fn number(&self, name: &str) -> Option<u32> {
        self.known.get(name)?.0
    }

    fn learn(&mut self, name: String, plain: Option<u32>) {
        if self.known.len() >= NAMES {
            self.known.clear();
        }
        self.known.insert(name, (plain, Instant::now()));
    }
}

/// Is it a table whose rows may be returned to the client that wrote them, with nothing else happening?
const IS_PLAIN: &str = "SELECT CASE WHEN c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relhasrules \
    AND NOT pg_catalog.row_security_active(c.oid) AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND t.typsend = 0) THEN c.oid END::pg_catalog.text, \
    pg_catalog.current_setting('atone.lock_wait', true) \
    FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)";

impl Session {
    /// In no global transaction, and what it writes is checked.
    pub(super) fn guarding(&self) -> bool {
        self.guards && self.membership.binding.is_none()
    }

    /// Writes are captured, for whatever end.
    pub(super) fn captures(&self) -> bool {
        self.guards || self.membership.binding.is_some()
    }

    /// A local transaction that is guarded has written, or may have.
    pub(super) fn guard_is_up(&self) -> bool {
        self.branch.is_some() || self.counters.relied_on() || !self.writes.is_empty()
    }

    /// Must a simple Query of these statements be run by us? Otherwise it is passed on as it came.
    pub(super) fn guard_concerns(&self, statements: &[Arc<Prepared>]) -> bool {
        let up = self.guard_is_up();
        if up && !self.block {
            // It ends the implicit local transaction of the pipeline that it stands in; not so a read that is a part of it.
            let read = matches!(statements, [one] if *one.class() == Class::Read);
            return !(read && self.goes_on());
        }
        let one = |p: &Arc<Prepared>| match p.class() {
            Class::Write(_) | Class::Locking(Some(_)) => true,
            Class::Counted(Counted::Execute(name)) if self.statements.reads(name) => {
                up && statements.len() > 1
            }
            Class::Counted(Counted::Procedure) => up || self.block || statements.len() > 1,
            Class::Counted(_) => true,
            Class::Unsupported(_) => {
                counts(&p.text)
                    || takes_tables(&p.text)
                    || up && (statements.len() > 1 || prepares_transaction(&p.text))
            }
            Class::Locking(None)
            | Class::Empty
            | Class::Read
            | Class::Session
            | Class::Begin
            | Class::Control(_) => up && statements.len() > 1,
            Class::ResetAll | Class::DiscardAll => up,
            Class::Commit { .. }
            | Class::Rollback { .. }
            | Class::Savepoint(_)
            | Class::RollbackTo(_)
            | Class::Release(_) => up,
        };
        statements.iter().any(one)
    }

    /// Can this write be captured as it is? Otherwise only counts tell of it. Asked of the server once per name and a while.
    pub(super) async fn plain_target(&mut self, name: &str) -> Result<bool, End> {
        let encoded = self.parameters.get("client_encoding").is_some_and(|e| e != "UTF8");
        if encoded || self.failed() || name.matches('.').count() > 1 {
            return Ok(false);
        }
        if let Some(plain) = self.targets.get(name) {
            return Ok(plain);
        }
        self.send().await?;
        if self.skipping {
            return Ok(false);
        }
        let own = self.own_name();
        let bind = Bind {
            portal: own.clone().into_bytes(),
            statement: own.clone().into_bytes(),
            formats: Vec::new(),
            values: vec![Some(name.as_bytes().to_vec())],
            results: Vec::new(),
        };
        self.pipeline.parse(&own, IS_PLAIN, &[25], Fate::Drop);
        self.pipeline.bind(&bind, Fate::Drop);
        self.pipeline.execute(&own, Fate::Keep);
        self.pipeline.close(b'P', &own);
        self.pipeline.close(b'S', &own);
        let ran = self.pipeline.run(&mut self.database, &mut self.client, &mut self.answer).await?;
        if let Some((error, _)) = ran.error {
            self.answer.extend(&error.frame);
            self.skipping = true;
            return Ok(false);
        }
        self.reported(ran.parameters);
        let mut told = ran.kept.into_iter().flatten().flatten();
        let number = told.next().flatten().and_then(|told| std::str::from_utf8(&told).ok()?.parse().ok());
        self.targets.says_wait |= told.next().flatten().is_some_and(|wait| !wait.is_empty());
        self.targets.learn(name.to_owned(), number);
        Ok(number.is_some())
    }

    /// The same of all tables of which a read locks rows.
    pub(super) async fn plain_targets(&mut self, text: &str, locking: &Locking) -> Result<bool, End> {
        for (name, _) in &locking.tables {
            if !self.plain_target(&text[name.clone()]).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// May anything wait for the commit?
    pub(super) async fn may_defer(&self) -> bool {
        let resource = self.resource.clone();
        match resource.backend.postgres() {
            Some(backend) => backend.defers().await.unwrap_or(true),
            None => false,
        }
    }

    /// The rows that a write left: their keys are kept.
    pub(super) async fn guard_rows(
        &mut self,
        verb: Verb,
        assigned: &[String],
        rows: &[Seen],
        told: &[Arc<Entry>],
    ) -> Result<(), Failure> {
        let Some(meant) = rows.first().map(|r| r.meant) else { return Ok(()) };
        rows.iter().for_each(|row| self.counters.captured(row.found, 1));
        let Some(entry) = self.guarded_table(meant).await? else { return Ok(()) };
        let (Ok(table), Some(layout)) = (&entry.table, &entry.layout) else {
            // Without keys no row of it is ever locked, unless it had some a moment ago.
            self.whole_table(meant, &entry);
            return Ok(());
        };
        let mut found = BTreeSet::new();
        let mut keys = Vec::with_capacity(rows.len());
        let folds = self.folds_of(told, &entry, rows.iter()).await?;
        let key_of = |bytes: &Vec<u8>| {
            let captured = keys_of(told, &entry, bytes, &folds)?;
            Some(Captured { row: Row(Vec::new()), ..captured })
        };
        for row in rows {
            if row.found != meant && !layout.partitioned {
                found.insert(row.found);
                continue;
            }
            let old = row.old.as_ref().map(|old| old.as_ref().and_then(key_of));
            match key_of(&row.row) {
                Some(now) => keys.push((now, old)),
                None => {
                    // Its schema was changed a moment ago.
                    self.whole_table(meant, &entry);
                    return Ok(());
                }
            }
        }
        let is_key =
            |column: &String| table.key.parts.iter().any(|p| table.columns[p.column].name == *column);
        let always = table.auto_increment.map(|c| &table.columns[c].name);
        let may_move = assigned.iter().any(|a| is_key(a) || Some(a) == always)
            || entry.fires && (verb == Verb::Update || verb == Verb::Insert && !assigned.is_empty());
        let tells_old = rows.iter().all(|row| row.old.is_some());
        let many = self.few_enough(keys.len()).is_err();
        for oid in found {
            if let Some(heir) = self.guarded_table(oid).await? {
                self.whole_table(oid, &heir);
            }
        }
        if many || may_move && !tells_old {
            self.whole_table(meant, &entry);
        }
        if !many {
            let branch = self.branch.get_or_insert_with(|| Branch::new(crate::ids::branch()));
            branch.written.insert(meant, entry.name.clone());
            let at = branch.table(&entry);
            branch.left(at, keys, verb == Verb::Delete, verb == Verb::Insert, assigned);
            if std::mem::take(&mut branch.relinked) {
                // What its rows referred to before is not told.
                self.whole_table(meant, &entry);
            }
        }
        Ok(())
    }

    /// What is needed to tell the keys of these rows.
    pub(super) async fn folds_of<'r>(
        &self,
        told: &[Arc<Entry>],
        entry: &Entry,
        rows: impl Iterator<Item = &'r Seen>,
    ) -> Result<Folds, Failure> {
        let Some(backend) = self.resource.backend.postgres() else { return Ok(Folds::default()) };
        let records: Vec<&[u8]> = rows.flat_map(Seen::records).collect();
        let folds = backend.folds(known(told, entry).0, &records).await;
        folds.map_err(|e| Failure::backend(&e))
    }

    /// The tables that a statement names, where only keys of their rows are asked for: what a local transaction outside global
    /// ones needs.
    pub(super) async fn targets_of(&self, prepared: &Prepared) -> Vec<Option<Arc<Entry>>> {
        let resource = self.resource.clone();
        let (Some(backend), true) = (resource.backend.postgres(), self.guarding()) else { return Vec::new() };
        let names: Vec<&str> = match prepared.class() {
            Class::Write(write) => vec![&prepared.text[write.table.clone()]],
            Class::Locking(Some(locking)) => {
                locking.tables.iter().map(|(name, _)| &prepared.text[name.clone()]).collect()
            }
            _ => Vec::new(),
        };
        let mut entries = Vec::new();
        for name in names {
            entries.push(match self.targets.number(name) {
                Some(oid) => backend.entry(oid).await.ok().flatten(),
                None => None,
            });
        }
        entries
    }

    /// Does this write of a local transaction outside global ones surely do nothing but what it tells? Then the counts need not
    /// be asked, which costs more than most writes.
    pub(super) fn tells_all(&self, prepared: &Prepared, targets: &[Option<Arc<Entry>>]) -> bool {
        let Class::Write(write) = prepared.class() else { return false };
        let alone = matches!(targets, [Some(entry)] if entry.alone && entry.layout.is_some());
        self.guarding() && alone && !write.calls && !self.targets.says_wait
    }

    /// A planted bug: what is asked before a write runs, when its rows are not known yet.
    pub(super) async fn check_early(&mut self, targets: &[Option<Arc<Entry>>]) -> Result<(), Failure> {
        let tables = targets.iter().flatten().map(|entry| entry.name.clone()).collect();
        self.await_free(Vec::new(), Vec::new(), tables, self.lock_wait()).await?;
        tokio::time::sleep(WINDOW).await;
        Ok(())
    }

    /// More rows were written than are kept, of these tables.
    pub(super) async fn guard_flood(&mut self, flood: &BTreeMap<u32, u64>) -> Result<(), Failure> {
        for (oid, rows) in flood {
            self.counters.captured(*oid, *rows);
            if let Some(entry) = self.guarded_table(*oid).await? {
                self.whole_table(*oid, &entry);
            }
        }
        Ok(())
    }

    /// The counts tell of rows that no statement told of.
    pub(super) async fn guard_unseen(&mut self, unseen: &Unseen) -> Result<(), Failure> {
        if unseen.oid < FIRST_OF_USERS {
            return Ok(());
        }
        if let Some(entry) = self.guarded_table(unseen.oid).await? {
            self.whole_table(unseen.oid, &entry);
        }
        Ok(())
    }

    /// None: temporary, or made in this local transaction, and so nobody else's.
    async fn guarded_table(&self, oid: u32) -> Result<Option<Arc<Entry>>, Failure> {
        let resource = self.resource.clone();
        let Some(backend) = resource.backend.postgres() else { return Ok(None) };
        backend.entry(oid).await.map_err(|e| Failure::backend(&e))
    }

    fn whole_table(&mut self, oid: u32, entry: &Entry) {
        let branch = self.branch.get_or_insert_with(|| Branch::new(crate::ids::branch()));
        branch.written.insert(oid, entry.name.clone());
        branch.unseen.insert(entry.name.clone());
    }

    /// Ends a guarded local transaction, as `settle` does one of a global transaction.
    pub(super) async fn settle_guarded(
        &mut self,
        mut branch: Branch,
        commit: Option<&[u8]>,
    ) -> Result<Result<Vec<u8>, Unsettled>, End> {
        // From here to the end a request to cancel would meet statements of ours.
        let _ours = self.cancellable.ours().await;
        let mut ending = Ending { session: self, commit };
        let settled = match ending.check(&mut branch).await {
            Ok(()) => match ending.finish(Pipeline::default()).await? {
                Committing::Done(answer) | Committing::Unsure(answer) => Ok(answer.to_vec()),
                Committing::Refused(error) => {
                    Err(Unsettled { told: error.payload.to_vec(), lost: false, by_database: true })
                }
                Committing::LostBefore | Committing::Doubt => {
                    Err(Unsettled { told: Vec::new(), lost: true, by_database: false })
                }
            },
            Err(error) => {
                ending.undo_locally().await;
                let lost = matches!(error, SettleError::Lost);
                let told = match error {
                    SettleError::Call(error) => Failure::guarded(&error).message("ERROR"),
                    other => told(None, other),
                };
                Err(Unsettled { told, lost, by_database: false })
            }
        };
        self.counters.forget();
        Ok(settled)
    }
}

/// The columns of which a table's keys are made; none where it has no keys.
pub(super) fn key_names(entry: &Entry) -> Vec<String> {
    let (Ok(table), Some(layout)) = (&entry.table, &entry.layout) else { return Vec::new() };
    layout.key_columns(table).into_iter().map(|column| table.columns[column].name.clone()).collect()
}

/// The keys of a row: of its key columns alone, if it was asked for those of one of these tables. So much of it as was asked for
/// is there, too.
pub(super) fn keys_of(told: &[Arc<Entry>], entry: &Entry, bytes: &[u8], folds: &Folds) -> Option<Captured> {
    let (known, only_keys) = known(told, entry);
    let (Ok(table), Some(layout)) = (&known.table, &known.layout) else { return None };
    match only_keys {
        true => layout.decode_keys(table, bytes, folds),
        false => layout.decode(table, bytes, folds),
    }
}

/// The table as it was when rows were asked for, and whether only keys were.
fn known<'e>(told: &'e [Arc<Entry>], entry: &'e Entry) -> (&'e Entry, bool) {
    let number = |entry: &Entry| entry.layout.as_ref().map(|layout| layout.oid);
    let found = told.iter().find(|told| number(told) == number(entry));
    found.map_or((entry, false), |found| (&**found, true))
}

impl Ending<'_> {
    /// Waits until no global transaction holds a key of the rows written.
    async fn check(&mut self, branch: &mut Branch) -> Result<(), SettleError> {
        if planted(Bug::CheckBeforeRowLock) {
            return Ok(());
        }
        if branch.takes_tables {
            self.check_tables().await?;
        }
        let tables: Vec<String> = branch.unseen.iter().cloned().collect();
        let mut after = None;
        let held = match tables.is_empty() {
            true => false,
            false => match self.ask(Locks::default(), tables.clone(), Duration::ZERO).await {
                Ok(()) => false,
                Err(SettleError::Call(error)) if matches!(*error, CallError::Refused(_)) => true,
                Err(error) => return Err(error),
            },
        };
        if held {
            // Some keys of the tables are locked: are they of rows that were written?
            let mut found = AfterImages::new();
            match self.search(branch, &mut found).await {
                Ok(()) => {
                    // Which tells all that statements told of these tables, and what was there before.
                    let Branch { changes, unseen, tables, .. } = &mut *branch;
                    changes.retain(|change| match change {
                        Change::Left { table, .. } => !unseen.contains(&tables[*table].name),
                        _ => true,
                    });
                    after = Some(found);
                }
                Err(SettleError::Unsearchable(..) | SettleError::TooLarge) => {
                    let wait = self.session.lock_wait();
                    self.ask(Locks::default(), tables, wait).await?;
                }
                Err(error) => return Err(error),
            }
        }
        let mut locks = Locks::of(branch, after.as_ref());
        if locks.is_empty() {
            return Ok(());
        }
        let mut tables = BTreeSet::new();
        if locks.alone.len() + locks.shared.len() > CHECK_LIMIT {
            let Locks { alone, shared } = std::mem::take(&mut locks);
            tables.extend(alone.into_iter().chain(shared).map(|key| key.table));
        }
        let wait = self.session.lock_wait();
        self.ask(locks, tables.into_iter().collect(), wait).await
    }

    pub(super) async fn ask(
        &mut self,
        locks: Locks,
        tables: Vec<String>,
        wait: Duration,
    ) -> Result<(), SettleError> {
        let resource = self.session.resource.clone();
        let (name, session) = (resource.backend.name().to_owned(), self.session.number);
        let (keys, shared) = (locks.alone.into_iter().collect(), locks.shared.into_iter().collect());
        let check =
            Check { xid: None, resource: name, keys, shared, tables, everything: false, wait, session };
        tokio::select! {
            checked = resource.coordinator.check(check) => checked.map_err(|error| SettleError::Call(Box::new(error))),
            () = self.client_gone() => Err(SettleError::Lost),
        }
    }
}
