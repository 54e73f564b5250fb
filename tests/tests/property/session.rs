//! A connection of the application, and what it is told.

use crate::mysql::session as mysql;
use crate::postgres::session as postgres;
use crate::stage::Stage;
use crate::statement::Statement;
use atone_tests::postgres::Raw;
use atone_tests::servers::Kind;
use atone_tests::{Context, Result, wait};

/// What a statement was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It worked: how many rows it changed, and all that was said, the rows in order of their text. An order that
    /// nobody asked for may differ.
    Done(u64, String),
    /// The database's error: its code and its sentence.
    Failed(String, String),
    /// Ours.
    Refused(String),
}

impl Answer {
    /// An error.
    pub fn error(code: String, sentence: String) -> Self {
        if sentence.starts_with("atone: ") { Self::Refused(sentence) } else { Self::Failed(code, sentence) }
    }

    /// Whether the local transaction was ended by our error.
    pub fn ended(&self) -> bool {
        matches!(self, Self::Refused(why) if why.contains("rolled back"))
    }
}

/// An answer, and whether a local transaction is open (`T`), failed (`E`) or not there (`I`), where the server says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The answer.
    pub answer: Answer,
    /// The state.
    pub state: char,
}

impl Told {
    /// The same without the name of a schema, which errors tell.
    pub fn without(self, schema: &str) -> Self {
        let answer = match self.answer {
            Answer::Failed(code, sentence) => Answer::Failed(code, sentence.replace(schema, "…")),
            other => other,
        };
        Self { answer, state: self.state }
    }
}

/// A connection.
pub enum Session {
    /// To MySQL or MariaDB.
    MySql(Box<mysql_async::Conn>),
    /// To PostgreSQL.
    Postgres(Raw),
}

impl Session {
    /// One of the application's, with these settings, to this schema.
    pub async fn open(
        kind: Kind,
        schema: &str,
        settings: &[String],
        through_the_proxy: bool,
    ) -> Result<Self> {
        let port = Stage::shared().port(kind, through_the_proxy);
        let mut session = match kind {
            Kind::MySql | Kind::Maria => {
                Self::MySql(Box::new(atone_tests::sql::connect_app(port, schema).await?))
            }
            Kind::Pg15 | Kind::Pg18 => Self::Postgres(postgres::open(port, schema).await?),
        };
        for setting in settings {
            session.run(&Statement::plain("control", setting)).await?;
        }
        Ok(session)
    }

    /// Runs a statement.
    pub async fn run(&mut self, statement: &Statement) -> Result<Told> {
        let told = async {
            match self {
                Self::MySql(conn) => mysql::run(conn, statement).await,
                Self::Postgres(raw) => postgres::run(raw, statement).await,
            }
        };
        tokio::time::timeout(wait::PATIENCE, told)
            .await
            .or_fail(format!("no answer to {}", statement.text()))?
    }

    /// The single value that a statement of ours answers.
    pub async fn one(&mut self, sql: &str) -> Result<String> {
        match self {
            Self::MySql(conn) => atone_tests::sql::one(conn, sql).await?.or_fail("NULL"),
            Self::Postgres(raw) => raw.one(sql).await,
        }
    }
}
