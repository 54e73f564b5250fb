//! The queries that read images, and what comes back from them.

use super::{Captured, ColumnKind, Row, Storage, Table, key};
use crate::{
    analyze::{Locking, Verb, Write},
    sql::identifier,
};
use std::fmt::Write as _;
use std::ops::Range;

/// Rows looked up by one query; more are asked for in several.
const ROWS_PER_QUERY: usize = 500;

fn select_list(table: &Table) -> String {
    let columns = table.columns.iter().map(|c| c.kind.expression(&c.name));
    columns.chain(key::weight_expressions(table)).collect::<Vec<_>>().join(", ")
}

/// Copies a part of the statement, each parameter replaced by its literal.
fn splice(sql: &str, part: Range<usize>, write: &Write, params: &[String]) -> String {
    splice_at(sql, part, &write.params, params)
}

fn splice_at(sql: &str, part: Range<usize>, places: &[usize], params: &[String]) -> String {
    let mut text = String::with_capacity(part.len() + 32);
    let mut at = part.start;
    for (place, literal) in places.iter().zip(params).filter(|(p, _)| part.contains(p)) {
        text.push_str(&sql[at..*place]);
        text.push_str(literal);
        at = place + 1;
    }
    text.push_str(&sql[at..part.end]);
    text
}

/// Locks and reads the rows that an UPDATE or DELETE is about to change, in its own order.
/// `params` are the literals for the statement's parameters; `more` is asked for behind each image. With `most`, there
/// are no more rows than that; the tail must have no LIMIT of its own.
pub fn image_of_write(
    table: &Table,
    sql: &str,
    write: &Write,
    params: &[String],
    more: &[String],
    most: Option<usize>,
) -> String {
    let list = std::iter::once(select_list(table)).chain(more.iter().cloned()).collect::<Vec<_>>().join(", ");
    let mut query = format!("SELECT {list} FROM {}", &sql[write.target.clone()]);
    if let Some(tail) = write.tail.clone() {
        query.push(' ');
        query.push_str(&splice(sql, tail, write, params));
    }
    // A newline, because the tail may end in a `-- comment`.
    query.push('\n');
    if let Some(most) = most {
        let _ = write!(query, "LIMIT {most} ");
    }
    query.push_str("FOR UPDATE");
    query
}

/// The expression that asks what a value of the statement is, in the form in which images hold such a column; None
/// for a kind of column whose conversion is not followed.
pub fn computed(
    kind: &ColumnKind,
    sql: &str,
    value: Range<usize>,
    write: &Write,
    params: &[String],
) -> Option<String> {
    kind.computed(&splice(sql, value, write, params))
}

/// The numbers that an INSERT generated: those from the first on that it did not give itself. One more than expected
/// is asked for, to see that there is none. A plain read: it waits for nobody.
pub fn generated_keys(table: &Table, column: usize, first: u64, given: &[String], expected: usize) -> String {
    let name = identifier(&table.columns[column].name);
    let mut query = format!(
        "SELECT {} FROM {}.{} WHERE {name} >= {first}",
        table.columns[column].kind.expression(&table.columns[column].name),
        identifier(&table.schema),
        identifier(&table.name)
    );
    if !given.is_empty() {
        let _ = write!(query, " AND {name} NOT IN ({})", given.join(", "));
    }
    let _ = write!(query, " ORDER BY {name} LIMIT {}", expected + 1);
    query
}

/// The keys of the rows that a read locks, a row of them per row of its own; in the same order if it has a LIMIT. Each of
/// its tables is given with only the columns of its keys, in the order of [`Locking::tables`].
pub fn keys_of_read(tables: &[&Table], sql: &str, locking: &Locking, params: &[String]) -> String {
    let list = tables.iter().zip(&locking.tables).flat_map(|(table, locked)| {
        let qualifier = format!("{}.", &sql[locked.reference.clone()]);
        let column = |c: &super::Column| c.kind.expression_of(format!("{qualifier}{}", identifier(&c.name)));
        let columns: Vec<String> = table.columns.iter().map(column).collect();
        columns.into_iter().chain(key::weight_expressions_of(table, &qualifier))
    });
    let list: Vec<String> = list.collect();
    let part = |range: &Range<usize>| splice_at(sql, range.clone(), &locking.params, params);
    let mut query = format!("SELECT {} {}", list.join(", "), part(&locking.from));
    if let Some(limit) = &locking.limit {
        for range in locking.order.iter().chain([limit]) {
            query.push('\n');
            query.push_str(&part(range));
        }
    }
    let _ = write!(query, "\n{}", &sql[locking.clause.clone()]);
    query
}

/// How many columns the keys of each table take in [`keys_of_read`].
pub fn widths_of_keys(table: &Table) -> usize {
    table.columns.len() + key::weight_expressions(table).len()
}

/// The read again, on exactly the rows of its one table that were locked. None when a key's value is damaged.
pub fn read_of_captured_rows(
    table: &Table,
    sql: &str,
    locking: &Locking,
    captured: &[Captured],
) -> Option<String> {
    let keys =
        captured.iter().map(|c| literals(table, &table.key_values(&c.row))).collect::<Option<Vec<_>>>()?;
    let mut text = format!("{}\nWHERE {}", &sql[..locking.condition], condition(table, &keys));
    if let Some(order) = locking.order.clone() {
        let _ = write!(text, "\n{}", &sql[order]);
    }
    let _ = write!(text, "\n{}", &sql[locking.clause.clone()]);
    Some(text)
}

