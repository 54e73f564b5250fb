//! Foreign keys that point at a table, and those of them that change rows on their own.
//!
//! MySQL is asked through its dictionary's views. MariaDB opens every table of every schema for the same views (and
//! has been seen to die of it), so that InnoDB's own dictionary is read there.

use crate::backend::Reference;
use mysql_async::{Conn, prelude::Queryable};
use std::collections::BTreeMap;

/// InnoDB's flags for CASCADE and SET NULL.
const ON_DELETE: u32 = 1 | 2;
const ON_UPDATE: u32 = 4 | 8;

/// Those that point at this table and change rows on their own.
pub(super) async fn cascades(
    conn: &mut Conn,
    mariadb: bool,
    named: (&str, &str),
) -> Result<Vec<Reference>, mysql_async::Error> {
    let all = references(conn, mariadb, named).await?;
    Ok(all.into_iter().filter(|r| r.on_delete || r.on_update).collect())
}

/// All that point at this table.
pub(super) async fn references(
    conn: &mut Conn,
    mariadb: bool,
    named: (&str, &str),
) -> Result<Vec<Reference>, mysql_async::Error> {
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

async fn of_dictionary(conn: &mut Conn, named: (&str, &str)) -> Result<Vec<Reference>, mysql_async::Error> {
    let rows: Vec<(String, String, String, String, String, String, String)> = conn
        .exec(
            "SELECT r.CONSTRAINT_SCHEMA, r.CONSTRAINT_NAME, r.TABLE_NAME, r.DELETE_RULE, r.UPDATE_RULE, k.COLUMN_NAME, \
             k.REFERENCED_COLUMN_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS r \
             JOIN information_schema.KEY_COLUMN_USAGE k ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA \
             AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME AND k.TABLE_NAME = r.TABLE_NAME \
             WHERE r.UNIQUE_CONSTRAINT_SCHEMA = ? AND r.REFERENCED_TABLE_NAME = ? \
             ORDER BY r.CONSTRAINT_SCHEMA, r.CONSTRAINT_NAME, k.ORDINAL_POSITION",
            named,
        )
        .await?;
    let writes = |rule: &str| !matches!(rule, "RESTRICT" | "NO ACTION");
    let mut found: BTreeMap<(String, String), Reference> = BTreeMap::new();
    for (schema, constraint, table, on_delete, on_update, column, referenced) in rows {
        let reference = found.entry((schema.clone(), constraint)).or_insert_with(|| Reference {
            child: (schema, table),
            columns: Vec::new(),
            on_delete: writes(&on_delete),
            on_update: writes(&on_update),
        });
        reference.columns.push((column, referenced));
    }
    Ok(found.into_values().collect())
}

async fn of_innodb(
    conn: &mut Conn,
    (schema, table): (&str, &str),
) -> Result<Vec<Reference>, mysql_async::Error> {
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
        if (parent_schema.as_str(), parent_table.as_str()) != (schema, table) {
            continue;
        }
        let columns: Vec<(String, String)> = conn
            .exec(
                "SELECT FOR_COL_NAME, REF_COL_NAME FROM information_schema.INNODB_SYS_FOREIGN_COLS WHERE ID = ? ORDER BY POS",
                (&id,),
            )
            .await?;
        found.push(Reference {
            child: (child_schema, child_table),
            columns,
            on_delete: rules & ON_DELETE != 0,
            on_update: rules & ON_UPDATE != 0,
        });
    }
    Ok(found)
}
