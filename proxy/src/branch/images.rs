//! Reading rows on the application's own connection: those it inserted, and all it touched, as they are now.

use super::{
    captured::{Branch, Change},
    settle::SettleError,
};
use crate::session::{Answer, Backside};
use atone_undo_log::capture::{self, Captured, Table};
use std::collections::BTreeMap;

/// The rows as they are now, by table and canonical key; those that are gone are missing.
pub type AfterImages = BTreeMap<(usize, Vec<u8>), Captured>;

/// Reads the rows of inserts that have not been read yet; they are as they were read until touched again.
pub async fn read_inserts(
    backside: &mut Backside,
    branch: &mut Branch,
    table: Option<usize>,
) -> Result<AfterImages, SettleError> {
    let mut fresh = AfterImages::new();
    for (at, table, keys) in branch.unread(table) {
        let description =
            branch.description(table).ok_or(SettleError::Malformed("an unknown table"))?.clone();
        let rows = read(backside, &description, &capture::image_of_inserts(&description, &keys)).await?;
        if rows.len() != keys.len() {
            return Err(SettleError::NotFound(description.full_name(), keys.len(), rows.len()));
        }
        fresh.extend(rows.iter().map(|row| ((table, row.key.bytes.clone()), row.clone())));
        branch.resolve(at, rows);
    }
    Ok(fresh)
}

/// Locks and reads the rows at these keys, as far as there are any.
pub async fn read_keys(
    backside: &mut Backside,
    table: &Table,
    keys: &[Vec<String>],
) -> Result<Vec<Captured>, SettleError> {
    read(backside, table, &capture::image_of_inserts(table, keys)).await
}

/// Reads every row touched, except those read a moment ago.
pub async fn after_images(
    backside: &mut Backside,
    branch: &Branch,
    fresh: AfterImages,
) -> Result<AfterImages, SettleError> {
    let mut wanted: BTreeMap<usize, BTreeMap<&[u8], &Captured>> = BTreeMap::new();
    let mut want = |table: usize, row| {
        wanted.entry(table).or_default().insert(key_of(row), row);
    };
    for change in &branch.changes {
        match change {
            Change::Updated(table, row) | Change::Deleted(table, row) => want(*table, row),
            Change::Moved(table, from, to) => {
                want(*table, from);
                want(*table, to);
            }
            Change::Resolved(table, rows) => rows.iter().for_each(|row| want(*table, row)),
            Change::Inserted(..) | Change::Left { .. } | Change::Locked { .. } => {}
        }
    }
    let mut after = fresh;
    for (table, mut rows) in wanted {
        let description = branch.description(table).ok_or(SettleError::Malformed("an unknown table"))?;
        rows.retain(|key, _| !after.contains_key(&(table, key.to_vec())));
        let keys = capture::keys_of(description, rows.into_values());
        let damaged = SettleError::Malformed("a key that is not of its type");
        let queries = capture::image_of_rows(description, &keys).ok_or(damaged)?;
        for row in read(backside, description, &queries).await? {
            after.insert((table, row.key.bytes.clone()), row);
        }
    }
    Ok(after)
}

fn key_of(row: &Captured) -> &[u8] {
    &row.key.bytes
}

/// Runs image queries and decodes their rows.
async fn read(
    backside: &mut Backside,
    table: &Table,
    queries: &[String],
) -> Result<Vec<Captured>, SettleError> {
    let mut found = Vec::new();
    for answer in backside.ask(queries).await? {
        match answer {
            Answer::Rows(rows) => {
                for row in rows {
                    found.push(
                        capture::decode(table, row)
                            .ok_or(SettleError::Malformed("an image that does not fit its table"))?,
                    );
                }
            }
            Answer::Error(error) => return Err(SettleError::Database(error)),
            Answer::TooMany => return Err(SettleError::TooLarge),
            Answer::Ok(..) => {
                return Err(SettleError::Malformed("the server answered a SELECT without rows"));
            }
        }
    }
    Ok(found)
}
