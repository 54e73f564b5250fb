//! Undoing a record: is every row as the branch left it, and which statements put it back?

mod postgres;
#[cfg(test)]
mod tests;

use crate::{
    capture::{Column, ColumnKind, Row, Table},
    record::{Touched, UndoRecord},
    sql::identifier,
};

/// What the rows, read under lock, allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'r> {
    /// Take these steps in this order; afterwards each row must read as [`first_images`] says.
    Undo(Vec<Step<'r>>),
    /// A row was changed by someone else: a person must decide.
    Dirty(Vec<Dirty>),
    /// The record does not fit the table's columns.
    Damaged(String),
}

/// One reverse statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'r> {
    /// Indexes into [`UndoRecord::rows`], the place it writes first: steps that share one keep their order.
    pub rows: Vec<usize>,
    /// The statement.
    pub sql: String,
    /// PostgreSQL: its parameters, each in its type's binary form.
    pub params: Vec<Option<Vec<u8>>>,
    /// The row as it is before the step; None when the step inserts it.
    pub from: Option<&'r Row>,
    /// The row as it is after the step; None when the step deletes it.
    pub to: Option<&'r Row>,
}

/// A row that is neither as the branch left it nor as it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirty {
    /// `schema.table`.
    pub table: String,
    /// The key.
    pub key: String,
    /// The columns that differ from how the branch left them; empty when the whole row came or went.
    pub columns: Vec<String>,
    /// What happened to it.
    pub what: &'static str,
}

impl std::fmt::Display for Dirty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} row {} {}", self.table, self.key, self.what)?;
        if self.columns.is_empty() { Ok(()) } else { write!(f, " ({})", self.columns.join(", ")) }
    }
}

/// How each row must read after the undo: as it was before the branch's first change.
pub fn first_images(record: &UndoRecord) -> Vec<Option<&Row>> {
    let mut first = vec![None; record.rows.len()];
    for change in record.changes.iter().rev() {
        first[change.row as usize] = Some(change.before.as_ref());
        if let Some(to) = change.moved_to {
            first[to as usize] = Some(None);
        }
    }
    record.rows.iter().zip(first).map(|(row, first)| first.unwrap_or(row.after.as_ref())).collect()
}

/// Compares the rows as they are now (in the order of the record's rows) and plans the undo. `tables` are the
/// record's tables as the catalogue describes them now, of the same shape.
pub fn reverse<'r>(record: &'r UndoRecord, tables: &[Table], current: &[Option<Row>]) -> Verdict<'r> {
    plan(record, tables, current, false)
}

/// The record as if the branch had left every row as it is now, but for those that are as they were before it: undoing
/// that brings back what was, whatever stands there.
pub fn as_found(record: &UndoRecord, current: &[Option<Row>]) -> UndoRecord {
    let mut found = record.clone();
    for ((touched, current), first) in found.rows.iter_mut().zip(current).zip(first_images(record)) {
        if current.as_ref() != first {
            touched.after.clone_from(current);
        }
    }
    found
}

/// The same as [`reverse`] for a record of [`as_found`].
pub fn force<'r>(found: &'r UndoRecord, tables: &[Table], current: &[Option<Row>]) -> Verdict<'r> {
    plan(found, tables, current, true)
}

