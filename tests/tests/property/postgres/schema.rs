//! Schemas of PostgreSQL.

use super::{EXTENSIONS, OWN, SHARED};
use crate::case::Case;
use atone_tests::postgres::sql;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::{Context, Result};
use std::fmt::Write;
use tokio_postgres::{Client, SimpleQueryMessage};

async fn service(port: u16) -> Result<Client> {
    sql::connect(port, SERVICE, None).await
}

/// Makes the types that all cases share.
pub async fn prepare(port: u16) -> Result<()> {
    let service = service(port).await?;
    let mut text = format!(
        "CREATE SCHEMA {SHARED}; GRANT USAGE ON SCHEMA {SHARED} TO {}; SET search_path = {SHARED};",
        APP.0
    );
    for (name, _) in EXTENSIONS {
        let _ = write!(text, "CREATE EXTENSION {name} SCHEMA {SHARED};");
    }
    Ok(service.batch_execute(&format!("{text} {OWN}")).await?)
}

/// Makes a schema with a case's tables and rows.
pub async fn make(port: u16, schema: &str, case: &Case) -> Result<()> {
    let service = service(port).await?;
    service.batch_execute(&format!("CREATE SCHEMA {schema} AUTHORIZATION {}", APP.0)).await?;
    let owner = sql::connect(port, APP, Some(&format!("{schema},{SHARED}"))).await?;
    owner.batch_execute(&case.tables.join("; ")).await?;
    for row in &case.rows {
        // A row that the constraints refuse is refused in every schema of the case.
        let _ = owner.simple_query(&row.text()).await;
    }
    Ok(())
}

/// Every byte of its rows, as text and in the form in which the server sends them in binary.
pub async fn dump(port: u16, schema: &str) -> Result<String> {
    let service = service(port).await?;
    let mut text = sql::dump(&service, schema).await?;
    let tables = rows(&service, &format!(
        "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r' ORDER BY 1"
    )).await?;
    for table in tables {
        let name = format!("{schema}.{}", sql::quoted(&table));
        let mut lines =
            rows(&service, &format!("SELECT encode(record_send(t), 'hex') FROM ONLY {name} t")).await?;
        lines.sort();
        let _ = writeln!(text, "{table} in binary\n  {}", lines.join("\n  "));
    }
    Ok(text)
}

/// Sets all its counters to this number.
pub async fn count_from(port: u16, schema: &str, number: usize) -> Result<()> {
    let sql = format!(
        "SELECT setval(c.oid, {number}) FROM pg_class c WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'S'"
    );
    rows(&service(port).await?, &sql).await.map(drop)
}

/// Removes them.
pub async fn remove(port: u16, schemas: &[String]) -> Result<()> {
    let drops: Vec<String> = schemas.iter().map(|schema| format!("DROP SCHEMA {schema} CASCADE")).collect();
    let quiet = "SET client_min_messages = warning; ";
    Ok(service(port).await?.batch_execute(&format!("{quiet}{}", drops.join("; "))).await?)
}

/// The xids that have a record in the undo table.
pub async fn undo_records(port: u16) -> Result<Vec<String>> {
    rows(&service(port).await?, "SELECT DISTINCT xid::text FROM atone.undo_log").await
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<String>> {
    let messages = client.simple_query(sql).await.map_err(atone_tests::Failure::from).or_fail(sql)?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    Ok(rows.collect())
}
