//! Where a local transaction of a global one ends: at the client's COMMIT, or at the Sync that ends an implicit one.

use super::{
    End, Failure, IDLE, Session,
    counters::Question,
    moves,
    pipeline::{Ask, Fate, Pipeline, Ran},
    sync::Due,
    texts::alone,
};
use crate::{
    backend::{Entry, Postgres, UNDO_LOG},
    branch::{AfterImages, Branch, Change, Committing, Local, SettleError, Settlement, Settler, UndoRows},
    session::ServerError,
    wire::postgres::{Bind, Fault},
};
use atone_protocol::Xid;
use atone_undo_log::capture::Captured;
use bytes::Bytes;
use std::{collections::BTreeMap, io, sync::Arc};

/// A part of an undo record is never larger.
const PART_LIMIT: usize = 4 << 20;
/// internal_error
const INTERNAL_ERROR: &str = "XX000";
/// A row that the undo could not send back in one message.
const ROW_LIMIT: usize = 256 << 20;

/// The local transaction as its settlement needs it.
pub(super) struct Ending<'a> {
    pub(super) session: &'a mut Session,
    /// The messages that execute the client's COMMIT; None: a Sync ends it.
    pub(super) commit: Option<&'a [u8]>,
}

/// A local transaction that was not committed.
pub(super) struct Unsettled {
    /// What the client is told.
    pub told: Vec<u8>,
    /// The database is lost.
    pub lost: bool,
    /// It is the database's own word.
    pub by_database: bool,
}

impl Session {
    /// COMMIT.
    pub(super) async fn commit(&mut self, frame: &[u8], chain: bool) -> Result<(), End> {
        if let Some(why) = self.ended.take() {
            self.send().await?;
            if !self.skipping {
                self.answer.extend(why.message("ERROR"));
                self.skipping = true;
            }
            return self.end_refused().await;
        }
        if self.only_read() && self.expects_counts() && !self.guarding() {
            // Proven and ended in one go.
            self.ask_counters(Question::Proof);
        } else {
            if self.expects_counts() {
                self.fire_deferred();
            }
            self.check_counters().await?;
        }
        if self.skipping {
            return self.end_if_refused().await;
        }
        let failed = self.failed();
        let branch = self.branch.take().filter(|b| !b.is_empty() && !failed);
        let Some(branch) = branch else {
            // Nothing was written, or all of it is void: the server answers COMMIT or ROLLBACK as it is.
            self.ended = None;
            self.pipeline.give(frame, Ask::Execute, self.fate_of_commit());
            self.send().await?;
            self.counters.forget();
            if self.skipping {
                return self.end_if_refused().await;
            }
            self.ended_well(chain);
            self.statements.end_of_transaction();
            return Ok(());
        };
        match self.settle(branch, Some(frame)).await? {
            Ok(answer) => {
                self.answer.extend(&answer);
                self.ended_well(chain);
                Ok(())
            }
            Err(Unsettled { told, lost, .. }) => {
                self.block = false;
                self.answer.extend(told);
                if lost {
                    return Err(End::Done);
                }
                self.skipping = true;
                self.end_refused().await
            }
        }
    }

    /// The client does not hear of a COMMIT of ours.
    fn fate_of_commit(&self) -> Fate {
        if self.text_block { Fate::DropUnlessError } else { Fate::Pass }
    }

    /// The Sync of an implicit local transaction that has written.
    pub(super) async fn settle_at_sync(&mut self) -> Result<(), End> {
        let Some(branch) = self.branch.take() else { return self.sync().await };
        // The result of the last statement is the client's only when the commit is done.
        let mut held = std::mem::take(&mut self.answer);
        let complete = self.complete.take();
        match self.settle(branch, None).await? {
            Ok(said) => {
                self.answer = held;
                self.answer.extend(&said);
                self.after_sync(Some(IDLE));
            }
            Err(_) if self.due.is_some() => {
                self.answer = held;
                self.after_sync(Some(IDLE));
            }
            Err(Unsettled { told, lost, by_database }) => {
                if by_database && self.membership.binding.is_none() {
                    // What the database says itself stands where it always does.
                    held.truncate(complete.filter(|_| self.querying).unwrap_or(held.len()));
                    self.answer = held;
                }
                self.answer.extend(told);
                if lost {
                    return Err(End::Done);
                }
                self.after_sync(Some(IDLE));
            }
        }
        crate::wire::postgres::build::ready(&mut self.answer, self.status);
        self.querying = false;
        let answer = std::mem::take(&mut self.answer);
        Ok(self.client.write(&answer).await?)
    }

