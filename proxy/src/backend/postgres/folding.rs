//! How values of citext compare is asked of the server: no table of letters of ours could be its own. What it said once is
//! remembered as long as the connections to it are kept.

use super::{BackendError, Entry, Postgres, pool::Session};
use atone_undo_log::postgres::{FOLD, Folds};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use tokio_postgres::types::Type;

/// Values remembered at once, and how long each may be.
const CAPACITY: usize = 10_000;
const LONGEST: usize = 256;

/// What the server has told.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Folds>>);

impl Told {
    /// Takes what is known of these values; those that are not are left.
    fn take(&self, values: &mut BTreeSet<&[u8]>, folds: &mut Folds) {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.retain(|value| match told.get(value) {
            Some(folded) => {
                folds.learn(value.to_vec(), folded.to_vec());
                false
            }
            None => true,
        });
    }

    fn remember(&self, value: &[u8], folded: &[u8]) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= CAPACITY {
            *told = Folds::default();
        }
        if value.len().max(folded.len()) <= LONGEST {
            told.learn(value.to_vec(), folded.to_vec());
        }
    }
}

impl Session {
    /// What is needed to decode these rows.
    pub async fn folds(&mut self, entry: &Entry, records: &[&[u8]]) -> Result<Folds, BackendError> {
        let mut folds = Folds::default();
        let (Ok(table), Some(layout)) = (&entry.table, &entry.layout) else { return Ok(folds) };
        let mut values: BTreeSet<&[u8]> = BTreeSet::new();
        values.extend(records.iter().flat_map(|record| layout.to_fold(table, record)));
        if values.is_empty() {
            return Ok(folds);
        }
        let told = self.told();
        told.take(&mut values, &mut folds);
        // What is not a text is not decoded either.
        let texts: Vec<&str> = values.into_iter().filter_map(|v| std::str::from_utf8(v).ok()).collect();
        if texts.is_empty() {
            return Ok(folds);
        }
        let rows = self.query(FOLD, &[(&texts, Type::TEXT_ARRAY)]).await?;
        for (text, row) in texts.iter().zip(rows) {
            let folded: &str = self.answered(row.try_get(0))?;
            told.remember(text.as_bytes(), folded.as_bytes());
            folds.learn(text.as_bytes().to_vec(), folded.as_bytes().to_vec());
        }
        Ok(folds)
    }
}

impl Postgres {
    /// What is needed to decode these rows; nothing is asked where the server has told it before, or bytes tell it.
    pub async fn folds(&self, entry: &Entry, records: &[&[u8]]) -> Result<Folds, BackendError> {
        let (Ok(table), Some(layout)) = (&entry.table, &entry.layout) else { return Ok(Folds::default()) };
        if records.iter().all(|record| layout.to_fold(table, record).is_empty()) {
            return Ok(Folds::default());
        }
        let (mut session, _) = self.question().await?;
        session.folds(entry, records).await
    }
}
