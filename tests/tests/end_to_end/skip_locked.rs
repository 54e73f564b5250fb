//! SELECT … SKIP LOCKED passes over rows that only a global transaction holds, as over rows that are locked in the database.

use crate::case::{Mode, error_of, inside, outcome, room};
use atone_tests::servers::Kind;
use atone_tests::sql;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE jobs (id INT PRIMARY KEY, rank_ INT, state VARCHAR(10) NOT NULL DEFAULT 'new', done INT NOT NULL DEFAULT 0, \
    KEY by_rank (rank_));
INSERT INTO jobs (id, rank_) VALUES (1, 10), (2, 20), (3, 30), (4, 40), (5, 50), (6, 60);
CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, job INT);
";

const NEXT: &str = "SELECT id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";

/// Reads that find row 1 first.
fn reads(kind: Kind) -> Vec<&'static str> {
    let mut reads = vec![
        NEXT,
        "SELECT id FROM jobs FORCE INDEX (by_rank) WHERE rank_ > 0 ORDER BY rank_ LIMIT 2 FOR UPDATE SKIP LOCKED",
        "SELECT id, rank_ AS r FROM jobs WHERE id < 4 FOR UPDATE SKIP LOCKED",
        "SELECT id FROM jobs WHERE id = 1 FOR UPDATE SKIP LOCKED",
    ];
    if kind == Kind::MySql {
        reads.push("SELECT id FROM jobs ORDER BY id LIMIT 1 FOR SHARE SKIP LOCKED");
        reads.push("SELECT j.id FROM jobs AS j ORDER BY j.id LIMIT 3 FOR UPDATE OF j SKIP LOCKED");
    } else {
        reads.push("SELECT id FROM jobs ORDER BY id LIMIT 1 LOCK IN SHARE MODE SKIP LOCKED");
    }
    reads
}

