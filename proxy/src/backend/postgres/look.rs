//! What a person is told of a branch, on PostgreSQL.

use super::tx::{Raw, Tx, number, signed, text};
use crate::backend::{BackendError, Stored, UNDO_LOG};
use atone_protocol::{BranchId, Xid};
use atone_undo_log::{
    capture::ColumnKind,
    words::{self, Word, word},
};
use tokio_postgres::types::{Kind, Type};

/// Values in one question.
const AT_ONCE: usize = 200;

impl Tx {
    pub async fn look(&mut self, xid: Xid, branch: BranchId) -> Result<Option<Stored>, BackendError> {
        let query = format!(
            "SELECT status, parts, record FROM {UNDO_LOG} WHERE xid = $1 AND branch_id = $2 ORDER BY part"
        );
        let rows = self.session.query(&query, &[text(&xid.to_string()), number(&signed(branch))]).await?;
        let part = |row: &tokio_postgres::Row| Ok((row.try_get::<_, i16>(1)? as u16, row.try_get(2)?));
        let status = rows.first().map(|row| row.try_get(0)).transpose();
        let Some(status) = self.session.answered(status)? else { return Ok(None) };
        let parts = self.session.answered(rows.iter().map(part).collect())?;
        Ok(Some((status, parts)))
    }

    pub async fn words(&mut self, values: &[(&ColumnKind, &[u8])]) -> Result<Vec<String>, BackendError> {
        let mut words = Vec::with_capacity(values.len());
        let mut asked = Vec::new();
        for (at, (kind, value)) in values.iter().enumerate() {
            words.push(match word(kind, value) {
                Word::Said(said) => said,
                Word::Printed(name, quoted) => {
                    asked.push((at, Raw(Some(*value)), name, quoted));
                    words::bytes(value)
                }
                Word::Computed(_) => words::bytes(value),
            });
        }
        for asked in asked.chunks(AT_ONCE) {
            let cast = |(place, (_, _, name, _)): (usize, &(usize, Raw<'_>, String, bool))| {
                format!("(${}::{name})::pg_catalog.text", place + 1)
            };
            let list: Vec<String> = asked.iter().enumerate().map(cast).collect();
            // The cast says which type it is.
            let open = || Type::new(String::new(), 0, Kind::Simple, String::new());
            let params: Vec<_> = asked.iter().map(|(_, raw, ..)| (raw as _, open())).collect();
            self.session.run("SAVEPOINT words").await?;
            let told = self.session.query(&format!("SELECT {}", list.join(", ")), &params).await;
            self.session.run("ROLLBACK TO SAVEPOINT words; RELEASE SAVEPOINT words").await?;
            // A type that has gone, or a value that is none of it: they stay bytes.
            let Ok(Some(row)) = told.map(|rows| rows.into_iter().next()) else { continue };
            for (place, (at, _, _, quoted)) in asked.iter().enumerate() {
                let told: Option<String> = self.session.answered(row.try_get(place))?;
                let told = told.unwrap_or_default();
                words[*at] = if *quoted { words::text(&told) } else { words::bare(&told) };
            }
        }
        Ok(words)
    }
}
