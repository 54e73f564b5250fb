//! Rows that moved to other keys go back the same way.

use super::{Verdict, as_found, first_images, force, reverse};
use crate::{
    capture::{Column, ColumnKind, Key, KeyPart, Row, Table},
    record::{Change, Shape, Touched, UndoRecord},
};

fn table() -> Table {
    let column = |name: &str| Column { name: name.into(), kind: ColumnKind::Number };
    Table {
        schema: "s".into(),
        name: "t".into(),
        columns: vec![column("id"), column("v")],
        key: Key { name: "PRIMARY".into(), parts: vec![KeyPart { column: 0, prefix: None }] },
        uniques: Vec::new(),
        referenced: Vec::new(),
        parents: Vec::new(),
        auto_increment: None,
        insert_order: Vec::new(),
        defaults: Vec::new(),
        storage: Vec::new(),
        only: false,
    }
}

fn row(id: u32, v: u32) -> Row {
    Row(vec![Some(id.to_string().into_bytes()), Some(v.to_string().into_bytes())])
}

/// Places 0, 1, 2 … are the keys 1, 2, 3 ….
fn record(after: Vec<Option<Row>>, changes: Vec<(u32, Option<Row>, Option<u32>)>) -> UndoRecord {
    let touched = |(at, after): (usize, Option<Row>)| {
        let key = (at + 1).to_string();
        Touched { table: 0, key: vec![key.clone().into_bytes()], canonical: Vec::new(), shown: key, after }
    };
    UndoRecord {
        tables: vec![Shape::of(&table())],
        rows: after.into_iter().enumerate().map(touched).collect(),
        changes: changes
            .into_iter()
            .map(|(row, before, moved_to)| Change { row, before, moved_to })
            .collect(),
    }
}

fn steps(record: &UndoRecord, current: &[Option<Row>]) -> Vec<String> {
    match reverse(record, &[table()], current) {
        Verdict::Undo(steps) => steps.into_iter().map(|s| format!("{:?} {}", s.rows, s.sql)).collect(),
        other => vec![format!("{other:?}")],
    }
}

#[test]
fn a_shift_goes_back_from_its_free_end() {
    let record = record(
        vec![None, Some(row(2, 10)), Some(row(3, 20))],
        vec![(1, Some(row(2, 20)), Some(2)), (0, Some(row(1, 10)), Some(1))],
    );
    let first: Vec<Option<Row>> = first_images(&record).into_iter().map(|r| r.cloned()).collect();
    assert_eq!(first, [Some(row(1, 10)), Some(row(2, 20)), None]);
    let left: Vec<Option<Row>> = record.rows.iter().map(|r| r.after.clone()).collect();
    assert_eq!(
        steps(&record, &left),
        [
            "[0, 1] UPDATE `s`.`t` SET `id` = 1 WHERE `id` IN (2)",
            "[1, 2] UPDATE `s`.`t` SET `id` = 2 WHERE `id` IN (3)"
        ]
    );
}

#[test]
fn onto_a_deleted_row_and_deleted_in_turn() {
    // 2 is deleted, 1 moves there and is changed, then it is deleted too.
    let record = record(
        vec![None, None],
        vec![
            (1, Some(row(2, 20)), None),
            (0, Some(row(1, 10)), Some(1)),
            (1, Some(row(2, 10)), None),
            (1, Some(row(2, 11)), None),
        ],
    );
    assert_eq!(
        steps(&record, &[None, None]),
        [
            "[1] INSERT INTO `s`.`t` (`id`, `v`) VALUES (2, 11)",
            "[1] UPDATE `s`.`t` SET `v` = 10 WHERE `id` IN (2)",
            "[0, 1] UPDATE `s`.`t` SET `id` = 1 WHERE `id` IN (2)",
            "[1] INSERT INTO `s`.`t` (`id`, `v`) VALUES (2, 20)",
        ]
    );
}

#[test]
fn an_end_that_is_as_it_was_is_left_alone() {
    let record = record(vec![None, Some(row(2, 10))], vec![(0, Some(row(1, 10)), Some(1))]);
    assert_eq!(steps(&record, &[Some(row(1, 10)), None]), Vec::<String>::new());
    assert_eq!(
        steps(&record, &[Some(row(1, 10)), Some(row(2, 10))]),
        ["[1] DELETE FROM `s`.`t` WHERE `id` IN (2)"]
    );
    assert_eq!(steps(&record, &[None, None]), ["[0] INSERT INTO `s`.`t` (`id`, `v`) VALUES (1, 10)"]);
    let dirty = steps(&record, &[None, Some(row(2, 11))]);
    assert!(dirty[0].contains("was changed by someone else"), "{dirty:?}");
}

#[test]
fn a_record_whose_moves_contradict_its_rows_is_damaged() {
    let record = record(vec![Some(row(1, 5)), Some(row(2, 10))], vec![(0, Some(row(1, 10)), Some(1))]);
    let left: Vec<Option<Row>> = record.rows.iter().map(|r| r.after.clone()).collect();
    assert!(steps(&record, &left)[0].contains("Damaged"));
}

/// A table of PostgreSQL, with names that need quotes.
fn postgres_table() -> Table {
    let column =
        |name: &str, kind: &str| Column { name: name.into(), kind: ColumnKind::Postgres(kind.into()) };
    Table {
        schema: "s".into(),
        name: "T\"".into(),
        columns: vec![
            column("id", "pg_catalog.int8"),
            column("V", "\"public\".\"mood\""),
            column("w", "pg_catalog.text"),
        ],
        ..table()
    }
}