/// What stands around a read: before and behind.
const AROUND: [(&[&str], &[&str]); 6] = [
    (&[], &["SELECT FOUND_ROWS()"]),
    (
        &["BEGIN"],
        &[
            "SHOW WARNINGS",
            "UPDATE jobs SET rank_ = 0 WHERE id = 6",
            "ROLLBACK",
            "SELECT rank_ FROM jobs WHERE id = 6",
        ],
    ),
    (&["start transaction read write;"], &["SELECT FOUND_ROWS()", "COMMIT"]),
    (&["SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "BEGIN"], &["COMMIT"]),
    (
        &["SET autocommit = 0"],
        &[
            "UPDATE jobs SET rank_ = 0 WHERE id = 6",
            "ROLLBACK",
            "SELECT rank_ FROM jobs WHERE id = 6",
            "ROLLBACK",
        ],
    ),
    (&["SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "START TRANSACTION"], &["ROLLBACK"]),
];

/// Runs the read with what is around it; every answer.
async fn told(conn: &mut Conn, read: &str, around: (&[&str], &[&str])) -> Vec<String> {
    let mut told = Vec::new();
    for sql in around.0.iter().chain(&[read]).chain(around.1) {
        told.push(format!("{sql}: {:?}", outcome(conn, sql, Mode::Autocommit).await));
    }
    told
}

#[tokio::test]
async fn it_answers_as_if_the_database_had_the_rows_locked() {
    for kind in Kind::ALL {
        let room = room("skip_answers", TABLES).await;
        let mut locker = room.direct(kind).await;
        locker.query_drop("BEGIN").await.unwrap();
        locker.query_drop("SELECT id FROM jobs WHERE id = 1 FOR UPDATE").await.unwrap();
        let mut expected = Vec::new();
        for read in reads(kind) {
            for around in AROUND {
                let mut direct = room.direct(kind).await;
                expected.push(told(&mut direct, read, around).await);
            }
        }
        locker.query_drop("ROLLBACK").await.unwrap();
        let mut holder = inside(&room, kind, "UPDATE jobs SET state = 'held' WHERE id = 1").await;
        let mut expected = expected.into_iter();
        for read in reads(kind) {
            for around in AROUND {
                let expected = expected.next().unwrap();
                let mut outside = room.app(kind).await;
                let got = told(&mut outside, read, around).await;
                assert_eq!(got, expected, "{kind:?}: {around:?}: {read}");
                let mut worker = inside(&room, kind, "SELECT 1").await;
                let got = told(&mut worker, read, around).await;
                assert_eq!(got, expected, "{kind:?}: inside: {around:?}: {read}");
                sql::rollback(&mut worker).await.unwrap();
            }
        }
        assert_eq!(sql::rollback(&mut holder).await.unwrap(), "rolled_back");
        let back = sql::one(&mut room.app(kind).await, NEXT).await.unwrap();
        assert_eq!(back.as_deref(), Some("1"), "{kind:?}: it is back");
    }
}

#[tokio::test]
async fn whoever_holds_rows_is_undone_while_a_worker_goes_on() {
    for kind in Kind::ALL {
        let room = room("skip_undone", TABLES).await;
        let before = room.dump(kind).await;
        for bound in [false, true] {
            let mut holder = inside(&room, kind, "UPDATE jobs SET state = 'held' WHERE id < 3").await;
            let xid = sql::one(&mut holder, "SELECT atone_xid()").await.unwrap().unwrap();
            let mut worker = room.app(kind).await;
            if bound {
                sql::begin(&mut worker).await.unwrap();
            }
            worker.query_drop("BEGIN").await.unwrap();
            let next = sql::one(&mut worker, NEXT).await.unwrap();
            assert_eq!(next.as_deref(), Some("3"), "{kind:?}");
            // What it passed over nobody has locked.
            let mut direct = room.direct(kind).await;
            for id in [1, 2] {
                let free = format!("SELECT id FROM jobs WHERE id = {id} FOR UPDATE NOWAIT");
                let free = sql::one(&mut direct, &free).await.unwrap();
                assert_eq!(free, Some(id.to_string()), "{kind:?}");
            }
            assert_eq!(sql::rollback(&mut holder).await.unwrap(), "rolled_back", "{kind:?}");
            room.calm(&xid).await;
            assert_eq!(room.dump(kind).await, before, "{kind:?}");
            let next = sql::one(&mut worker, NEXT).await.unwrap();
            assert_eq!(next.as_deref(), Some("1"), "{kind:?}: it may be had now");
            worker.query_drop("COMMIT").await.unwrap();
            if bound {
                sql::rollback(&mut worker).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn workers_of_global_transactions_take_different_jobs() {
    for kind in Kind::ALL {
        let room = room("skip_workers", TABLES).await;
        let mut workers = Vec::new();
        for id in 1..=6 {
            let mut worker = inside(&room, kind, "SELECT 1").await;
            let next = sql::one(&mut worker, NEXT).await.unwrap();
            assert_eq!(next, Some(id.to_string()), "{kind:?}");
            workers.push(worker);
        }
        let mut late = inside(&room, kind, "SELECT 1").await;
        let none: Option<u32> = late.query_first(NEXT).await.unwrap();
        assert_eq!(none, None, "{kind:?}: none is left");
        assert_eq!(sql::rollback(&mut workers[3]).await.unwrap(), "rolled_back");
        assert_eq!(sql::one(&mut late, NEXT).await.unwrap().as_deref(), Some("4"), "{kind:?}");
        assert_eq!(sql::commit(&mut workers[4]).await.unwrap(), "committed");
        assert_eq!(sql::one(&mut late, NEXT).await.unwrap().as_deref(), Some("4"), "{kind:?}: it has it");
        for worker in &mut workers {
            let _ = sql::rollback(worker).await;
        }
    }
}

#[tokio::test]
async fn where_row_locks_cannot_be_let_go_of_it_fails_and_says_why() {
    for kind in Kind::ALL {
        let room = room("skip_behind", TABLES).await;
        let _holder = inside(&room, kind, "UPDATE jobs SET state = 'held' WHERE id = 1").await;
        for bound in [false, true] {
            for before in [
                "BEGIN | INSERT INTO log (job) VALUES (9)",
                "BEGIN | SELECT id FROM jobs WHERE id = 5 FOR UPDATE",
                "BEGIN | SAVEPOINT a",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT",
                "SET autocommit = 0 | INSERT INTO log (job) VALUES (9)",
                "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED | BEGIN",
            ] {
                let mut conn = match bound {
                    true => inside(&room, kind, before).await,
                    false => room.app(kind).await,
                };
                if !bound {
                    assert_eq!(error_of(&mut conn, before).await, Default::default(), "{kind:?}: {before}");
                }
                let (code, why) = error_of(&mut conn, NEXT).await;
                let told = code == 1205 && why.contains("SKIP LOCKED cannot");
                assert!(told, "{kind:?}: {bound}: {before}: {code} {why}");
                conn.query_drop("ROLLBACK").await.unwrap();
                let left = sql::one(&mut conn, "SELECT COUNT(*) FROM log").await.unwrap();
                assert_eq!(left.as_deref(), Some("0"), "{kind:?}: {before}");
                // The next local transaction is another.
                if before.contains("BEGIN") {
                    conn.query_drop("BEGIN").await.unwrap();
                    let next = sql::one(&mut conn, NEXT).await.unwrap();
                    assert_eq!(next.as_deref(), Some("2"), "{kind:?}: {before}");
                    conn.query_drop("ROLLBACK").await.unwrap();
                }
                if bound {
                    sql::rollback(&mut conn).await.unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn among_several_statements_of_a_text_nothing_is_lost() {
    for kind in Kind::ALL {
        let room = room("skip_several", TABLES).await;
        let _holder = inside(&room, kind, "UPDATE jobs SET state = 'held' WHERE id = 1").await;
        let insert = "INSERT INTO log (job) VALUES (9)";
        let mut conn = room.app(kind).await;
        conn.query_drop("BEGIN").await.unwrap();
        let (code, why) = sql::error_of(&mut conn, &format!("{insert}; {NEXT}")).await;
        assert!(code == 1205 && why.contains("SKIP LOCKED cannot"), "{kind:?}: {code} {why}");
        conn.query_drop("ROLLBACK").await.unwrap();
        // Each by itself, the read in the midst of them.
        conn.query_drop(format!("{insert}; {NEXT}; BEGIN; {NEXT}; {insert}; COMMIT")).await.unwrap();
        let left = sql::one(&mut conn, "SELECT COUNT(*) FROM log").await.unwrap();
        assert_eq!(left.as_deref(), Some("2"), "{kind:?}");
    }
}

/// Takes jobs until all are done, each in a global transaction of its own, of which every third is rolled back.
async fn work(mut conn: Conn, number: usize) -> usize {
    let (mut conflicts, mut taken) = (0, number);
    loop {
        let left = sql::one(&mut conn, "SELECT COUNT(*) FROM jobs WHERE done = 0").await.unwrap();
        if left.as_deref() == Some("0") {
            return conflicts;
        }
        sql::begin(&mut conn).await.unwrap();
        let block = number.is_multiple_of(2);
        if block {
            conn.query_drop("BEGIN").await.unwrap();
        }
        let next = "SELECT id FROM jobs WHERE done = 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
        let next: Result<Option<u32>, _> = conn.query_first(next).await;
        let mut failed = next.is_err();
        if let Ok(Some(id)) = next {
            taken += 1;
            let end = if block { " | COMMIT" } else { "" };
            let job = format!(
                "UPDATE jobs SET done = done + 1 WHERE id = {id} | INSERT INTO log (job) VALUES ({id}){end}"
            );
            failed = error_of(&mut conn, &job).await.0 != 0;
            if !failed && taken % 3 != 0 {
                assert_eq!(sql::commit(&mut conn).await.unwrap(), "committed");
                continue;
            }
        }
        conflicts += usize::from(failed);
        conn.query_drop("ROLLBACK").await.unwrap();
        sql::rollback(&mut conn).await.unwrap();
    }
}

#[tokio::test]
async fn ten_workers_do_each_job_once() {
    for kind in Kind::ALL {
        let room = room("skip_queue", TABLES).await;
        let more: Vec<String> = (7..=60).map(|id| format!("({id}, {id})")).collect();
        let fill = format!("INSERT INTO jobs (id, rank_) VALUES {}", more.join(", "));
        room.direct(kind).await.query_drop(fill).await.unwrap();
        let mut workers = Vec::new();
        for number in 0..10 {
            workers.push(tokio::spawn(work(room.app(kind).await, number)));
        }
        let mut conflicts = 0;
        for worker in workers {
            conflicts += worker.await.unwrap();
        }
        let mut direct = room.direct(kind).await;
        let done = "SELECT CONCAT_WS(' ', COUNT(*), MIN(done), MAX(done)) FROM jobs";
        let logged = "SELECT CONCAT_WS(' ', COUNT(*), COUNT(DISTINCT job)) FROM log";
        assert_eq!(sql::one(&mut direct, done).await.unwrap().as_deref(), Some("60 1 1"), "{kind:?}");
        assert_eq!(sql::one(&mut direct, logged).await.unwrap().as_deref(), Some("60 60"), "{kind:?}");
        println!("{kind:?}: {conflicts} conflicts");
    }
}
