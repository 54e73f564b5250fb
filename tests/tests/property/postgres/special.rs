//! Statements that only PostgreSQL has.

use crate::generate::{Gen, Table};
use crate::statement::Statement;

/// One of them.
pub fn special(r#gen: &mut Gen, table: &Table, newest: bool) -> Vec<Statement> {
    let name = &table.name;
    let keys: Vec<String> = table.key_columns().into_iter().map(|column| column.name).collect();
    if keys.is_empty() {
        return Vec::new();
    }
    let list = keys.join(", ");
    let form = r#gen.weighted(&[
        (8, "on conflict nothing"),
        (9, "on conflict update"),
        (8, "update from"),
        (6, "delete using"),
        (5, "with read"),
        (4, "with write"),
        (4, "merge"),
        (3, "copy"),
        (3, "execute"),
    ]);
    let same = |left: &str, right: &str| {
        let pairs = keys.iter().map(|key| format!("{left}.{key} = {right}.{key}"));
        pairs.collect::<Vec<_>>().join(" AND ")
    };
    let template = match form {
        "on conflict nothing" => {
            let (columns, values) = r#gen.insert_parts(table, 2, true);
            let target = r#gen.pick(&["", &format!(" ({list})")]).to_owned();
            if columns == "()" {
                return Vec::new();
            }
            format!(
                "INSERT INTO {name} {columns} VALUES {values} ON CONFLICT{target} DO NOTHING{}",
                answer(r#gen)
            )
        }
        "on conflict update" => {
            let (columns, values) = r#gen.insert_parts(table, 2, true);
            let moves = r#gen.chance(5);
            let set = r#gen.assignments(table, "old.", moves);
            if columns == "()" {
                return Vec::new();
            }
            let also = if r#gen.chance(30) {
                format!(" WHERE {}", r#gen.condition(table, "old."))
            } else {
                String::new()
            };
            let tail = answer(r#gen);
            format!(
                "INSERT INTO {name} AS old {columns} VALUES {values} ON CONFLICT ({list}) DO UPDATE SET {set}{also}{tail}"
            )
        }
        "update from" => {
            let (set, whom) = (r#gen.assignments(table, "x.", false), r#gen.condition(table, "y."));
            format!(
                "UPDATE {name} AS x SET {set} FROM {name} AS y WHERE {} AND ({whom}){}",
                same("x", "y"),
                answer_of(r#gen)
            )
        }
        "delete using" => {
            let whom = r#gen.condition(table, "y.");
            format!(
                "DELETE FROM {name} AS x USING {name} y WHERE {} AND ({whom}){}",
                same("x", "y"),
                answer_of(r#gen)
            )
        }
        "with read" => {
            let (set, whom) = (r#gen.assignments(table, "", false), r#gen.condition(table, ""));
            format!(
                "WITH few AS (SELECT {list} FROM {name} WHERE {whom}) UPDATE {name} SET {set} WHERE ({list}) IN (SELECT {list} FROM few)"
            )
        }
        "with write" => {
            let whom = r#gen.condition(table, "");
            let inner = match r#gen.pick(&["DELETE", "UPDATE", "INSERT"]) {
                "DELETE" => format!("DELETE FROM {name} WHERE {whom} RETURNING {list}"),
                "UPDATE" => format!(
                    "UPDATE {name} SET {} WHERE {whom} RETURNING {list}",
                    r#gen.assignments(table, "", false)
                ),
                _ => {
                    let (columns, values) = r#gen.insert_parts(table, 1, true);
                    if columns == "()" {
                        return Vec::new();
                    }
                    format!("INSERT INTO {name} {columns} VALUES {values} RETURNING {list}")
                }
            };
            let outer = r#gen.pick(r#gen.tables);
            let outer = match r#gen.pick(&["read", "update", "delete"]) {
                "update" => {
                    let (set, whom) = (r#gen.assignments(&outer, "", false), r#gen.condition(&outer, ""));
                    format!("UPDATE {} SET {set} WHERE {whom}", outer.name)
                }
                "delete" => format!("DELETE FROM {} WHERE {}", outer.name, r#gen.condition(&outer, "")),
                _ => "SELECT * FROM w".to_owned(),
            };
            format!("WITH w AS ({inner}) {outer}")
        }
        "merge" => merge(r#gen, table, newest),
        "copy" => return vec![copy(r#gen, table)],
        _ => return execute(r#gen, table),
    };
    vec![r#gen.finish(form, template)]
}

fn answer(r#gen: &mut Gen) -> String {
    r#gen.pick(&["", "", " RETURNING *"]).to_owned()
}

fn answer_of(r#gen: &mut Gen) -> String {
    r#gen.pick(&["", "", " RETURNING *", " RETURNING x.*"]).to_owned()
}

fn merge(r#gen: &mut Gen, table: &Table, newest: bool) -> String {
    let columns = table.key_columns();
    let row = |r#gen: &mut Gen| {
        let values: Vec<String> = columns.iter().map(|column| r#gen.any(column.of, false)).collect();
        format!("({})", values.join(", "))
    };
    let rows = [row(r#gen), row(r#gen)].join(", ");
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let (on, from): (Vec<String>, Vec<String>) =
        names.iter().map(|name| (format!("x.{name} = y.{name}"), format!("y.{name}"))).unzip();
    let matched = match r#gen.pick(&["UPDATE", "DELETE", "NOTHING"]) {
        "UPDATE" => format!("UPDATE SET {}", r#gen.assignments(table, "x.", false)),
        "DELETE" => "DELETE".to_owned(),
        _ => "DO NOTHING".to_owned(),
    };
    let also =
        if r#gen.chance(30) { format!(" AND {}", r#gen.condition(table, "x.")) } else { String::new() };
    let (list, from) = (names.join(", "), from.join(", "));
    let answer = if newest { r#gen.pick(&["", " RETURNING merge_action(), x.*"]) } else { "" };
    format!(
        "MERGE INTO {} AS x USING (VALUES {rows}) AS y ({list}) ON {} WHEN MATCHED{also} THEN {matched} \
         WHEN NOT MATCHED THEN INSERT ({list}) VALUES ({from}){answer}",
        table.name,
        on.join(" AND ")
    )
}

fn copy(r#gen: &mut Gen, table: &Table) -> Statement {
    let mut columns = table.key_columns();
    columns.extend(
        table
            .settable()
            .into_iter()
            .filter(|place| !table.key.contains(place))
            .map(|place| table.columns[place].clone()),
    );
    let mut data = String::new();
    for _ in 0..2 {
        let values: Vec<String> = columns.iter().map(|column| field(&r#gen.text_of(column.of))).collect();
        data += &format!("{}\n", values.join("\t"));
    }
    let names: Vec<String> = columns.into_iter().map(|column| column.name).collect();
    let mut statement =
        r#gen.finish("copy", format!("COPY {} ({}) FROM STDIN", table.name, names.join(", ")));
    statement.prepared = false;
    statement.data = Some(data);
    statement
}

fn field(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
}

fn execute(r#gen: &mut Gen, table: &Table) -> Vec<Statement> {
    let (set, whom) = (r#gen.assignments(table, "", false), r#gen.condition(table, ""));
    let text = r#gen.finish("execute", format!("UPDATE {} SET {set} WHERE {whom}", table.name)).text();
    let name = format!("p{}", r#gen.number());
    vec![
        Statement::plain("control", format!("PREPARE {name} AS {text}")),
        Statement::plain("execute", format!("EXECUTE {name}")),
    ]
}
