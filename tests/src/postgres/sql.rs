//! PostgreSQL through an ordinary driver: connections, the functions of Atone, and a dump that shows every byte.

use crate::servers::postgres::SHOP;
use crate::wait::Deadline;
use crate::{Context, Result};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// Where a connection goes; `schema` becomes its `search_path`.
pub fn config(port: u16, user: (&str, &str), schema: Option<&str>) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(user.0).password(user.1).dbname(SHOP);
    if let Some(schema) = schema {
        config.options(format!("-c search_path={schema}"));
    }
    config
}

/// A connection.
pub async fn connect(port: u16, user: (&str, &str), schema: Option<&str>) -> Result<Client> {
    let (client, connection) = config(port, user, schema).connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The single value of the single row that a statement answers; NULL is `None`.
pub async fn one(client: &Client, sql: &str) -> Result<Option<String>> {
    let messages = client.simple_query(sql).await?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    });
    row.or_fail(format!("{sql} answered no row"))
}

/// `SELECT atone_begin()`.
pub async fn begin(client: &Client) -> Result<String> {
    one(client, "SELECT atone_begin()").await?.or_fail("atone_begin() answered NULL")
}

/// `SELECT atone_join('…')`.
pub async fn join(client: &Client, xid: &str) -> Result<()> {
    one(client, &format!("SELECT atone_join('{xid}')")).await.map(drop)
}

/// `SELECT atone_commit()`: the status.
pub async fn commit(client: &Client) -> Result<String> {
    one(client, "SELECT atone_commit()").await?.or_fail("atone_commit() answered NULL")
}

/// `SELECT atone_rollback()`: the status, however long a busy machine takes to give the last one.
pub async fn rollback(client: &Client) -> Result<String> {
    let xid = one(client, "SELECT atone_xid()").await?.unwrap_or_default();
    let mut status = one(client, "SELECT atone_rollback()").await?;
    let deadline = Deadline::new();
    while status.as_deref() == Some("rolling_back") && !deadline.is_over() {
        status = one(client, &format!("SELECT atone_rollback('{xid}')")).await?;
    }
    status.or_fail("atone_rollback() answered NULL")
}

/// The SQLSTATE and sentence that a statement fails with.
pub async fn error_of(client: &Client, sql: &str) -> (String, String) {
    state(&client.simple_query(sql).await)
}

/// The SQLSTATE and sentence of anything that failed at the server; an empty state for no or another error.
pub fn state<T>(result: &std::result::Result<T, tokio_postgres::Error>) -> (String, String) {
    match result {
        Err(error) => match error.as_db_error() {
            Some(error) => (error.code().code().to_owned(), error.message().to_owned()),
            None => (String::new(), format!("no server error but {error}")),
        },
        Ok(_) => (String::new(), "no error".to_owned()),
    }
}

/// Every row of every table of a schema, in order, each value in a form that loses nothing. Sequences are left out: a
/// number that was taken is not given back.
pub async fn dump(client: &Client, schema: &str) -> Result<String> {
    client
        .batch_execute(
            "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
             SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmloption = 'content'; \
             SET lc_monetary = 'C'; SET search_path = ''",
        )
        .await?;
    let tables = client
        .query(
            "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relkind = 'r' ORDER BY c.relname COLLATE \"C\"",
            &[&schema],
        )
        .await?;
    let mut text = String::new();
    for table in tables {
        let table: String = table.get(0);
        text += &format!("{table}\n");
        let name = format!("{}.{}", quoted(schema), quoted(&table));
        let rows = client
            .simple_query(&format!("SELECT \"the row\"::pg_catalog.text FROM ONLY {name} \"the row\""))
            .await?;
        let mut lines: Vec<String> = rows
            .iter()
            .filter_map(|row| match row {
                SimpleQueryMessage::Row(row) => Some(format!("  {}\n", row.get(0).unwrap_or("NULL"))),
                _ => None,
            })
            .collect();
        lines.sort();
        text += &lines.concat();
    }
    Ok(text)
}

/// An identifier in quotation marks.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
