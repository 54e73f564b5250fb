//! A table as the catalogue describes it, and its rows as images hold them.

use super::{Canonical, ColumnKind};
use std::{collections::BTreeSet, sync::Arc};

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
    /// Columns of it that foreign keys refer to. Their values are locked where they come or go, so that a row can be changed
    /// while others refer to it.
    pub referenced: Vec<Key>,
    /// Its own foreign keys: what they refer to is held, shared, where a row begins or ceases to refer to it.
    pub parents: Vec<Parent>,
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

/// A foreign key of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The referenced table, under the name by which its rows are locked.
    pub table: Arc<str>,
    /// Columns of the referring table, under the name that the key has there.
    pub key: Key,
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
    /// What foreign keys refer to, those without NULL.
    pub references: References,
}

/// A row's part in foreign keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct References {
    /// Its values that others refer to, or may.
    pub referenced: Vec<Canonical>,
    /// What it refers to, with the table in which that is.
    pub parents: Vec<(Arc<str>, Canonical)>,
}

/// The name of a key that stands for the existence of what foreign keys refer to, and its columns: the pairs of a foreign key in
/// an order that does not depend on how it was written.
pub fn referenced_key(mut columns: Vec<(String, usize)>, same_case: bool) -> Key {
    if same_case {
        columns.iter_mut().for_each(|(name, _)| *name = name.to_lowercase());
    }
    columns.sort();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let name = format!("exists ({})", names.join(", "));
    let parts = columns.iter().map(|(_, column)| KeyPart { column: *column, prefix: None }).collect();
    Key { name, parts }
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
            referenced: self.referenced.iter().map(key).collect(),
            parents: self
                .parents
                .iter()
                .map(|p| Parent { table: p.table.clone(), key: key(&p.key) })
                .collect(),
            auto_increment: self.auto_increment.and_then(place),
            insert_order: self.insert_order.clone(),
            defaults: used.iter().map(|c| self.defaults.get(*c).cloned().flatten()).collect(),
            storage: used.iter().map(|c| self.storage(*c)).collect(),
            only: self.only,
        }
    }

    /// Is it in any foreign key?
    pub fn refers_or_is_referred_to(&self) -> bool {
        !self.referenced.is_empty() || !self.parents.is_empty()
    }

    /// May a statement that assigns these columns change what foreign keys refer to? Times may be set on their own.
    pub fn assigns_references(&self, assigned: &[String]) -> bool {
        self.links().any(|key| self.assigns(key, assigned))
    }

    /// The same of the other unique keys.
    pub fn assigns_unique(&self, assigned: &[String]) -> bool {
        self.uniques.iter().any(|key| self.assigns(key, assigned))
    }

    fn assigns(&self, key: &Key, assigned: &[String]) -> bool {
        key.parts.iter().any(|part| {
            let column = &self.columns[part.column];
            let temporal = matches!(column.kind, ColumnKind::Temporal | ColumnKind::Timestamp);
            temporal || assigned.iter().any(|a| a.to_lowercase() == column.name.to_lowercase())
        })
    }

    fn links(&self) -> impl Iterator<Item = &Key> {
        self.referenced.iter().chain(self.parents.iter().map(|parent| &parent.key))
    }

    /// All keys: its own, the other unique ones, what is referred to and what it refers to.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.key).chain(&self.uniques).chain(self.links())
    }
}