    /// An error before the COMMIT means that it was skipped; one of the counters' refuses it.
    async fn end_if_refused(&mut self) -> Result<(), End> {
        if std::mem::take(&mut self.refused) { self.end_refused().await } else { Ok(()) }
    }

    /// A COMMIT that was refused ends the local transaction all the same.
    async fn end_refused(&mut self) -> Result<(), End> {
        self.pipeline.sync(Fate::Drop);
        self.poisoned = false;
        let ran = self.pipeline.run(&mut self.database, &mut self.client, &mut Vec::new()).await?;
        if ran.ready.is_some_and(|status| status != IDLE) {
            self.ask_alone("ROLLBACK").await?;
        }
        self.branch = None;
        self.ended_well(false);
        self.counters.forget();
        self.statements.end_of_transaction();
        Ok(())
    }

    /// Ok: what the client is told of the commit. Err: what it is told instead, and whether the database is lost.
    async fn settle(
        &mut self,
        branch: Branch,
        commit: Option<&[u8]>,
    ) -> Result<Result<Vec<u8>, Unsettled>, End> {
        let Some(xid) = self.membership.xid() else { return self.settle_guarded(branch, commit).await };
        let resource = self.resource.clone();
        self.close_gate().await;
        // From here to the end a request to cancel would meet statements of ours.
        let _ours = self.cancellable.ours().await;
        let (primary, number, lock_wait) = (self.server.clone(), self.number, self.lock_wait());
        let mut ending = Ending { session: self, commit };
        let mut settler = Settler {
            local: &mut ending,
            backend: &resource.backend,
            coordinator: &resource.coordinator,
            primary: &primary,
            xid,
            lock_wait,
            session: number,
        };
        let settled = Box::pin(settler.settle(branch)).await;
        self.counters.forget();
        Ok(match settled {
            Ok(Settlement::Committed(answer)) => Ok(answer.to_vec()),
            Ok(Settlement::CommittedUnheard) => {
                let mut told = Vec::new();
                crate::wire::postgres::build::complete(&mut told, "COMMIT");
                Ok(told)
            }
            Err(error) => {
                let lost = matches!(
                    error,
                    SettleError::Lost
                        | SettleError::LostUncommitted
                        | SettleError::InDoubt
                        | SettleError::Elsewhere
                );
                let by_database = matches!(error, SettleError::Database(_));
                Err(Unsettled { told: told(Some(xid), error), lost, by_database })
            }
        })
    }
}

/// What the client is told of a local commit that failed, of a global transaction or of none.
pub(super) fn told(xid: Option<Xid>, error: SettleError) -> Vec<u8> {
    let xid = xid.unwrap_or(Xid::from_u128(0));
    let failure = match error {
        // The database's own error, as it said it.
        SettleError::Database(error) => return error.payload.to_vec(),
        SettleError::Call(error) => Failure::call(xid, &error),
        SettleError::NotFound(table, wanted, found) => {
            Failure::internal(&format!("{found} of {wanted} rows of {table} were found again"))
        }
        SettleError::Changed(table) => {
            Failure::internal(&format!("table {table} has got a trigger or foreign key meanwhile"))
        }
        SettleError::Unsupported(table, why) | SettleError::Unsearchable(table, why) => {
            Failure::unseen(&table, &why)
        }
        SettleError::Backend(error) => Failure::backend(&error),
        SettleError::TooLarge => {
            Failure::too_large("the local transaction changed more than may be held; it was rolled back")
        }
        SettleError::Lost | SettleError::LostUncommitted => Failure::lost(xid),
        SettleError::InDoubt => Failure::in_doubt(xid),
        SettleError::Elsewhere => Failure::elsewhere(),
        SettleError::Malformed(what) => Failure::internal(what),
    };
    failure.message("ERROR")
}

/// The rows that were written, in order; one that was written again comes again.
fn left(branch: &Branch) -> impl Iterator<Item = Left<'_>> {
    branch.changes.iter().filter_map(|change| match change {
        Change::Left { table, row, gone, new, .. } => {
            Some(Left { table: *table, row, gone: *gone, new: *new })
        }
        Change::Updated(..)
        | Change::Deleted(..)
        | Change::Moved(..)
        | Change::Locked { .. }
        | Change::Inserted(..)
        | Change::Resolved(..) => None,
    })
}

/// How the rows were before the local transaction.
type Before = BTreeMap<(usize, Vec<u8>), Captured>;

