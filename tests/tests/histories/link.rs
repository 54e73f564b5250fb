//! An application's sessions, one with each database, and what may stop them.

use crate::stage::Room;
use atone_tests::servers::database::APP;
use atone_tests::wait::{Deadline, STEP};
use atone_tests::{Result as Made, postgres, sql};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// Errors after which a driver tries the whole transaction again: lock waits, deadlocks, and 1792 and 25006, by which
/// somebody who works for a global transaction hears that it has been ended.
const AGAIN: [&str; 7] = ["1205", "1213", "1792", "55P03", "40P01", "40001", "25006"];

/// Errors that tell of the death of somebody, as does a connection that breaks.
const DEATH: [&str; 3] = ["1105", "08006", "08007"];

/// How sessions read.
#[derive(Debug, Clone, Copy, Default)]
struct How {
    /// At another isolation level than the default.
    other: bool,
    /// Plain reads too see only what is decided.
    strict: bool,
}

/// A session.
pub struct Link {
    session: Session,
    /// Somebody may die.
    mortal: bool,
}

enum Session {
    MySql(Box<Conn>),
    Postgres(Client),
}

/// Why it did not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Nothing was done, and it may be tried again.
    Refused,
    /// Nobody knows. The session is of no use any more.
    Lost,
}

/// Rows of texts.
pub type Rows = Vec<Vec<String>>;

impl Link {
    /// A proxy that was killed comes back.
    async fn opened(mysql: bool, port: u16, schema: &str, how: How, mortal: bool) -> Self {
        let deadline = Deadline::new();
        loop {
            match Self::open(mysql, port, schema, how, mortal).await {
                Ok(link) => return link,
                Err(error) => assert!(mortal && !deadline.is_over(), "port {port}: {error}"),
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// So that nobody waits long for a row lock that the other database keeps from being freed, row locks are waited for
    /// shortly.
    async fn open(mysql: bool, port: u16, schema: &str, how: How, mortal: bool) -> Made<Self> {
        let session = if mysql {
            let mut conn = sql::connect_app(port, schema).await?;
            conn.query_drop("SET innodb_lock_wait_timeout = 1").await?;
            if how.strict {
                conn.query_drop("SET @atone_isolation = 'read_committed'").await?;
            }
            if how.other {
                conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
            }
            Session::MySql(Box::new(conn))
        } else {
            let client = postgres::sql::connect(port, APP, Some(schema)).await?;
            client.batch_execute("SET lock_timeout = '1s'").await?;
            if how.strict {
                client.batch_execute("SET atone.isolation = 'read_committed'").await?;
            }
            if how.other {
                let set = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ";
                client.batch_execute(set).await?;
            }
            Session::Postgres(client)
        };
        Ok(Self { session, mortal })
    }

    /// Runs a statement as text.
    pub async fn ask(&mut self, sql: &str) -> Result<Rows, Stopped> {
        let answer = match &mut self.session {
            Session::MySql(conn) => conn.query(sql).await.map(mysql_rows).map_err(mysql),
            Session::Postgres(client) => {
                client.simple_query(sql).await.map(pg_rows).map_err(|error| pg(&error))
            }
        };
        answer.map_err(|error| self.stopped(sql, &error))
    }

    /// Runs a statement that answers no rows, as text or prepared.
    pub async fn run(&mut self, sql: &str, prepared: bool) -> Result<(), Stopped> {
        let answer = match &mut self.session {
            _ if !prepared => return self.ask(sql).await.map(drop),
            Session::MySql(conn) => conn.exec_drop(sql, ()).await.map_err(mysql),
            Session::Postgres(client) => client.execute(sql, &[]).await.map(drop).map_err(|error| pg(&error)),
        };
        answer.map_err(|error| self.stopped(sql, &error))
    }

    /// How a text is put behind another.
    pub fn behind(&self, column: &str, text: &str) -> String {
        match self.session {
            Session::MySql(_) => format!("CONCAT({column}, '{text}')"),
            Session::Postgres(_) => format!("{column} || '{text}'"),
        }
    }

    /// What fails in any other way is a failure of the test.
    fn stopped(&self, sql: &str, (code, message): &(String, String)) -> Stopped {
        let code = code.as_str();
        if AGAIN.contains(&code) {
            return Stopped::Refused;
        }
        assert!(self.mortal && (code.is_empty() || DEATH.contains(&code)), "{sql}: {code} {message}");
        Stopped::Lost
    }
}

fn mysql_rows(rows: Vec<Row>) -> Rows {
    let text = |value| mysql_async::from_value::<Option<String>>(value).unwrap_or_default();
    rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
}

fn pg_rows(messages: Vec<SimpleQueryMessage>) -> Rows {
    let texts =
        |row: SimpleQueryRow| (0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect();
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(texts).collect()
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

/// One client's sessions with both databases, through the proxy or straight.
pub struct Pair {
    pub links: [Link; 2],
    /// Not the default levels.
    pub other_isolation: bool,
    /// Its plain reads see only what is decided.
    pub strict: bool,
    /// Milliseconds after which a global transaction is rolled back that nobody ends.
    timeout: u32,
}

impl Pair {
    /// Every other client has other isolation levels.
    pub async fn through(room: &Room, client: u64) -> Self {
        let how = How { other: client % 2 == 1, strict: !client.is_multiple_of(3) };
        Self::open(room.through, room, how, room.mortal).await
    }

    pub async fn direct(room: &Room) -> Self {
        Self::open(room.direct, room, How::default(), false).await
    }

    async fn open(ports: [u16; 2], room: &Room, how: How, mortal: bool) -> Self {
        let links = [
            Link::opened(true, ports[0], &room.schema, how, mortal).await,
            Link::opened(false, ports[1], &room.schema, how, mortal).await,
        ];
        Self {
            links,
            other_isolation: how.other,
            strict: how.strict,
            timeout: if mortal { 4_000 } else { 30_000 },
        }
    }

    /// Begins a global transaction on this side, and joins it on the other.
    pub async fn begin(&mut self, side: usize) -> Result<String, Stopped> {
        let begin = format!("SELECT atone_begin('history', {})", self.timeout);
        let rows = self.links[side].ask(&begin).await?;
        let xid = rows[0][0].clone();
        self.links[1 - side].ask(&format!("SELECT atone_join('{xid}')")).await?;
        Ok(xid)
    }

    /// Ends it from this side, and tells its status.
    pub async fn end(&mut self, side: usize, commits: bool) -> Result<String, Stopped> {
        let call = if commits { "SELECT atone_commit()" } else { "SELECT atone_rollback()" };
        let told = self.links[side].ask(call).await.map(|rows| rows[0][0].clone());
        if told != Err(Stopped::Lost) {
            self.links[1 - side].ask("SELECT atone_leave()").await?;
            self.links[side].ask("SELECT atone_leave()").await?;
        }
        told
    }
}
