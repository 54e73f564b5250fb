//! The harness itself: every kind of server starts, knows its users, and keeps them apart.

use atone_tests::postgres::{self, Raw};
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::postgres::SHOP;
use atone_tests::servers::{Database, Durability, Kind, Postgres};
use atone_tests::sql;
use mysql_async::prelude::Queryable;

#[tokio::test]
async fn both_servers_start_and_know_their_users() {
    for kind in Kind::ALL {
        let database = Database::start(kind).unwrap();
        let mut service = sql::connect(database.port(), SERVICE, None).await.unwrap();
        let version = sql::one(&mut service, "SELECT version()").await.unwrap().unwrap();
        assert_eq!(version.contains("MariaDB"), kind == Kind::Maria, "{version}");
        service.query_drop("CREATE DATABASE shop_x").await.unwrap();
        service.query_drop("CREATE DATABASE other").await.unwrap();
        let mut app = sql::connect_app(database.port(), "shop_x").await.unwrap();
        app.query_drop("CREATE TABLE t (a INT PRIMARY KEY, f FLOAT, s TEXT)").await.unwrap();
        app.query_drop("INSERT INTO t VALUES (1, 0.1, 'é'), (2, NULL, NULL)").await.unwrap();
        let dump = sql::dump(&mut service, "shop_x").await.unwrap();
        assert_eq!(dump, "t\n  1 | 0.10000000149011612 | C3A9\n  2 | NULL | NULL\n");
        assert_eq!(sql::error_of(&mut app, "USE other").await.0, 1044);
    }
}

#[tokio::test]
async fn a_killed_server_comes_back_with_what_it_committed() {
    for kind in Kind::ALL {
        let mut database = Database::start_with(kind, Durability::Full).unwrap();
        let mut conn = sql::connect(database.port(), SERVICE, None).await.unwrap();
        conn.query_drop("CREATE DATABASE shop").await.unwrap();
        conn.query_drop("CREATE TABLE shop.t (a INT PRIMARY KEY)").await.unwrap();
        conn.query_drop("INSERT INTO shop.t VALUES (1)").await.unwrap();
        database.kill9();
        assert!(conn.query_drop("SELECT 1").await.is_err());
        database.restart().unwrap();
        let mut conn = sql::connect(database.port(), SERVICE, None).await.unwrap();
        assert_eq!(sql::dump(&mut conn, "shop").await.unwrap(), "t\n  1\n");
    }
}

#[tokio::test]
async fn both_postgresqls_start_and_know_their_users() {
    for (kind, version) in Kind::POSTGRES.into_iter().zip(["15.", "18."]) {
        let database = Database::start(kind).unwrap();
        let service = postgres::sql::connect(database.port(), SERVICE, None).await.unwrap();
        let told = postgres::sql::one(&service, "SHOW server_version").await.unwrap().unwrap();
        assert!(told.starts_with(version), "{kind:?} is {told}");
        service.batch_execute("CREATE SCHEMA shop_x AUTHORIZATION app; CREATE SCHEMA other").await.unwrap();
        let app = postgres::sql::connect(database.port(), APP, Some("shop_x")).await.unwrap();
        app.batch_execute(
            "CREATE TABLE t (a int PRIMARY KEY, f real, s text, b bytea);
             INSERT INTO t VALUES (1, 0.1, 'é', '\\x00ff'), (2, '-0', NULL, ''), (10, 'NaN', ' ', NULL)",
        )
        .await
        .unwrap();
        let dump = postgres::sql::dump(&service, "shop_x").await.unwrap();
        assert_eq!(
            dump, "t\n  (1,0.1,é,\"\\\\x00ff\")\n  (10,NaN,\" \",)\n  (2,-0,,\"\\\\x\")\n",
            "{kind:?}"
        );
        assert_eq!(postgres::sql::error_of(&app, "CREATE TABLE other.t ()").await.0, "42501");
        let wrong = postgres::sql::connect(database.port(), (APP.0, "wrong"), None).await;
        assert!(wrong.is_err(), "{kind:?} lets anybody in");
        let mut raw = Raw::connect(database.port(), APP, SHOP, &[]).await.unwrap();
        assert_eq!(raw.one("SELECT 1").await.unwrap(), "1");
    }
}

#[tokio::test]
async fn a_killed_postgresql_comes_back_with_what_it_committed() {
    for kind in Kind::POSTGRES {
        let mut database = Database::start_with(kind, Durability::Full).unwrap();
        let client = postgres::sql::connect(database.port(), SERVICE, None).await.unwrap();
        client
            .batch_execute(
                "CREATE SCHEMA s; CREATE TABLE s.t (a int PRIMARY KEY); INSERT INTO s.t VALUES (1)",
            )
            .await
            .unwrap();
        database.kill9();
        assert!(client.batch_execute("SELECT 1").await.is_err());
        database.restart().unwrap();
        let client = postgres::sql::connect(database.port(), SERVICE, None).await.unwrap();
        assert_eq!(postgres::sql::dump(&client, "s").await.unwrap(), "t\n  (1)\n");
        let twin = database.twin().unwrap();
        let client = postgres::sql::connect(twin.port(), SERVICE, None).await.unwrap();
        assert_eq!(postgres::sql::dump(&client, "s").await.unwrap(), "t\n  (1)\n");
    }
}

#[tokio::test]
async fn a_postgresql_with_tls_shows_its_certificate() {
    for kind in Kind::POSTGRES {
        let database = Postgres::start_with_settings(kind, &["ssl=on"]).unwrap();
        let client = postgres::sql::connect(database.port(), SERVICE, None).await.unwrap();
        assert_eq!(postgres::sql::one(&client, "SHOW ssl").await.unwrap().unwrap(), "on");
    }
}
