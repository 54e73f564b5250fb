//! A person looks at a branch: its rows as they were before it, as it left them, and as they are now. One state of the
//! database is read, nothing is locked, and what is told are words.

use super::restore::{decode, rows_of, same_table};
use crate::backend::{Backend, BackendError, Tx};
use atone_protocol::{BranchId, Looked, LookedColumn, LookedRow, Xid};
use atone_undo_log::{
    capture::{ColumnKind, Row},
    record::UndoRecord,
    reverse::first_images,
};
use std::{mem::size_of, sync::Arc};

/// Rows told at most.
const MOST_ROWS: u32 = 1_000;
/// Bytes of words told at most: an answer must stay far under what a frame to the coordinator may have.
const MOST_BYTES: usize = 1 << 20;

/// A row's three images.
struct Images<'r> {
    before: Option<&'r Row>,
    after: Option<&'r Row>,
    current: Option<&'r Row>,
}

/// What is told of the branch, and on which primary it was seen.
pub(super) async fn look(
    backend: &Backend,
    (xid, branch): (Xid, BranchId),
    (rows, all): (u32, bool),
) -> Result<(Looked, Arc<str>), BackendError> {
    let mut tx = backend.begin_reading().await?;
    let primary = tx.primary().clone();
    let looked = look_in(&mut tx, (xid, branch), rows.min(MOST_ROWS) as usize, all).await?;
    tx.rollback().await?;
    Ok((looked, primary))
}

async fn look_in(
    tx: &mut Tx,
    (xid, branch): (Xid, BranchId),
    rows: usize,
    all: bool,
) -> Result<Looked, BackendError> {
    let Some((status, parts)) = tx.look(xid, branch).await? else {
        return Ok(Looked { record: "none".into(), ..Looked::default() });
    };
    let mut looked = Looked { record: status.to_lowercase(), ..Looked::default() };
    if status != "NORMAL" {
        return Ok(looked);
    }
    let record = match decode(parts) {
        Ok(record) => record,
        Err(why) => return Ok(Looked { trouble: why, ..looked }),
    };
    let mut current = vec![None; record.rows.len()];
    let mut known = Vec::with_capacity(record.tables.len());
    for (at, shape) in record.tables.iter().enumerate() {
        let read = match same_table(tx, shape).await? {
            Ok(entry) => rows_of(tx, &record, (at, &entry), &mut current).await?,
            Err(why) => Err(why),
        };
        known.push(read.is_ok());
        if let Err(why) = read {
            let and = if looked.trouble.is_empty() { "" } else { "; " };
            looked.trouble += &format!("{and}{why}");
        }
    }
    tell(tx, &record, &current, &known, &mut looked, (rows, all)).await?;
    Ok(looked)
}

/// Counts all rows and tells those that were asked for, those in the way first.
async fn tell(
    tx: &mut Tx,
    record: &UndoRecord,
    current: &[Option<Row>],
    known: &[bool],
    looked: &mut Looked,
    (most, all): (usize, bool),
) -> Result<(), BackendError> {
    let (mut asked, mut others) = (Vec::new(), Vec::new());
    for (at, (touched, before)) in record.rows.iter().zip(first_images(record)).enumerate() {
        let images = Images { before, after: touched.after.as_ref(), current: current[at].as_ref() };
        let state = if known[touched.table as usize] { state(&images) } else { "unknown" };
        let fine = match state {
            "as_left" => &mut looked.as_left,
            "as_before" => &mut looked.as_before,
            "unknown" => &mut looked.unknown,
            _ => &mut looked.in_the_way,
        };
        *fine += 1;
        match state {
            "as_left" | "as_before" => others.push((at, images, state)),
            _ => asked.push((at, images, state)),
        }
    }
    if all {
        asked.append(&mut others);
    }
    let mut bytes = 0;
    for (at, images, state) in &asked {
        if looked.rows.len() == most || bytes > MOST_BYTES {
            break;
        }
        let row = told(tx, record, *at, images, state).await?;
        bytes += size(&row);
        looked.rows.push(row);
    }
    looked.more = (asked.len() - looked.rows.len()) as u64;
    Ok(())
}

/// The same questions that an undo asks of a row.
fn state(images: &Images<'_>) -> &'static str {
    match (images.after, images.current) {
        (after, current) if after == current => "as_left",
        (_, current) if current == images.before => "as_before",
        (Some(_), Some(_)) => "changed",
        (Some(_), None) => "deleted",
        (None, _) => "inserted",
    }
}

async fn told(
    tx: &mut Tx,
    record: &UndoRecord,
    at: usize,
    images: &Images<'_>,
    state: &str,
) -> Result<LookedRow, BackendError> {
    let touched = &record.rows[at];
    let shape = &record.tables[touched.table as usize];
    let all = [images.before, images.after, images.current];
    let mut asked: Vec<(&ColumnKind, &[u8])> = Vec::new();
    for (at, column) in shape.columns.iter().enumerate() {
        asked.extend(all.iter().filter_map(|image| Some((&column.kind, image_value(*image, at)?))));
    }
    let mut words = tx.words(&asked).await?.into_iter();
    let mut columns = Vec::with_capacity(shape.columns.len());
    for (at, column) in shape.columns.iter().enumerate() {
        let mut word = |image| image_value(image, at).and_then(|_| words.next());
        let [before, after, current] = all.map(&mut word);
        let against = images.after.or(images.before);
        let differs = state != "unknown"
            && images.current.is_some()
            && against.is_some()
            && image_value(images.current, at) != image_value(against, at);
        columns.push(LookedColumn { name: column.name.clone(), before, after, current, differs });
    }
    Ok(LookedRow {
        table: format!("{}.{}", shape.schema, shape.name),
        key: touched.shown.clone(),
        state: state.to_owned(),
        before: images.before.is_some(),
        after: images.after.is_some(),
        current: images.current.is_some(),
        columns,
    })
}

/// A column's value in an image; None for NULL and for no row.
fn image_value(image: Option<&Row>, at: usize) -> Option<&[u8]> {
    image.and_then(|row| row.0.get(at)).and_then(Option::as_deref)
}

/// About how many bytes a row takes.
fn size(row: &LookedRow) -> usize {
    let word = |word: &Option<String>| word.as_ref().map_or(0, String::len);
    let column = |c: &LookedColumn| {
        size_of::<LookedColumn>() + c.name.len() + word(&c.before) + word(&c.after) + word(&c.current)
    };
    row.table.len() + row.key.len() + row.columns.iter().map(column).sum::<usize>()
}