/// The UPDATE or DELETE again, on exactly the rows that were captured: for tails that might pick others the
/// second time.
pub fn on_captured_rows(
    table: &Table,
    sql: &str,
    write: &Write,
    params: &[String],
    captured: &[Captured],
) -> Option<String> {
    let tail = write.tail.clone()?;
    let mut text = splice(sql, 0..tail.start, write, params);
    let keys =
        captured.iter().map(|c| literals(table, &table.key_values(&c.row))).collect::<Option<Vec<_>>>()?;
    let _ = write!(text, " WHERE {}", condition(table, &keys));
    if let Some(order) = write.order.clone() {
        text.push(' ');
        text.push_str(&splice(sql, order, write, params));
    }
    debug_assert!(write.verb != Verb::Insert);
    Some(text)
}

/// Locks and reads rows by key; several queries when there are many. None when a key's value is damaged.
pub fn image_of_rows(table: &Table, keys: &[Vec<Vec<u8>>]) -> Option<Vec<String>> {
    let literals = keys
        .iter()
        .map(|key| literals(table, &key.iter().map(Vec::as_slice).collect::<Vec<_>>()))
        .collect::<Option<Vec<_>>>()?;
    Some(image_of_inserts(table, &literals))
}

/// The same without locking them.
pub fn look_at_rows(table: &Table, keys: &[Vec<Vec<u8>>]) -> Option<Vec<String>> {
    let queries = image_of_rows(table, keys)?;
    Some(queries.into_iter().map(|q| q.trim_end_matches(" FOR UPDATE").to_owned()).collect())
}

/// Locks and reads rows by key literals.
pub fn image_of_inserts(table: &Table, keys: &[Vec<String>]) -> Vec<String> {
    let query = |keys: &[Vec<String>]| {
        format!(
            "SELECT {} FROM {}.{} FORCE INDEX ({}) WHERE {} FOR UPDATE",
            select_list(table),
            identifier(&table.schema),
            identifier(&table.name),
            identifier(&table.key.name),
            condition(table, keys)
        )
    };
    keys.chunks(ROWS_PER_QUERY).map(query).collect()
}

/// Locks those of the rows with these keys that nobody has locked, and reads nothing of them. None when a key's value is damaged.
pub fn hold_rows(table: &Table, keys: &[Vec<Vec<u8>>]) -> Option<Vec<String>> {
    let (schema, name) = (identifier(&table.schema), identifier(&table.name));
    let index = identifier(&table.key.name);
    let query = |keys: &[Vec<Vec<u8>>]| {
        let literal =
            |key: &Vec<Vec<u8>>| literals(table, &key.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let condition = condition(table, &keys.iter().map(literal).collect::<Option<Vec<_>>>()?);
        let from = format!("FROM {schema}.{name} FORCE INDEX ({index})");
        Some(format!("SELECT 1 {from} WHERE {condition} FOR UPDATE SKIP LOCKED"))
    };
    keys.chunks(ROWS_PER_QUERY).map(query).collect()
}

/// The literals of a row's key values.
fn literals(table: &Table, key: &[&[u8]]) -> Option<Vec<String>> {
    table
        .key
        .parts
        .iter()
        .zip(key)
        .map(|(part, value)| table.columns[part.column].kind.literal(value))
        .collect()
}

/// `WHERE` of a row by its key, for reverse SQL.
pub(crate) fn where_key(table: &Table, key: &[Vec<u8>]) -> Option<String> {
    let literals = literals(table, &key.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    Some(condition(table, &[literals]))
}

fn condition(table: &Table, keys: &[Vec<String>]) -> String {
    let names: Vec<String> =
        table.key.parts.iter().map(|p| identifier(&table.columns[p.column].name)).collect();
    let storage: Vec<Storage> = table.key.parts.iter().map(|p| table.storage(p.column)).collect();
    if keys.is_empty() {
        return "FALSE".into();
    }
    if let [name] = names.as_slice() {
        let list: Vec<String> = keys.iter().map(|k| filled(&k[0], storage[0])).collect();
        return format!("{name} IN ({})", list.join(", "));
    }
    // MariaDB does not use an index for (a, b) IN (…).
    let row = |key: &Vec<String>| {
        let parts = names.iter().zip(key).zip(&storage);
        let parts: Vec<String> = parts.map(|((n, v), w)| format!("{n} = {}", filled(v, *w))).collect();
        format!("({})", parts.join(" AND "))
    };
    keys.iter().map(row).collect::<Vec<_>>().join(" OR ")
}

/// A literal for a BINARY(n), filled up to its width as the column does it.
fn filled(literal: &str, storage: Storage) -> String {
    match storage {
        // A whole one, as images give them.
        Storage::Filled(n) if literal.starts_with("x'") && literal.len() == 2 * n as usize + 3 => {
            literal.to_owned()
        }
        Storage::Filled(n) => format!("CAST({literal} AS BINARY({n}))"),
        Storage::Plain | Storage::Year | Storage::Padded => literal.to_owned(),
    }
}

/// One row of an image query. None when it has not the columns that were asked for.
pub fn decode(table: &Table, mut values: Vec<Option<Vec<u8>>>) -> Option<Captured> {
    if values.len() != table.columns.len() + key::weight_expressions(table).len() {
        return None;
    }
    let weights = values.split_off(table.columns.len());
    key::canonical_keys(table, Row(values), &weights)
}

/// The key values of captured rows, for asking for them again.
pub fn keys_of<'r>(table: &Table, rows: impl IntoIterator<Item = &'r Captured>) -> Vec<Vec<Vec<u8>>> {
    rows.into_iter().map(|c| table.key_values(&c.row).into_iter().map(<[u8]>::to_vec).collect()).collect()
}
