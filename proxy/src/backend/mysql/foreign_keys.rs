//! Foreign keys of a table: those that point at it, with what they change there on their own, and its own.
//!
//! MySQL is asked through its dictionary's views. MariaDB opens every table of every schema for the same views (and
//! has been seen to die of it), so that InnoDB's own dictionary is read there.

use crate::backend::{ForeignKeys, Parent, Reference};
use mysql_async::{Conn, prelude::Queryable};
use std::collections::BTreeMap;

/// InnoDB's flags for CASCADE and SET NULL.
const ON_DELETE: u32 = 1 | 2;
const ON_UPDATE: u32 = 4 | 8;

/// Both.
pub(super) async fn of_table(
    conn: &mut Conn,
    mariadb: bool,
    named: (&str, &str),
) -> Result<ForeignKeys, mysql_async::Error> {
    if mariadb { of_innodb(conn, named).await } else { of_dictionary(conn, named).await }
}

/// Tables, and those that point at each and change rows on their own.
pub(super) async fn reaching(
    conn: &mut Conn,
    mariadb: bool,
) -> Result<Vec<((String, String), (String, String))>, mysql_async::Error> {
    let query = if mariadb {
        let [child_schema, child, schema, table] =
            [("FOR_NAME", 1), ("FOR_NAME", -1), ("REF_NAME", 1), ("REF_NAME", -1)].map(|(n, at)| part(n, at));
        let writes = ON_DELETE | ON_UPDATE;
        format!(
            "SELECT {schema}, {table}, {child_schema}, {child} FROM information_schema.INNODB_SYS_FOREIGN WHERE TYPE & {writes} <> 0"
        )
    } else {
        "SELECT UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, CONSTRAINT_SCHEMA, TABLE_NAME \
         FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') \
         OR UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION')"
            .to_owned()
    };
    let rows: Vec<(String, String, String, String)> = conn.query(query).await?;
    Ok(rows.into_iter().map(|(s, t, child_schema, child)| ((s, t), (child_schema, child))).collect())
}

/// Names are stored as `schema/table`, both spelt as file names are: the server reads its own spelling.
fn part(name: &str, at: i8) -> String {
    format!("CONVERT(CONVERT(SUBSTRING_INDEX({name}, '/', {at}) USING binary) USING filename)")
}

async fn of_dictionary(conn: &mut Conn, named: (&str, &str)) -> Result<ForeignKeys, mysql_async::Error> {
    // One query for each end: the dictionary has no index for both.
    let query = |schema: &str, table: &str| {
        format!(
            "SELECT r.CONSTRAINT_SCHEMA, r.CONSTRAINT_NAME, r.TABLE_NAME, r.DELETE_RULE, r.UPDATE_RULE, k.COLUMN_NAME, \
             k.REFERENCED_COLUMN_NAME, r.UNIQUE_CONSTRAINT_SCHEMA, r.REFERENCED_TABLE_NAME, k.ORDINAL_POSITION \
             FROM information_schema.REFERENTIAL_CONSTRAINTS r \
             JOIN information_schema.KEY_COLUMN_USAGE k ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA \
             AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME AND k.TABLE_NAME = r.TABLE_NAME \
             WHERE r.{schema} = ? AND r.{table} = ?"
        )
    };
    let (here, own) = (
        query("UNIQUE_CONSTRAINT_SCHEMA", "REFERENCED_TABLE_NAME"),
        query("CONSTRAINT_SCHEMA", "TABLE_NAME"),
    );
    let both = format!("{here} UNION {own} ORDER BY 1, 2, 10");
    type Column = (String, String, String, String, String, String, String, String, String, u32);
    let rows: Vec<Column> = conn.exec(both, (named.0, named.1, named.0, named.1)).await?;
    let writes = |rule: &str| !matches!(rule, "RESTRICT" | "NO ACTION");
    let mut found: BTreeMap<(String, String), Key> = BTreeMap::new();
    for row in rows {
        let (schema, constraint, table, on_delete, on_update, column, referenced, parent_schema, parent, _) =
            row;
        let key = found.entry((schema.clone(), constraint)).or_insert_with(|| Key {
            child: (schema, table),
            parent: (parent_schema, parent),
            columns: Vec::new(),
            on_delete: writes(&on_delete),
            on_update: writes(&on_update),
        });
        key.columns.push((column, referenced));
    }
    Ok(sorted(found.into_values(), named))
}

async fn of_innodb(conn: &mut Conn, named: (&str, &str)) -> Result<ForeignKeys, mysql_async::Error> {
    let keys: Vec<(String, String, String, String, String, u32)> = conn
        .query(format!(
            "SELECT ID, {}, {}, {}, {}, TYPE FROM information_schema.INNODB_SYS_FOREIGN ORDER BY ID",
            part("FOR_NAME", 1),
            part("FOR_NAME", -1),
            part("REF_NAME", 1),
            part("REF_NAME", -1)
        ))
        .await?;
    let mut found = Vec::new();
    for (id, child_schema, child_table, parent_schema, parent_table, rules) in keys {
        let (child, parent) = ((child_schema, child_table), (parent_schema, parent_table));
        if [&child, &parent].iter().all(|end| (end.0.as_str(), end.1.as_str()) != named) {
            continue;
        }
        let columns: Vec<(String, String)> = conn
            .exec(
                "SELECT FOR_COL_NAME, REF_COL_NAME FROM information_schema.INNODB_SYS_FOREIGN_COLS WHERE ID = ? ORDER BY POS",
                (&id,),
            )
            .await?;
        let (on_delete, on_update) = (rules & ON_DELETE != 0, rules & ON_UPDATE != 0);
        found.push(Key { child, parent, columns, on_delete, on_update });
    }
    Ok(sorted(found.into_iter(), named))
}

/// A foreign key with both its ends, and pairs of referring and referenced column.
struct Key {
    child: (String, String),
    parent: (String, String),
    columns: Vec<(String, String)>,
    on_delete: bool,
    on_update: bool,
}

/// Which end of each is this table? It may be both.
fn sorted(keys: impl Iterator<Item = Key>, named: (&str, &str)) -> ForeignKeys {
    let mut found = ForeignKeys::default();
    let here = |end: &(String, String)| (end.0.as_str(), end.1.as_str()) == named;
    for Key { child, parent, columns, on_delete, on_update } in keys {
        if here(&child) {
            found.parents.push(Parent { table: parent.clone(), columns: columns.clone() });
        }
        if here(&parent) {
            found.children.push(Reference { child, columns, on_delete, on_update });
        }
    }
    found
}
