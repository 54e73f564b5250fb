//! A statement's whole life on one page: what it is, how its rows are read, which locks it takes, what undoes it.
//!
//! Each `golden/*.sql` holds statements, one a line; the `.golden` file beside it is what this crate makes of them.
//! `ATONE_GOLDEN=write cargo test -p atone-undo-log` writes the files anew; the diff is then reviewed.

use atone_undo_log::{
    analyze::{
        Class, Value, ValueKind, Verb, Write, analyze_write, assigns_itself, classify, refuse_unaskable,
        refuse_uncomputable,
    },
    capture::{self, Captured, Column, ColumnKind, Key, KeyPart, Row, Table},
    record::{Change, Shape, Touched, UndoRecord},
    reverse::{Verdict, reverse},
    sql::SqlMode,
};
use std::{fmt::Write as _, fs, path::Path};

fn table(name: &str, columns: &[(&str, ColumnKind)], key: &[usize], unique: Option<usize>) -> Table {
    let parts = |columns: &[usize]| columns.iter().map(|c| KeyPart { column: *c, prefix: None }).collect();
    Table {
        schema: "shop".into(),
        name: name.into(),
        columns: columns.iter().map(|(n, k)| Column { name: (*n).into(), kind: k.clone() }).collect(),
        key: Key { name: "PRIMARY".into(), parts: parts(key) },
        uniques: unique.map(|u| Key { name: "u".into(), parts: parts(&[u]) }).into_iter().collect(),
        referenced: Vec::new(),
        parents: Vec::new(),
        auto_increment: None,
        insert_order: columns.iter().map(|(n, _)| (*n).to_owned()).collect(),
        defaults: Vec::new(),
        storage: Vec::new(),
        only: false,
    }
}

/// The tables the statements may name, each with a row as it was and as it becomes.
fn known(name: &str) -> Option<(Table, Row, Row)> {
    let text = |charset: &str| ColumnKind::Text(charset.to_owned());
    let row =
        |values: &[&str]| Row(values.iter().map(|v| (*v != "NULL").then(|| v.as_bytes().to_vec())).collect());
    Some(match name {
        "item" => (
            table(
                "item",
                &[("id", ColumnKind::Number), ("name", text("utf8mb4")), ("qty", ColumnKind::Number)],
                &[0],
                Some(1),
            ),
            row(&["7", "Apfel", "3"]),
            row(&["7", "Apfel", "2"]),
        ),
        "stock" => (
            table(
                "stock",
                &[("place", text("latin1")), ("item", ColumnKind::Number), ("n", ColumnKind::Number)],
                &[0, 1],
                None,
            ),
            row(&["Ost", "7", "10"]),
            row(&["Ost", "7", "9"]),
        ),
        "every`thing" => (
            table(
                "every`thing",
                &[
                    ("id", ColumnKind::Binary),
                    ("f", ColumnKind::Float),
                    ("b", ColumnKind::Ordinal),
                    ("c", ColumnKind::Char("utf8mb4".into())),
                    ("ts", ColumnKind::Timestamp),
                    ("d", ColumnKind::Temporal),
                    ("j", ColumnKind::Json),
                    ("g", ColumnKind::Geometry),
                    ("u", ColumnKind::Name),
                ],
                &[0],
                None,
            ),
            row(&[
                "\u{1}'",
                "-0",
                "65537",
                "a'b",
                "0.000",
                "2024-05-30 18:51:50.148381",
                "{\"a\": 1}",
                "NULL",
                "::1",
            ]),
            row(&["\u{1}'", "1e-45", "1", "", "1717095110.148", "0000-00-00", "null", "NULL", "::2"]),
        ),
        _ => return None,
    })
}

fn captured(table: &Table, row: &Row) -> Captured {
    let mut values = row.0.clone();
    let weights = std::iter::once(&table.key).chain(&table.uniques).flat_map(|k| &k.parts);
    for part in weights {
        if let ColumnKind::Text(_) | ColumnKind::Char(_) = table.columns[part.column].kind {
            values.push(row.0[part.column].as_ref().map(|v| v.to_ascii_uppercase()));
        }
    }
    capture::decode(table, values).expect("a row of this table")
}

fn life(sql: &str) -> String {
    let mut page = format!("{sql}\n");
    let mode = SqlMode::default();
    let class = classify(sql.as_bytes(), mode);
    let Class::Write = class else {
        let _ = writeln!(page, "  is       {class:?}");
        return page;
    };
    let write = match analyze_write(sql.as_bytes(), mode) {
        Ok(write) => write,
        Err(what) => {
            let _ = writeln!(page, "  refused  {what}");
            return page;
        }
    };
    let _ = writeln!(
        page,
        "  is       {:?} of {}{}",
        write.verb,
        write.table,
        if write.stable { "" } else { ", unstable" }
    );
    if !write.assigned.is_empty() {
        let _ = writeln!(page, "  assigns  {}", write.assigned.join(", "));
    }
    match known(&write.table.name) {
        Some(known) => page + &rows(sql, &write, known),
        None => page,
    }
}

