//! How a session is bound to a transaction, and what unbinds it.

use crate::case::room;
use atone_tests::mysql::{Raw, raw::Abilities, script::play};
use atone_tests::servers::{Kind, database::APP};
use atone_tests::sql;
use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Row};

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10);
";

#[tokio::test]
async fn the_functions_answer_one_row_with_their_column() {
    let room = room("functions", TABLES).await;
    for kind in Kind::ALL {
        let mut conn = room.app(kind).await;
        assert_eq!(sql::one(&mut conn, "SELECT atone_xid()").await.unwrap(), None);
        let row: Row = conn.query_first("SELECT atone_begin('named')").await.unwrap().unwrap();
        assert_eq!(row.columns_ref()[0].name_str(), "xid");
        let xid: String = row.get(0).unwrap();
        let row: Row = conn.query_first("select  ATONE_XID( ) AS `my xid` ;").await.unwrap().unwrap();
        assert_eq!(
            (row.columns_ref()[0].name_str().as_ref(), row.get::<String, _>(0).unwrap()),
            ("my xid", xid.clone())
        );
        let left: Row = conn.query_first("SELECT atone_leave()").await.unwrap().unwrap();
        assert_eq!(left.get::<String, _>(0).unwrap(), xid);
        assert_eq!(sql::one(&mut conn, "SELECT atone_xid()").await.unwrap(), None);
        let row: Row = conn.query_first(format!("SELECT atone_commit('{xid}') AS s")).await.unwrap().unwrap();
        assert_eq!(
            (row.columns_ref()[0].name_str().as_ref(), row.get::<String, _>(0).unwrap()),
            ("s", "committed".into())
        );
    }
}

#[tokio::test]
async fn a_second_xid_is_an_error() {
    let room = room("second_xid", TABLES).await;
    for kind in Kind::ALL {
        let (mut one, mut two) = (room.app(kind).await, room.app(kind).await);
        let (first, second) = (sql::begin(&mut one).await.unwrap(), sql::begin(&mut two).await.unwrap());
        assert_ne!(first, second);
        for statement in [format!("SELECT atone_join('{second}')"), "SELECT atone_begin()".to_owned()] {
            let (code, message) = sql::error_of(&mut one, &statement).await;
            assert!(code != 0 && message.starts_with("atone: "), "{statement}: {code} {message}");
        }
        sql::join(&mut one, &first).await.unwrap();
        assert_eq!(sql::one(&mut one, "SELECT atone_xid()").await.unwrap(), Some(first));
    }
}

