//! The undo record: what a branch changed, row by row, in a stored form that outlives versions of this program.
//!
//! Form: a version byte (1, 2 when rows moved to other keys, or 3 when a column has labels), a flag byte (1 = LZ4), the body's length, its CRC-32, the body. Numbers are
//! little-endian; lengths and counts are 32 bit. Decoding is total: any bytes give a record or an error.

mod codec;
#[cfg(test)]
mod tests;

use crate::capture::{Column, Row, Table};

/// What a branch did to the rows of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UndoRecord {
    /// The tables, as they were described when the rows were read.
    pub tables: Vec<Shape>,
    /// Every row touched, once, in the order of first touch.
    pub rows: Vec<Touched>,
    /// Every change in the order it was made; undone from the last to the first.
    pub changes: Vec<Change>,
}

/// The description of a table on which an undo depends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The schema.
    pub schema: String,
    /// The table.
    pub name: String,
    /// Its stored columns.
    pub columns: Vec<Column>,
    /// The key's columns, as indexes into `columns`.
    pub key: Vec<u32>,
}

/// A row that was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Index into [`UndoRecord::tables`].
    pub table: u32,
    /// Its key's values.
    pub key: Vec<Vec<u8>>,
    /// Its key in canonical form, by which it is found among the rows read.
    pub canonical: Vec<u8>,
    /// Its key as a person would write it.
    pub shown: String,
    /// How the branch left it; None when it is gone.
    pub after: Option<Row>,
}

/// One change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Index into [`UndoRecord::rows`].
    pub row: u32,
    /// How it was before; None when it was not there.
    pub before: Option<Row>,
    /// An UPDATE of the key took the row to this place: an index into [`UndoRecord::rows`], where nothing was then.
    pub moved_to: Option<u32>,
}

/// The bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer version of this program.
    #[error("undo record of version {0}; this program reads versions 1 to 3 only")]
    Version(u8),
    /// Changed since it was written.
    #[error("undo record is damaged: {0}")]
    Damaged(&'static str),
}

impl Shape {
    /// The description of a table.
    pub fn of(table: &Table) -> Self {
        Self {
            schema: table.schema.clone(),
            name: table.name.clone(),
            columns: table.columns.clone(),
            key: table.key.parts.iter().map(|p| p.column as u32).collect(),
        }
    }

    /// What is different in the table as it is now, if anything matters.
    pub fn difference(&self, now: &Table) -> Option<String> {
        let shape = Self::of(now);
        let same =
            |then: &Column, now: &Column| then.name == now.name && then.kind.means_the_same_as(&now.kind);
        let all_same = || self.columns.iter().zip(&shape.columns).all(|(then, now)| same(then, now));
        if self.columns.len() != shape.columns.len() || !all_same() {
            let missing = self.columns.iter().find(|then| !shape.columns.iter().any(|now| same(then, now)));
            let added = shape.columns.iter().find(|now| !self.columns.iter().any(|then| same(then, now)));
            return Some(match (missing, added) {
                (Some(c), _) => format!("column {} was changed or dropped", c.name),
                (None, Some(c)) => format!("column {} was added", c.name),
                (None, None) => "its columns were put into another order".into(),
            });
        }
        (shape.key != self.key).then(|| "its key was changed".into())
    }
}

impl UndoRecord {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}
