//! The functions of Atone as a session sees them, and the setting that does the same.

use crate::case::{TABLE, error_in, error_of, room};
use atone_tests::postgres::message::line;
use atone_tests::servers::Kind;

#[tokio::test]
async fn one_row_and_one_column() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "session_rows", TABLE).await;
        let mut raw = room.raw(true).await.unwrap();
        let answer = raw.query("SELECT atone_xid()").await.unwrap();
        assert_eq!(line(&answer), "T xid(0.0 25 -1 -1 0); D NULL; C SELECT 1\\x00; Z I; ", "{kind:?}");
        let answer = raw.query("select ATONE_BEGIN ( 'name' , 30000 ) as \"My Xid\" ;").await.unwrap();
        let xid = answer[1].texts()[0].clone();
        assert_eq!(
            line(&answer),
            format!("T My Xid(0.0 25 -1 -1 0); D {xid}; C SELECT 1\\x00; Z I; "),
            "{kind:?}"
        );
        let (_, body) = room.world.api().transaction(&xid).unwrap();
        assert_eq!((&body["name"], &body["status"]), (&"name".into(), &"active".into()));
        for format in [0, 1] {
            let answer = raw.prepared("SELECT atone_xid()", format).await.unwrap();
            let expected = format!("1 ; t; T xid(0.0 25 -1 -1 0); Z I; 2 ; D {xid}; C SELECT 1\\x00; Z I; ");
            assert_eq!(line(&answer), expected, "{kind:?}");
        }
        assert_eq!(raw.one("SELECT atone_leave() AS x").await.unwrap(), xid, "{kind:?}");
        assert_eq!(raw.one("SELECT atone_xid()").await.unwrap(), "NULL", "{kind:?}");
        assert_eq!(raw.one(&format!("SELECT atone_join('{xid}')")).await.unwrap(), xid, "{kind:?}");
        let answer = raw.query("SELECT atone_rollback()").await.unwrap();
        assert_eq!(
            line(&answer),
            "T status(0.0 25 -1 -1 0); D rolled_back; C SELECT 1\\x00; Z I; ",
            "{kind:?}"
        );
        assert_eq!(raw.one("SELECT atone_xid()").await.unwrap(), "NULL", "{kind:?}");
    }
}

#[tokio::test]
async fn the_setting_joins_and_leaves() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "session_set", TABLE).await;
        let before = room.dump().await;
        let (mut first, mut second) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
        let xid = first.one("SELECT atone_begin()").await.unwrap();
        for (set, reset) in [
            (format!("SET atone.xid = '{xid}'"), "RESET atone.xid"),
            (format!("SET atone.xid TO '{xid}'"), "SET atone.xid = ''"),
            (format!("SET SESSION atone.xid = '{xid}'"), "SET atone.xid TO DEFAULT"),
        ] {
            let answer = second.query(&set).await.unwrap();
            assert_eq!(line(&answer), "C SET\\x00; Z I; ", "{kind:?}: {set}");
            assert_eq!(second.one("SELECT atone_xid()").await.unwrap(), xid, "{kind:?}: {set}");
            assert_eq!(
                error_of(&mut second, "UPDATE t SET v = v + 1").await,
                Default::default(),
                "{kind:?}: {set}"
            );
            assert_eq!(error_of(&mut second, reset).await, Default::default(), "{kind:?}: {reset}");
            assert_eq!(second.one("SELECT atone_xid()").await.unwrap(), "NULL", "{kind:?}: {reset}");
        }
        assert_eq!(error_of(&mut second, "SET atone.xid = 'nonsense'").await.0, "55000", "{kind:?}");
        assert_eq!(first.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.dump().await, before, "{kind:?}");
    }
}

#[tokio::test]
async fn misuse() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "session_misuse", TABLE).await;
        let mut raw = room.raw(true).await.unwrap();
        for statement in [
            "SELECT atone_commit()",
            "SELECT atone_rollback()",
            "SELECT atone_join('nonsense')",
            "SELECT atone_join()",
            "SELECT atone_begin(1, 2, 3)",
            "SELECT atone_begin('x', -1)",
            "SELECT atone_begin('x', 'y')",
            "SELECT atone_begin() FROM t",
            "SELECT 1, atone_begin()",
            "SELECT atone_nonsense()",
        ] {
            let (state, message) = error_of(&mut raw, statement).await;
            // What is not ours to answer is a function that the server does not know.
            assert!(["55000", "42883"].contains(&state.as_str()), "{kind:?}: {statement}: {state} {message}");
            assert_eq!(raw.one("SELECT atone_xid()").await.unwrap(), "NULL", "{kind:?}: {statement}");
        }
        raw.query("BEGIN").await.unwrap();
        raw.query("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
        for statement in ["SELECT atone_begin()", "SELECT atone_join('01M7YPFQ5J46B9MY962QP1RJMY')"] {
            let mut other = room.raw(true).await.unwrap();
            other.query("BEGIN; SELECT 1").await.unwrap();
            let (state, message) = error_of(&mut other, statement).await;
            assert_eq!(state, "55000", "{kind:?}: {statement} inside an open transaction: {message}");
        }
        raw.query("ROLLBACK").await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        assert_eq!(error_of(&mut raw, "SELECT atone_begin()").await.0, "55000", "{kind:?}: begin twice");
        raw.query("BEGIN").await.unwrap();
        raw.query("UPDATE t SET v = 1 WHERE id = 1").await.unwrap();
        for statement in ["SELECT atone_commit()", "SELECT atone_leave()", "RESET atone.xid"] {
            let mut other = room.raw(true).await.unwrap();
            other.one(&format!("SELECT atone_join('{xid}')")).await.unwrap();
            other.query("BEGIN; UPDATE t SET v = 1 WHERE id = 3").await.unwrap();
            other.query("UPDATE t SET v = 2 WHERE id = 3").await.unwrap();
            let (state, message) = error_of(&mut other, statement).await;
            assert_eq!(state, "55000", "{kind:?}: {statement} in an open local transaction: {message}");
        }
        raw.query("ROLLBACK").await.unwrap();
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
    }
}

