//! A blocked rollback has a desk: its rows are shown before, after and now, and a person ends it in one of three ways.

use crate::case::{both, room};
use atone_tests::api::atone;
use atone_tests::servers::Kind;
use atone_tests::world::Room;
use atone_tests::{sql, wait};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT, s VARCHAR(200) CHARACTER SET latin1, b VARBINARY(200), at TIMESTAMP(3) NULL, u INT UNIQUE);
INSERT INTO t VALUES (1, 10, 'one', x'00ff', '2024-02-29 12:00:00.5', 100), (2, 20, NULL, NULL, NULL, 200), (3, 30, 'three', '', NULL, 300);
INSERT INTO t VALUES (4, 40, 'four', '', NULL, 400);
";

/// A transaction whose only branch is blocked: its xid and the branch.
async fn blocked(room: &Room<'_>, kind: Kind, writes: &[&str], behind: &[&str]) -> (String, String) {
    let mut app = room.app(kind).await;
    let xid = sql::begin(&mut app).await.unwrap();
    app.query_drop("BEGIN").await.unwrap();
    for write in writes {
        app.query_drop(*write).await.unwrap();
    }
    app.query_drop("COMMIT").await.unwrap();
    let mut stranger = room.direct(kind).await;
    for behind in behind {
        stranger.query_drop(*behind).await.unwrap();
    }
    assert_eq!(sql::rollback(&mut app).await.unwrap(), "blocked", "{kind:?}: {writes:?}, {behind:?}");
    (xid.clone(), branch(room, &xid, kind))
}

/// The blocked branch of a transaction on this server.
fn branch(room: &Room<'_>, xid: &str, kind: Kind) -> String {
    let (_, body) = room.world.api().transaction(xid).unwrap();
    let branches = body["branches"].as_array().unwrap();
    let found = branches.iter().find(|b| b["resource"] == kind.resource() && b["status"] == "blocked");
    found.unwrap_or_else(|| panic!("{body}"))["branch"].as_str().unwrap().to_owned()
}

/// `atone tx resolve`: exit code and all that was printed.
fn resolve(room: &Room<'_>, xid: &str, branch: &str, way: &str) -> (i32, String) {
    let args = ["tx", "resolve", xid, "--branch", branch, way, "--reason", "counted by hand", "--by", "anna"];
    let (code, out, err) = atone(&room.world.coordinator.url(), &args).unwrap();
    (code, out + &err)
}

