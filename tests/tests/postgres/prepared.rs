//! Prepared statements with parameters, in text and in binary, inside a global transaction.

use crate::case::{TABLE, room};
use atone_tests::postgres::script::play;
use atone_tests::postgres::sql;
use atone_tests::servers::Kind;

/// Plays a session directly, and inside a global transaction that is rolled back and inside one that commits; the
/// answers are the same, and so are the tables.
async fn check(name: &str, tables: &str, script: &str) {
    for kind in Kind::POSTGRES {
        let direct = room(kind, name, tables).await;
        let expected = play(script, async || direct.raw(false).await).await.unwrap();
        let right = direct.dump().await;
        for end in ["rollback", "commit"] {
            let room = room(kind, name, tables).await;
            let before = room.dump().await;
            assert_ne!(before, right, "{name} on {kind:?}: the case changes nothing");
            let xid = room.world.api().begin(name, 60_000).unwrap();
            let got = play(script, async || {
                let mut raw = room.raw(true).await?;
                raw.one(&format!("SELECT atone_join('{xid}')")).await?;
                Ok(raw)
            });
            let got = got.await.unwrap_or_else(|error| panic!("{name} on {kind:?}: {error}"));
            for (at, (got_line, expected_line)) in got.iter().zip(&expected).enumerate() {
                let before = got[at.saturating_sub(4)..at].join("\n");
                assert_eq!(
                    got_line, expected_line,
                    "{name} on {kind:?}: the left is inside, after\n{before}\n"
                );
            }
            assert_eq!(got.len(), expected.len(), "{name} on {kind:?}");
            assert_eq!(room.dump().await, right, "{name} on {kind:?}: phase one");
            let mut other = room.raw(true).await.unwrap();
            let status = other.one(&format!("SELECT atone_{end}('{xid}')")).await.unwrap();
            let wanted = if status == "committed" { &right } else { &before };
            assert_eq!(&room.dump().await, wanted, "{name} on {kind:?}: {status}");
            assert_eq!(room.calm(&xid).await, status);
        }
    }
}

#[tokio::test]
async fn parameters() {
    let script = "P i INSERT INTO t VALUES ($1, $2, $3)\nD S i\nS\nB - i 7 | 70 | seven\nE -\nS
        B - i x:00000008 | \\N | x:6569676874\nE -\nS\nB - i 9 | x:00000000 | it's; \\x\nE -\nS
        P u [23,25] UPDATE t SET v = $1, s = $2 WHERE id = 1 RETURNING *\nD S u\nS\nB - u x:00000063 | q > 1\nD P -\nE -\nS
        P d DELETE FROM t WHERE id = ANY($1) RETURNING id, v\nS\nB p d {2,9} > 0\nD P p\nE p\nS
        P - UPDATE t SET v = v + $1 WHERE v > $1\nB - - 5\nE -\nS\nB - - 6\nE -\nS";
    check("parameters", TABLE, script).await;
}

#[tokio::test]
async fn queries_within_pipelines() {
    let script = "P i INSERT INTO t VALUES ($1, 1, $2) RETURNING id\nB - i 7 | a\nE -\nQ UPDATE t SET v = v + 1 WHERE id IN (1, 7) RETURNING v\nB - i 8 | b\nE -\nS
        B - i 9 | c\nE -\nQ DELETE FROM c\nQ SELECT count(*) FROM t\nQ INSERT INTO c VALUES (20, 7)\nB - i 10 | d\nE -\nS\nQ SELECT count(*) FROM t";
    check("queries_within_pipelines", TABLE, script).await;
}

#[tokio::test]
async fn pipelines() {
    let script = "P i INSERT INTO t VALUES ($1, 1, $2)\nB - i 7 | a\nE -\nB - i 8 | b\nE -\nB - i 9 | c\nE -\nS
        P b BEGIN\nP c COMMIT\nB - b\nE -\nB - i 10 | d\nE -\nB - c\nE -\nS
        B - i 11 | e\nE -\ns\nB - i 11 | again\nE -\nB - i 12 | skipped\nE -\ns\nB - i 13 | f\nE -\ns\n< Z\n< Z\n< Z
        B - i 20 | g\nE -\nB - i 20 | h\nE -\nS
        P r SELECT count(*), sum(v) FROM t\nB - r\nE -\nB - i 30 | x\nE -\nB - r\nE -\nH\n< C\nS\nQ SELECT count(*) FROM t";
    check("pipelines", TABLE, script).await;
}

#[tokio::test]
async fn portals_and_flushes() {
    let script = "Q BEGIN\nP u UPDATE t SET v = v + 1 RETURNING id\nH\n< 1\nB p u\nH\n< 2\nD P p\nH\n< T\nE p\nS
        P g SELECT id FROM t ORDER BY id\nB q g\nE q 1\nS\nP w DELETE FROM t WHERE id = $1\nB w w 3\nE w\nS\nE q 1\nS\nC P q\nC S g\nS
        B - u\nE -\nS\nQ COMMIT\nC S u\nS\nB - u\nS";
    check("portals", TABLE, script).await;
}

