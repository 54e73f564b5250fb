//! Ways in which a write could slip past the images, or the undo hit the wrong row. Each was found by a reader of the
//! code and passed before it was closed.

use crate::case::room;
use atone_tests::mysql::{Raw, answer::Answer, raw::Abilities};
use atone_tests::{
    servers::{Kind, database::APP},
    sql,
    world::Room,
};
use mysql_async::{Conn, Opts, params::Params, prelude::Queryable};

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10), (2, 10), (3, 10);
CREATE TABLE numbered (id INT AUTO_INCREMENT PRIMARY KEY, v INT);
INSERT INTO numbered VALUES (5, 1);
";

/// Runs statements in a global transaction, rolls it back, and wants everything as it was. Errors are allowed, but only
/// of the kind given.
async fn undone(room: &Room<'_>, kind: Kind, statements: &[&str], allowed: &[u16]) {
    let before = room.dump(kind).await;
    let mut app = room.app(kind).await;
    sql::begin(&mut app).await.unwrap();
    for statement in statements {
        let code = sql::errno(&app.query_drop(*statement).await);
        assert!(code == 0 || allowed.contains(&code), "{kind:?} {statement}: {code}");
    }
    app.query_drop("ROLLBACK").await.unwrap();
    let status = sql::rollback(&mut app).await.unwrap();
    assert_eq!(status, "rolled_back", "{kind:?} {statements:?}");
    assert_eq!(room.dump(kind).await, before, "{kind:?} {statements:?}");
}

#[tokio::test]
async fn turning_on_what_is_on_commits_nothing() {
    let room = room("autocommit_on", TABLES).await;
    for kind in Kind::ALL {
        let mut app = room.app(kind).await;
        sql::begin(&mut app).await.unwrap();
        for statement in ["BEGIN", "UPDATE t SET v = 11 WHERE id = 1", "SET autocommit = 1", "ROLLBACK"] {
            app.query_drop(statement).await.unwrap();
        }
        assert_eq!(sql::commit(&mut app).await.unwrap(), "committed");
        let v: Option<i32> = app.query_first("SELECT v FROM t WHERE id = 1").await.unwrap();
        assert_eq!(v, Some(10), "{kind:?}");
        // Turning it on where it is off does commit.
        app.query_drop("SET autocommit = 0").await.unwrap();
        sql::begin(&mut app).await.unwrap();
        app.query_drop("UPDATE t SET v = 12 WHERE id = 1").await.unwrap();
        app.query_drop("SET autocommit = 1").await.unwrap();
        assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back");
        let v: Option<i32> = app.query_first("SELECT v FROM t WHERE id = 1").await.unwrap();
        assert_eq!(v, Some(10), "{kind:?}");
    }
}

#[tokio::test]
async fn a_character_set_cannot_hide_a_statement() {
    let room = room("hidden_statement", TABLES).await;
    for kind in Kind::ALL {
        let mut app = room.app(kind).await;
        app.query_drop("SET NAMES gbk").await.unwrap();
        sql::begin(&mut app).await.unwrap();
        let hidden: &[u8] = b"SELECT '\xbf\x5c'; UPDATE t SET v=99 -- '";
        let result = app.query_drop(hidden.to_vec()).await;
        assert_eq!(sql::errno(&result), 1235, "{kind:?}");
        sql::rollback(&mut app).await.unwrap();
        let v: Option<i32> = app.query_first("SELECT MAX(v) FROM t").await.unwrap();
        assert_eq!(v, Some(10), "{kind:?}");
    }
}

#[tokio::test]
async fn a_prepared_statement_keeps_the_schema_it_was_prepared_in() {
    let (here, there) = (room("prepared_here", TABLES).await, room("prepared_there", TABLES).await);
    for kind in Kind::ALL {
        let before = (here.dump(kind).await, there.dump(kind).await);
        let mut app = here.app(kind).await;
        let statement = app.prep("UPDATE t SET v = ? WHERE id = 1").await.unwrap();
        app.query_drop(format!("USE {}", there.schema)).await.unwrap();
        sql::begin(&mut app).await.unwrap();
        let result = app.exec_drop(&statement, (77,)).await;
        assert_eq!(sql::errno(&result), 1235, "{kind:?}");
        assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back");
        assert_eq!((here.dump(kind).await, there.dump(kind).await), before, "{kind:?}");
    }
}

#[tokio::test]
async fn invisible_columns_do_not_shift_keys() {
    let room = room(
        "invisible",
        "CREATE TABLE i (x INT INVISIBLE DEFAULT 5, id INT PRIMARY KEY, v INT);
INSERT INTO i (id, v) VALUES (1, 1);
",
    )
    .await;
    for kind in Kind::ALL {
        undone(&room, kind, &["INSERT INTO i VALUES (7, 1)"], &[]).await;
    }
}

