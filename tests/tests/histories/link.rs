//! An application's sessions, one with each database, and what it may be refused.

use crate::stage::Room;
use atone_tests::postgres;
use atone_tests::sql;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Errors after which a driver tries the whole transaction again: lock waits, deadlocks, and 25006, by which somebody who
/// works for a global transaction hears that it has been ended.
const AGAIN: [&str; 7] = ["1205", "1213", "1792", "55P03", "40P01", "40001", "25006"];

/// A session.
pub enum Link {
    MySql(Box<Conn>),
    Postgres(Client),
}

/// Nothing was done, and it may be tried again.
#[derive(Debug)]
pub struct Refused;

/// Rows of texts.
pub type Rows = Vec<Vec<String>>;

impl Link {
    async fn open(mysql: bool, port: u16, schema: &str) -> Self {
        // So that nobody waits long for a row lock that the other database keeps from being freed.
        if mysql {
            let mut conn = sql::connect_app(port, schema).await.expect("a session");
            conn.query_drop("SET innodb_lock_wait_timeout = 1").await.expect("a setting");
            Self::MySql(Box::new(conn))
        } else {
            let client = postgres::sql::connect(port, sql_app(), Some(schema)).await.expect("a session");
            client.batch_execute("SET lock_timeout = '1s'").await.expect("a setting");
            Self::Postgres(client)
        }
    }

    /// Runs a statement as text.
    pub async fn ask(&mut self, sql: &str) -> Result<Rows, Refused> {
        match self {
            Self::MySql(conn) => {
                let rows: Result<Vec<Row>, _> = conn.query(sql).await;
                let text = |value| mysql_async::from_value::<Option<String>>(value).unwrap_or_default();
                let texts = |row: Row| row.unwrap().into_iter().map(text).collect();
                rows.map(|rows| rows.into_iter().map(texts).collect())
                    .map_err(|error| refused(sql, &mysql(error)))
            }
            Self::Postgres(client) => {
                let messages = client.simple_query(sql).await.map_err(|error| refused(sql, &pg(&error)))?;
                let rows = messages.into_iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                let texts = |row: tokio_postgres::SimpleQueryRow| {
                    (0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect()
                };
                Ok(rows.map(texts).collect())
            }
        }
    }

    /// Runs a statement that answers no rows, as text or prepared.
    pub async fn run(&mut self, sql: &str, prepared: bool) -> Result<(), Refused> {
        match self {
            _ if !prepared => self.ask(sql).await.map(drop),
            Self::MySql(conn) => conn.exec_drop(sql, ()).await.map_err(|error| refused(sql, &mysql(error))),
            Self::Postgres(client) => {
                client.execute(sql, &[]).await.map(drop).map_err(|error| refused(sql, &pg(&error)))
            }
        }
    }

    /// How a text is put behind another.
    pub fn behind(&self, column: &str, text: &str) -> String {
        match self {
            Self::MySql(_) => format!("CONCAT({column}, '{text}')"),
            Self::Postgres(_) => format!("{column} || '{text}'"),
        }
    }
}

fn sql_app() -> (&'static str, &'static str) {
    atone_tests::servers::database::APP
}

fn mysql(error: mysql_async::Error) -> (String, String) {
    match error {
        mysql_async::Error::Server(error) => (error.code.to_string(), error.message),
        other => (String::new(), other.to_string()),
    }
}

fn pg(error: &tokio_postgres::Error) -> (String, String) {
    match error.as_db_error() {
        Some(told) => (told.code().code().to_owned(), told.message().to_owned()),
        None => (String::new(), error.to_string()),
    }
}

/// Anything else that fails is a failure of the test.
fn refused(sql: &str, (code, message): &(String, String)) -> Refused {
    assert!(AGAIN.contains(&code.as_str()), "{sql}: {code} {message}");
    Refused
}

/// One client's sessions with both databases, through the proxy or straight.
pub struct Pair {
    pub links: [Link; 2],
}

impl Pair {
    pub async fn through(room: &Room) -> Self {
        Self::open(room.through, &room.schema).await
    }

    pub async fn direct(room: &Room) -> Self {
        Self::open(room.direct, &room.schema).await
    }

    async fn open([mysql, postgres]: [u16; 2], schema: &str) -> Self {
        Self { links: [Link::open(true, mysql, schema).await, Link::open(false, postgres, schema).await] }
    }

    /// Begins a global transaction on this side, and joins it on the other.
    pub async fn begin(&mut self, side: usize) -> String {
        let rows = self.links[side].ask("SELECT atone_begin('history', 30000)").await.expect("it begins");
        let xid = rows[0][0].clone();
        self.links[1 - side].ask(&format!("SELECT atone_join('{xid}')")).await.expect("it is joined");
        xid
    }

    /// Ends it from this side; what was told of it, if anything.
    pub async fn end(&mut self, side: usize, commits: bool) -> Option<String> {
        let call = if commits { "SELECT atone_commit()" } else { "SELECT atone_rollback()" };
        let told = self.links[side].ask(call).await.ok().map(|rows| rows[0][0].clone());
        for link in &mut self.links {
            // One of them has left already, and says so.
            let _ = link.ask("SELECT atone_leave()").await;
        }
        told
    }
}
