//! Where a local transaction of a global one ends: at the client's COMMIT, or at the Sync that ends an implicit one.

use super::{
    End, Failure, IDLE, Session,
    counters::Question,
    pipeline::{Ask, Fate, Pipeline, Ran},
};
use crate::{
    backend::UNDO_LOG,
    branch::{AfterImages, Branch, Change, Committing, Local, SettleError, Settlement, Settler, UndoRows},
    session::ServerError,
    wire::postgres::Bind,
};
use atone_undo_log::capture::Captured;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
};

/// A part of an undo record is never larger.
const PART_LIMIT: usize = 4 << 20;
/// A row that the undo could not send back in one message.
const ROW_LIMIT: usize = 256 << 20;

/// The local transaction as its settlement needs it.
struct Ending<'a> {
    session: &'a mut Session,
    /// The messages that execute the client's COMMIT; None: a Sync ends it.
    commit: Option<&'a [u8]>,
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
        let only_read = self.branch.is_none() && self.writes.is_empty();
        if only_read && self.expects_counts() {
            // Proven and ended in one go.
            self.ask_counters(Question::Proof);
        } else {
            self.check_counters().await?;
        }
        if self.skipping {
            return self.end_if_refused().await;
        }
        let failed = self.failed();
        let branch = self.branch.take().filter(|b| !b.changes.is_empty() && !failed);
        let Some(branch) = branch else {
            // Nothing was written, or all of it is void: the server answers COMMIT or ROLLBACK as it is.
            self.ended = None;
            self.pipeline.pass(frame, Ask::Execute);
            self.send().await?;
            self.counters.forget();
            if self.skipping {
                return self.end_if_refused().await;
            }
            self.block = chain;
            self.statements.end_of_transaction();
            return Ok(());
        };
        match self.settle(branch, Some(frame)).await? {
            Ok(answer) => {
                self.answer.extend(&answer);
                self.block = chain;
                Ok(())
            }
            Err((failure, lost)) => {
                self.block = false;
                self.answer.extend(failure);
                if lost {
                    return Err(End::Done);
                }
                self.skipping = true;
                self.end_refused().await
            }
        }
    }

    /// The Sync of an implicit local transaction that has written.
    pub(super) async fn settle_at_sync(&mut self) -> Result<(), End> {
        let Some(branch) = self.branch.take() else { return self.sync(true).await };
        // The result of the last statement is the client's only when the commit is done.
        let held = std::mem::take(&mut self.answer);
        match self.settle(branch, None).await? {
            Ok(said) => {
                self.answer = held;
                self.answer.extend(&said);
                self.after_sync(Some(IDLE));
            }
            Err((failure, lost)) => {
                self.answer = failure;
                if lost {
                    return Err(End::Done);
                }
                self.after_sync(Some(IDLE));
            }
        }
        crate::wire::postgres::build::ready(&mut self.answer, self.status);
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
        (self.branch, self.block) = (None, false);
        self.counters.forget();
        self.statements.end_of_transaction();
        Ok(())
    }

    /// Ok: what the client is told of the commit. Err: what it is told instead, and whether the database is lost.
    async fn settle(
        &mut self,
        branch: Branch,
        commit: Option<&[u8]>,
    ) -> Result<Result<Vec<u8>, (Vec<u8>, bool)>, End> {
        let Some(xid) = self.membership.xid() else { return Err(End::Done) };
        let resource = self.resource.clone();
        // From here to the end a request to cancel would meet statements of ours.
        let _ours = self.cancellable.ours().await;
        let primary = self.server.clone();
        let mut ending = Ending { session: self, commit };
        let mut settler = Settler {
            local: &mut ending,
            backend: &resource.backend,
            coordinator: &resource.coordinator,
            primary: &primary,
            xid,
            lock_wait: resource.lock_wait,
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
                Err((told(xid, error), lost))
            }
        })
    }
}

