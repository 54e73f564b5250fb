//! A table as the catalogue describes it, and its rows as images hold them.

use super::{Canonical, ColumnKind};
use std::collections::BTreeSet;

/// A table whose rows can be captured. Generated columns are not here: they follow from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The schema, as the catalogue spells it.
    pub schema: String,
    /// The table, as the catalogue spells it.
    pub name: String,
    /// The stored columns, in the table's order.
    pub columns: Vec<Column>,
    /// What names a row: the primary key, or a unique key without NULLs.
    pub key: Key,
    /// The other unique keys: their values are locked as well.
    pub uniques: Vec<Key>,
    /// The column that the server numbers.
    pub auto_increment: Option<usize>,
    /// The visible columns' names, generated ones too, in the order of INSERT without a column list.
    pub insert_order: Vec<String>,
    /// Per column a literal of its default, where the catalogue tells it surely. Empty: none is known.
    pub defaults: Vec<Option<String>>,
    /// Per column what its kind does not say. Empty: nothing.
    pub storage: Vec<Storage>,
    /// PostgreSQL: statements name it with ONLY, since other tables may inherit from it. Not so a partitioned one.
    pub only: bool,
}

/// A stored column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Column {
    /// As the catalogue spells it.
    pub name: String,
    /// How it is read and written.
    pub kind: ColumnKind,
}

/// How a column stores what it is given, where that changes which row a given value finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// As its kind says.
    #[default]
    Plain,
    /// BINARY(n): shorter values are filled up with zeros.
    Filled(u32),
    /// YEAR: `'0'` is stored as 2000, 0 as 0000.
    Year,
    /// ZEROFILL: read with zeros in front.
    Padded,
}

/// A unique key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name; `PRIMARY` for the primary key.
    pub name: String,
    /// Its columns.
    pub parts: Vec<KeyPart>,
}

/// A column of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// Index into [`Table::columns`].
    pub column: usize,
    /// Only so many first characters (bytes, for binary columns) are in the key.
    pub prefix: Option<u32>,
}

/// An image of one row: a value per column of [`Table::columns`], in its exact form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row(pub Vec<Option<Vec<u8>>>);

/// A row as it was read, with its lock keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Its image.
    pub row: Row,
    /// What names it, in canonical form; equal exactly when the database calls the keys equal.
    pub key: Canonical,
    /// The values of the other unique keys, those without NULL.
    pub uniques: Vec<Canonical>,
}

impl Row {
    /// Bytes of its values.
    pub fn size(&self) -> usize {
        self.0.iter().flatten().map(Vec::len).sum()
    }
}

impl Table {
    /// The stored column of this name. MySQL's column names do not tell case apart; PostgreSQL's do, so that the exact one
    /// goes first.
    pub fn column(&self, name: &str) -> Option<usize> {
        let lower = name.to_lowercase();
        let exact = self.columns.iter().position(|c| c.name == name);
        exact.or_else(|| self.columns.iter().position(|c| c.name.to_lowercase() == lower))
    }

    /// How the column stores what it is given.
    pub fn storage(&self, column: usize) -> Storage {
        self.storage.get(column).copied().unwrap_or_default()
    }

    /// `schema.table`, for people and lock keys.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The values of the key's columns of a row.
    pub fn key_values<'r>(&self, row: &'r Row) -> Vec<&'r [u8]> {
        self.key.parts.iter().map(|p| row.0[p.column].as_deref().unwrap_or_default()).collect()
    }

    /// A column whose value in this row could not be written back as it was.
    pub fn inexact(&self, row: &Row) -> Option<&Column> {
        let inexact = |(c, v): &(&Column, &Option<Vec<u8>>)| v.as_ref().is_some_and(|v| !c.kind.is_exact(v));
        self.columns.iter().zip(&row.0).find(inexact).map(|(c, _)| c)
    }

    /// The same table of which only the columns are known that its keys are made of.
    pub fn keys_only(&self) -> Self {
        let used: BTreeSet<usize> = self.keys().flat_map(|k| &k.parts).map(|p| p.column).collect();
        let place = |column: usize| used.iter().position(|c| *c == column);
        let key = |key: &Key| {
            let part =
                |p: &KeyPart| KeyPart { column: place(p.column).unwrap_or_default(), prefix: p.prefix };
            Key { name: key.name.clone(), parts: key.parts.iter().map(part).collect() }
        };
        Self {
            schema: self.schema.clone(),
            name: self.name.clone(),
            columns: used.iter().map(|c| self.columns[*c].clone()).collect(),
            key: key(&self.key),
            uniques: self.uniques.iter().map(key).collect(),
            auto_increment: self.auto_increment.and_then(place),
            insert_order: self.insert_order.clone(),
            defaults: used.iter().map(|c| self.defaults.get(*c).cloned().flatten()).collect(),
            storage: used.iter().map(|c| self.storage(*c)).collect(),
            only: self.only,
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.key).chain(&self.uniques)
    }
}
