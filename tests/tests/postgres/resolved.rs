//! A blocked rollback has a desk: its rows are shown before, after and now, and a person ends it in one of three ways.

use crate::case::{error_of, room};
use atone_tests::api::atone;
use atone_tests::postgres::PgRoom;
use atone_tests::servers::Kind;
use serde_json::{Value, json};

const TABLES: &str = "CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE TABLE t (id int PRIMARY KEY, v int, s text, b bytea, at timestamptz, n numeric(9,2), m mood, arr int[], u int UNIQUE);
    INSERT INTO t VALUES (1, 10, 'one', '\\x00ff', '2024-02-29 12:00+00', 1.50, 'sad', '{1,NULL}', 100),
        (2, 20, NULL, NULL, NULL, NULL, NULL, NULL, 200), (3, 30, 'three', '', NULL, NULL, NULL, NULL, 300),
        (4, 40, 'four', '', NULL, NULL, NULL, NULL, 400)";

/// A transaction whose only branch is blocked: its xid and the branch.
async fn blocked(room: &PgRoom<'_>, writes: &[&str], behind: &[&str]) -> (String, String) {
    let (mut app, mut stranger) = (room.raw(true).await.unwrap(), room.raw(false).await.unwrap());
    let xid = app.one("SELECT atone_begin()").await.unwrap();
    for write in ["BEGIN"].iter().chain(writes).chain(&["COMMIT"]) {
        assert_eq!(error_of(&mut app, write).await, Default::default(), "{write}");
    }
    for behind in behind {
        assert_eq!(error_of(&mut stranger, behind).await, Default::default(), "{behind}");
    }
    let status = app.one("SELECT atone_rollback()").await.unwrap();
    assert_eq!(status, "blocked", "{:?}: {writes:?}, {behind:?}", room.kind);
    let (_, body) = room.world.api().transaction(&xid).unwrap();
    let branch = body["branches"][0]["branch"].as_str().unwrap().to_owned();
    (xid, branch)
}

/// `atone tx resolve`: exit code and all that was printed.
fn resolve(room: &PgRoom<'_>, xid: &str, branch: &str, way: &str) -> (i32, String) {
    let args = ["tx", "resolve", xid, "--branch", branch, way, "--reason", "counted by hand", "--by", "anna"];
    let (code, out, err) = atone(&room.world.coordinator.url(), &args).unwrap();
    (code, out + &err)
}

fn rows(room: &PgRoom<'_>, xid: &str, branch: &str) -> Value {
    let (code, body) =
        room.world.api().get(&format!("/v1/transactions/{xid}/branches/{branch}/rows")).unwrap();
    assert_eq!(code, 200, "{body}");
    body
}

/// A row's columns, as [before, after, current].
fn column(row: &Value, name: &str) -> Value {
    let columns = row["columns"].as_array().unwrap();
    let column = columns.iter().find(|column| column["column"] == name).unwrap();
    json!([column["before"], column["after"], column["current"], column["differs"]])
}