fn rows(room: &Room<'_>, xid: &str, branch: &str, query: &str) -> Value {
    let page = format!("/v1/transactions/{xid}/branches/{branch}/rows{query}");
    let (code, body) = room.world.api().get(&page).unwrap();
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
    let room = room("resolved_rows", TABLES).await;
    for kind in Kind::ALL {
        room.prepare(kind, TABLES).await.unwrap();
        let long = format!("UPDATE t SET s = '{}', b = REPEAT(x'ab', 99) WHERE id = 3", "x".repeat(199));
        let writes = [
            "UPDATE t SET v = 11, s = 'é\\n', b = NULL, at = '2024-03-01 00:00:00' WHERE id = 1",
            "DELETE FROM t WHERE id = 2",
            &long,
            "UPDATE t SET v = 41 WHERE id = 4",
            "INSERT INTO t VALUES (5, 50, '', '', NULL, 500)",
        ];
        let behind = [
            "UPDATE t SET v = 99, s = NULL WHERE id = 1",
            "INSERT INTO t VALUES (2, 21, 'again', NULL, NULL, 200)",
            "DELETE FROM t WHERE id = 3",
            "DELETE FROM t WHERE id = 5",
        ];
        let (xid, b) = blocked(&room, kind, &writes, &behind).await;
        let page = rows(&room, &xid, &b, "");
        let counts =
            ["in_the_way", "as_left", "as_before", "unknown", "more"].map(|count| page[count].clone());
        assert_eq!(counts, [3, 1, 1, 0, 0].map(Value::from), "{kind:?}: {page}");
        let shown = page["rows"].as_array().unwrap();
        let heads: Vec<_> = shown.iter().map(|row| (&row["key"], row["state"].as_str().unwrap())).collect();
        let (one, two, three) = (json!("1"), json!("2"), json!("3"));
        assert_eq!(heads, [(&one, "changed"), (&two, "inserted"), (&three, "deleted")], "{kind:?}");
        assert!(shown.iter().all(|row| row["table"] == "shop_resolved_rows.t"), "{page}");
        assert_eq!(column(&shown[0], "v"), json!(["10", "11", "99", true]), "{kind:?}");
        assert_eq!(column(&shown[0], "s"), json!(["'one'", "'é '", null, true]), "{kind:?}");
        assert_eq!(column(&shown[0], "b"), json!(["x'00ff'", null, null, false]), "{kind:?}");
        let at = column(&shown[0], "at");
        assert_eq!(at[0], "'2024-02-29 12:00:00.500'", "{kind:?}: {at}");
        assert_eq!(column(&shown[1], "s"), json!([null, null, "'again'", true]), "{kind:?}");
        // No row is something else than NULL.
        assert!(
            shown[1]["columns"][0].get("after").is_none() && shown[2]["columns"][0].get("current").is_none()
        );
        let long = column(&shown[2], "s");
        assert_eq!(long[1], format!("'{}…' (199 characters)", "x".repeat(120)), "{kind:?}");
        let bytes = column(&shown[2], "b");
        assert!(bytes[1].as_str().unwrap().ends_with("ab…' (99 bytes)"), "{kind:?}: {bytes}");

        assert_eq!(rows(&room, &xid, &b, "?limit=1")["more"], 2);
        let all = rows(&room, &xid, &b, "?all=true");
        assert_eq!(all["rows"].as_array().unwrap().len(), 5, "{all}");
        assert_eq!(column(&all["rows"][3], "v"), json!(["40", "41", "41", false]));

        let server = room.world.coordinator.url();
        let (code, out, _) = atone(&server, &["tx", "show", &xid]).unwrap();
        let lines: Vec<String> =
            out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for wanted in [
            "3 rows in the way, 1 row as the branch left them, 1 row as before the branch",
            "shop_resolved_rows.t 1 was changed by someone else",
            "* v 10 11 99",
            "* s 'one' 'é ' NULL",
            "id 3 3 -",
        ] {
            assert!(
                code == 0 && lines.iter().any(|line| line == wanted),
                "{kind:?}: no '{wanted}' in\n{out}"
            );
        }
        let (_, out, _) = atone(&server, &["tx", "show", &xid, "--rows", "2"]).unwrap();
        assert!(out.contains("and 1 more"), "{out}");

        // A table that is not as it was: what is known of the rows is shown all the same.
        let mut stranger = room.direct(kind).await;
        stranger.query_drop("ALTER TABLE t ADD COLUMN extra INT").await.unwrap();
        let page = rows(&room, &xid, &b, "");
        assert_eq!((&page["unknown"], &page["in_the_way"]), (&json!(5), &json!(0)), "{page}");
        assert!(page["trouble"].as_str().unwrap().contains("column extra was added"), "{page}");
        assert_eq!(column(&page["rows"][0], "v"), json!(["10", "11", null, false]));
        assert_eq!(resolve(&room, &xid, &b, "--keep-current").0, 0);
        assert_eq!(room.calm(&xid).await, "rolled_back");
    }
}

