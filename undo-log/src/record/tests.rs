//! The stored form: round trips, damage, and the golden samples.

use super::{Change, DecodeError, Shape, Touched, UndoRecord};
use crate::capture::{Column, ColumnKind, Row};
use proptest::prelude::*;

fn kind() -> impl Strategy<Value = ColumnKind> {
    prop_oneof![
        Just(ColumnKind::Number),
        Just(ColumnKind::Float),
        Just(ColumnKind::Binary),
        Just(ColumnKind::Timestamp),
        "[a-z0-9]{3,8}".prop_map(ColumnKind::Text),
        "[a-z0-9]{3,8}".prop_map(ColumnKind::Char),
        "[a-z0-9]{3,8}".prop_map(ColumnKind::Labels),
    ]
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..80))
}

fn row(width: usize) -> impl Strategy<Value = Option<Row>> {
    prop::option::of(prop::collection::vec(value(), width).prop_map(Row))
}

fn record() -> impl Strategy<Value = UndoRecord> {
    prop::collection::vec(kind(), 1..5).prop_flat_map(|kinds| {
        let width = kinds.len();
        let columns: Vec<Column> =
            kinds.into_iter().enumerate().map(|(n, kind)| Column { name: format!("c`{n}é"), kind }).collect();
        let shape = Shape { schema: "s".into(), name: "t".into(), columns, key: vec![0] };
        let touched = (prop::collection::vec(any::<u8>(), 0..20), row(width)).prop_map(|(key, after)| {
            Touched { table: 0, canonical: key.clone(), shown: "1".into(), key: vec![key], after }
        });
        prop::collection::vec(touched, 1..6).prop_flat_map(move |rows| {
            let shape = shape.clone();
            let count = rows.len() as u32;
            let change = (0..count, row(width), prop::option::of(0..count)).prop_map(|(row, before, to)| {
                let moved_to = to.filter(|to| *to != row && before.is_some());
                Change { row, before, moved_to }
            });
            prop::collection::vec(change, 0..9).prop_map(move |changes| UndoRecord {
                tables: vec![shape.clone()],
                rows: rows.clone(),
                changes,
            })
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(record in record()) {
        prop_assert_eq!(UndoRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn a_changed_bit_never_gives_another_record(record in record(), at: prop::sample::Index, bit in 0..8u8) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // A changed bit of a compressed body may still mean the same bytes, never others.
        let decoded = UndoRecord::decode(&bytes);
        prop_assert!(decoded.is_err() || decoded == Ok(record));
    }

    #[test]
    fn any_cut_is_noticed(record in record(), at: prop::sample::Index) {
        let bytes = record.encode();
        prop_assert!(UndoRecord::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn decoding_is_total(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = UndoRecord::decode(&bytes);
    }
}

/// Stored in databases since version 1 and readable for ever: this constant never changes.
const GOLDEN_V1: &str = "01008200000065a67bb6010000000400000073686f70040000006974656d020000000200000069640100000000040000006e6f74650507000000757466386d623401000000000000000100000000000000010000000100000037020000006b370100000037010200000001010000003701030000006e65770100000000000000010200000001010000003700";

fn golden() -> UndoRecord {
    let column = |name: &str, kind| Column { name: name.into(), kind };
    let columns = vec![column("id", ColumnKind::Number), column("note", ColumnKind::Text("utf8mb4".into()))];
    let image = |note: Option<&[u8]>| Row(vec![Some(b"7".to_vec()), note.map(<[u8]>::to_vec)]);
    UndoRecord {
        tables: vec![Shape { schema: "shop".into(), name: "item".into(), columns, key: vec![0] }],
        rows: vec![Touched {
            table: 0,
            key: vec![b"7".to_vec()],
            canonical: b"k7".to_vec(),
            shown: "7".into(),
            after: Some(image(Some(b"new"))),
        }],
        changes: vec![Change { row: 0, before: Some(image(None)), moved_to: None }],
    }
}

#[test]
fn the_golden_sample_of_version_1_is_still_read() {
    let text: String = golden().encode().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(text, GOLDEN_V1);
    let bytes: Vec<u8> = (0..GOLDEN_V1.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&GOLDEN_V1[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(UndoRecord::decode(&bytes), Ok(golden()));
}

#[test]
fn another_version_is_named() {
    let mut bytes = golden().encode();
    bytes[0] = 4;
    assert_eq!(UndoRecord::decode(&bytes), Err(DecodeError::Version(4)));
}

/// Stored in databases since version 2, for records with moves; this constant never changes either.
const GOLDEN_V2: &str = "020099000000bb680f7c010000000400000073686f70040000006974656d020000000200000069640100000000040000006e6f74650507000000757466386d623401000000000000000200000000000000010000000100000037020000006b3701000000370000000000010000000100000038020000006b38010000003801020000000101000000380001000000000000000102000000010100000037000101000000";

/// Row 7 was moved to 8.
fn golden_move() -> UndoRecord {
    let mut record = golden();
    let image = |id: &[u8]| Row(vec![Some(id.to_vec()), None]);
    record.rows[0].after = None;
    record.rows.push(Touched {
        table: 0,
        key: vec![b"8".to_vec()],
        canonical: b"k8".to_vec(),
        shown: "8".into(),
        after: Some(image(b"8")),
    });
    record.changes = vec![Change { row: 0, before: Some(image(b"7")), moved_to: Some(1) }];
    record
}

#[test]
fn the_golden_sample_of_version_2_is_still_read() {
    let text: String = golden_move().encode().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(text, GOLDEN_V2);
    assert_eq!(UndoRecord::decode(&golden_move().encode()), Ok(golden_move()));
}

/// Stored in databases since version 3, for tables with ENUM or SET columns; this constant never changes either.
const GOLDEN_V3: &str = "03008d0000007763ddd4010000000400000073686f70040000006974656d020000000200000069640100000000040000006e6f74650d11000000656e756d28276e6577272c276f6c64272901000000000000000100000000000000010000000100000037020000006b370100000037010200000001010000003701030000006e6577010000000000000001020000000101000000370000";

/// A column of row 7 has labels.
fn golden_labels() -> UndoRecord {
    let mut record = golden();
    record.tables[0].columns[1].kind = ColumnKind::Labels("enum('new','old')".into());
    record
}

#[test]
fn the_golden_sample_of_version_3_is_still_read() {
    let text: String = golden_labels().encode().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(text, GOLDEN_V3);
    assert_eq!(UndoRecord::decode(&golden_labels().encode()), Ok(golden_labels()));
}

#[test]
fn a_move_to_nowhere_is_damage() {
    for (to, before) in [(0, true), (2, true), (1, false)] {
        let mut record = golden_move();
        record.changes[0].moved_to = Some(to);
        if !before {
            record.changes[0].before = None;
        }
        assert!(UndoRecord::decode(&record.encode()).is_err(), "{to} {before}");
    }
}
