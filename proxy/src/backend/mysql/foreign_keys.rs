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
    let keys: Vec<(String, String, String, u32)> = conn
        .query("SELECT ID, FOR_NAME, REF_NAME, TYPE FROM information_schema.INNODB_SYS_FOREIGN ORDER BY ID")
        .await?;
    let wanted = (schema.to_owned(), table.to_owned());
    let mut found = Vec::new();
    for (id, child, parent, rules) in keys {
        if two_names(&parent) != Some(wanted.clone()) {
            continue;
        }
        let columns: Vec<(String, String)> = conn
            .exec(
                "SELECT FOR_COL_NAME, REF_COL_NAME FROM information_schema.INNODB_SYS_FOREIGN_COLS WHERE ID = ? ORDER BY POS",
                (&id,),
            )
            .await?;
        let child = two_names(&child).unwrap_or_default();
        found.push(Reference {
            child,
            columns,
            on_delete: rules & ON_DELETE != 0,
            on_update: rules & ON_UPDATE != 0,
        });
    }
    Ok(found)
}

/// `schema/table` as InnoDB stores them: other signs than letters, digits and _ are `@` and four hexadecimal digits.
fn two_names(stored: &str) -> Option<(String, String)> {
    let (schema, table) = stored.split_once('/')?;
    Some((decoded(schema), decoded(table)))
}

fn decoded(stored: &str) -> String {
    let mut name = String::with_capacity(stored.len());
    let mut rest = stored;
    while let Some(at) = rest.find('@') {
        name.push_str(&rest[..at]);
        let code =
            rest.get(at + 1..at + 5).and_then(|c| u32::from_str_radix(c, 16).ok()).and_then(char::from_u32);
        match code {
            Some(sign) => {
                name.push(sign);
                rest = &rest[at + 5..];
            }
            None => {
                name.push('@');
                rest = &rest[at + 1..];
            }
        }
    }
    name + rest
}

#[cfg(test)]
mod tests {
    use super::two_names;

    #[test]
    fn stored_names_are_decoded() {
        let names = |s: &str| two_names(s).map(|(a, b)| format!("{a}.{b}"));
        assert_eq!(names("shop/order_item").as_deref(), Some("shop.order_item"));
        assert_eq!(names("my@002dshop/a@0060b@").as_deref(), Some("my-shop.a`b@"));
        assert_eq!(names("plain"), None);
    }
}