/// Writes of a branch, and what somebody does to its rows behind the proxy.
const CASES: [(&[&str], &[&str]); 8] = [
    (&["UPDATE t SET v = 11 WHERE id = 1"], &["UPDATE t SET v = 99, s = 'x' WHERE id = 1"]),
    (&["UPDATE t SET v = 11 WHERE id = 1"], &["DELETE FROM t WHERE id = 1"]),
    (&["DELETE FROM t WHERE id = 2"], &["INSERT INTO t VALUES (2, 21, 'again', NULL, NULL, 210)"]),
    (
        &["INSERT INTO t VALUES (5, 50, NULL, NULL, NULL, 500)"],
        &["UPDATE t SET v = 51, u = NULL WHERE id = 5"],
    ),
    (&["UPDATE t SET id = 9 WHERE id = 1"], &["UPDATE t SET v = 99 WHERE id = 9"]),
    (
        &["UPDATE t SET id = 9 WHERE id = 1"],
        &["INSERT INTO t VALUES (1, 77, NULL, NULL, NULL, NULL)", "UPDATE t SET v = 99 WHERE id = 9"],
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
    for (writes, behind) in CASES {
        let room = room("resolved_restore", TABLES).await;
        for kind in Kind::ALL {
            let before = room.dump(kind).await;
            let (xid, b) = blocked(&room, kind, writes, behind).await;
            let (code, out) = resolve(&room, &xid, &b, "--restore");
            assert!(
                code == 0 && out.contains("is done (restore)"),
                "{kind:?}: {writes:?}, {behind:?}: {out}"
            );
            assert_eq!(room.dump(kind).await, before, "{kind:?}: {writes:?}, {behind:?}");
            assert_eq!(room.calm(&xid).await, "rolled_back");
        }
    }
}

#[tokio::test]
async fn what_stands_there_now_is_kept_in_all_rows_of_the_branch() {
    for (writes, behind) in CASES {
        let room = room("resolved_keep", TABLES).await;
        for kind in Kind::ALL {
            let (xid, b) = blocked(&room, kind, writes, behind).await;
            let strange = room.dump(kind).await;
            let (code, out) = resolve(&room, &xid, &b, "--keep-current");
            assert!(code == 0 && out.contains("is done (keep-current)"), "{kind:?}: {out}");
            assert_eq!(room.dump(kind).await, strange, "{kind:?}: {writes:?}, {behind:?}");
            assert_eq!(room.calm(&xid).await, "rolled_back");
            let (_, body) = room.world.api().transaction(&xid).unwrap();
            assert!(body.to_string().contains("keep-current by anna: counted by hand"), "{body}");
            // Its rows belong to everybody again.
            let mut app = room.app(kind).await;
            sql::begin(&mut app).await.unwrap();
            app.query_drop("UPDATE t SET v = v + 1").await.unwrap();
            assert_eq!(sql::commit(&mut app).await.unwrap(), "committed");
        }
    }
}

#[tokio::test]
async fn a_retry_undoes_what_was_mended_and_nothing_else() {
    let room = room("resolved_retry", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let (writes, behind) = (["UPDATE t SET v = 11 WHERE id = 1"], ["UPDATE t SET v = 99 WHERE id = 1"]);
        let (xid, b) = blocked(&room, kind, &writes, &behind).await;
        let (code, out) = resolve(&room, &xid, &b, "--retry");
        assert!(code == 1 && out.contains("was changed by someone else (v)"), "{kind:?}: {out}");
        assert!(!room.world.api().locks(&format!("xid={xid}")).unwrap().is_empty(), "it keeps its locks");
        let mut stranger = room.direct(kind).await;
        stranger.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        let (code, out) = resolve(&room, &xid, &b, "--retry");
        assert!(code == 0 && out.contains("is done (retry)"), "{kind:?}: {out}");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
        assert_eq!(room.calm(&xid).await, "rolled_back");
        let (code, out) = resolve(&room, &xid, &b, "--restore");
        assert!(code == 1 && out.contains("done already"), "{kind:?}: {out}");
        let (_, audit, _) = atone(&room.world.coordinator.url(), &["audit", "--xid", &xid]).unwrap();
        let deeds: Vec<_> = audit.lines().skip(1).collect();
        assert!(
            deeds.len() == 3 && deeds[1].contains("resolve retry") && deeds[1].contains("anna"),
            "{audit}"
        );
    }
}

#[tokio::test]
async fn a_unique_value_that_was_taken_keeps_even_a_restore_blocked_and_nothing_changes() {
    let room = room("resolved_taken", TABLES).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let writes = ["UPDATE t SET v = 11 WHERE id = 1", "DELETE FROM t WHERE id = 2"];
        let behind =
            ["UPDATE t SET v = 99 WHERE id = 1", "INSERT INTO t VALUES (8, 80, NULL, NULL, NULL, 200)"];
        let (xid, b) = blocked(&room, kind, &writes, &behind).await;
        let strange = room.dump(kind).await;
        for _ in 0..2 {
            let (code, out) = resolve(&room, &xid, &b, "--restore");
            assert!(code == 1 && out.contains("Duplicate entry") && out.contains("1062"), "{kind:?}: {out}");
            assert_eq!(room.dump(kind).await, strange, "{kind:?}: nothing was changed");
            assert_eq!(room.world.api().status(&xid).unwrap(), "blocked");
        }
        let mut stranger = room.direct(kind).await;
        stranger.query_drop("DELETE FROM t WHERE id = 8").await.unwrap();
        assert_eq!(resolve(&room, &xid, &b, "--restore").0, 0);
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
        assert_eq!(room.calm(&xid).await, "rolled_back");
    }
}