#[test]
fn values_of_postgresql_are_parameters() {
    let row = |v: Option<&[u8]>| Row(vec![Some(b"\0\x01".to_vec()), v.map(<[u8]>::to_vec), None]);
    let (was, is) = (row(Some(b"glad")), row(None));
    let touched = |after: &Option<Row>| Touched {
        table: 0,
        key: vec![b"\0\x01".to_vec()],
        canonical: Vec::new(),
        shown: "1".into(),
        after: after.clone(),
    };
    let mut undone = Vec::new();
    for (before, after) in
        [(Some(&was), Some(&is)), (Some(&was), None), (None, Some(&is)), (Some(&is), Some(&is))]
    {
        let after = after.cloned();
        let record = UndoRecord {
            tables: vec![Shape::of(&postgres_table())],
            rows: vec![touched(&after)],
            changes: vec![Change { row: 0, before: before.cloned(), moved_to: None }],
        };
        let Verdict::Undo(steps) = reverse(&record, &[postgres_table()], &[after]) else { panic!() };
        undone.extend(steps.into_iter().map(|s| (s.sql, s.params)));
    }
    let (id, glad) = (Some(b"\0\x01".to_vec()), Some(b"glad".to_vec()));
    assert_eq!(
        undone,
        [
            (
                "UPDATE \"s\".\"T\"\"\" SET \"V\" = $1::\"public\".\"mood\" WHERE \"id\" = $2::pg_catalog.int8".into(),
                vec![glad.clone(), id.clone()]
            ),
            (
                "INSERT INTO \"s\".\"T\"\"\" (\"id\", \"V\", \"w\") OVERRIDING SYSTEM VALUE \
                 VALUES ($1::pg_catalog.int8, $2::\"public\".\"mood\", $3::pg_catalog.text)"
                    .into(),
                vec![id.clone(), glad, None]
            ),
            ("DELETE FROM \"s\".\"T\"\"\" WHERE \"id\" = $1::pg_catalog.int8".into(), vec![id]),
        ]
    );
}

fn forced(record: &UndoRecord, current: &[Option<Row>]) -> Vec<String> {
    let found = as_found(record, current);
    match force(&found, &[table()], current) {
        Verdict::Undo(steps) => steps.into_iter().map(|s| format!("{:?} {}", s.rows, s.sql)).collect(),
        other => vec![format!("{other:?}")],
    }
}

#[test]
fn a_forced_undo_starts_from_what_stands_there_now() {
    // 1 was changed twice, 2 deleted, 3 inserted, 4 changed.
    let record = record(
        vec![Some(row(1, 12)), None, Some(row(3, 30)), Some(row(4, 41))],
        vec![
            (0, Some(row(1, 10)), None),
            (1, Some(row(2, 20)), None),
            (2, None, None),
            (0, Some(row(1, 11)), None),
            (3, Some(row(4, 40)), None),
        ],
    );
    let left: Vec<Option<Row>> = record.rows.iter().map(|r| r.after.clone()).collect();
    assert_eq!(forced(&record, &left), steps(&record, &left));
    let strange = [Some(row(1, 99)), Some(row(2, 99)), Some(row(3, 99)), None];
    assert!(steps(&record, &strange)[0].starts_with("Dirty"));
    assert_eq!(
        forced(&record, &strange),
        [
            "[3] INSERT INTO `s`.`t` (`id`, `v`) VALUES (4, 40)",
            "[0] UPDATE `s`.`t` SET `v` = 11 WHERE `id` IN (1)",
            "[2] DELETE FROM `s`.`t` WHERE `id` IN (3)",
            "[1] UPDATE `s`.`t` SET `v` = 20 WHERE `id` IN (2)",
            "[0] UPDATE `s`.`t` SET `v` = 10 WHERE `id` IN (1)",
        ]
    );
    let before: Vec<Option<Row>> = first_images(&record).into_iter().map(|r| r.cloned()).collect();
    assert_eq!(forced(&record, &before), Vec::<String>::new());
}

#[test]
fn a_forced_undo_of_a_move_needs_neither_end_as_it_was_left() {
    let record = record(vec![None, Some(row(2, 10))], vec![(0, Some(row(1, 10)), Some(1))]);
    let back = "[0, 1] UPDATE `s`.`t` SET `id` = 1 WHERE `id` IN (2)";
    let insert = "[0] INSERT INTO `s`.`t` (`id`, `v`) VALUES (1, 10)";
    let delete = "[1] DELETE FROM `s`.`t` WHERE `id` IN (2)";
    let changed = "[0, 1] UPDATE `s`.`t` SET `id` = 1, `v` = 10 WHERE `id` IN (2)";
    let update = "[0] UPDATE `s`.`t` SET `v` = 10 WHERE `id` IN (1)";
    for (current, wanted) in [
        ([None, Some(row(2, 10))], vec![back]),
        ([None, Some(row(2, 99))], vec![changed]),
        ([None, None], vec![insert]),
        ([Some(row(1, 99)), Some(row(2, 99))], vec![delete, update]),
        ([Some(row(1, 10)), Some(row(2, 99))], vec![delete]),
        ([Some(row(1, 99)), None], vec![update]),
        ([Some(row(1, 10)), None], vec![]),
    ] {
        assert_eq!(forced(&record, &current), wanted, "{current:?}");
    }
}