async fn before(backend: &Postgres, branch: &Branch) -> Result<Before, SettleError> {
    let mut wanted: BTreeMap<usize, BTreeMap<&[u8], &Captured>> = BTreeMap::new();
    for left in left(branch) {
        wanted.entry(left.table).or_default().insert(&left.row.key.bytes, left.row);
    }
    let mut before = Before::new();
    for (table, rows) in wanted {
        let rows: Vec<&Captured> = rows.into_values().collect();
        let found = backend.before_images(&branch.tables[table], &rows).await;
        let found = found.map_err(SettleError::Backend)?;
        before.extend(found.into_iter().map(|row| ((table, row.key.bytes.clone()), row)));
    }
    Ok(before)
}

/// What the statements did, one after the other.
enum Replayed {
    /// Each row's change, and how the rows are now.
    Known(Vec<Change>, AfterImages),
    /// In the table of this name a row was updated that was not there: a trigger has changed its key.
    Moved(String),
}

fn replay(branch: &Branch, mut state: Before) -> Result<Replayed, SettleError> {
    let (mut changes, mut after) = (Vec::new(), AfterImages::new());
    for left in left(branch) {
        let id = (left.table, left.row.key.bytes.clone());
        let entry = &branch.tables[left.table];
        match (state.remove(&id), left.gone) {
            (None, true) => return Err(SettleError::Malformed("a row was deleted that was not there")),
            (None, false) if left.new => {
                changes.push(Change::Resolved(left.table, vec![left.row.clone()]));
            }
            (None, false) if entry.fires => return Ok(Replayed::Moved(entry.name.clone())),
            (None, false) => return Err(SettleError::Malformed("a row was updated that was not there")),
            (Some(was), true) => changes.push(Change::Deleted(left.table, was)),
            (Some(was), false) => changes.push(Change::Updated(left.table, was)),
        }
        after.remove(&id);
        if !left.gone {
            after.insert(id.clone(), left.row.clone());
            state.insert(id, left.row.clone());
        }
    }
    Ok(Replayed::Known(changes, after))
}

/// How a statement left a row.
struct Left<'a> {
    table: usize,
    row: &'a Captured,
    gone: bool,
    new: bool,
}

impl Ending<'_> {
    pub(super) async fn run(&mut self, pipeline: &mut Pipeline, answer: &mut Vec<u8>) -> io::Result<Ran> {
        let Session { client, database, .. } = &mut *self.session;
        pipeline.run(database, client, answer).await
    }
}

impl Local for Ending<'_> {
    /// Without other unique keys than the rows' own, and triggers that may assign keys, what a row was before has the same
    /// keys.
    fn keys_are_known(&self, branch: &Branch) -> bool {
        let plain =
            |entry: &Arc<Entry>| !entry.fires && entry.table.as_ref().is_ok_and(|t| t.uniques.is_empty());
        let told = branch.unseen.is_empty() && branch.moved.is_empty() && !branch.relinked;
        told && branch.tables.iter().all(plain)
    }

    /// What each row was before is read from outside, where the local transaction does not show yet; its row locks keep it
    /// as it is. Where rows were changed that no statement told of, all are looked for.
    async fn images(&mut self, branch: &mut Branch) -> Result<AfterImages, SettleError> {
        let resource = self.session.resource.clone();
        let backend =
            resource.backend.postgres().ok_or(SettleError::Malformed("not a PostgreSQL database"))?;
        let mut after = AfterImages::new();
        for name in std::mem::take(&mut branch.moved) {
            if !branch.unseen.contains(&name) && !moves::settle(branch, &name, &mut after) {
                branch.unseen.insert(name);
            }
        }
        let told = branch.changes.extract_if(.., |change| !matches!(change, Change::Left { .. }));
        let told: Vec<Change> = told.collect();
        let mut more = loop {
            let (unseen, tables) = (&branch.unseen, &branch.tables);
            branch.changes.retain(|change| match change {
                Change::Left { table, .. } => !unseen.contains(&tables[*table].name),
                _ => true,
            });
            let before = before(backend, branch).await?;
            match replay(branch, before)? {
                Replayed::Known(changes, after) => {
                    branch.changes = changes;
                    break after;
                }
                Replayed::Moved(name) => branch.unseen.insert(name),
            };
        };
        branch.changes.extend(told);
        after.append(&mut more);
        self.search(branch, &mut after).await?;
        Ok(after)
    }

    async fn client_gone(&mut self) {
        self.session.client.gone().await;
    }

    fn part_limit(&self) -> usize {
        PART_LIMIT
    }

    fn row_limit(&self) -> usize {
        ROW_LIMIT
    }

    async fn commit(&mut self, undo: &UndoRows<'_>) -> io::Result<Committing> {
        let mut pipeline = Pipeline::default();
        let name = self.session.own_name();
        let sql = format!(
            "INSERT INTO {UNDO_LOG} (xid, branch_id, part, parts, status, record) VALUES ($1, $2, $3, $4, 'NORMAL', $5)"
        );
        // text, int8, int2, int2, bytea
        pipeline.parse(&name, &sql, &[25, 20, 21, 21, 17], Fate::Drop);
        for (at, part) in undo.parts.iter().enumerate().rev() {
            let bind = Bind {
                portal: name.clone().into_bytes(),
                statement: name.clone().into_bytes(),
                formats: vec![1],
                values: vec![
                    Some(undo.xid.to_string().into_bytes()),
                    Some(undo.branch.as_u64().to_be_bytes().to_vec()),
                    Some((at as u16).to_be_bytes().to_vec()),
                    Some((undo.parts.len() as u16).to_be_bytes().to_vec()),
                    Some(part.to_vec()),
                ],
                results: Vec::new(),
            };
            pipeline.bind(&bind, Fate::Drop);
            pipeline.execute(&name, Fate::Drop);
            pipeline.close(b'P', &name);
        }
        pipeline.close(b'S', &name);
        self.finish(pipeline).await
    }

    async fn undo_locally(&mut self) {
        let mut pipeline = Pipeline::default();
        pipeline.poison();
        pipeline.sync(Fate::Drop);
        // If the connection is lost the server rolls back by itself.
        let ran = self.run(&mut pipeline, &mut Vec::new()).await;
        if ran.is_ok_and(|ran| ran.ready.is_some_and(|status| status != IDLE)) {
            let _ = self.session.ask_alone("ROLLBACK").await;
        }
    }
}