#[tokio::test]
async fn a_comment_behind_a_write_brings_no_second_answer() {
    let room = room("second_answer", TABLES).await;
    for kind in Kind::ALL {
        let mut app = room.app(kind).await;
        sql::begin(&mut app).await.unwrap();
        for write in [
            "UPDATE t SET v = 2 WHERE id = 1; -- done",
            "UPDATE t SET v = 3 WHERE id = 1;;",
            "BEGIN; -- x",
            "COMMIT; # y",
        ] {
            app.query_drop(write).await.unwrap();
            let answer: Option<i32> = app.query_first("SELECT 22").await.unwrap();
            assert_eq!(answer, Some(22), "{kind:?} after {write}");
        }
        assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back");
    }
}

#[tokio::test]
async fn nothing_that_writes_hides_in_a_read() {
    let room = room("hidden_writers", "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10);
CREATE FUNCTION f() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN UPDATE t SET v = v + 1; RETURN 1; END;
CREATE FUNCTION `now`() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN UPDATE t SET v = v + 1; RETURN 1; END;
CREATE FUNCTION 2fa() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN UPDATE t SET v = v + 1; RETURN 1; END;
CREATE VIEW w AS SELECT f() AS x;
CREATE VIEW ww AS SELECT * FROM w;
").await;
    for kind in Kind::ALL {
        let reads = [
            "SELECT f()",
            "SELECT `now`()",
            "SELECT 2fa()",
            "SELECT * FROM w",
            "SELECT * FROM ww",
            "DO f()",
            "SET @x = f()",
        ];
        for read in reads {
            let mut app = room.app(kind).await;
            sql::begin(&mut app).await.unwrap();
            let (code, message) = sql::error_of(&mut app, read).await;
            assert_eq!(code, 1235, "{kind:?} {read}: {message}");
            sql::rollback(&mut app).await.unwrap();
        }
        let mut app = room.app(kind).await;
        let v: Option<i32> = app.query_first("SELECT v FROM t").await.unwrap();
        assert_eq!(v, Some(10), "{kind:?}");
    }
}

#[tokio::test]
async fn the_undo_deletes_nobody_elses_rows() {
    let room = room(
        "others_children",
        "CREATE TABLE parent (id INT PRIMARY KEY);
CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE);
",
    )
    .await;
    for kind in Kind::ALL {
        let (mut app, mut other) = (room.app(kind).await, room.direct(kind).await);
        let xid = sql::begin(&mut app).await.unwrap();
        for statement in
            ["BEGIN", "INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (10, 1)", "COMMIT"]
        {
            app.query_drop(statement).await.unwrap();
        }
        other.query_drop("INSERT INTO child VALUES (11, 1)").await.unwrap();
        assert_eq!(sql::rollback(&mut app).await.unwrap(), "blocked", "{kind:?}");
        let children: Vec<i32> = other.query("SELECT id FROM child ORDER BY id").await.unwrap();
        assert_eq!(children, [10, 11], "{kind:?}");
        // A person removes it, and the rollback goes on.
        other.query_drop("DELETE FROM child WHERE id = 11").await.unwrap();
        let status = sql::one(&mut app, &format!("SELECT atone_rollback('{xid}')")).await.unwrap();
        assert_eq!(status.as_deref(), Some("rolled_back"), "{kind:?}");
    }
}

#[tokio::test]
async fn names_values_and_savepoints_are_compared_as_the_server_does() {
    let room = room("as_the_server", TABLES).await;
    for kind in Kind::ALL {
        let savepoints = [
            "BEGIN",
            "SAVEPOINT e",
            "UPDATE t SET v = 11 WHERE id = 1",
            "SAVEPOINT é",
            "ROLLBACK TO e",
            "COMMIT",
        ];
        undone(&room, kind, &savepoints, &[1235]).await;
        undone(
            &room,
            kind,
            &["SET sql_mode = 'ANSI_QUOTES'", "BEGIN", "UPDATE t SET v = 11", "SET \"autocommit\" = 1"],
            &[],
        )
        .await;
        undone(&room, kind, &["INSERT INTO numbered VALUES (0e0, 9)"], &[1235]).await;
        undone(&room, kind, &["START TRANSACTION foo"], &[1235, 1064]).await;
    }
}

