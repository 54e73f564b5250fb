//! Bytes of an undo record. Versions 1 to 3 for ever mean what is written here. Version 2 adds to each change where
//! the row moved; a record without moves is still written in version 1, which older programs read. Version 3 is version 2
//! with columns that have labels, which these do not know.

use super::{Change, DecodeError, Shape, Touched, UndoRecord};
use crate::capture::{Column, ColumnKind, Row};

const PLACES: u8 = 1;
const MOVES: u8 = 2;
const LABELS: u8 = 3;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;
const HEADER: usize = 1 + 1 + 4 + 4;
/// Smaller bodies are not worth compressing.
const COMPRESS_FROM: usize = 512;
/// No branch holds more; a length beyond it is damage, not a request for memory.
const BODY_LIMIT: usize = 1 << 30;

pub(super) fn encode(record: &UndoRecord) -> Vec<u8> {
    let version = version(record);
    let moves = version >= MOVES;
    let mut body = Writer(Vec::new());
    body.list(&record.tables, |w, shape| {
        w.text(&shape.schema);
        w.text(&shape.name);
        w.list(&shape.columns, |w, column| {
            let (code, charset) = column.kind.code();
            w.text(&column.name);
            w.0.push(code);
            w.text(charset);
        });
        w.list(&shape.key, |w, column| w.number(*column));
    });
    body.list(&record.rows, |w, row| {
        w.number(row.table);
        w.list(&row.key, |w, value| w.bytes(value));
        w.bytes(&row.canonical);
        w.text(&row.shown);
        w.row(row.after.as_ref());
    });
    body.list(&record.changes, |w, change| {
        w.number(change.row);
        w.row(change.before.as_ref());
        if moves {
            w.0.push(u8::from(change.moved_to.is_some()));
            change.moved_to.iter().for_each(|to| w.number(*to));
        }
    });
    let body = body.0;
    let packed = if body.len() >= COMPRESS_FROM { Some(lz4_flex::compress(&body)) } else { None };
    let (flag, stored) = match &packed {
        Some(packed) if packed.len() < body.len() => (LZ4, packed),
        _ => (PLAIN, &body),
    };
    let mut bytes = vec![version, flag];
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(stored);
    bytes
}

/// The lowest that can say it.
fn version(record: &UndoRecord) -> u8 {
    let mut columns = record.tables.iter().flat_map(|shape| &shape.columns);
    if columns.any(|column| matches!(column.kind, ColumnKind::Labels(_))) {
        return LABELS;
    }
    if record.changes.iter().any(|c| c.moved_to.is_some()) { MOVES } else { PLACES }
}

pub(super) fn decode(bytes: &[u8]) -> Result<UndoRecord, DecodeError> {
    let damaged = DecodeError::Damaged;
    let version = *bytes.first().ok_or(damaged("it is empty"))?;
    if !matches!(version, PLACES | MOVES | LABELS) {
        return Err(DecodeError::Version(version));
    }
    let header = bytes.get(..HEADER).ok_or(damaged("it is too short"))?;
    let length = u32::from_le_bytes([header[2], header[3], header[4], header[5]]) as usize;
    let checksum = u32::from_le_bytes([header[6], header[7], header[8], header[9]]);
    if length > BODY_LIMIT {
        return Err(damaged("its length is impossible"));
    }
    let body = match header[1] {
        PLAIN => bytes[HEADER..].to_vec(),
        LZ4 => {
            lz4_flex::decompress(&bytes[HEADER..], length).map_err(|_| damaged("it does not decompress"))?
        }
        _ => return Err(damaged("its flags are unknown")),
    };
    if body.len() != length || crc32fast::hash(&body) != checksum {
        return Err(damaged("its checksum is wrong"));
    }
    let record = Reader(&body).record(version >= MOVES).ok_or(damaged("its parts do not fit"))?;
    consistent(&record).then_some(record).ok_or(damaged("its parts contradict one another"))
}

/// Every index points at something and every row has its table's columns.
fn consistent(record: &UndoRecord) -> bool {
    let fits =
        |row: &Option<Row>, shape: &Shape| row.as_ref().is_none_or(|r| r.0.len() == shape.columns.len());
    let shape_of = |row: u32| record.rows.get(row as usize).and_then(|r| record.tables.get(r.table as usize));
    let shapes = record.tables.iter().all(|s| s.key.iter().all(|k| (*k as usize) < s.columns.len()));
    let rows = record.rows.iter().all(|r| {
        record.tables.get(r.table as usize).is_some_and(|s| fits(&r.after, s) && r.key.len() == s.key.len())
    });
    // A move leads from one row to another of the same table.
    let moves = |c: &Change| {
        let table = |row: u32| record.rows.get(row as usize).map(|r| r.table);
        c.moved_to.is_none_or(|to| to != c.row && table(to) == table(c.row) && c.before.is_some())
    };
    let changes = record.changes.iter();
    shapes
        && rows
        && changes.clone().all(|c| shape_of(c.row).is_some_and(|s| fits(&c.before, s)))
        && changes.clone().all(moves)
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u32);
        self.0.extend(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.number(items.len() as u32);
        items.iter().for_each(|item| write(self, item));
    }

    fn row(&mut self, row: Option<&Row>) {
        self.0.push(u8::from(row.is_some()));
        if let Some(row) = row {
            self.list(&row.0, |w, value| {
                w.0.push(u8::from(value.is_some()));
                if let Some(value) = value {
                    w.bytes(value);
                }
            });
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn record(mut self, moves: bool) -> Option<UndoRecord> {
        let tables = self.list(|r| {
            Some(Shape {
                schema: r.text()?,
                name: r.text()?,
                columns: r.list(Self::column)?,
                key: r.list(Self::number)?,
            })
        })?;
        let rows = self.list(|r| {
            Some(Touched {
                table: r.number()?,
                key: r.list(Self::bytes)?,
                canonical: r.bytes()?,
                shown: r.text()?,
                after: r.row()?,
            })
        })?;
        let changes = self.list(|r| {
            let (row, before) = (r.number()?, r.row()?);
            let moved_to = if moves && r.flag()? { Some(r.number()?) } else { None };
            Some(Change { row, before, moved_to })
        })?;
        self.0.is_empty().then_some(UndoRecord { tables, rows, changes })
    }

    fn column(&mut self) -> Option<Column> {
        let name = self.text()?;
        let code = self.byte()?;
        Some(Column { name, kind: ColumnKind::from_code(code, self.text()?)? })
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.number()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes.to_vec())
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()? as usize;
        // Every item takes a byte at least: a count beyond that is damage.
        if count > self.0.len() {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn row(&mut self) -> Option<Option<Row>> {
        if !self.flag()? {
            return Some(None);
        }
        let values = self.list(|r| if r.flag()? { r.bytes().map(Some) } else { Some(None) })?;
        Some(Some(Row(values)))
    }
}