#[tokio::test]
async fn rows_are_shown_as_they_were_as_they_were_left_and_as_they_are() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "resolved_rows", TABLES).await;
        let writes = [
            "UPDATE t SET v = 11, s = E'\u{e9}\\n', b = NULL, at = 'infinity', n = 2, m = 'glad', arr = '{}' WHERE id = 1",
            "DELETE FROM t WHERE id = 2",
            "UPDATE t SET s = repeat('x', 199) WHERE id = 3",
            "UPDATE t SET v = 41 WHERE id = 4",
            "INSERT INTO t VALUES (5, 50, '')",
        ];
        let behind = [
            "UPDATE t SET v = 99, s = NULL WHERE id = 1",
            "INSERT INTO t VALUES (2, 21, 'again')",
            "DELETE FROM t WHERE id = 3",
            "DELETE FROM t WHERE id = 5",
        ];
        let (xid, b) = blocked(&room, &writes, &behind).await;
        let page = rows(&room, &xid, &b);
        let counts =
            ["in_the_way", "as_left", "as_before", "unknown", "more"].map(|count| page[count].clone());
        assert_eq!(counts, [3, 1, 1, 0, 0].map(Value::from), "{kind:?}: {page}");
        let shown = page["rows"].as_array().unwrap();
        let heads: Vec<_> = shown.iter().map(|row| (&row["key"], row["state"].as_str().unwrap())).collect();
        let (one, two, three) = (json!("1"), json!("2"), json!("3"));
        assert_eq!(heads, [(&one, "changed"), (&two, "inserted"), (&three, "deleted")], "{kind:?}");
        for (name, wanted) in [
            ("v", json!(["10", "11", "99", true])),
            ("s", json!(["'one'", "'\u{e9} '", null, true])),
            ("b", json!(["x'00ff'", null, null, false])),
            ("at", json!(["'2024-02-29 12:00:00+00'", "'infinity'", "'infinity'", false])),
            ("n", json!(["1.50", "2.00", "2.00", false])),
            ("m", json!(["'sad'", "'glad'", "'glad'", false])),
            ("arr", json!(["'{1,NULL}'", "'{}'", "'{}'", false])),
        ] {
            assert_eq!(column(&shown[0], name), wanted, "{kind:?}: {name}");
        }
        assert_eq!(column(&shown[1], "s"), json!([null, null, "'again'", true]), "{kind:?}");
        assert!(
            shown[1]["columns"][0].get("after").is_none() && shown[2]["columns"][0].get("current").is_none()
        );
        let long = column(&shown[2], "s");
        assert_eq!(long[1], format!("'{}…' (199 characters)", "x".repeat(120)), "{kind:?}");
        let (code, out, _) = atone(&room.world.coordinator.url(), &["tx", "show", &xid]).unwrap();
        let lines: Vec<String> =
            out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for wanted in ["shop_resolved_rows.t 1 was changed by someone else", "* v 10 11 99", "id 3 3 -"] {
            assert!(
                code == 0 && lines.iter().any(|line| line == wanted),
                "{kind:?}: no '{wanted}' in\n{out}"
            );
        }

        // A table that is not as it was, a type that is gone: what is known of the rows is shown all the same.
        let mut stranger = room.raw(false).await.unwrap();
        for change in ["ALTER TABLE t DROP m", "DROP TYPE mood"] {
            assert_eq!(error_of(&mut stranger, change).await, Default::default());
        }
        let page = rows(&room, &xid, &b);
        assert_eq!((&page["unknown"], &page["in_the_way"]), (&json!(5), &json!(0)), "{page}");
        assert!(page["trouble"].as_str().unwrap().contains("column m was changed or dropped"), "{page}");
        assert_eq!(column(&page["rows"][0], "s")[0], "'one'");
        assert_eq!(resolve(&room, &xid, &b, "--keep-current").0, 0);
        assert_eq!(room.calm(&xid).await, "rolled_back");
    }
}

/// Writes of a branch, and what somebody does to its rows behind the proxy.
const CASES: [(&[&str], &[&str]); 8] = [
    (&["UPDATE t SET v = 11 WHERE id = 1"], &["UPDATE t SET v = 99, s = 'x' WHERE id = 1"]),
    (&["UPDATE t SET v = 11 WHERE id = 1"], &["DELETE FROM t WHERE id = 1"]),
    (&["DELETE FROM t WHERE id = 2"], &["INSERT INTO t VALUES (2, 21, 'again')"]),
    (&["INSERT INTO t VALUES (5, 50)"], &["UPDATE t SET v = 51, u = 510 WHERE id = 5"]),
    (&["UPDATE t SET id = 9 WHERE id = 1"], &["UPDATE t SET v = 99 WHERE id = 9"]),
    (
        &["UPDATE t SET id = 9 WHERE id = 1"],
        &["INSERT INTO t VALUES (1, 77)", "UPDATE t SET v = 99 WHERE id = 9"],
    ),
    (
        &[
            "UPDATE t SET v = 11 WHERE id = 1",
            "UPDATE t SET v = 12 WHERE id = 1",
            "DELETE FROM t WHERE id = 3",
        ],
        &["UPDATE t SET v = 99 WHERE id = 1"],
    ),
    (
        &[
            "UPDATE t SET u = 0 WHERE id = 1",
            "UPDATE t SET u = 100 WHERE id = 2",
            "UPDATE t SET u = 200 WHERE id = 1",
        ],
        &["UPDATE t SET v = 99 WHERE id = 2"],
    ),
];

