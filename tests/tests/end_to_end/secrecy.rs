//! The undo table is Atone's own: no client reads or writes it through the proxy, whatever its rights are.

use crate::case::room;
use atone_tests::servers::{Kind, database::SERVICE};
use atone_tests::sql;
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10);
";

const STATEMENTS: &[&str] = &[
    "SELECT * FROM atone.undo_log",
    "select count(*) from `atone`.`undo_log`",
    "SELECT /* x */ xid FROM atone /* y */ . undo_log",
    "SELECT * FROM ATONE.UNDO_LOG",
    "SELECT 1; SELECT * FROM atone.undo_log",
    "SELECT * FROM (SELECT * FROM atone.undo_log) z",
    "INSERT INTO atone.undo_log (xid) VALUES ('x')",
    "DELETE FROM atone.undo_log",
    "UPDATE atone.undo_log SET status = 'UNDONE'",
    "TRUNCATE atone.undo_log",
    "DROP TABLE atone.undo_log",
    "RENAME TABLE atone.undo_log TO shop_secrecy.stolen",
    "CREATE TABLE shop_secrecy.stolen AS SELECT * FROM atone.undo_log",
    "/*! DELETE FROM atone.undo_log */",
    "DROP DATABASE atone",
];

#[tokio::test]
async fn nobody_touches_the_undo_table() {
    let room = room("secrecy", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        sql::begin(&mut conn).await.unwrap();
        conn.query_drop("UPDATE t SET v = 11").await.unwrap();
        let mut wrong = Vec::new();
        for user in [atone_tests::servers::database::APP, SERVICE] {
            let mut other = sql::connect(room.world.proxy.port(kind), user, None).await.unwrap();
            for statement in STATEMENTS {
                let (code, message) = sql::error_of(&mut other, statement).await;
                if code == 0 {
                    wrong.push(format!("{} may say {statement}: {message}", user.0));
                }
                let prepared = other.exec_drop(*statement, ()).await;
                if prepared.is_ok() {
                    wrong.push(format!("{} may say, prepared, {statement}", user.0));
                }
            }
            let inside = match other.query_drop("USE atone").await {
                Ok(()) => sql::error_of(&mut other, "SELECT * FROM undo_log").await.0,
                Err(_) => 1044,
            };
            if inside == 0 {
                wrong.push(format!("{} may USE atone and read undo_log", user.0));
            }
        }
        assert!(wrong.is_empty(), "{kind:?}:\n  {}", wrong.join("\n  "));
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before);
    }
}

#[tokio::test]
async fn a_wrong_password_is_the_databases_to_refuse() {
    let room = room("password", TABLES).await;
    for kind in Kind::ALL {
        for user in [("app", "wrong"), ("app", "")] {
            let direct =
                sql::connect(room.world.database(kind).port(), user, None).await.err().unwrap().to_string();
            let proxied =
                sql::connect(room.world.proxy.port(kind), user, None).await.err().unwrap().to_string();
            assert_eq!(proxied, direct, "{kind:?} {user:?}");
            assert!(direct.contains("1045") || direct.contains("denied"), "{direct}");
        }
        let direct =
            sql::connect(room.world.database(kind).port(), ("app", "app-password"), Some("mysql")).await;
        let proxied = sql::connect(room.world.proxy.port(kind), ("app", "app-password"), Some("mysql")).await;
        assert_eq!(proxied.err().unwrap().to_string(), direct.err().unwrap().to_string(), "{kind:?}");
    }
}
