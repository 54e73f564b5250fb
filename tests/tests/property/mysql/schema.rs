//! Schemas of MySQL.

use crate::case::Case;
use atone_tests::servers::database::SERVICE;
use atone_tests::{Result, sql};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

async fn service(port: u16) -> Result<Conn> {
    sql::connect(port, SERVICE, None).await
}

/// Makes a schema with a case's tables and rows.
pub async fn make(port: u16, schema: &str, case: &Case) -> Result<()> {
    let mut conn = service(port).await?;
    conn.query_drop(format!("CREATE DATABASE {schema}")).await?;
    conn.query_drop(format!("USE {schema}")).await?;
    for statement in &case.tables {
        conn.query_drop(statement).await?;
    }
    conn.query_drop("SET timestamp = 1600000000").await?;
    conn.query_drop("SET sql_mode = ''").await?;
    conn.query_drop("BEGIN").await?;
    for row in &case.rows {
        // A row that the constraints refuse is refused in every schema of the case.
        let _ = conn.query_drop(row.text()).await;
    }
    conn.query_drop("COMMIT").await?;
    Ok(conn.disconnect().await?)
}

/// Every byte of its rows.
pub async fn dump(port: u16, schema: &str) -> Result<String> {
    let mut conn = service(port).await?;
    let dump = sql::dump(&mut conn, schema).await?;
    conn.disconnect().await?;
    Ok(dump)
}

/// Removes them.
pub async fn remove(port: u16, schemas: &[String]) -> Result<()> {
    let mut conn = service(port).await?;
    for schema in schemas {
        conn.query_drop(format!("DROP DATABASE {schema}")).await?;
    }
    Ok(conn.disconnect().await?)
}

/// The xids that have a record in the undo table.
pub async fn undo_records(port: u16) -> Result<Vec<String>> {
    let mut conn = service(port).await?;
    let xids = conn.query("SELECT DISTINCT xid FROM atone.undo_log").await?;
    conn.disconnect().await?;
    Ok(xids)
}