#[tokio::test]
async fn a_binding_is_never_made_by_the_way() {
    let room = room("by_the_way", TABLES).await;
    for kind in Kind::ALL {
        let (mut app, mut other) = (room.app(kind).await, room.app(kind).await);
        let xid = sql::begin(&mut other).await.unwrap();
        for statement in [
            format!("SET @atone_xid='{xid}'; UPDATE t SET v = 2"),
            format!("SELECT @atone_xid := '{xid}'"),
            format!("SELECT '{xid}' INTO @atone_xid"),
        ] {
            let (code, message) = sql::error_of(&mut app, &statement).await;
            assert!(code != 0 && message.starts_with("atone: "), "{kind:?} {statement}: {code} {message}");
        }
        let v: Option<i32> = app.query_first("SELECT MAX(v) FROM t").await.unwrap();
        assert_eq!(v, Some(10), "{kind:?}");
        sql::rollback(&mut other).await.unwrap();
    }
}

/// A connection whose affected rows are as the server's other languages say them.
async fn in_language(room: &Room<'_>, kind: Kind, language: &str) -> Conn {
    let mut app = room.app(kind).await;
    app.query_drop(format!("SET lc_messages = '{language}'")).await.unwrap();
    app
}

#[tokio::test]
async fn an_update_is_counted_in_any_language() {
    let room = room("languages", TABLES).await;
    for kind in Kind::ALL {
        for language in ["de_DE", "es_ES", "en_US"] {
            let mut app = in_language(&room, kind, language).await;
            sql::begin(&mut app).await.unwrap();
            app.query_drop("UPDATE t SET v = 12 WHERE id < 3").await.unwrap();
            assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back", "{kind:?} {language}");
        }
    }
}

#[tokio::test]
async fn change_user_brings_back_autocommit() {
    let room = room("change_user", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let mut app = room.app(kind).await;
        app.query_drop("SET autocommit = 0").await.unwrap();
        app.query_drop("COMMIT").await.unwrap();
        let opts = Opts::from(sql::options(room.world.proxy.port(kind), APP, Some(&room.schema)));
        app.change_user(
            mysql_async::ChangeUserOpts::default()
                .with_user(opts.user().map(str::to_owned))
                .with_pass(opts.pass().map(str::to_owned))
                .with_db_name(Some(room.schema.clone())),
        )
        .await
        .unwrap();
        let xid: Option<String> = app.exec_first("SELECT atone_begin()", Params::Empty).await.unwrap();
        app.query_drop("UPDATE t SET v = 33 WHERE id = 1").await.unwrap();
        assert_eq!(sql::rollback(&mut app).await.unwrap(), "rolled_back", "{kind:?} {xid:?}");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
    }
}

#[tokio::test]
async fn a_trigger_that_comes_between_plan_and_commit_is_seen() {
    let room = room(
        "late_trigger",
        "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10);
CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, v INT);
",
    )
    .await;
    for kind in Kind::ALL {
        let mut other = room.service(kind).await.unwrap();
        other.query_drop(format!("USE {}", room.schema)).await.unwrap();
        let mut app = room.app(kind).await;
        let xid = sql::begin(&mut app).await.unwrap();
        // The catalogue is asked now, and remembered for the statement after the trigger has come.
        app.query_drop("UPDATE t SET v = 11").await.unwrap();
        other
            .query_drop(
                "CREATE TRIGGER late AFTER UPDATE ON t FOR EACH ROW INSERT INTO log (v) VALUES (NEW.v)",
            )
            .await
            .unwrap();
        let (code, message) = sql::error_of(&mut app, "UPDATE t SET v = 12").await;
        assert!([1213, 1235].contains(&code), "{kind:?}: {code} {message}");
        let logged: Option<i64> = other.query_first("SELECT COUNT(*) FROM log").await.unwrap();
        assert_eq!(logged, Some(0), "{kind:?}");
        // Undoing the first would fire it: a person must look.
        assert_eq!(sql::rollback(&mut app).await.unwrap(), "blocked", "{kind:?}");
        other.query_drop("DROP TRIGGER late").await.unwrap();
        let status = sql::one(&mut app, &format!("SELECT atone_rollback('{xid}')")).await.unwrap();
        assert_eq!(status.as_deref(), Some("rolled_back"), "{kind:?}");
    }
}

#[tokio::test]
async fn ten_thousand_rows_are_counted_and_come_back() {
    let digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 \
        UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
    let fill = format!(
        "CREATE TABLE big (id INT PRIMARY KEY, v INT);\nINSERT INTO big SELECT a.d+10*b.d+100*c.d+1000*e.d, 1 FROM \
         {digits} a, {digits} b, {digits} c, {digits} e;\nINSERT INTO big SELECT id + 10000, 1 FROM big WHERE id < 500;\n"
    );
    let room = room("ten_thousand", &fill).await;
    for kind in Kind::ALL {
        undone(&room, kind, &["UPDATE big SET v = v + 1"], &[]).await;
    }
}