#[tokio::test]
async fn prepared_before_and_run_inside() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "prepared_before", TABLE).await;
        let before = room.dump().await;
        let app = room.app().await;
        let update = app.prepare("UPDATE t SET v = $1, s = $2 WHERE id = $3 RETURNING id").await.unwrap();
        let insert = app.prepare("INSERT INTO t VALUES ($1, $2, NULL)").await.unwrap();
        app.execute(&insert, &[&50_i32, &1_i32]).await.unwrap();
        app.execute("DELETE FROM t WHERE id = 50", &[]).await.unwrap();
        for round in 0..3 {
            sql::begin(&app).await.unwrap();
            let rows = app.query(&update, &[&(77 + round), &Some("x"), &1_i32]).await.unwrap();
            assert_eq!((rows.len(), rows[0].len(), rows[0].get::<_, i32>(0)), (1, 1, 1), "{kind:?}");
            assert_eq!(app.execute(&insert, &[&60_i32, &None::<i32>]).await.unwrap(), 1);
            assert_eq!(sql::rollback(&app).await.unwrap(), "rolled_back", "{kind:?}");
            assert_eq!(room.dump().await, before, "{kind:?}");
            // Outside again, the same statements are the server's own.
            assert_eq!(app.execute(&insert, &[&70_i32, &Some(1_i32)]).await.unwrap(), 1);
            app.execute("DELETE FROM t WHERE id = 70", &[]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_drivers_own_transactions() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "driver_tx", TABLE).await;
        let before = room.dump().await;
        let mut app = room.app().await;
        let xid = app.query_one("SELECT atone_begin($1, $2)", &[&"driver", &"30000"]).await;
        let xid: String = match xid {
            Ok(row) => row.get("xid"),
            Err(error) => panic!("{kind:?}: {error}"),
        };
        let transaction = app.transaction().await.unwrap();
        transaction.execute("UPDATE t SET v = $1 WHERE id = $2", &[&5_i32, &2_i32]).await.unwrap();
        let nested = app_savepoint(transaction).await;
        nested.commit().await.unwrap();
        assert_ne!(room.dump().await, before);
        let bound: Option<String> = app.query_one("SELECT atone_xid()", &[]).await.unwrap().get(0);
        assert_eq!(bound.as_deref(), Some(xid.as_str()));
        let status: String =
            app.query_one("SELECT atone_rollback($1) AS done", &[&xid]).await.unwrap().get("done");
        assert_eq!((status.as_str(), room.dump().await), ("rolled_back", before), "{kind:?}");
        room.calm(&xid).await;
    }
}

/// Does and undoes something in a savepoint, then does something more.
async fn app_savepoint(mut transaction: tokio_postgres::Transaction<'_>) -> tokio_postgres::Transaction<'_> {
    let savepoint = transaction.savepoint("within").await.unwrap();
    savepoint.execute("DELETE FROM t WHERE id = 3", &[]).await.unwrap();
    savepoint.rollback().await.unwrap();
    transaction.execute("INSERT INTO t VALUES ($1)", &[&80_i32]).await.unwrap();
    transaction
}

/// A Sync commits an implicit local transaction: ours must not, when what it wrote is to be undone or has no undo record.
#[tokio::test]
async fn no_sync_of_ours_commits_a_pipeline() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "half_pipeline", TABLE).await;
        let before = room.dump().await;
        let write = "P - UPDATE t SET v = 999\nB - -\nE -\nH\n< C";
        let mut other = room.raw(true).await.unwrap();
        for last in ["SELECT atone_rollback()", "SET atone.xid = '%'"] {
            let xid = other.one("SELECT atone_begin()").await.unwrap();
            let last = last.replace('%', &xid);
            let script = format!("Q SELECT atone_join('{xid}')\n{write}\nP z {last}\nB z z\nE z\nS");
            let log = play(&script, async || room.raw(true).await).await.unwrap();
            assert_eq!(room.dump().await, before, "{kind:?}: {log:#?}");
            other.query("SELECT atone_rollback()").await.unwrap();
            assert_eq!(room.dump().await, before, "{kind:?}: {log:#?}");
        }
    }
}

/// Rows that the client sends, in both protocols: alone, behind another write of the same text, in savepoints.
#[tokio::test]
async fn copying() {
    let script = "q COPY t FROM STDIN\n< G\nd 7\\t70\\tseven\\n\nc\n< Z
        q UPDATE t SET v = v + 1; COPY t (id, s) FROM STDIN (FORMAT csv); SELECT count(*) FROM t\n< G\nd 9,\"a,b\"\\n10,\\n\nc\n< Z
        P - COPY c FROM STDIN\nB - -\nE -\nH\n< G\nd 11\\t1\\n\nc\nS
        Q BEGIN\nq COPY t FROM STDIN\n< G\nd 20\\t20\\tkept\\n\nc\n< Z\nQ SAVEPOINT a
        q COPY t FROM STDIN\n< G\nd 21\\t21\\tgone\\n\nc\n< Z\nQ UPDATE t SET s = 'x' WHERE id > 8\nQ ROLLBACK TO a
        Q DELETE FROM t WHERE id = 7\nQ COMMIT
        q COPY t FROM STDIN\n< G\nd 30\\t30\\tno\\n\nf changed my mind\n< Z\nq COPY t FROM STDIN\n< G\nd 1\\t1\\tdouble\\n\nc\n< Z";
    check("copying", TABLE, script).await;
}
