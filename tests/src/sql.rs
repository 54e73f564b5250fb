//! What tests say to databases: connections, the functions of Atone, and a dump that shows every byte.

use crate::servers::database::APP;
use crate::wait::Deadline;
use crate::{Context, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};

/// Options for a plain TCP connection: no switch to a socket, no queries of the driver's own beyond what it must.
pub fn options(port: u16, user: (&str, &str), schema: Option<&str>) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some(user.0))
        .pass(Some(user.1))
        .db_name(schema)
        .prefer_socket(false)
        .max_allowed_packet(Some(64 << 20))
        .wait_timeout(Some(600))
}

/// A connection.
pub async fn connect(port: u16, user: (&str, &str), schema: Option<&str>) -> Result<Conn> {
    let options: Opts = options(port, user, schema).into();
    Ok(Conn::new(options).await?)
}

/// A connection of the application.
pub async fn connect_app(port: u16, schema: &str) -> Result<Conn> {
    connect(port, APP, Some(schema)).await
}

/// The single value of the single row that a statement answers; NULL is `None`.
pub async fn one(conn: &mut Conn, sql: &str) -> Result<Option<String>> {
    let row: Option<Row> = conn.query_first(sql).await?;
    let mut row = row.or_fail(format!("{sql} answered no row"))?;
    Ok(row.take::<Option<String>, _>(0).flatten())
}

/// `SELECT atone_begin()`.
pub async fn begin(conn: &mut Conn) -> Result<String> {
    one(conn, "SELECT atone_begin()").await?.or_fail("atone_begin() answered NULL")
}

/// `SELECT atone_join('…')`.
pub async fn join(conn: &mut Conn, xid: &str) -> Result<()> {
    one(conn, &format!("SELECT atone_join('{xid}')")).await.map(drop)
}

/// `SELECT atone_commit()`: the status.
pub async fn commit(conn: &mut Conn) -> Result<String> {
    one(conn, "SELECT atone_commit()").await?.or_fail("atone_commit() answered NULL")
}

/// `SELECT atone_rollback()`: the status. It is `rolling_back` when phase two takes longer than the proxy waits with its
/// answer, which a busy machine makes it do; then it is asked again.
pub async fn rollback(conn: &mut Conn) -> Result<String> {
    let xid = one(conn, "SELECT atone_xid()").await?.unwrap_or_default();
    let mut status = one(conn, "SELECT atone_rollback()").await?;
    let deadline = Deadline::new();
    while status.as_deref() == Some("rolling_back") && !deadline.is_over() {
        status = one(conn, &format!("SELECT atone_rollback('{xid}')")).await?;
    }
    status.or_fail("atone_rollback() answered NULL")
}

/// The error number and sentence that a statement fails with.
pub async fn error_of(conn: &mut Conn, sql: &str) -> (u16, String) {
    match conn.query_drop(sql).await {
        Err(mysql_async::Error::Server(error)) => (error.code, error.message),
        Err(other) => (0, format!("no server error but {other}")),
        Ok(()) => (0, format!("no error, {} rows affected", conn.affected_rows())),
    }
}

/// The error number of anything that failed at the server; 0 for no or another error.
pub fn errno<T>(result: &std::result::Result<T, mysql_async::Error>) -> u16 {
    match result {
        Err(mysql_async::Error::Server(error)) => error.code,
        _ => 0,
    }
}

/// Every row of every table of a schema, in order of the first columns, each value in a form that loses nothing.
pub async fn dump(conn: &mut Conn, schema: &str) -> Result<String> {
    conn.query_drop("SET time_zone = '+00:00'").await?;
    let tables: Vec<String> = conn
        .exec(
            "SELECT table_name AS t FROM information_schema.tables \
             WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY 1",
            (schema,),
        )
        .await?;
    let mut text = String::new();
    for table in tables {
        text += &format!("{table}\n");
        for line in dump_table(conn, schema, &table).await? {
            text += &format!("  {line}\n");
        }
    }
    Ok(text)
}

async fn dump_table(conn: &mut Conn, schema: &str, table: &str) -> Result<Vec<String>> {
    let columns: Vec<(String, String)> = conn
        .exec(
            "SELECT column_name AS c, data_type AS d FROM information_schema.columns \
             WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position",
            (schema, table),
        )
        .await?;
    let list: Vec<String> = columns.iter().map(|(name, kind)| exact(&quoted(name), kind)).collect();
    let sql = format!("SELECT {} FROM {}.{}", list.join(", "), quoted(schema), quoted(table));
    let rows: Vec<Row> = conn.query(sql).await?;
    let mut lines: Vec<String> = rows.into_iter().map(line).collect();
    lines.sort();
    Ok(lines)
}

/// An expression whose text tells two different values apart. HEX() of a number would round it, so numbers and times
/// become text first; a FLOAT's text has six digits, a DOUBLE's all.
fn exact(column: &str, kind: &str) -> String {
    match kind.to_lowercase().as_str() {
        "float" => format!("CAST(CAST({column} AS DOUBLE) AS CHAR)"),
        "enum" | "set" => format!("CONCAT({column} + 0, ':', HEX({column}))"),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => format!("HEX({column})"),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "bit" => {
            format!("HEX({column})")
        }
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" | "vector" => format!("HEX({column})"),
        _ => format!("CAST({column} AS CHAR)"),
    }
}

fn line(row: Row) -> String {
    let values: Vec<String> = row.unwrap().into_iter().map(text).collect();
    values.join(" | ")
}

fn text(value: Value) -> String {
    match value {
        Value::NULL => "NULL".to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => other.as_sql(true),
    }
}

/// An identifier in backticks.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