#[tokio::test]
async fn a_reset_unbinds() {
    let room = room("reset", TABLES).await;
    for kind in Kind::ALL {
        for change_user in [false, true] {
            let mut conn = room.app(kind).await;
            let xid = sql::begin(&mut conn).await.unwrap();
            conn.query_drop("UPDATE t SET v = 20").await.unwrap();
            if change_user {
                let options = ChangeUserOpts::default()
                    .with_user(Some(APP.0.into()))
                    .with_pass(Some(APP.1.into()))
                    .with_db_name(Some(room.schema.clone()));
                conn.change_user(options).await.unwrap();
            } else {
                assert!(conn.reset().await.unwrap(), "COM_RESET_CONNECTION was sent");
            }
            assert_eq!(sql::one(&mut conn, "SELECT atone_xid()").await.unwrap(), None);
            // Bound to another transaction, the same session works on; the row is still the first one's.
            sql::begin(&mut conn).await.unwrap();
            let (code, message) = sql::error_of(&mut conn, "UPDATE t SET v = 21").await;
            assert!([1205, 1213].contains(&code), "{kind:?}: {code} {message}");
            sql::rollback(&mut conn).await.unwrap();
            let status = sql::one(&mut conn, &format!("SELECT atone_rollback('{xid}')")).await.unwrap();
            assert_eq!(status.as_deref(), Some("rolled_back"));
            conn.query_drop("UPDATE t SET v = 10").await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_variable_joins_and_leaves() {
    let room = room("variable", TABLES).await;
    for kind in Kind::ALL {
        let mut conn = room.app(kind).await;
        let xid = room.world.api().begin("by variable", 60_000).unwrap();
        for leave in ["SET @atone_xid = NULL", "SET @atone_xid = ''", "SET @atone_xid := null"] {
            conn.query_drop(format!("set @ATONE_XID = '{xid}'")).await.unwrap();
            assert_eq!(sql::one(&mut conn, "SELECT atone_xid()").await.unwrap().as_ref(), Some(&xid));
            conn.query_drop(leave).await.unwrap();
            assert_eq!(sql::one(&mut conn, "SELECT atone_xid()").await.unwrap(), None, "{leave}");
        }
        conn.query_drop("UPDATE t SET v = v + 1").await.unwrap();
        let (_, body) = room.world.api().transaction(&xid).unwrap();
        assert!(
            body["branches"].as_array().unwrap().is_empty(),
            "a local write after leaving is no branch: {body}"
        );
        assert_eq!(room.world.api().rollback(&xid).unwrap().0, 200);
    }
}

#[tokio::test]
async fn leaving_does_not_end_the_transaction() {
    let room = room("leave", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        let xid = sql::begin(&mut conn).await.unwrap();
        conn.query_drop("UPDATE t SET v = 20").await.unwrap();
        sql::one(&mut conn, "SELECT atone_leave()").await.unwrap();
        assert_eq!(room.world.api().status(&xid).unwrap(), "active");
        sql::join(&mut conn, &xid).await.unwrap();
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before);
    }
}

#[tokio::test]
async fn functions_inside_a_local_transaction() {
    let room = room("in_local", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        conn.query_drop("BEGIN").await.unwrap();
        conn.query_drop("UPDATE t SET v = 55").await.unwrap();
        // A write is already there without an image: to bind now would leave it unprotected.
        let (code, message) = sql::error_of(&mut conn, "SELECT atone_begin()").await;
        assert!(code != 0 && message.starts_with("atone: "), "{kind:?}: {code} {message}");
        conn.query_drop("ROLLBACK").await.unwrap();
        assert_eq!(room.dump(kind).await, before);
        // To end the global transaction with a local one still open must not lose or leak that one.
        let xid = sql::begin(&mut conn).await.unwrap();
        conn.query_drop("BEGIN").await.unwrap();
        conn.query_drop("UPDATE t SET v = 56").await.unwrap();
        let answer = sql::one(&mut conn, "SELECT atone_commit()").await;
        drop(conn);
        let _ = room.world.api().rollback(&xid);
        let status = room.world.api().status(&xid).unwrap_or_else(|_| "unknown".into());
        let value: Option<i32> = room.direct(kind).await.query_first("SELECT v FROM t").await.unwrap();
        let expected = if status == "committed" { 56 } else { 10 };
        assert_eq!(value, Some(expected), "{kind:?}: {status}, answered {answer:?}");
        room.direct(kind).await.query_drop("UPDATE t SET v = 10").await.unwrap();
    }
}

/// What a server does with the option when it forgets the session is its own matter: MySQL and MariaDB leave it.
#[tokio::test]
async fn several_statements_turned_off_stay_off_behind_a_reset() {
    let room = room("several_off", "CREATE TABLE t (id INT PRIMARY KEY, v INT);\n").await;
    let user = format!("user app app-password {}", room.schema);
    let several = "Q SELECT 1; SELECT 2";
    let inside = "Q SELECT atone_begin()\nQ INSERT INTO t VALUES (1, 1)\nQ SELECT atone_rollback()";
    for kind in Kind::ALL {
        for (reset, option) in [("reset", 1), (&*user, 1), ("reset", 0), (&*user, 0)] {
            let place = format!("{kind:?}, {reset}, {option}");
            let said = async |port, script: &str| {
                let connect = async || Raw::connect(port, APP, &room.schema, Abilities::New).await;
                play(script, connect).await.unwrap()
            };
            let direct = room.world.database(kind).port();
            let direct = said(direct, &format!("opt {option}\n{reset}\n{several}")).await;
            let proxied = room.world.proxy.port(kind);
            let proxied = said(proxied, &format!("opt {option}\n{reset}\n{inside}\n{several}")).await;
            let written = proxied.iter().position(|line| line.contains("INSERT")).unwrap();
            assert!(proxied[written + 1].starts_with("  1 \\x00\\x01"), "{place}: {}", proxied[written + 1]);
            let answer =
                |log: &[String]| log[log.iter().position(|line| line.contains(several)).unwrap()..].to_vec();
            assert_eq!(answer(&proxied), answer(&direct), "{place}: the left is through the proxy");
        }
    }
}
