//! Statements that only MySQL and MariaDB have.

use crate::generate::{Gen, Table};
use crate::statement::Statement;

/// One of them.
pub fn special(r#gen: &mut Gen, table: &Table, maria: bool) -> Vec<Statement> {
    let name = &table.name;
    let limit = r#gen.pick(&[0, 1, 2, 5]);
    let order = order(r#gen, table);
    let form = r#gen.weighted(&[
        (6, "insert set"),
        (10, "update limit"),
        (7, "delete limit"),
        (6, "update subquery"),
        (2, "on duplicate key"),
        (1, "replace"),
        (1, "insert ignore"),
        (1, "update tables"),
        (1, "delete tables"),
        (1, "execute"),
        (u32::from(maria), "returning"),
    ]);
    let template = match form {
        "insert set" => {
            let mut set = Vec::new();
            for place in table.settable() {
                let column = &table.columns[place];
                if table.key.contains(&place) || column.not_null || r#gen.chance(60) {
                    set.push(format!("{} = {}", column.name, r#gen.any(column.of, true)));
                }
            }
            if set.is_empty() {
                return Vec::new();
            }
            format!("INSERT INTO {name} SET {}", set.join(", "))
        }
        "update limit" => {
            let (set, whom) = (r#gen.assignments(table, "", false), r#gen.condition(table, ""));
            format!("UPDATE {name} SET {set} WHERE {whom}{order} LIMIT {limit}")
        }
        "delete limit" => {
            let whom = r#gen.condition(table, "");
            format!("DELETE FROM {name} WHERE {whom}{order} LIMIT {limit}")
        }
        "update subquery" => {
            let (set, whom) = (r#gen.assignments(table, "", false), r#gen.condition(table, ""));
            let Some(key) = table.key_columns().into_iter().next() else { return Vec::new() };
            // In strict mode MySQL fails to put a date of zeros, though it is stored, into the table of a subquery. Run on the
            // keys of the captured rows the statement has no subquery, and does not fail.
            if table.columns.iter().any(|column| column.of.values.iter().any(|text| text.contains("-00"))) {
                return Vec::new();
            }
            let key = key.name;
            format!(
                "UPDATE {name} SET {set} WHERE {key} IN (SELECT {key} FROM (SELECT * FROM {name} WHERE {whom}) z)"
            )
        }
        "on duplicate key" => {
            let (columns, values) = r#gen.insert_parts(table, 2, true);
            let set = r#gen.assignments(table, "", false);
            format!("INSERT INTO {name} {columns} VALUES {values} ON DUPLICATE KEY UPDATE {set}")
        }
        "replace" => {
            let (columns, values) = r#gen.insert_parts(table, 2, true);
            format!("REPLACE INTO {name} {columns} VALUES {values}")
        }
        "insert ignore" => {
            let (columns, values) = r#gen.insert_parts(table, 2, true);
            format!("INSERT IGNORE INTO {name} {columns} VALUES {values}")
        }
        "update tables" => {
            let other = r#gen.pick(r#gen.tables).name;
            let (set, whom) = (r#gen.assignments(table, "a.", false), r#gen.condition(table, "a."));
            format!("UPDATE {name} a JOIN {other} b ON 1 = 1 SET a.{set} WHERE {whom}")
        }
        "delete tables" => {
            let other = r#gen.pick(r#gen.tables).name;
            let whom = r#gen.condition(table, "a.");
            format!("DELETE a FROM {name} a JOIN {other} b ON 1 = 1 WHERE {whom}")
        }
        "execute" => return execute(r#gen, table),
        _ => {
            let whom = r#gen.condition(table, "");
            format!("DELETE FROM {name} WHERE {whom} RETURNING *")
        }
    };
    vec![r#gen.finish(form, template)]
}

/// An order that leaves nothing to the server: which rows a LIMIT takes must be the same twice.
fn order(r#gen: &mut Gen, table: &Table) -> String {
    let columns = table.key_columns();
    let way = r#gen.pick(&["", " DESC"]);
    let parts: Vec<String> = columns.iter().map(|column| format!("{}{way}", column.name)).collect();
    if parts.is_empty() { String::new() } else { format!(" ORDER BY {}", parts.join(", ")) }
}

fn execute(r#gen: &mut Gen, table: &Table) -> Vec<Statement> {
    let whom = r#gen.condition(table, "");
    let text = r#gen.finish("execute", format!("DELETE FROM {} WHERE {whom}", table.name)).text();
    let text = text.replace('\\', "\\\\").replace('\'', "''");
    let name = format!("p{}", r#gen.number());
    vec![
        Statement::plain("control", format!("PREPARE {name} FROM '{text}'")),
        Statement::plain("execute", format!("EXECUTE {name}")),
    ]
}