/// `forced`: rows that moved need not be where they went.
fn plan<'r>(record: &'r UndoRecord, tables: &[Table], current: &[Option<Row>], forced: bool) -> Verdict<'r> {
    let first = first_images(record);
    let mut dirty = Vec::new();
    let mut skip = Vec::with_capacity(record.rows.len());
    for ((touched, current), first) in record.rows.iter().zip(current).zip(&first) {
        let as_left = touched.after == *current;
        skip.push(!as_left);
        if !as_left && current.as_ref() != *first {
            dirty.push(describe(&tables[touched.table as usize], touched, current.as_ref()));
        }
    }
    if !dirty.is_empty() {
        return Verdict::Dirty(dirty);
    }
    let mut state: Vec<Option<&Row>> = record.rows.iter().map(|r| r.after.as_ref()).collect();
    let mut steps = Vec::new();
    for change in record.changes.iter().rev() {
        let at = change.row as usize;
        let before = change.before.as_ref();
        let mut take = |row: usize, rows: Vec<usize>, from, to| {
            let touched = &record.rows[row];
            let table = &tables[touched.table as usize];
            let statement = match postgres::is_its(table) {
                true => postgres::statement(table, touched, from, to)?,
                false => statement(table, touched, from, to)?.map(|sql| (sql, Vec::new())),
            };
            steps.extend(statement.map(|(sql, params)| Step { rows, sql, params, from, to }));
            Ok(())
        };
        let taken = match change.moved_to.map(|to| to as usize) {
            None if skip[at] => Ok(()),
            None => take(at, vec![at], state[at], before),
            Some(to) => {
                let moved = std::mem::take(&mut state[to]);
                match (skip[at], skip[to]) {
                    // The same row goes back, so that what points at it by another key stays with it.
                    (false, false) if moved.is_some() && state[at].is_none() => {
                        take(to, vec![at, to], moved, before)
                    }
                    // Neither is where the move left it: each becomes what it was.
                    (false, false) if forced => {
                        take(to, vec![to], moved, None).and_then(|()| take(at, vec![at], state[at], before))
                    }
                    (false, false) => Err("a row that moved is not where it went".into()),
                    // One end of the move is as it was already.
                    (false, true) => take(at, vec![at], state[at], before),
                    (true, false) => take(to, vec![to], moved, None),
                    (true, true) => Ok(()),
                }
            }
        };
        if let Err(damaged) = taken {
            return Verdict::Damaged(damaged);
        }
        state[at] = before;
    }
    Verdict::Undo(steps)
}

fn describe(table: &Table, touched: &Touched, current: Option<&Row>) -> Dirty {
    let (what, columns) = match (&touched.after, current) {
        (Some(after), Some(current)) => {
            let differs = |n: &usize| after.0[*n] != current.0[*n];
            let columns =
                (0..table.columns.len()).filter(differs).map(|n| table.columns[n].name.clone()).collect();
            ("was changed by someone else", columns)
        }
        (Some(_), None) => ("was deleted by someone else", Vec::new()),
        (None, _) => ("was inserted again by someone else", Vec::new()),
    };
    Dirty { table: table.full_name(), key: touched.shown.clone(), columns, what }
}

/// The statement that takes a row from one state to another; nothing when they are the same.
fn statement(
    table: &Table,
    touched: &Touched,
    from: Option<&Row>,
    to: Option<&Row>,
) -> Result<Option<String>, String> {
    let damaged =
        || format!("a value of {} row {} is not of its column's type", table.full_name(), touched.shown);
    let target = format!("{}.{}", identifier(&table.schema), identifier(&table.name));
    let key = || crate::capture::where_key(table, &touched.key).ok_or_else(damaged);
    let literal = |column: &Column, value: &Option<Vec<u8>>| match value {
        None => Ok("NULL".to_owned()),
        Some(value) => column.kind.literal(value).ok_or_else(damaged),
    };
    let values = |row: &Row| -> Result<Vec<String>, String> {
        table.columns.iter().zip(&row.0).map(|(c, v)| literal(c, v)).collect()
    };
    let names = || table.columns.iter().map(|c| identifier(&c.name));
    Ok(match (from, to) {
        (None, None) => None,
        (Some(from), Some(to)) if from == to => None,
        (Some(_), None) => Some(format!("DELETE FROM {target} WHERE {}", key()?)),
        (None, Some(to)) => {
            let names: Vec<String> = names().collect();
            Some(format!("INSERT INTO {target} ({}) VALUES ({})", names.join(", "), values(to)?.join(", ")))
        }
        // What did not change is not sent, but for times: one with ON UPDATE CURRENT_TIMESTAMP must keep its old value.
        (Some(from), Some(to)) => {
            let timed =
                |at: usize| matches!(table.columns[at].kind, ColumnKind::Temporal | ColumnKind::Timestamp);
            let mut pairs = Vec::new();
            for (at, column) in table.columns.iter().enumerate() {
                if timed(at) || from.0[at] != to.0[at] {
                    pairs.push(format!("{} = {}", identifier(&column.name), literal(column, &to.0[at])?));
                }
            }
            Some(format!("UPDATE {target} SET {} WHERE {}", pairs.join(", "), key()?))
        }
    })
}
