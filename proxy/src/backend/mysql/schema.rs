//! The schema `atone` in each database server: created when missing, checked when there. On a server that takes
//! another's place it must be there, since it came from that other.

use crate::backend::{BackendError, lineage};
use atone_protocol::Lineage;
use mysql_async::{Conn, prelude::Queryable};

/// The undo table has no auto-increment column, which would change the application's LAST_INSERT_ID().
const CREATE: [&str; 3] = [
    "CREATE DATABASE IF NOT EXISTS atone",
    "CREATE TABLE IF NOT EXISTS atone.undo_log (
        xid CHAR(26) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        branch_id BIGINT UNSIGNED NOT NULL,
        part SMALLINT UNSIGNED NOT NULL,
        parts SMALLINT UNSIGNED NOT NULL,
        status ENUM('NORMAL', 'GUARD', 'UNDONE') CHARACTER SET ascii NOT NULL,
        record LONGBLOB NOT NULL,
        created_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
        PRIMARY KEY (xid, branch_id, part)
    ) ENGINE = InnoDB COMMENT 'Before and after images of global transactions. Kept by atone-proxy; do not touch.'",
    "CREATE TABLE IF NOT EXISTS atone.resource (
        one TINYINT NOT NULL PRIMARY KEY,
        name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL
    ) ENGINE = InnoDB COMMENT 'The one name under which proxies know this server.'",
];

/// Installations of before have everything else.
const LINEAGE: &str = "CREATE TABLE IF NOT EXISTS atone.lineage (
        one TINYINT NOT NULL PRIMARY KEY,
        lineage CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL
    ) ENGINE = InnoDB COMMENT 'By which proxies tell this server, and all that is made from it, from others of its name.'";

/// `name type` of each column, in order.
const EXPECTED: &str = "xid char(26), branch_id bigint unsigned, part smallint unsigned, parts smallint unsigned, \
    status enum('NORMAL','GUARD','UNDONE'), record longblob, created_at timestamp(6)";

/// Creates or checks everything, and records the resource's name; which server it is.
pub(super) async fn prepare(conn: &mut Conn, name: &str) -> Result<Lineage, BackendError> {
    let database = |source| BackendError::database(name, source);
    if !is_there(conn).await.map_err(database)? {
        for statement in CREATE {
            conn.query_drop(statement).await.map_err(database)?;
        }
    }
    // Two names for one server would split its lock space.
    conn.exec_drop("INSERT IGNORE INTO atone.resource (one, name) VALUES (1, ?)", (name,))
        .await
        .map_err(database)?;
    check(conn, name).await?;
    let mut said = said(conn).await.map_err(database)?;
    if said.is_none() {
        conn.query_drop(LINEAGE).await.map_err(database)?;
        // Of two proxies that come at once one draws it.
        let insert = "INSERT IGNORE INTO atone.lineage (one, lineage) VALUES (1, ?)";
        conn.exec_drop(insert, (crate::ids::lineage().to_string(),)).await.map_err(database)?;
        said = self::said(conn).await.map_err(database)?;
    }
    lineage::read(name, said.as_deref())
}

/// Checks that all is there, on a server that takes the place of the one that is known.
pub(super) async fn check_place(conn: &mut Conn, name: &str, ours: Lineage) -> Result<(), BackendError> {
    check(conn, name).await?;
    let said = said(conn).await.map_err(|source| BackendError::database(name, source))?;
    lineage::same(name, ours, said.as_deref())
}

/// Which server it says it is; None when it does not.
async fn said(conn: &mut Conn) -> Result<Option<String>, mysql_async::Error> {
    let there: Option<u8> = conn
        .query_first(
            "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'atone' AND TABLE_NAME = 'lineage'",
        )
        .await?;
    match there {
        Some(_) => conn.query_first("SELECT lineage FROM atone.lineage WHERE one = 1").await,
        None => Ok(None),
    }
}

async fn is_there(conn: &mut Conn) -> Result<bool, mysql_async::Error> {
    let there: Option<u8> = conn
        .query_first("SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'atone' AND TABLE_NAME = 'resource'")
        .await?;
    Ok(there.is_some())
}

/// Checks that all is there, and under this resource's name.
async fn check(conn: &mut Conn, name: &str) -> Result<(), BackendError> {
    let database = |source| BackendError::database(name, source);
    let unfit = |what: String| BackendError::unfit(name, what);
    if !is_there(conn).await.map_err(database)? {
        let what = "it has no table atone.resource, so that it was not made from the server that was here before. \
            If it is to be a resource of its own, give it a name and an address of its own";
        return Err(unfit(what.into()));
    }
    let columns: Vec<(String, String)> = conn
        .query(
            "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = 'atone' AND TABLE_NAME = 'undo_log' ORDER BY ORDINAL_POSITION",
        )
        .await
        .map_err(database)?;
    // Servers before MySQL 8.0.19, and MariaDB, show a display width.
    let plain = |kind: &str| kind.replace("bigint(20)", "bigint").replace("smallint(5)", "smallint");
    let found: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {}", plain(kind))).collect();
    if found.join(", ") != EXPECTED {
        return Err(unfit(format!(
            "the table atone.undo_log has other columns than this version needs ({}). When no transaction is open, \
             drop the schema atone and start again",
            found.join(", ")
        )));
    }
    let known: Option<String> =
        conn.query_first("SELECT name FROM atone.resource WHERE one = 1").await.map_err(database)?;
    match known {
        Some(known) if known == name => Ok(()),
        Some(known) => Err(unfit(format!(
            "this server is already known as '{known}', and one server must have one name everywhere. \
             Set database.name = \"{known}\""
        ))),
        None => Err(unfit("atone.resource is empty, so that nobody can tell which resource this is".into())),
    }
}
