//! A table's layout: from a row in binary form to an image with its lock keys.

use super::{
    binary::{record, shown},
    form::Form,
};
use std::collections::BTreeSet;

use crate::capture::{Canonical, Captured, ColumnKind, Key, Parent, References, Row, Table};

/// A column of a row in binary form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its type's number in this database.
    pub kind: u32,
    /// Its place among [`Table::columns`]; None for a generated one.
    pub column: Option<usize>,
}

/// How the rows of a table come, beside its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The table's number in this database.
    pub oid: u32,
    /// The columns of a row in binary form.
    pub fields: Vec<Field>,
    /// How values of each of [`Table::columns`] compare.
    pub forms: Vec<Form>,
    /// It is partitioned: its rows are in other tables.
    pub partitioned: bool,
    /// The name that its rows are locked under: the topmost partitioned table's.
    pub locked_as: String,
}

impl Layout {
    /// A row in binary form as an image; None when it is not of this table.
    pub fn decode(&self, table: &Table, bytes: &[u8]) -> Option<Captured> {
        let values = record(bytes)?;
        if values.len() != self.fields.len() {
            return None;
        }
        let mut row = vec![None; table.columns.len()];
        for ((kind, value), field) in values.into_iter().zip(&self.fields) {
            if kind != field.kind {
                return None;
            }
            if let Some(column) = field.column {
                row[column] = value.map(<[u8]>::to_vec);
            }
        }
        self.captured(table, Row(row))
    }

    fn captured(&self, table: &Table, row: Row) -> Option<Captured> {
        let all = |keys: &[Key], across| {
            keys.iter().filter_map(|k| self.canonical(table, k, &row, across)).collect()
        };
        let parent = |p: &Parent| Some((p.table.clone(), self.canonical(table, &p.key, &row, true)?));
        let parents = table.parents.iter().filter_map(parent).collect();
        let references = References { referenced: all(&table.referenced, true), parents };
        let key = self.canonical(table, &table.key, &row, false)?;
        Some(Captured { key, uniques: all(&table.uniques, false), references, row })
    }

    /// The columns that keys are made of.
    pub fn key_columns(&self, table: &Table) -> Vec<usize> {
        let parts = table.keys().flat_map(|key| &key.parts);
        parts.map(|part| part.column).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A record of these columns alone; None when it is not of this table, or its key has a NULL. The row is left empty.
    pub fn decode_keys(&self, table: &Table, bytes: &[u8]) -> Option<Captured> {
        let (values, columns) = (record(bytes)?, self.key_columns(table));
        if values.len() != columns.len() {
            return None;
        }
        let mut row = vec![None; table.columns.len()];
        for ((kind, value), column) in values.into_iter().zip(columns) {
            let field = self.fields.iter().find(|field| field.column == Some(column))?;
            if kind != field.kind {
                return None;
            }
            row[column] = value.map(<[u8]>::to_vec);
        }
        Some(Captured { row: Row(Vec::new()), ..self.captured(table, Row(row))? })
    }

    /// A key's value in canonical form; None when a NULL is in it. The columns of a foreign key may be integers of two sizes:
    /// `across` them, all have one.
    fn canonical(&self, table: &Table, key: &Key, row: &Row, across: bool) -> Option<Canonical> {
        let (mut bytes, mut words) = (Vec::new(), Vec::new());
        for part in &key.parts {
            let value = row.0[part.column].as_deref()?;
            let ColumnKind::Postgres(name) = &table.columns[part.column].kind else { return None };
            let compared = match integer(name, value) {
                Some(number) if across => number.to_be_bytes().to_vec(),
                _ => self.forms.get(part.column)?.canonical(value)?,
            };
            bytes.extend((compared.len() as u32).to_be_bytes());
            bytes.extend(compared);
            words.push(shown(name, value));
        }
        Some(Canonical { index: key.name.clone(), bytes, shown: words.join(", ") })
    }
}

fn integer(kind: &str, value: &[u8]) -> Option<i64> {
    match kind {
        "pg_catalog.int2" => Some(i16::from_be_bytes(value.try_into().ok()?).into()),
        "pg_catalog.int4" => Some(i32::from_be_bytes(value.try_into().ok()?).into()),
        "pg_catalog.int8" => Some(i64::from_be_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

/// The table as FROM, UPDATE and DELETE name it.
pub(crate) fn target(table: &Table) -> String {
    let only = if table.only { "ONLY " } else { "" };
    format!("{only}{}.{}", quote(&table.schema), quote(&table.name))
}

/// A name in double quotes.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The query that reads rows by key: `keys` of them, each key's values as parameters in turn, cast to the columns' types.
/// Its columns are the table or partition of the row, and the row in binary form.
pub fn before_images(table: &Table, keys: usize, lock: bool) -> String {
    let mut number = 0;
    let mut row = || {
        let parts: Vec<String> = table
            .key
            .parts
            .iter()
            .map(|part| {
                number += 1;
                let column = &table.columns[part.column];
                let ColumnKind::Postgres(kind) = &column.kind else { return "FALSE".into() };
                format!("t.{} = ${number}::{kind}", quote(&column.name))
            })
            .collect();
        format!("({})", parts.join(" AND "))
    };
    let conditions: Vec<String> = (0..keys).map(|_| row()).collect();
    format!(
        "SELECT t.tableoid, pg_catalog.record_send(t.*) FROM {} t WHERE {}{}",
        target(table),
        if conditions.is_empty() { "FALSE".to_owned() } else { conditions.join(" OR ") },
        if lock { " FOR UPDATE" } else { "" }
    )
}
