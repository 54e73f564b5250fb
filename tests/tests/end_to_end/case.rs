//! One case: tables and statements, run three ways on each server and compared.
//!
//! Directly, which says what is right; inside a global transaction that commits, which must answer and leave the same;
//! and inside one that rolls back, which must answer the same and leave what was there before, byte for byte.

use atone_tests::servers::Kind;
use atone_tests::sql;
use atone_tests::world::{Room, World};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

/// How the statements reach the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Text, each statement a local transaction of its own.
    Autocommit,
    /// Text, all in one local transaction.
    Local,
    /// Prepared, each a local transaction of its own.
    Prepared,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Autocommit, Self::Local, Self::Prepared];
}

/// What a client learns from one statement.
#[derive(PartialEq, Debug)]
pub enum Outcome {
    /// It worked.
    Done { affected: u64, last_insert_id: Option<u64>, info: String, warnings: u16, rows: Vec<String> },
    /// It did not.
    Failed { code: u16, state: String, message: String },
}

/// Runs a case in every mode on both servers.
pub async fn check(name: &str, tables: &str, statements: &[&str]) {
    check_modes(name, tables, statements, &Mode::ALL).await;
}

/// Runs a case in some modes on both servers.
pub async fn check_modes(name: &str, tables: &str, statements: &[&str], modes: &[Mode]) {
    for kind in Kind::ALL {
        for &mode in modes {
            check_one(name, tables, statements, kind, mode).await;
        }
    }
}

async fn check_one(name: &str, tables: &str, statements: &[&str], kind: Kind, mode: Mode) {
    let place = format!("{name} on {kind:?}, {mode:?}");
    let room = World::shared().room(name, tables).await;
    let mut direct = room.direct(kind).await;
    let expected = run(&mut direct, statements, mode).await;
    let right = room.dump(kind).await;
    drop(direct);

    let room = World::shared().room(name, tables).await;
    let before = room.dump(kind).await;
    assert_ne!(before, right, "{place}: the case changes nothing");
    let mut app = room.app(kind).await;
    let xid = sql::begin(&mut app).await.unwrap();
    compare(
        &format!("{place}, before a rollback"),
        statements,
        &run(&mut app, statements, mode).await,
        &expected,
    );
    assert_eq!(room.dump(kind).await, right, "{place}: phase one left something else");
    let status = sql::rollback(&mut app).await;
    assert_eq!(status.unwrap(), "rolled_back", "{place}");
    assert_eq!(room.dump(kind).await, before, "{place}: rolled back, but not to what was");
    assert_eq!(room.calm(&xid).await, "rolled_back", "{place}");

    let room = World::shared().room(name, tables).await;
    app.query_drop(format!("USE {}", sql::quoted(&room.schema))).await.unwrap();
    let xid = sql::begin(&mut app).await.unwrap();
    compare(
        &format!("{place}, before a commit"),
        statements,
        &run(&mut app, statements, mode).await,
        &expected,
    );
    assert_eq!(sql::commit(&mut app).await.unwrap(), "committed", "{place}");
    assert_eq!(room.calm(&xid).await, "committed", "{place}");
    assert_eq!(room.dump(kind).await, right, "{place}: committed something else");
}

fn compare(place: &str, statements: &[&str], got: &[Outcome], expected: &[Outcome]) {
    for ((statement, got), expected) in statements.iter().zip(got).zip(expected) {
        assert_eq!(
            got, expected,
            "{place}: the left is through the proxy, the right direct, of: {statement}"
        );
    }
}

/// Runs statements and tells what a client learns of each. The session's clock stands still, so that two runs agree.
pub async fn run(conn: &mut Conn, statements: &[&str], mode: Mode) -> Vec<Outcome> {
    conn.query_drop("SET timestamp = 1700000000").await.unwrap();
    if mode == Mode::Local {
        conn.query_drop("BEGIN").await.unwrap();
    }
    let mut outcomes = Vec::new();
    for statement in statements {
        outcomes.push(outcome(conn, statement, mode).await);
    }
    if mode == Mode::Local {
        conn.query_drop("COMMIT").await.unwrap();
    }
    outcomes
}

/// Runs one statement.
pub async fn outcome(conn: &mut Conn, statement: &str, mode: Mode) -> Outcome {
    let rows: Result<Vec<Row>, mysql_async::Error> = match mode {
        Mode::Prepared => conn.exec(statement, ()).await,
        Mode::Autocommit | Mode::Local => conn.query(statement).await,
    };
    match rows {
        Ok(rows) => Outcome::Done {
            affected: conn.affected_rows(),
            last_insert_id: conn.last_insert_id(),
            info: conn.info().into_owned(),
            warnings: conn.get_warnings(),
            rows: rows.iter().map(|row| format!("{row:?}")).collect(),
        },
        Err(mysql_async::Error::Server(error)) => {
            Outcome::Failed { code: error.code, state: error.state, message: error.message }
        }
        Err(other) => panic!("{statement}: {other}"),
    }
}

/// A room of the shared world.
pub async fn room(name: &str, tables: &str) -> Room<'static> {
    World::shared().room(name, tables).await
}

/// Both connections of an application: to the order database and to the account database.
pub async fn both(room: &Room<'_>) -> (Conn, Conn) {
    (room.app(Kind::MySql).await, room.app(Kind::Maria).await)
}

/// The first error of statements that stand between bars; nothing if there was none.
pub async fn error_of(conn: &mut Conn, script: &str) -> (u16, String) {
    for statement in script.split(" | ") {
        let told = sql::error_of(conn, statement).await;
        if told.0 != 0 {
            return told;
        }
    }
    Default::default()
}

/// A session that has run such statements inside a global transaction that is not decided yet.
pub async fn inside(room: &Room<'_>, kind: Kind, script: &str) -> Conn {
    let mut conn = room.app(kind).await;
    sql::begin(&mut conn).await.unwrap();
    assert_eq!(error_of(&mut conn, script).await, Default::default(), "{kind:?}: {script}");
    conn
}
