//! PostgreSQL's drivers and command line, with only host and port changed: a commit and a rollback.

use atone_tests::install::{drivers, run};
use atone_tests::postgres::PgWorld;
use atone_tests::servers::Kind;
use atone_tests::servers::database::APP;
use atone_tests::servers::postgres::SHOP;
use std::process::Command;

const TABLES: &str = "CREATE TABLE driver (id serial PRIMARY KEY, v int, s bytea);
    INSERT INTO driver (v) VALUES (10);";

/// Runs a check program against both servers.
async fn check(name: &str, program: impl Fn() -> atone_tests::Result<Command>) {
    for kind in Kind::POSTGRES {
        let room = PgWorld::shared().room(kind, name, TABLES).await;
        let mut command = program().unwrap();
        command.args(["127.0.0.1", &room.world.proxy.port(kind).to_string(), &room.schema]);
        let out = run(&mut command).unwrap_or_else(|error| panic!("{name} on {kind:?}: {error}"));
        assert_eq!(out.trim(), "ok", "{name} on {kind:?}");
    }
}

#[tokio::test]
async fn psycopg() {
    check("psycopg", drivers::psycopg).await;
}

#[tokio::test]
async fn asyncpg() {
    check("asyncpg", drivers::asyncpg).await;
}

#[tokio::test]
async fn node_postgres() {
    check("node", drivers::node_postgres).await;
}

#[tokio::test]
async fn pgx() {
    check("pgx", || drivers::go_postgres("pgx")).await;
}

#[tokio::test]
async fn lib_pq() {
    check("pq", || drivers::go_postgres("postgres")).await;
}

#[tokio::test]
async fn pgjdbc() {
    check("java", drivers::java).await;
}

/// One session of the command line: what it prints, one line per row, the xid cut out.
const SESSION: &[&str] = &[
    "SELECT atone_begin('command line')",
    "UPDATE driver SET v = v + 1 WHERE id = 1",
    "SELECT atone_commit()",
    "SELECT v FROM driver WHERE id = 1",
    "SELECT atone_begin()",
    "BEGIN",
    "UPDATE driver SET v = 99 WHERE id = 1",
    "INSERT INTO driver (v) VALUES (5)",
    "COMMIT",
    "SELECT v FROM driver ORDER BY v",
    "SELECT atone_rollback()",
    "SELECT v FROM driver ORDER BY v",
];

#[tokio::test]
async fn psql() {
    for kind in Kind::POSTGRES {
        let room = PgWorld::shared().room(kind, "psql", TABLES).await;
        let mut command = room.world.database(kind).client();
        let account = format!(
            "host=127.0.0.1 port={} user={} password={} dbname={SHOP} options='-c search_path={}'",
            room.world.proxy.port(kind),
            APP.0,
            APP.1,
            room.schema
        );
        command.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &account,
        ]);
        for statement in SESSION {
            command.args(["-c", statement]);
        }
        let out = run(&mut command).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let lines: Vec<&str> = out.lines().filter(|line| line.len() != 26).collect();
        assert_eq!(lines, ["committed", "11", "5", "99", "rolled_back", "11"], "{kind:?}");
    }
}
