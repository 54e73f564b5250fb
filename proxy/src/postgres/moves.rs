//! Rows that went to other keys where the server told what each was before: what became of each, all in all.

use crate::branch::{AfterImages, Branch, Change};
use atone_undo_log::{
    capture::Captured,
    postgres::search::{Net, net},
};
use std::collections::BTreeMap;

/// Replaces what statements did to the rows of this name by what became of them; false, and nothing is changed, where that was not
/// told of all.
pub(super) fn settle(branch: &mut Branch, name: &str, after: &mut AfterImages) -> bool {
    let mut at = None;
    // How each row is now, and from which row of before it came.
    let mut now: BTreeMap<Vec<u8>, (Captured, Option<usize>)> = BTreeMap::new();
    let mut before: Vec<Captured> = Vec::new();
    let mut arriving: Vec<(Captured, Option<usize>)> = Vec::new();
    let mut current = 0;
    for change in &branch.changes {
        let Change::Left { table, row, gone, old, statement, .. } = change else { continue };
        if branch.tables[*table].name != name {
            continue;
        }
        // A deleted row is told as it was.
        let old = if *gone { Some(Some(row)) } else { old.as_ref().map(Option::as_ref) };
        let Some(old) = old.filter(|_| at.is_none_or(|at| at == *table)) else { return false };
        at = Some(*table);
        // All rows of a statement leave before any arrives.
        if *statement != current {
            now.extend(arriving.drain(..).map(|(row, from)| (row.key.bytes.clone(), (row, from))));
            current = *statement;
        }
        let from = old.and_then(|old| match now.remove(&old.key.bytes) {
            Some((_, from)) => from,
            None => {
                before.push(old.clone());
                Some(before.len() - 1)
            }
        });
        if !gone {
            arriving.push((row.clone(), from));
        }
    }
    now.extend(arriving.drain(..).map(|(row, from)| (row.key.bytes.clone(), (row, from))));
    let Some(at) = at else { return true };
    let Some(table) = branch.description(at).cloned() else { return false };
    let tables = branch.tables.clone();
    branch
        .changes
        .retain(|change| !matches!(change, Change::Left { table, .. } if tables[*table].name == name));
    let made: Vec<Captured> = now.into_values().map(|(row, _)| row).collect();
    record(branch, at, net(&table, &made, before.clone(), before));
    after.extend(made.into_iter().map(|row| ((at, row.key.bytes.clone()), row)));
    true
}

/// What became of rows, as changes of the branch.
pub(super) fn record(branch: &mut Branch, at: usize, net: Vec<Net>) {
    branch.changes.extend(net.into_iter().map(|change| match change {
        Net::New(row) => Change::Resolved(at, vec![row]),
        Net::Was(row) => Change::Updated(at, row),
        Net::Gone(row) => Change::Deleted(at, row),
        Net::Moved(from, to) => Change::Moved(at, from, to),
    }));
}
