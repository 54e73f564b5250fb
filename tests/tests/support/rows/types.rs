//! A type as two rows: as a plain column whose values are changed, taken away and added, and as the primary key.

use super::{Form, Row, Section};

/// A type: its name, values that are hard to bring back, and another value to put in their place.
pub struct Type {
    /// As written in CREATE TABLE.
    pub name: &'static str,
    /// What it needs to be there, before the table.
    pub needs: &'static str,
    /// Literals, all different.
    pub values: &'static [&'static str],
    /// One more.
    pub other: &'static str,
}

/// A type of the server's own.
pub const fn ty(name: &'static str, values: &'static [&'static str], other: &'static str) -> Type {
    Type { name, needs: "", values, other }
}

/// A type that has to be made first.
pub const fn made(
    name: &'static str,
    needs: &'static str,
    values: &'static [&'static str],
    other: &'static str,
) -> Type {
    Type { name, needs, values, other }
}

/// Two rows for each. `outside` is what every session says first.
pub fn section(title: &'static str, types: &[Type], outside: &[&str]) -> Section {
    let rows = types.iter().flat_map(|kind| [plain(kind, outside), key(kind, outside)]);
    Section { title, form: Form::Types, rows: rows.collect() }
}

fn base(kind: &Type, outside: &[&str]) -> Row {
    let title = format!("`{}`", kind.name);
    let outside = outside.iter().map(|statement| (*statement).to_owned()).collect();
    Row { title, outside, each: true, checked: true, ..Row::default() }
}

fn plain(kind: &Type, outside: &[&str]) -> Row {
    // Each value twice, once to be changed, once to be deleted; and NULL.
    let values = kind.values.iter().chain(&["NULL"]).enumerate();
    let values = values.flat_map(|(id, value)| [id, 1000 + id].map(|id| format!("({id}, {value})")));
    let values = values.collect::<Vec<_>>().join(", ");
    let name = kind.name;
    let table = format!("CREATE TABLE t (id INT PRIMARY KEY, c {name});\nINSERT INTO t VALUES {values}");
    let new = kind.values.iter().enumerate().map(|(id, value)| format!("({}, {value})", 2000 + id));
    let inside = vec![
        format!("UPDATE t SET c = {} WHERE id < 1000", kind.other),
        "DELETE FROM t WHERE id >= 1000".to_owned(),
        format!("INSERT INTO t VALUES {}", new.collect::<Vec<_>>().join(", ")),
    ];
    Row { tables: tables(kind, outside, &table), inside, ..base(kind, outside) }
}

fn key(kind: &Type, outside: &[&str]) -> Row {
    let values = kind.values.iter().enumerate().map(|(n, value)| format!("({value}, {n})"));
    let values = values.collect::<Vec<_>>().join(", ");
    let name = kind.name;
    let table = format!("CREATE TABLE t (k {name} PRIMARY KEY, n INT);\nINSERT INTO t VALUES {values}");
    let inside = vec![
        "UPDATE t SET n = n + 1".to_owned(),
        format!("INSERT INTO t VALUES ({}, 100)", kind.other),
        "DELETE FROM t WHERE n < 50".to_owned(),
    ];
    Row { tables: tables(kind, outside, &table), inside, ..base(kind, outside) }
}

fn tables(kind: &Type, outside: &[&str], table: &str) -> String {
    let first = outside.iter().copied().chain([kind.needs]);
    first.map(|statement| format!("{statement};\n")).collect::<String>() + table
}