#[tokio::test]
async fn what_was_is_restored_whatever_stands_there_now() {
    for kind in Kind::POSTGRES {
        for (writes, behind) in CASES {
            let room = room(kind, "resolved_restore", TABLES).await;
            let before = room.dump().await;
            let (xid, b) = blocked(&room, writes, behind).await;
            let (code, out) = resolve(&room, &xid, &b, "--restore");
            assert!(
                code == 0 && out.contains("is done (restore)"),
                "{kind:?}: {writes:?}, {behind:?}: {out}"
            );
            assert_eq!(room.dump().await, before, "{kind:?}: {writes:?}, {behind:?}");
            assert_eq!(room.calm(&xid).await, "rolled_back");
        }
    }
}

#[tokio::test]
async fn what_stands_there_now_is_kept_in_all_rows_of_the_branch() {
    for kind in Kind::POSTGRES {
        for (writes, behind) in CASES {
            let room = room(kind, "resolved_keep", TABLES).await;
            let (xid, b) = blocked(&room, writes, behind).await;
            let strange = room.dump().await;
            let (code, out) = resolve(&room, &xid, &b, "--keep-current");
            assert!(code == 0 && out.contains("is done (keep-current)"), "{kind:?}: {out}");
            assert_eq!(room.dump().await, strange, "{kind:?}: {writes:?}, {behind:?}");
            assert_eq!(room.calm(&xid).await, "rolled_back");
            let (_, body) = room.world.api().transaction(&xid).unwrap();
            assert!(body.to_string().contains("keep-current by anna: counted by hand"), "{body}");
            // Its rows belong to everybody again.
            let mut app = room.raw(true).await.unwrap();
            app.one("SELECT atone_begin()").await.unwrap();
            assert_eq!(error_of(&mut app, "UPDATE t SET v = v + 1").await, Default::default());
            assert_eq!(app.one("SELECT atone_commit()").await.unwrap(), "committed");
        }
    }
}

#[tokio::test]
async fn a_retry_undoes_what_was_mended_and_nothing_else() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "resolved_retry", TABLES).await;
        let before = room.dump().await;
        let (writes, behind) = (["UPDATE t SET v = 11 WHERE id = 1"], ["UPDATE t SET v = 99 WHERE id = 1"]);
        let (xid, b) = blocked(&room, &writes, &behind).await;
        let (code, out) = resolve(&room, &xid, &b, "--retry");
        assert!(code == 1 && out.contains("was changed by someone else (v)"), "{kind:?}: {out}");
        assert!(!room.world.api().locks(&format!("xid={xid}")).unwrap().is_empty(), "it keeps its locks");
        let mut stranger = room.raw(false).await.unwrap();
        stranger.query("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        let (code, out) = resolve(&room, &xid, &b, "--retry");
        assert!(code == 0 && out.contains("is done (retry)"), "{kind:?}: {out}");
        assert_eq!(room.dump().await, before, "{kind:?}");
        assert_eq!(room.calm(&xid).await, "rolled_back");
    }
}

#[tokio::test]
async fn what_the_database_forbids_keeps_even_a_restore_blocked_and_nothing_changes() {
    for kind in Kind::POSTGRES {
        for (write, behind, why, mend) in [
            (
                "DELETE FROM t WHERE id = 2",
                "INSERT INTO t (id, u) VALUES (8, 200)",
                "23505",
                "DELETE FROM t WHERE id = 8",
            ),
            (
                "INSERT INTO t VALUES (5, 50)",
                "CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t); INSERT INTO child VALUES (1, 5)",
                "child have come to point at",
                "DROP TABLE child",
            ),
        ] {
            let room = room(kind, "resolved_taken", TABLES).await;
            let before = room.dump().await;
            let writes = ["UPDATE t SET v = 11 WHERE id = 1", write];
            let behind = ["UPDATE t SET v = 99 WHERE id = 1", behind];
            let (xid, b) = blocked(&room, &writes, &behind).await;
            let strange = room.dump().await;
            for _ in 0..2 {
                let (code, out) = resolve(&room, &xid, &b, "--restore");
                assert!(code == 1 && out.contains(why), "{kind:?}: {out}");
                assert_eq!(room.dump().await, strange, "{kind:?}: nothing was changed");
                assert_eq!(room.world.api().status(&xid).unwrap(), "blocked");
            }
            let mut stranger = room.raw(false).await.unwrap();
            assert_eq!(error_of(&mut stranger, mend).await, Default::default());
            assert_eq!(resolve(&room, &xid, &b, "--restore").0, 0);
            assert_eq!(room.dump().await, before, "{kind:?}");
            assert_eq!(room.calm(&xid).await, "rolled_back");
        }
    }
}