#[tokio::test]
async fn a_transaction_that_another_session_ended() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "session_ended", TABLE).await;
        let before = room.dump().await;
        for (end, local) in [("rollback", false), ("rollback", true), ("commit", false)] {
            let (mut raw, mut other) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
            let xid = raw.one("SELECT atone_begin()").await.unwrap();
            if local {
                raw.query("BEGIN").await.unwrap();
            }
            raw.query("UPDATE t SET v = v WHERE id = 1").await.unwrap();
            let status = other.one(&format!("SELECT atone_{end}('{xid}')")).await.unwrap();
            assert!(["committed", "rolled_back"].contains(&status.as_str()), "{kind:?}: {status}");
            // A local transaction that was open may be told at its COMMIT.
            let mut answer = raw.query("UPDATE t SET v = 77 WHERE id = 2").await.unwrap();
            answer.extend(raw.query("COMMIT").await.unwrap());
            let (state, message) = error_in(&answer);
            assert!(
                ["25006", "40001"].contains(&state.as_str()),
                "{kind:?}, {end}, local {local}: {state} {message}"
            );
            assert_eq!(
                error_of(&mut raw, "UPDATE t SET v = 77 WHERE id = 2").await.0,
                "25006",
                "{kind:?}, {end}"
            );
            assert_eq!(room.dump().await, before, "{kind:?}, {end}, local {local}");
            raw.one("SELECT atone_leave()").await.unwrap();
            assert_eq!(error_of(&mut raw, "UPDATE t SET v = 20 WHERE id = 2").await, Default::default());
            room.calm(&xid).await;
        }
        let (mut raw, mut other) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
        let xid = raw.one("SELECT atone_begin('soon', 300)").await.unwrap();
        room.calm(&xid).await;
        assert_eq!(
            error_of(&mut raw, "UPDATE t SET v = 77 WHERE id = 2").await.0,
            "25006",
            "{kind:?}: timed out"
        );
        let (state, message) = error_of(&mut raw, "SELECT atone_commit()").await;
        assert_eq!(state, "25006", "{kind:?}: {message}");
        assert_eq!(error_of(&mut other, &format!("SELECT atone_join('{xid}')")).await.0, "25006", "{kind:?}");
        let unknown = "SELECT atone_join('01M7YPFQ5J46B9MY962QP1RJMY')";
        assert_eq!(error_of(&mut other, unknown).await.0, "25006", "{kind:?}");
    }
}

#[tokio::test]
async fn a_reset_session_is_not_bound() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "session_reset", TABLE).await;
        let mut raw = room.raw(true).await.unwrap();
        for reset in ["DISCARD ALL", "RESET ALL"] {
            let xid = raw.one("SELECT atone_begin()").await.unwrap();
            raw.query(&format!("SET search_path = {}", room.schema)).await.unwrap();
            assert_eq!(error_of(&mut raw, "UPDATE t SET v = v + 1 WHERE id = 1").await, Default::default());
            assert_eq!(error_of(&mut raw, reset).await, Default::default(), "{kind:?}: {reset}");
            assert_eq!(raw.one("SELECT atone_xid()").await.unwrap(), "NULL", "{kind:?}: {reset}");
            let status = raw.one(&format!("SELECT atone_rollback('{xid}')")).await.unwrap();
            assert_eq!(status, "rolled_back", "{kind:?}: {reset}");
        }
    }
}

