//! What a person is told of a branch, on MySQL or MariaDB.

use super::tx::Tx;
use crate::backend::{BackendError, Stored, UNDO_LOG};
use atone_protocol::{BranchId, Xid};
use atone_undo_log::{
    capture::ColumnKind,
    words::{Word, bytes, text, word},
};
use mysql_async::{Row, Value, prelude::Queryable};

/// Expressions in one question.
const AT_ONCE: usize = 200;

impl Tx {
    pub async fn look(&mut self, xid: Xid, branch: BranchId) -> Result<Option<Stored>, BackendError> {
        let query = format!(
            "SELECT status, parts, record FROM {UNDO_LOG} WHERE xid = ? AND branch_id = ? ORDER BY part"
        );
        let rows = self.conn.exec(query, (xid.to_string(), branch.as_u64())).await;
        let rows: Vec<(String, u16, Vec<u8>)> = rows.map_err(|e| self.wrap(e))?;
        let status = rows.first().map(|row| row.0.clone());
        Ok(status.map(|status| (status, rows.into_iter().map(|row| (row.1, row.2)).collect())))
    }

    pub async fn words(&mut self, values: &[(&ColumnKind, &[u8])]) -> Result<Vec<String>, BackendError> {
        let mut words = Vec::with_capacity(values.len());
        let mut asked = Vec::new();
        for (at, (kind, value)) in values.iter().enumerate() {
            words.push(match word(kind, value) {
                Word::Said(said) => said,
                Word::Computed(expression) => {
                    asked.push((at, expression));
                    bytes(value)
                }
                Word::Printed(..) => bytes(value),
            });
        }
        for asked in asked.chunks(AT_ONCE) {
            let list: Vec<&str> = asked.iter().map(|(_, expression)| expression.as_str()).collect();
            let row = match self.conn.query_first::<Row, _>(format!("SELECT {}", list.join(", "))).await {
                Ok(row) => row,
                // One that it cannot convert: they stay bytes.
                Err(mysql_async::Error::Server(_)) => continue,
                Err(error) => return Err(self.wrap(error)),
            };
            for ((at, _), value) in asked.iter().zip(row.map(Row::unwrap).unwrap_or_default()) {
                if let Value::Bytes(told) = value {
                    words[*at] = text(&String::from_utf8_lossy(&told));
                }
            }
        }
        Ok(words)
    }
}
