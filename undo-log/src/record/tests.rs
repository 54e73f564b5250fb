//! The stored form: round trips, damage, and the golden sample of version 1.

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
            let change = (0..rows.len() as u32, row(width)).prop_map(|(row, before)| Change { row, before });
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
    fn any_changed_bit_is_noticed(record in record(), at: prop::sample::Index, bit in 0..8u8) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(UndoRecord::decode(&bytes), Ok(record));
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
        changes: vec![Change { row: 0, before: Some(image(None)) }],
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
    bytes[0] = 2;
    assert_eq!(UndoRecord::decode(&bytes), Err(DecodeError::Version(2)));
}