impl Ending<'_> {
    /// Runs what was gathered, and the client's COMMIT or the Sync that stands for it.
    pub(super) async fn finish(&mut self, mut pipeline: Pipeline) -> io::Result<Committing> {
        let mut answer = Vec::new();
        let in_block = self.session.text_block;
        match self.commit {
            Some(frame) => pipeline.give(frame, Ask::Execute, self.session.fate_of_commit()),
            None => {
                if self.session.queried {
                    pipeline.query_nothing();
                }
                if in_block {
                    alone(&mut pipeline, &self.session.own_name(), "COMMIT", Fate::DropUnlessError);
                }
                pipeline.sync(Fate::Drop);
            }
        }
        let ran = self.run(&mut pipeline, &mut answer).await?;
        if let Some((error, _)) = ran.error {
            // An error at or before the commit is definite: the server has rolled back.
            return Ok(Committing::Refused(ServerError { code: 0, payload: error.frame }));
        }
        // A failed transaction answers ROLLBACK, without an error.
        let committed = ran.tags.last().is_some_and(|t| t == "COMMIT" || t == "PREPARE TRANSACTION");
        let done = match self.commit {
            Some(_) => committed,
            None => ran.ready == Some(IDLE) && (committed || !in_block),
        };
        if done
            && self.commit.is_none()
            && self.session.queried
            && self.session.membership.binding.is_some()
            && let Some(undone) = self.undone().await?
        {
            return Ok(undone);
        }
        let answer = Bytes::from(answer);
        Ok(match (done, ran.doubtful) {
            (true, false) => Committing::Done(answer),
            // The replication of the commit was not waited for: it is not known to be one yet.
            (true, true) => Committing::Unsure(answer),
            (false, _) => Committing::Doubt,
        })
    }

    /// Behind a Query within a pipeline PostgreSQL 18 answers a Sync as if it had committed. The next message fails then, and
    /// undoes all of it. So one of ours comes next, which changes nothing: only if it passes is there a commit.
    async fn undone(&mut self) -> io::Result<Option<Committing>> {
        let (mut probe, name) = (Pipeline::default(), self.session.own_name());
        probe.parse(&name, "", &[], Fate::Drop);
        probe.close(b'S', &name);
        probe.sync(Fate::Drop);
        let ran = self.run(&mut probe, &mut Vec::new()).await?;
        let Some((error, _)) = ran.error else { return Ok(None) };
        if Fault::read(error.body()).state != INTERNAL_ERROR {
            return Ok(Some(Committing::Doubt));
        }
        self.session.due = Some(Due { frame: error.frame.to_vec(), at_sync: false });
        Ok(Some(Committing::Refused(ServerError { code: 0, payload: error.frame })))
    }
}
