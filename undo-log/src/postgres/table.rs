//! A table's layout: from a row in binary form to an image with its lock keys.

use super::{
    binary::{record, shown},
    form::Form,
};
use std::collections::{BTreeMap, BTreeSet};

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

/// What the server has made of values of [`Form::Folded`].
#[derive(Debug, Clone, Default)]
pub struct Folds(BTreeMap<Vec<u8>, Vec<u8>>);

impl Folds {
    /// Of this value it has made that one.
    pub fn learn(&mut self, value: Vec<u8>, folded: Vec<u8>) {
        self.0.insert(value, folded);
    }

    /// What it has made of this one.
    pub fn get(&self, value: &[u8]) -> Option<&[u8]> {
        self.0.get(value).map(Vec::as_slice)
    }

    /// So many are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Layout {
    /// The columns of keys of which only the server knows how they compare.
    fn folds(&self, table: &Table) -> Vec<usize> {
        let folded = |column: &usize| self.forms.get(*column) == Some(&Form::Folded);
        self.key_columns(table).into_iter().filter(folded).collect()
    }

    /// The values among a row's keys that the server is to be asked for before the row is decoded.
    pub fn to_fold<'r>(&self, table: &Table, bytes: &'r [u8]) -> Vec<&'r [u8]> {
        if !self.forms.contains(&Form::Folded) {
            return Vec::new();
        }
        let columns = self.folds(table);
        let is = |kind: u32| {
            let mut fields = self.fields.iter();
            fields.any(|field| field.kind == kind && field.column.is_some_and(|c| columns.contains(&c)))
        };
        let values = record(bytes).unwrap_or_default().into_iter();
        values.filter_map(|(kind, value)| value.filter(|_| is(kind))).collect()
    }

    /// A row in binary form as an image; None when it is not of this table.
    pub fn decode(&self, table: &Table, bytes: &[u8], folds: &Folds) -> Option<Captured> {
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
        self.captured(table, Row(row), folds)
    }

    fn captured(&self, table: &Table, row: Row, folds: &Folds) -> Option<Captured> {
        // Those with a NULL have no value; any other that cannot be told would be missed.
        let whole = |key: &&Key| key.parts.iter().all(|part| row.0[part.column].is_some());
        let all = |keys: &[Key], across| {
            let keys = keys.iter().filter(whole);
            keys.map(|key| self.canonical(table, key, &row, folds, across)).collect::<Option<Vec<_>>>()
        };
        let parent = |p: &Parent| Some((p.table.clone(), self.canonical(table, &p.key, &row, folds, true)?));
        let parents =
            table.parents.iter().filter(|p| whole(&&p.key)).map(parent).collect::<Option<Vec<_>>>()?;
        let references = References { referenced: all(&table.referenced, true)?, parents };
        let key = self.canonical(table, &table.key, &row, folds, false)?;
        Some(Captured { key, uniques: all(&table.uniques, false)?, references, row })
    }

    /// The columns that keys are made of.
    pub fn key_columns(&self, table: &Table) -> Vec<usize> {
        let parts = table.keys().flat_map(|key| &key.parts);
        parts.map(|part| part.column).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A record of these columns alone; None when it is not of this table, or its key has a NULL. The row has no others.
    pub fn decode_keys(&self, table: &Table, bytes: &[u8], folds: &Folds) -> Option<Captured> {
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
        self.captured(table, Row(row), folds)
    }

    /// A key's value in canonical form; None when a NULL is in it. The columns of a foreign key may be integers of two sizes:
    /// `across` them, all have one.
    fn canonical(
        &self,
        table: &Table,
        key: &Key,
        row: &Row,
        folds: &Folds,
        across: bool,
    ) -> Option<Canonical> {
        let (mut bytes, mut words) = (Vec::new(), Vec::new());
        for part in &key.parts {
            let value = row.0[part.column].as_deref()?;
            let ColumnKind::Postgres(name) = &table.columns[part.column].kind else { return None };
            let compared = match (self.forms.get(part.column)?, integer(name, value)) {
                (_, Some(number)) if across => number.to_be_bytes().to_vec(),
                (Form::Folded, _) => folds.get(value)?.to_vec(),
                (form, _) => form.canonical(value)?,
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

/// The `=` of values of a type, as a cast names it: the server's own, or the one that an extension brings along with its type,
/// which no search path need lead to. Without it citext would compare as text.
pub fn equals(kind: &str) -> String {
    let extensions = ["\"citext\"", "\"hstore\"", "\"ltree\""];
    let schema = extensions.iter().find_map(|name| kind.strip_suffix(name)?.strip_suffix('.'));
    schema.map_or_else(|| "=".to_owned(), |schema| format!("OPERATOR({schema}.=)"))
}

/// Asks what the server makes of values of [`Form::Folded`]: of each in turn.
pub const FOLD: &str = "SELECT pg_catalog.lower(v COLLATE pg_catalog.\"default\") \
    FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS u(v, at) ORDER BY at";

/// The query that reads rows by key: `keys` of them, each key's values as parameters in turn, cast to the columns' types.
/// Its columns are the table or partition of the row, and the row in binary form.
pub fn before_images(table: &Table, keys: usize, lock: bool) -> String {
    let lock = if lock { " FOR UPDATE" } else { "" };
    format!("SELECT t.tableoid, pg_catalog.record_send(t.*) {}{lock}", rows_by_key(table, keys))
}

/// The query that locks those of the rows with these keys that nobody has locked, and reads nothing of them. It stands in the
/// way of a read that locks them; of one FOR KEY SHARE only if that is what it is for (`weak`).
pub fn hold_rows(table: &Table, keys: usize, weak: bool) -> String {
    let how = if weak { "UPDATE" } else { "NO KEY UPDATE" };
    format!("SELECT {} FOR {how} SKIP LOCKED", rows_by_key(table, keys))
}

fn rows_by_key(table: &Table, keys: usize) -> String {
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
                format!("t.{} {} ${number}::{kind}", quote(&column.name), equals(kind))
            })
            .collect();
        format!("({})", parts.join(" AND "))
    };
    let conditions: Vec<String> = (0..keys).map(|_| row()).collect();
    let condition = if conditions.is_empty() { "FALSE".to_owned() } else { conditions.join(" OR ") };
    format!("FROM {} t WHERE {condition}", target(table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Column, KeyPart};
    use proptest::prelude::*;

    const INT: u32 = 23;
    const CITEXT: u32 = 16_500;

    /// A table of a number and two texts of citext, with a key of the number and the first, and a unique one of the second.
    fn table() -> (Table, Layout) {
        let citext = "\"Ext\".\"citext\"";
        let column =
            |name: &str, kind: &str| Column { name: name.into(), kind: ColumnKind::Postgres(kind.into()) };
        let key = |name: &str, columns: &[usize]| Key {
            name: name.into(),
            parts: columns.iter().map(|column| KeyPart { column: *column, prefix: None }).collect(),
        };
        let table = Table {
            schema: "s".into(),
            name: "t".into(),
            columns: vec![column("id", "pg_catalog.int4"), column("a", citext), column("b", citext)],
            key: key("t_pkey", &[0, 1]),
            uniques: vec![key("t_b", &[2])],
            referenced: Vec::new(),
            parents: Vec::new(),
            auto_increment: None,
            insert_order: Vec::new(),
            defaults: Vec::new(),
            storage: Vec::new(),
            only: true,
        };
        let field = |(column, kind)| Field { kind, column: Some(column) };
        let layout = Layout {
            oid: 17_000,
            fields: [INT, CITEXT, CITEXT].into_iter().enumerate().map(field).collect(),
            forms: vec![Form::Plain, Form::Folded, Form::Folded],
            partitioned: false,
            locked_as: "s.t".into(),
        };
        (table, layout)
    }

    fn sent(id: i32, a: &str, b: Option<&str>) -> Vec<u8> {
        let mut bytes = 3_i32.to_be_bytes().to_vec();
        let number = id.to_be_bytes();
        for (kind, value) in
            [(INT, Some(&number[..])), (CITEXT, Some(a.as_bytes())), (CITEXT, b.map(str::as_bytes))]
        {
            bytes.extend(kind.to_be_bytes());
            bytes.extend(value.map_or(-1, |v| v.len() as i32).to_be_bytes());
            bytes.extend(value.unwrap_or_default());
        }
        bytes
    }

    /// Decodes with what a server said of which this is the word.
    fn decoded(row: &[u8], server: impl Fn(&str) -> String) -> Captured {
        let (table, layout) = table();
        let mut folds = Folds::default();
        for value in layout.to_fold(&table, row) {
            folds.learn(value.to_vec(), server(std::str::from_utf8(value).unwrap()).into_bytes());
        }
        layout.decode(&table, row, &folds).unwrap()
    }

    proptest! {
        #[test]
        fn keys_are_equal_exactly_when_the_server_folds_them_to_one(
            ids in (0..2_i32, 0..2_i32), a in "[aAbBÄäß]{0,3}", b in "[aAbBÄäß]{0,3}", null: bool,
        ) {
            let other = (!null).then_some(b.as_str());
            let (one, two) = (sent(ids.0, &a, Some(&a)), sent(ids.1, &b, other));
            let (one, two) = (decoded(&one, str::to_lowercase), decoded(&two, str::to_lowercase));
            let same = a.to_lowercase() == b.to_lowercase();
            prop_assert_eq!(one.key.bytes == two.key.bytes, same && ids.0 == ids.1);
            prop_assert_eq!(two.uniques.len(), usize::from(!null));
            prop_assert!(null || (one.uniques[0].bytes == two.uniques[0].bytes) == same);
            prop_assert_eq!(one.row == two.row, ids.0 == ids.1 && !null && a == b);
        }
    }

    #[test]
    fn what_the_server_has_not_told_is_not_guessed() {
        let (table, layout) = table();
        let row = sent(1, "A", None);
        assert_eq!(layout.to_fold(&table, &row), [b"A"]);
        assert_eq!(layout.decode(&table, &row, &Folds::default()), None);
        let (mut folds, two) = (Folds::default(), sent(1, "A", Some("B")));
        folds.learn(b"A".to_vec(), b"a".to_vec());
        assert!(layout.decode(&table, &row, &folds).is_some());
        assert_eq!(layout.decode(&table, &two, &folds), None);
    }

    #[test]
    fn types_of_extensions_bring_their_equality_along() {
        assert_eq!(equals("pg_catalog.int4"), "=");
        assert_eq!(equals("\"public\".\"mood\""), "=");
        assert_eq!(equals("\"public\".\"mycitext\""), "=");
        assert_eq!(equals("\"public\".\"citext\""), "OPERATOR(\"public\".=)");
        assert_eq!(equals("\"a\"\".\"\"b\".\"hstore\""), "OPERATOR(\"a\"\".\"\"b\".=)");
        let (table, _) = table();
        let query = before_images(&table, 1, false);
        assert!(query.contains("t.\"id\" = $1::pg_catalog.int4"), "{query}");
        assert!(query.contains("t.\"a\" OPERATOR(\"Ext\".=) $2::\"Ext\".\"citext\""), "{query}");
        let hold = hold_rows(&table, 2, false);
        assert!(hold.contains("$4::") && hold.ends_with(" FOR NO KEY UPDATE SKIP LOCKED"), "{hold}");
        assert!(hold_rows(&table, 1, true).ends_with(" FOR UPDATE SKIP LOCKED"));
    }
}
