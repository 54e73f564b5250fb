//! The proxy's own tests that need a PostgreSQL server: catalogue, undo table, phase two. They are part of its package,
//! because they test what no client can see; here they are given the servers.

use atone_tests::install::run;
use atone_tests::servers::binaries::workspace;
use atone_tests::servers::database::SERVICE;
use atone_tests::servers::{Database, Kind};
use std::process::Command;

#[test]
fn what_the_proxy_does_in_postgresql_by_itself() {
    for kind in Kind::POSTGRES {
        let server = Database::start(kind).expect("a server");
        let url = format!("postgres://{}:{}@127.0.0.1:{}/postgres", SERVICE.0, SERVICE.1, server.port());
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(workspace()).env("ATONE_TEST_POSTGRES", url);
        command.args(["test", "-p", "atone-proxy", "--features", "server-tests", "--"]);
        command.args(["backend::postgres::tests", "phase_two::tests", "--test-threads=2"]);
        let out = run(&mut command).unwrap_or_else(|error| panic!("on {kind:?}: {error}"));
        assert!(out.contains("6 passed"), "on {kind:?}: {out}");
    }
}