fn told(xid: atone_protocol::Xid, error: SettleError) -> Vec<u8> {
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

/// Each row that was written, once, as it was left last, in the order of first touch.
fn last_left(branch: &Branch) -> Vec<LastLeft> {
    let mut places: BTreeMap<(usize, &[u8]), usize> = BTreeMap::new();
    let mut last: Vec<LastLeft> = Vec::new();
    for change in &branch.changes {
        let Change::Left { table, row, gone } = change else { continue };
        let left = LastLeft { table: *table, row: row.clone(), gone: *gone };
        match places.entry((*table, &row.key.bytes)) {
            Entry::Occupied(place) => last[*place.get()] = left,
            Entry::Vacant(place) => {
                place.insert(last.len());
                last.push(left);
            }
        }
    }
    last
}

/// How a row was left.
struct LastLeft {
    table: usize,
    row: Captured,
    gone: bool,
}

impl Ending<'_> {
    async fn run(&mut self, pipeline: &mut Pipeline, answer: &mut Vec<u8>) -> io::Result<Ran> {
        let Session { client, database, .. } = &mut *self.session;
        pipeline.run(database, client, answer).await
    }
}

impl Local for Ending<'_> {
    /// Without other unique keys than the rows' own, what a row was before has the same keys.
    fn keys_are_known(&self, branch: &Branch) -> bool {
        (0..branch.tables.len()).all(|t| branch.description(t).is_some_and(|t| t.uniques.is_empty()))
    }

    /// What each row was before is read from outside, where the local transaction does not show yet; its row locks keep it
    /// as it is.
    async fn images(&mut self, branch: &mut Branch) -> Result<AfterImages, SettleError> {
        let resource = self.session.resource.clone();
        let backend =
            resource.backend.postgres().ok_or(SettleError::Malformed("not a PostgreSQL database"))?;
        let last = last_left(branch);
        let mut before: BTreeMap<(usize, Vec<u8>), Captured> = BTreeMap::new();
        for table in 0..branch.tables.len() {
            let rows: Vec<&Captured> = last.iter().filter(|l| l.table == table).map(|l| &l.row).collect();
            if rows.is_empty() {
                continue;
            }
            let entry = branch.tables[table].clone();
            let found = backend.before_images(&entry, &rows).await.map_err(SettleError::Backend)?;
            before.extend(found.into_iter().map(|row| ((table, row.key.bytes.clone()), row)));
        }
        let mut after = AfterImages::new();
        let mut changes = Vec::new();
        for left in last {
            let id = (left.table, left.row.key.bytes.clone());
            let was = before.remove(&id);
            match (was, left.gone) {
                // It came and went within the local transaction.
                (None, true) => {}
                (None, false) => changes.push(Change::Resolved(left.table, vec![left.row.clone()])),
                (Some(was), true) => changes.push(Change::Deleted(left.table, was)),
                (Some(was), false) => changes.push(Change::Updated(left.table, was)),
            }
            if !left.gone {
                after.insert(id, left.row);
            }
        }
        branch.changes = changes;
        Ok(after)
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
        let mut answer = Vec::new();
        match self.commit {
            Some(frame) => pipeline.pass(frame, Ask::Execute),
            None => pipeline.sync(Fate::Drop),
        }
        let ran = self.run(&mut pipeline, &mut answer).await?;
        if let Some((error, _)) = ran.error {
            // An error at or before the commit is definite: the server has rolled back.
            return Ok(Committing::Refused(ServerError { code: 0, payload: error.frame }));
        }
        let done = match self.commit {
            // A failed transaction answers ROLLBACK, without an error.
            Some(_) => ran.tags.last().is_some_and(|t| t == "COMMIT"),
            None => ran.ready == Some(IDLE),
        };
        let answer = Bytes::from(answer);
        Ok(match (done, ran.doubtful) {
            (true, false) => Committing::Done(answer),
            // The replication of the commit was not waited for: it is not known to be one yet.
            (true, true) => Committing::Unsure(answer),
            (false, _) => Committing::Doubt,
        })
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