/// The keys that a statement assigns or computes: what is asked for to know them, a line each; or why it is refused.
fn asked_keys(sql: &str, write: &Write, table: &Table, params: &[String]) -> Result<Vec<String>, String> {
    let mode = SqlMode::default();
    let column_of =
        |name: &String| table.column(name).filter(|c| table.key.parts.iter().any(|p| p.column == *c));
    let mut asked = Vec::new();
    for (at, name) in write.assigned.iter().enumerate() {
        let Some(column) = column_of(name).filter(|_| !assigns_itself(sql, mode, write, at)) else {
            continue;
        };
        refuse_uncomputable(sql, mode, write, at).map_err(|what| what.to_string())?;
        asked.push((column, &write.values[at]));
    }
    for row in &write.rows.rows {
        for column in table.key.parts.iter().map(|p| p.column) {
            let Some(value) = row.get(column).filter(|v| v.kind == ValueKind::Expression) else { continue };
            refuse_unaskable(sql, mode, value, &table.columns[column].name)
                .map_err(|what| what.to_string())?;
            asked.push((column, value));
        }
    }
    let query = |(column, value): (usize, &Value)| {
        let kind = &table.columns[column].kind;
        capture::computed(kind, sql, value.span.clone(), write, params).unwrap_or_else(|| "as given".into())
    };
    Ok(asked.into_iter().map(query).collect())
}

fn rows(sql: &str, write: &Write, (table, before, after): (Table, Row, Row)) -> String {
    let mut page = String::new();
    let params: Vec<String> = (0..write.params.len()).map(|n| format!("_utf8mb4 x'3{n}'")).collect();
    let row = captured(&table, &before);
    let asked = match asked_keys(sql, write, &table, &params) {
        Ok(asked) => asked,
        Err(what) => return format!("  refused  {what}\n"),
    };
    for expression in &asked {
        let _ = writeln!(page, "  key      {}", expression.replace('\n', " "));
    }
    let moves = write.verb == Verb::Update && !asked.is_empty();
    match write.verb {
        Verb::Insert => {
            let literal = |v: &Value| match v.kind {
                ValueKind::Expression => "(asked)".into(),
                ValueKind::Param(n) => params[n].clone(),
                _ => sql[v.span.clone()].to_owned(),
            };
            let keys: Vec<Vec<String>> = write
                .rows
                .rows
                .iter()
                .map(|r| table.key.parts.iter().filter_map(|p| r.get(p.column).map(literal)).collect())
                .collect();
            for query in capture::image_of_inserts(&table, &keys) {
                let _ = writeln!(page, "  after    {query}");
            }
        }
        Verb::Update | Verb::Delete => {
            let image =
                capture::image_of_write(&table, sql, write, &params, if moves { &asked } else { &[] }, None)
                    .replace('\n', " ");
            let _ = writeln!(page, "  image    {image}");
            if !write.stable {
                let again =
                    capture::on_captured_rows(&table, sql, write, &params, std::slice::from_ref(&row));
                let _ = writeln!(page, "  runs as  {}", again.unwrap_or_else(|| "itself".into()));
            }
        }
    }
    for key in std::iter::once(&row.key).chain(&row.uniques) {
        let bytes: String = key.bytes.iter().map(|b| format!("{b:02x}")).collect();
        let _ = writeln!(page, "  lock     {} {} = {bytes}", key.index, key.shown);
    }
    let (before, after) = match write.verb {
        Verb::Insert => (None, Some(after)),
        Verb::Update => (Some(before), Some(after)),
        Verb::Delete => (Some(before), None),
    };
    let touched = |row: &Row, after: Option<Row>| {
        let row = captured(&table, row);
        Touched {
            table: 0,
            key: table.key_values(&row.row).into_iter().map(<[u8]>::to_vec).collect(),
            canonical: row.key.bytes.clone(),
            shown: row.key.shown.clone(),
            after,
        }
    };
    let (mut rows, mut moved_to) = (vec![touched(&row.row, after.clone())], None);
    if let (true, Some(mut to)) = (moves, after.clone()) {
        // The key's last column gets another digit.
        let column = table.key.parts[table.key.parts.len() - 1].column;
        to.0[column].iter_mut().for_each(|value| value.push(b'1'));
        rows[0].after = None;
        rows.push(touched(&to.clone(), Some(to)));
        moved_to = Some(1);
    }
    let left: Vec<Option<Row>> = rows.iter().map(|r| r.after.clone()).collect();
    let record = UndoRecord {
        tables: vec![Shape::of(&table)],
        rows,
        changes: vec![Change { row: 0, before, moved_to }],
    };
    let record = UndoRecord::decode(&record.encode()).expect("what was written");
    match reverse(&record, std::slice::from_ref(&table), &left) {
        Verdict::Undo(statements) => statements.iter().for_each(|s| {
            let _ = writeln!(page, "  undo     {}", s.sql);
        }),
        verdict => {
            let _ = writeln!(page, "  undo     {verdict:?}");
        }
    }
    let elsewhere = Row(vec![Some(b"x".to_vec()); table.columns.len()]);
    if let Verdict::Dirty(rows) =
        reverse(&record, std::slice::from_ref(&table), &vec![Some(elsewhere); left.len()])
    {
        let _ = writeln!(page, "  dirty    {}", rows[0]);
    }
    page
}

#[test]
fn every_statement_lives_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut scripts: Vec<_> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    scripts.retain(|p| p.extension().is_some_and(|e| e == "sql"));
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        let text = fs::read_to_string(&script).unwrap();
        let pages: Vec<String> =
            text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(life).collect();
        let made = pages.join("\n");
        let golden = script.with_extension("golden");
        if std::env::var("ATONE_GOLDEN").is_ok_and(|v| v == "write") {
            fs::write(&golden, &made).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        for (made, expected) in made.split("\n\n").zip(expected.split("\n\n")) {
            assert_eq!(made, expected, "{}", script.display());
        }
        assert_eq!(made, expected, "{}", script.display());
    }
}
