//! One case: tables and statements, run three ways on each server and compared.
//!
//! Directly, which says what is right; inside a global transaction that commits, which must answer and leave the same;
//! and inside one that rolls back, which must answer the same and leave what was there before, byte for byte.

use atone_tests::postgres::message::{Message, line};
use atone_tests::postgres::{PgRoom, PgWorld, Raw};
use atone_tests::servers::Kind;

/// A table for tests that need just one, and one that points at it.
pub const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v >= 0), s text);
    INSERT INTO t VALUES (1, 10, 'one'), (2, 20, NULL), (3, 30, 'drei ß');
    CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t);
    INSERT INTO c VALUES (10, 1)";

/// How the statements reach the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Text, each statement a local transaction of its own.
    Autocommit,
    /// Text, all in one local transaction.
    Local,
    /// Prepared, each a local transaction of its own, with results in binary.
    Prepared,
    /// Prepared, all in one local transaction, with results in text.
    PreparedLocal,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Autocommit, Self::Local, Self::Prepared, Self::PreparedLocal];

    fn is_local(self) -> bool {
        matches!(self, Self::Local | Self::PreparedLocal)
    }
}

/// A room of the shared world.
pub async fn room(kind: Kind, name: &str, tables: &str) -> PgRoom<'static> {
    PgWorld::shared().room(kind, name, tables).await
}

/// Runs a case in every mode on both servers.
pub async fn check(name: &str, tables: &str, statements: &[&str]) {
    check_modes(name, tables, statements, &Mode::ALL).await;
}

/// Runs a case in some modes on both servers.
pub async fn check_modes(name: &str, tables: &str, statements: &[&str], modes: &[Mode]) {
    for kind in Kind::POSTGRES {
        for &mode in modes {
            check_one(name, tables, statements, kind, mode).await;
        }
    }
}

/// Runs a case in one mode on one server.
pub async fn check_one(name: &str, tables: &str, statements: &[&str], kind: Kind, mode: Mode) {
    let place = format!("{name} on {kind:?}, {mode:?}");
    let direct = room(kind, name, tables).await;
    let expected = run(&mut direct.raw(false).await.unwrap(), statements, mode).await;
    let right = direct.dump().await;

    for end in ["rolled_back", "committed"] {
        let room = room(kind, name, tables).await;
        let before = room.dump().await;
        assert_ne!(before, right, "{place}: the case changes nothing");
        let mut app = room.raw(true).await.unwrap();
        let xid = app.one("SELECT atone_begin()").await.unwrap();
        let got = run(&mut app, statements, mode).await;
        for ((statement, got), expected) in statements.iter().zip(&got).zip(&expected) {
            assert_eq!(
                got, expected,
                "{place}, before it is {end}: the left is through the proxy, the right direct, of: {statement}"
            );
        }
        assert_eq!(room.dump().await, right, "{place}: phase one left something else");
        let word = if end == "committed" { "SELECT atone_commit()" } else { "SELECT atone_rollback()" };
        let status = app.one(word).await.unwrap();
        assert_eq!(status, end, "{place}: {:?}", room.world.api().transaction(&xid));
        assert_eq!(room.calm(&xid).await, end, "{place}");
        let wanted = if end == "committed" { &right } else { &before };
        assert_eq!(&room.dump().await, wanted, "{place}: {end}, but the tables are not as they should be");
    }
}

/// Runs statements and tells what the server answered to each.
pub async fn run(raw: &mut Raw, statements: &[&str], mode: Mode) -> Vec<String> {
    if mode.is_local() {
        raw.query("BEGIN").await.unwrap();
    }
    let mut answers = Vec::new();
    for statement in statements {
        let answer = match mode {
            Mode::Autocommit | Mode::Local => raw.query(statement).await,
            Mode::Prepared => raw.prepared(statement, 1).await,
            Mode::PreparedLocal => raw.prepared(statement, 0).await,
        };
        answers.push(told(&answer.unwrap_or_else(|error| panic!("{statement}: {error}"))));
    }
    if mode.is_local() {
        answers.push(told(&raw.query("COMMIT").await.unwrap()));
    }
    answers
}

/// An answer as one line, without the places in the server's source that errors name: the proxy prepares what the
/// client says as text.
fn told(answer: &[Message]) -> String {
    let line = line(answer);
    match (line.find(" F=\""), line.find(" R=\"")) {
        (Some(from), Some(to)) => {
            let rest = line[to..].split_once(';').map_or("", |(_, rest)| rest);
            format!("{};{rest}", &line[..from])
        }
        _ => line,
    }
}

/// The SQLSTATE and the sentence of a statement's error; empty if there was none.
pub async fn error_of(raw: &mut Raw, sql: &str) -> (String, String) {
    error_in(&raw.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")))
}

/// The same of an answer.
pub fn error_in(answer: &[Message]) -> (String, String) {
    let error = answer.iter().find(|message| message.kind == b'E');
    error.map(|error| (error.field('C'), error.field('M'))).unwrap_or_default()
}

/// A room that is there already, for another task of the same test.
pub fn same_room(kind: Kind, name: &str) -> PgRoom<'static> {
    PgRoom { world: PgWorld::shared(), kind, schema: format!("shop_{name}") }
}
