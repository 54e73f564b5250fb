//! Drivers of other languages and the vendors' command lines, with only host and port changed: a commit and a rollback.

use atone_tests::install::{self, drivers, run};
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::{Kind, Proxy, database::APP};
use atone_tests::world::{Room, World};
use std::process::Command;

const TABLES: &str = "CREATE TABLE driver (id INT AUTO_INCREMENT PRIMARY KEY, v INT, s BLOB);
INSERT INTO driver VALUES (1, 10, NULL);
";

/// Runs a check program against both servers.
async fn check(name: &str, program: impl Fn() -> atone_tests::Result<Command>) {
    let room = World::shared().room(name, TABLES).await;
    for kind in Kind::ALL {
        let mut command = program().unwrap();
        command.args(["127.0.0.1", &room.world.proxy.port(kind).to_string(), &room.schema]);
        let out = run(&mut command).unwrap_or_else(|error| panic!("{name} on {kind:?}: {error}"));
        assert_eq!(out.trim(), "ok", "{name} on {kind:?}");
    }
}

#[tokio::test]
async fn pymysql() {
    check("python", drivers::python).await;
}

#[tokio::test]
async fn node_mysql2() {
    check("node", drivers::node).await;
}

#[tokio::test]
async fn go_sql_driver() {
    check("go", drivers::go).await;
}

/// One session of a command line: what it prints, one line per row, the xid cut out.
const SESSION: &str = "SELECT LENGTH(IFNULL(NULL, 'before')); \
    SELECT atone_begin('command line'); UPDATE driver SET v = v + 1 WHERE id = 1; SELECT atone_commit(); \
    SELECT v FROM driver WHERE id = 1; \
    SELECT atone_begin(); BEGIN; UPDATE driver SET v = 99 WHERE id = 1; DELETE FROM driver WHERE id = 5; COMMIT; \
    SELECT v FROM driver WHERE id = 1; SELECT atone_rollback(); SELECT v FROM driver WHERE id = 1; \
    SELECT atone_xid();";

fn session(client: &mut Command, port: u16, room: &Room<'_>, more: &[&str]) {
    client.args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--batch", "--skip-column-names"]);
    client.args([format!("--port={port}"), format!("--user={}", APP.0), format!("--password={}", APP.1)]);
    client.args(more).args(["--execute", SESSION, &room.schema]);
    let out = run(client).unwrap();
    let lines: Vec<&str> = out.lines().filter(|line| line.len() != 26).collect();
    let before: i32 = lines[2].parse().expect("a number");
    let after = before.to_string();
    assert_eq!(lines, ["6", "committed", &after, "99", "rolled_back", &after, "NULL"], "{client:?}");
}

#[tokio::test]
async fn mariadb_command_line() {
    let room = World::shared().room("mariadb_cli", TABLES).await;
    let client = install::mariadb::programs().unwrap().client;
    session(&mut Command::new(client), room.world.proxy.port(Kind::Maria), &room, &[]);
}

#[tokio::test]
async fn mysql_command_line() {
    let room = World::shared().room("mysql_cli", TABLES).await;
    // Without TLS and before the server has the password in its cache, this client asks for the server's key only if told.
    let port = room.world.proxy.port(Kind::MySql);
    session(&mut room.world.orders.client(), port, &room, &["--get-server-public-key"]);
}

#[tokio::test]
async fn command_lines_with_tls() {
    let room = World::shared().room("tls", TABLES).await;
    let world = room.world;
    // MySQL makes itself a certificate; a second proxy before the same databases shows it to its clients.
    let data = world.orders.dir().join("data");
    let tls = format!(
        "[tls]\ncertificate = \"{0}/server-cert.pem\"\nkey = \"{0}/server-key.pem\"\n",
        data.display()
    );
    let databases = [&world.orders, &world.accounts];
    let proxy = Proxy::start_with(Profile::Debug, Some(&world.coordinator.grpc()), &databases, &tls)
        .expect("a second proxy");
    session(&mut world.orders.client(), proxy.port(Kind::MySql), &room, &["--ssl-mode=REQUIRED"]);
    session(&mut world.accounts.client(), proxy.port(Kind::Maria), &room, &["--ssl"]);
}
