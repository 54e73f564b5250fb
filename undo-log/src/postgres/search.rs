//! All that a local transaction changed in a table, found without having seen its statements: the rows that it made are
//! asked of itself, the rows that it took away are those that only others still see.
//!
//! Sources: PostgreSQL manual 5.6 (system columns), 9.28.8 (transaction ids), 13.2.1 (read committed).

use super::table::target;
use crate::capture::{Captured, Table};
use std::collections::{BTreeMap, BTreeSet};

/// What happened to a row, all in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Net {
    /// It is new; it had been nowhere.
    New(Captured),
    /// It was another; this is how it was.
    Was(Captured),
    /// It is gone; this is how it was.
    Gone(Captured),
    /// It went to another key: how it was, and how it is.
    Moved(Captured, Captured),
}

/// Places, and who made the rows there.
const HELD: &str = "ROWS FROM (pg_catalog.unnest($1::pg_catalog.text::pg_catalog.tid[]), \
    pg_catalog.unnest($2::pg_catalog.text::pg_catalog.xid[])) held (at, by)";

/// Asked of the local transaction: its own rows there. `newest` is the number of a transaction that began after its last
/// write. An old row may show the number of a transaction to come, from four billion before, so that the range is checked
/// before anybody is asked about it.
pub fn own_rows(table: &Table, newest: u64) -> String {
    let top = "(SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8)";
    let behind = format!(
        "((t.xmin::pg_catalog.text::pg_catalog.int8 - {top} % 4294967296 + 4294967296) % 4294967296)"
    );
    format!(
        "SELECT pg_catalog.encode(pg_catalog.record_send(t.*), 'hex') FROM {} t WHERE CASE WHEN pg_catalog.age(t.xmin) > 0 THEN false \
         WHEN {behind} + {top} >= {newest} THEN false \
         ELSE pg_catalog.pg_xact_status(({behind} + {top})::pg_catalog.text::pg_catalog.xid8) = 'in progress' END",
        target(table)
    )
}

/// Asked from outside: where the rows are that somebody deletes, updates or locks, or once did, and who made each, since a
/// place may be taken by another row meanwhile; at most `most` of them.
pub fn held(table: &Table, most: usize) -> String {
    format!(
        "SELECT pg_catalog.array_agg(ctid)::text, pg_catalog.array_agg(xmin)::text, pg_catalog.count(*) FROM (SELECT ctid, xmin FROM {} \
         WHERE xmax <> '0'::pg_catalog.xid LIMIT {most}) held",
        target(table)
    )
}

/// Asked of the local transaction: at which of these places it sees no row, and who made those that stood there.
pub fn not_seen(table: &Table) -> String {
    format!(
        "SELECT pg_catalog.array_agg(held.at)::pg_catalog.text, pg_catalog.array_agg(held.by)::pg_catalog.text FROM {HELD} \
         WHERE NOT EXISTS (SELECT FROM {} t WHERE t.ctid = held.at)",
        target(table)
    )
}

/// Asked from outside: the rows that are still at these places. Those that others have deleted are not.
pub fn rows_at(table: &Table) -> String {
    format!(
        "SELECT pg_catalog.record_send(t.*) FROM {HELD} JOIN {} t ON t.ctid = held.at AND t.xmin = held.by",
        target(table)
    )
}

/// From the rows made, what was at their keys before, and the rows taken away, to what happened: in an order whose
/// reverse puts back first and takes away last.
pub fn net(table: &Table, made: &[Captured], before: Vec<Captured>, taken: Vec<Captured>) -> Vec<Net> {
    let mut before: BTreeMap<Vec<u8>, Captured> =
        before.into_iter().map(|row| (row.key.bytes.clone(), row)).collect();
    let keys: BTreeSet<&[u8]> = made.iter().map(|row| &*row.key.bytes).collect();
    let (mut net, mut stayed, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    let mut new = Vec::new();
    for row in made {
        match before.remove(&row.key.bytes) {
            Some(was) => stayed.push(Net::Was(was)),
            None => new.push(row.clone()),
        }
    }
    // A row that differs from one taken away in its key only is taken for the same: to undo it by an UPDATE keeps with it
    // what points at it. A number that the server always makes cannot be put back by an UPDATE.
    let key_columns: Vec<usize> = table.key.parts.iter().map(|p| p.column).collect();
    let movable = table.auto_increment.is_none_or(|always| !key_columns.contains(&always));
    let rest = |row: &Captured| {
        let columns = row.row.0.iter().enumerate().filter(|(at, _)| !key_columns.contains(at));
        columns.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let mut gone: BTreeMap<Vec<Option<Vec<u8>>>, Vec<Captured>> = BTreeMap::new();
    for row in taken.into_iter().filter(|row| !keys.contains(&*row.key.bytes)) {
        gone.entry(rest(&row)).or_default().push(row);
    }
    for row in new {
        let from = gone.get_mut(&rest(&row)).filter(|_| movable).and_then(Vec::pop);
        match from {
            Some(from) => moved.push(Net::Moved(from, row)),
            None => net.push(Net::New(row)),
        }
    }
    net.extend(moved);
    net.extend(stayed);
    net.extend(gone.into_values().flatten().map(Net::Gone));
    net
}
