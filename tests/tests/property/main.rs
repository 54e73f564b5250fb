//! Random tables, rows and statements, on every kind of server: a rollback must leave every byte as it was, and a commit
//! must leave and answer what the same statements leave and answer without the proxy.
//!
//! `ATONE_PROPERTY_SECONDS` says how long each server is tried (45), `ATONE_PROPERTY_FROM` from which seed on (1; `new`: any);
//! `ATONE_PROPERTY_SEED` runs one case again.

mod campaign;
mod case;
mod check;
mod dialect;
mod generate;
mod mysql;
mod postgres;
mod session;
mod shrink;
mod stage;
mod statement;
mod tally;
mod types;

use atone_tests::servers::Kind;

#[tokio::test]
async fn mysql_9() {
    campaign::run(Kind::MySql).await;
}

#[tokio::test]
async fn mariadb() {
    campaign::run(Kind::Maria).await;
}

#[tokio::test]
async fn postgresql_15() {
    campaign::run(Kind::Pg15).await;
}

#[tokio::test]
async fn postgresql_18() {
    campaign::run(Kind::Pg18).await;
}