#[tokio::test]
async fn a_row_near_the_packet_limit_comes_back_or_is_refused() {
    let room = room(
        "large_row",
        "CREATE TABLE l (id INT PRIMARY KEY, v INT, b LONGBLOB);
INSERT INTO l VALUES (1, 1, REPEAT('x', 9 * 1024 * 1024));
",
    )
    .await;
    for kind in Kind::ALL {
        undone(&room, kind, &["UPDATE l SET v = 2"], &[1235]).await;
        undone(&room, kind, &["DELETE FROM l"], &[1235]).await;
    }
}

#[tokio::test]
async fn locked_tables_are_not_unlocked_by_the_way() {
    let room = room("locked_tables", TABLES).await;
    for kind in Kind::ALL {
        let mut app = room.app(kind).await;
        app.query_drop("LOCK TABLES t WRITE").await.unwrap();
        assert_eq!(sql::error_of(&mut app, "SELECT atone_begin()").await.0, 1568, "{kind:?}");
        // Still in force: another table cannot be read.
        assert_eq!(sql::error_of(&mut app, "SELECT * FROM numbered").await.0, 1100, "{kind:?}");
        app.query_drop("UNLOCK TABLES").await.unwrap();
        sql::begin(&mut app).await.unwrap();
        sql::rollback(&mut app).await.unwrap();
    }
}

#[tokio::test]
async fn asking_for_the_xid_revives_no_local_transaction() {
    let room = room("dead_xid", TABLES).await;
    for kind in Kind::ALL {
        let (mut app, mut other) = (room.app(kind).await, room.app(kind).await);
        let xid = sql::begin(&mut app).await.unwrap();
        app.query_drop("UPDATE t SET v = 11 WHERE id = 2").await.unwrap();
        app.query_drop("BEGIN").await.unwrap();
        app.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        // The local transaction is ended behind the application's back.
        sql::one(&mut other, &format!("SELECT atone_rollback('{xid}')")).await.unwrap();
        assert_eq!(sql::one(&mut app, "SELECT atone_xid()").await.unwrap(), Some(xid), "{kind:?}");
        assert_eq!(sql::error_of(&mut app, "UPDATE t SET v = 12 WHERE id = 3").await.0, 1792, "{kind:?}");
        assert_eq!(sql::error_of(&mut app, "COMMIT").await.0, 1792, "{kind:?}");
        let all: Vec<i32> = other.query("SELECT v FROM t ORDER BY id").await.unwrap();
        assert_eq!(all, [10, 10, 10], "{kind:?}");
    }
}

#[tokio::test]
async fn a_temporary_table_made_by_a_function_hides_nothing() {
    let room = room("temporary_by_function", "CREATE TABLE t (id INT PRIMARY KEY, v INT);
INSERT INTO t VALUES (1, 10);
CREATE FUNCTION maketemp() RETURNS INT DETERMINISTIC BEGIN CREATE TEMPORARY TABLE t (id INT PRIMARY KEY, v INT); RETURN 1; END;
").await;
    for kind in Kind::ALL {
        let mut app = room.app(kind).await;
        app.query_drop("SELECT maketemp()").await.unwrap();
        sql::begin(&mut app).await.unwrap();
        let (code, message) = sql::error_of(&mut app, "INSERT INTO t VALUES (7, 7)").await;
        assert_eq!(code, 1235, "{kind:?}: {message}");
        sql::rollback(&mut app).await.unwrap();
    }
}

/// The database has not heard of it, and goes on with the local transaction.
#[tokio::test]
async fn a_change_of_user_that_the_proxy_refuses_changes_nothing() {
    let room = room("change_user_refused", TABLES).await;
    let port = room.world.proxy.port(Kind::MySql);
    let mut raw = Raw::connect(port, APP, &room.schema, Abilities::New).await.unwrap();
    let before = room.dump(Kind::MySql).await;
    let xid = raw.one("SELECT atone_begin()").await.unwrap();
    let mut say = async |payload: &[u8]| {
        raw.command(payload).await.unwrap();
        raw.answer(Answer::One).await.unwrap().remove(0)
    };
    let text = |text: &str| [b"\x03\0\x01", text.as_bytes()].concat();
    assert_eq!(say(&text("BEGIN")).await.kind(), 0);
    assert_eq!(say(&text("DELETE FROM t")).await.kind(), 0);
    // A password would be asked for whose form the database's leg, which has TLS, does not have in common with this one.
    let refused = say(b"\x11app\0\0\0\x2d\0sha256_password\0").await.to_string();
    assert!(refused.contains("bare wire"), "{refused}");
    assert_eq!(say(&text("COMMIT")).await.kind(), 0);
    assert_ne!(room.dump(Kind::MySql).await, before);
    room.world.api().rollback(&xid).unwrap();
    assert_eq!(room.calm(&xid).await, "rolled_back");
    assert_eq!(room.dump(Kind::MySql).await, before, "what was written was not captured");
}
