//! Rows that a local transaction changed and no statement told of: its counts say in which tables (`counters`). When it ends,
//! all that it changed there is found by looking at them from both sides, at READ COMMITTED.
//!
//! A row that the local transaction made is one that it sees and whose maker has not ended. A row that it took away is one
//! that stands outside before and after it is asked, and that it does not see: nobody else can have deleted it by then.

use super::{
    local::Ending,
    moves,
    pipeline::{Fate, Pipeline},
    write::{BRANCH_BYTES, protectable},
};
use crate::{
    backend::{Entry, HELD_LIMIT, Places, Postgres},
    branch::{AfterImages, Branch, SettleError},
    wire::postgres::Bind,
};
use atone_undo_log::{
    capture::{Captured, Table},
    postgres::search::{net, not_seen, own_rows},
};
use std::sync::Arc;

/// A question to the local transaction, and its parameters.
type Question = (String, Vec<String>);
/// The rows of its answer.
type Answer = Vec<Vec<Option<Vec<u8>>>>;

/// At which isolation level. Rows are sent in the client's encoding, which is to be the undo's for the rest of the local
/// transaction.
const FIRST: &str = "SELECT pg_catalog.current_setting('transaction_isolation'), \
    CASE pg_catalog.current_setting('client_encoding') WHEN 'UTF8' THEN '' \
    ELSE pg_catalog.set_config('client_encoding', 'UTF8', true) END";

impl Ending<'_> {
    /// Adds to the branch what was changed in tables where no statement told of it.
    pub(super) async fn search(
        &mut self,
        branch: &mut Branch,
        after: &mut AfterImages,
    ) -> Result<(), SettleError> {
        if branch.unseen.is_empty() {
            return Ok(());
        }
        let resource = self.session.resource.clone();
        let backend =
            resource.backend.postgres().ok_or(SettleError::Malformed("not a PostgreSQL database"))?;
        let entries = written(backend, branch).await?;
        let tables: Vec<&Table> = entries.iter().filter_map(|e| e.table.as_ref().ok()).collect();
        let newest = backend.newest_transaction().await.map_err(SettleError::Backend)?;
        let mut questions: Vec<Question> = vec![(FIRST.into(), Vec::new())];
        questions.extend(tables.iter().map(|table| (own_rows(table, newest), Vec::new())));
        let mut answers = self.questions(&questions, &entries).await?.into_iter();
        let isolation = answers.next().and_then(texts).map(|mut texts| texts.swap_remove(0));
        let isolation = isolation.unwrap_or_default();
        if isolation != "read committed" {
            let why = format!("at isolation level {isolation} they cannot be told from those of others");
            let name = entries.first().map_or_else(String::new, |e| e.name.clone());
            return Err(SettleError::Unsearchable(name, why));
        }
        let mut questions = Vec::new();
        for (entry, table) in entries.iter().zip(&tables) {
            let Some(places) = backend.held(table).await.map_err(SettleError::Backend)? else {
                let why = format!("over {HELD_LIMIT} of its rows are, or once were, locked");
                return Err(SettleError::Unsearchable(entry.name.clone(), why));
            };
            questions.push((not_seen(table), vec![places.at, places.by]));
        }
        let gone = self.questions(&questions, &entries).await?;
        for (((entry, table), made), gone) in entries.iter().zip(&tables).zip(answers).zip(gone) {
            let made = rows(backend, entry, table, made).await?;
            let taken = match texts(gone).as_deref() {
                Some([at, by]) => {
                    let places = Places { at: at.clone(), by: by.clone() };
                    backend.rows_at(entry, &places).await.map_err(SettleError::Backend)?
                }
                _ => Vec::new(),
            };
            let keys: Vec<&Captured> = made.iter().collect();
            let before = backend.before_images(entry, &keys).await.map_err(SettleError::Backend)?;
            let at = branch.table(entry);
            moves::record(branch, at, net(table, &made, before, taken));
            after.extend(made.into_iter().map(|row| ((at, row.key.bytes.clone()), row)));
        }
        let bytes: usize = after.values().map(|row| row.row.size()).sum();
        if branch.rows() > resource.max_rows || bytes > BRANCH_BYTES {
            return Err(SettleError::TooLarge);
        }
        Ok(())
    }

    /// Asks the local transaction, in one go.
    pub(super) async fn questions(
        &mut self,
        questions: &[Question],
        entries: &[Arc<Entry>],
    ) -> Result<Vec<Answer>, SettleError> {
        let mut pipeline = Pipeline::default();
        for (sql, params) in questions {
            let name = self.session.own_name();
            let bind = Bind {
                portal: name.clone().into_bytes(),
                statement: name.clone().into_bytes(),
                formats: Vec::new(),
                values: params.iter().map(|value| Some(value.clone().into_bytes())).collect(),
                results: Vec::new(),
            };
            pipeline.parse(&name, sql, &[], Fate::Drop);
            pipeline.bind(&bind, Fate::Drop);
            pipeline.execute(&name, Fate::Keep);
            pipeline.close(b'P', &name);
            pipeline.close(b'S', &name);
        }
        let ran = self.run(&mut pipeline, &mut Vec::new()).await?;
        if let Some((error, _)) = ran.error {
            let names: Vec<&str> = entries.iter().map(|e| e.name.as_str()).collect();
            let said = crate::wire::postgres::Fault::read(error.body());
            let why = format!("they cannot be looked for: {} ({})", said.message, said.state);
            return Err(SettleError::Unsupported(names.join(", "), why));
        }
        Ok(ran.kept)
    }
}

/// The tables and partitions that were written under the names to search.
async fn written(backend: &Postgres, branch: &Branch) -> Result<Vec<Arc<Entry>>, SettleError> {
    let mut entries = Vec::new();
    for (oid, name) in branch.written.iter().filter(|(_, name)| branch.unseen.contains(*name)) {
        let refused = |why: &str| SettleError::Unsearchable(name.clone(), why.to_owned());
        let entry = backend.entry(*oid).await.map_err(SettleError::Backend)?;
        let entry = entry.ok_or_else(|| refused("it is gone"))?;
        protectable(&entry).map_err(|why| refused(&why))?;
        entries.push(entry);
    }
    Ok(entries)
}

async fn rows(
    backend: &Postgres,
    entry: &Entry,
    table: &Table,
    answer: Answer,
) -> Result<Vec<Captured>, SettleError> {
    let changed = || SettleError::Changed(entry.name.clone());
    let layout = entry.layout.as_ref().ok_or_else(changed)?;
    let record = |values: &Vec<Option<Vec<u8>>>| {
        super::own_columns::unhex(std::str::from_utf8(values.first()?.as_deref()?).ok()?)
    };
    let records: Option<Vec<Vec<u8>>> = answer.iter().map(record).collect();
    let records = records.ok_or_else(changed)?;
    let asked: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let folds = backend.folds(entry, &asked).await.map_err(SettleError::Backend)?;
    records.iter().map(|record| layout.decode(table, record, &folds).ok_or_else(changed)).collect()
}

/// The values of an only row; None when one is NULL.
fn texts(answer: Answer) -> Option<Vec<String>> {
    let values = answer.into_iter().next()?;
    values.into_iter().map(|value| String::from_utf8(value?).ok()).collect()
}