/// The settings of the client are its own, whatever the proxy does in between.
#[tokio::test]
async fn what_the_client_can_ask_about_is_as_if_it_were_alone() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "session_alone", TABLE).await;
        let mut told = Vec::new();
        for inside in [false, true] {
            let mut raw = room.raw(true).await.unwrap();
            if inside {
                raw.one("SELECT atone_begin()").await.unwrap();
            }
            let mut log = String::new();
            for statement in [
                "SELECT count(*) FROM pg_cursors WHERE is_holdable",
                "UPDATE t SET v = v RETURNING v",
                "SELECT name, setting FROM pg_settings WHERE source = 'session' ORDER BY 1",
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
                "SHOW search_path",
                "BEGIN",
                "SHOW transaction_isolation",
                "COMMIT",
            ] {
                log += &format!("{statement}: {}\n", line(&raw.query(statement).await.unwrap()));
            }
            told.push(log);
            if inside {
                raw.one("SELECT atone_rollback()").await.unwrap();
            }
        }
        assert_eq!(told[1], told[0], "{kind:?}: the left is inside a global transaction");
    }
}

#[tokio::test]
async fn ours_in_a_pipeline() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "session_pipeline", TABLE).await;
        let before = room.dump().await;
        let app = room.app().await;
        let begin = app.prepare("SELECT atone_begin($1)").await.unwrap();
        let end = app.prepare("SELECT atone_rollback()").await.unwrap();
        let update = app.prepare("UPDATE t SET v = v + $1").await.unwrap();
        // The driver sends all three before the first is answered.
        let (began, updated, ended) = futures_util::future::join3(
            app.query_one(&begin, &[&"pipeline"]),
            app.execute(&update, &[&1_i32]),
            app.query_one(&end, &[]),
        )
        .await;
        let xid: String = began.unwrap().get(0);
        assert_eq!(
            (updated.unwrap(), ended.unwrap().get::<_, &str>("status")),
            (3, "rolled_back"),
            "{kind:?}"
        );
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
        let mut raw = room.raw(true).await.unwrap();
        let answer = raw.query("SELECT 1; SELECT atone_begin()").await.unwrap();
        assert!(!error_in(&answer).0.is_empty(), "{kind:?}: ours stands alone: {answer:?}");
        assert_eq!(raw.one("SELECT atone_xid()").await.unwrap(), "NULL", "{kind:?}");
    }
}

/// A client may throw away what is prepared, which holds the proxy's own as well.
#[tokio::test]
async fn what_is_thrown_away_inside() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "session_thrown", TABLE).await;
        let before = room.dump().await;
        let mut raw = room.raw(true).await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        for statement in [
            "UPDATE t SET v = v + 1",
            "DEALLOCATE ALL",
            "UPDATE t SET v = v + 1",
            "BEGIN",
            "UPDATE t SET v = v + 1 WHERE id = 1",
            "DEALLOCATE ALL",
            "CLOSE ALL",
            "DISCARD PLANS",
            "UPDATE t SET v = v + 1 WHERE id = 2",
            "COMMIT",
            "SET ROLE app",
            "UPDATE t SET v = v + 1",
        ] {
            assert_eq!(error_of(&mut raw, statement).await, Default::default(), "{kind:?}: {statement}");
        }
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}

/// What drivers' pools say before they lend a connection to somebody else.
#[tokio::test]
async fn what_pools_say() {
    for kind in Kind::POSTGRES {
        for reset in [
            "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
            "DISCARD ALL",
            "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; SELECT pg_advisory_unlock_all()",
        ] {
            for local in [false, true] {
                let room = room(kind, "session_pools", TABLE).await;
                let before = room.dump().await;
                let mut raw = room.raw(true).await.unwrap();
                let xid = raw.one("SELECT atone_begin()").await.unwrap();
                if local {
                    raw.query("BEGIN").await.unwrap();
                }
                let told = error_of(&mut raw, "UPDATE t SET v = v + 1").await;
                assert_eq!(told, Default::default(), "{kind:?}");
                if local {
                    raw.query("COMMIT").await.unwrap();
                }
                let told = error_of(&mut raw, reset).await;
                assert_eq!(told, Default::default(), "{kind:?}, local {local}: {reset}");
                assert_eq!(raw.one("SELECT atone_xid()").await.unwrap(), "NULL", "{kind:?}: {reset}");
                let status = raw.one(&format!("SELECT atone_rollback('{xid}')")).await.unwrap();
                assert_eq!(
                    (status.as_str(), room.dump().await),
                    ("rolled_back", before),
                    "{kind:?}: {reset}"
                );
            }
        }
    }
}

/// What is written outside is not counted for the next global transaction.
#[tokio::test]
async fn counts_end_with_the_binding() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "session_counts", &format!("{TABLE}; CREATE TABLE nokey (a int)")).await;
        let mut raw = room.raw(true).await.unwrap();
        raw.one("SELECT atone_begin()").await.unwrap();
        raw.query("BEGIN").await.unwrap();
        raw.query("SELECT * FROM t").await.unwrap();
        raw.one("SELECT atone_leave()").await.unwrap();
        raw.query("INSERT INTO nokey VALUES (1); COMMIT").await.unwrap();
        let before = room.dump().await;
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        assert_eq!(error_of(&mut raw, "UPDATE t SET v = 5").await, Default::default(), "{kind:?}");
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.dump().await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}
