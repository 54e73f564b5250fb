//! From what was captured to the undo record.

use super::{
    captured::{Branch, Change},
    images::AfterImages,
    settle::SettleError,
};
use atone_undo_log::{
    capture::{Captured, Row},
    record::{Change as Undo, Shape, Touched, UndoRecord},
};
use std::collections::BTreeMap;

/// The undo record. A row that should be there after its last change and is not, or the other way round, means that
/// something changed it unseen.
pub fn record(branch: &Branch, after: &AfterImages) -> Result<UndoRecord, SettleError> {
    let mut building = Building {
        branch,
        after,
        record: UndoRecord::default(),
        rows: BTreeMap::new(),
        tables: BTreeMap::new(),
    };
    for change in &branch.changes {
        match change {
            Change::Updated(table, row) => building.add(*table, row, Some(row.row.clone()), true)?,
            Change::Deleted(table, row) => building.add(*table, row, Some(row.row.clone()), false)?,
            Change::Moved(table, from, to) => {
                let to = building.place(*table, to, true)?;
                let from_place = building.place(*table, from, false)?;
                let before = Some(from.row.clone());
                building.record.changes.push(Undo { row: from_place, before, moved_to: Some(to) });
            }
            Change::Resolved(table, rows) => {
                for row in rows {
                    building.add(*table, row, None, true)?;
                }
            }
            Change::Locked { .. } => {}
            Change::Inserted(..) | Change::Left { .. } => {
                return Err(SettleError::Malformed("inserted rows were not read"));
            }
        }
    }
    let fits = building
        .rows
        .values()
        .all(|(at, stays)| building.record.rows[*at as usize].after.is_some() == *stays);
    if fits {
        Ok(building.record)
    } else {
        Err(SettleError::Malformed("a row is not there, or is there, against all that was done to it"))
    }
}

struct Building<'a> {
    branch: &'a Branch,
    after: &'a AfterImages,
    record: UndoRecord,
    /// Where each row is in the record, and whether it is there after its last change.
    rows: BTreeMap<(usize, Vec<u8>), (u32, bool)>,
    tables: BTreeMap<usize, u32>,
}

impl Building<'_> {
    fn add(
        &mut self,
        table: usize,
        row: &Captured,
        before: Option<Row>,
        stays: bool,
    ) -> Result<(), SettleError> {
        let row = self.place(table, row, stays)?;
        self.record.changes.push(Undo { row, before, moved_to: None });
        Ok(())
    }

    /// The row's place in the record, and whether it is there after this change.
    fn place(&mut self, table: usize, row: &Captured, stays: bool) -> Result<u32, SettleError> {
        let description = self.branch.description(table).ok_or(SettleError::Malformed("an unknown table"))?;
        let tables = &mut self.record.tables;
        let shape = *self.tables.entry(table).or_insert_with(|| {
            tables.push(Shape::of(description));
            tables.len() as u32 - 1
        });
        let id = (table, row.key.bytes.clone());
        let after = self.after.get(&id).map(|c| c.row.clone());
        let rows = &mut self.record.rows;
        let place = self.rows.entry(id).or_insert_with(|| {
            rows.push(Touched {
                table: shape,
                key: description.key_values(&row.row).into_iter().map(<[u8]>::to_vec).collect(),
                canonical: row.key.bytes.clone(),
                shown: row.key.shown.clone(),
                after,
            });
            (rows.len() as u32 - 1, stays)
        });
        place.1 = stays;
        Ok(place.0)
    }
}