#[tokio::test]
async fn other_branches_are_undone_as_ever() {
    for way in ["--restore", "--keep-current"] {
        let room = room("resolved_others", TABLES).await;
        let before = room.dump(Kind::Maria).await;
        let before_here = room.dump(Kind::MySql).await;
        let (mut orders, mut accounts) = both(&room).await;
        let xid = sql::begin(&mut orders).await.unwrap();
        sql::join(&mut accounts, &xid).await.unwrap();
        // Two branches here, one there.
        orders.query_drop("UPDATE t SET v = 31 WHERE id = 3").await.unwrap();
        orders.query_drop("UPDATE t SET v = 11 WHERE id = 1").await.unwrap();
        accounts.query_drop("UPDATE t SET v = 0").await.unwrap();
        let mut stranger = room.direct(Kind::MySql).await;
        stranger.query_drop("UPDATE t SET v = 99 WHERE id = 1").await.unwrap();
        assert_eq!(sql::rollback(&mut orders).await.unwrap(), "blocked");
        wait::until("the branch on MariaDB is undone", async || {
            let now = room.dump(Kind::Maria).await;
            if now == before { Ok(()) } else { Err(now) }
        })
        .await;
        let b = branch(&room, &xid, Kind::MySql);
        assert_eq!(resolve(&room, &xid, &b, way).0, 0);
        assert_eq!(room.calm(&xid).await, "rolled_back");
        let left: Vec<(i32, i32)> = stranger.query("SELECT id, v FROM t WHERE id IN (1, 3)").await.unwrap();
        // The older branch here is undone after it.
        let one = if way == "--restore" { 10 } else { 99 };
        assert_eq!(left, [(1, one), (3, 30)], "{way}");
        assert_eq!(room.dump(Kind::Maria).await, before, "{way}");
        assert!(way != "--restore" || room.dump(Kind::MySql).await == before_here);
    }
}

#[tokio::test]
async fn many_and_wide_rows_are_told_up_to_a_limit() {
    let columns: Vec<String> = (0..50).map(|n| format!("c{n} VARCHAR(200)")).collect();
    let values = vec!["REPEAT('y', 200)"; 50].join(", ");
    let tables = format!(
        "CREATE TABLE many (id INT PRIMARY KEY, v INT);
INSERT INTO many WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 900) SELECT id, 0 FROM n;
INSERT INTO many SELECT id + 1000, 0 FROM many;
CREATE TABLE wide (id INT PRIMARY KEY, {});
INSERT INTO wide SELECT id, {values} FROM many WHERE id <= 200;
",
        columns.join(", ")
    );
    let room = room("resolved_many", &tables).await;
    for kind in Kind::ALL {
        let before = room.dump(kind).await;
        let writes = ["UPDATE many SET v = 1"];
        let (xid, b) = blocked(&room, kind, &writes, &["UPDATE many SET v = 2"]).await;
        for (query, told) in [("", 20), ("?limit=1", 1), ("?limit=10000", 1000)] {
            let page = rows(&room, &xid, &b, query);
            assert_eq!(page["rows"].as_array().unwrap().len(), told, "{kind:?}: {query}");
            assert_eq!((&page["in_the_way"], &page["more"]), (&json!(1800), &json!(1800 - told)), "{kind:?}");
        }
        assert_eq!(resolve(&room, &xid, &b, "--restore").0, 0, "{kind:?}");

        let writes = ["UPDATE wide SET c0 = 'a'"];
        let (xid, b) = blocked(&room, kind, &writes, &["UPDATE wide SET c0 = 'b'"]).await;
        let page = rows(&room, &xid, &b, "?limit=1000");
        let told = page["rows"].as_array().unwrap().len() as u64;
        assert!(
            (10..150).contains(&told) && page["more"] == 200 - told,
            "{kind:?}: {told}, {}",
            page["more"]
        );
        assert!(page.to_string().len() < 4 << 20, "{kind:?}: {}", page.to_string().len());
        assert_eq!(resolve(&room, &xid, &b, "--restore").0, 0, "{kind:?}");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}
