//! The harness itself: both kinds of server start, know their users, and keep them apart.

use atone_tests::servers::{Database, Durability, Kind, database::SERVICE};
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
