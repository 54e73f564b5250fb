//! SELECT … SKIP LOCKED passes over rows that only a global transaction holds, as over rows that are locked in the database.

use crate::case::{error_in, error_of, room};
use atone_tests::postgres::message::{Message, bind, execute, line, message, parse};
use atone_tests::postgres::{PgRoom, Raw};
use atone_tests::servers::Kind;

const TABLES: &str =
    "CREATE TABLE jobs (id int PRIMARY KEY, state text NOT NULL DEFAULT 'new', done int NOT NULL DEFAULT 0);
    INSERT INTO jobs SELECT n FROM generate_series(1, 6) n;
    CREATE TABLE owners (job int PRIMARY KEY REFERENCES jobs, name text);
    INSERT INTO owners VALUES (1, 'one'), (2, 'two'), (3, 'three');
    CREATE TABLE log (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job int)";

const NEXT: &str = "SELECT id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";

/// Reads that find row 1 first, and one that meets an error.
const READS: [&str; 8] = [
    NEXT,
    "SELECT id FROM jobs ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 2",
    "SELECT id FROM jobs WHERE id < 4 FOR NO KEY UPDATE SKIP LOCKED",
    "SELECT id FROM jobs ORDER BY id LIMIT 1 FOR SHARE SKIP LOCKED",
    "SELECT id FROM jobs ORDER BY id LIMIT 1 FOR KEY SHARE SKIP LOCKED",
    "SELECT j.id, o.name FROM jobs j JOIN owners o ON o.job = j.id ORDER BY o.job LIMIT 1 FOR UPDATE OF j SKIP LOCKED",
    "SELECT FROM jobs WHERE id = 1 FOR UPDATE SKIP LOCKED",
    "SELECT id AS x, 1 / (id - 2) FROM jobs WHERE id = 2 FOR UPDATE SKIP LOCKED",
];

/// What stands around a read: before and behind.
const AROUND: [(&[&str], &[&str]); 6] = [
    (&[], &[]),
    (&["BEGIN"], &["COMMIT"]),
    (&["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM jobs"], &["ROLLBACK"]),
    (&["BEGIN ISOLATION LEVEL SERIALIZABLE"], &["SAVEPOINT a", "RELEASE a", "COMMIT"]),
    (&["BEGIN", "SAVEPOINT a", "SELECT 1"], &["SELECT 2", "ROLLBACK TO a", "RELEASE a", "COMMIT"]),
    (
        &["BEGIN", "SAVEPOINT \"atone skip locked\""],
        &["ROLLBACK TO \"atone skip locked\"", "SELECT 3", "COMMIT"],
    ),
];

async fn inside(room: &PgRoom<'_>, sql: &str) -> Raw {
    let mut raw = room.raw(true).await.unwrap();
    raw.one("SELECT atone_begin('worker')").await.unwrap();
    assert_eq!(error_of(&mut raw, sql).await, Default::default(), "{sql}");
    raw
}

/// Runs the read with what is around it; every answer.
async fn told(raw: &mut Raw, read: &str, around: (&[&str], &[&str]), prepared: bool) -> Vec<String> {
    let mut told = Vec::new();
    for sql in around.0.iter().chain(&[read]).chain(around.1) {
        let answer = match prepared {
            true => raw.prepared(sql, 1).await,
            false => raw.query(sql).await,
        };
        told.push(line(&answer.unwrap()));
    }
    told
}

#[tokio::test]
async fn it_answers_as_if_the_database_had_the_rows_locked() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "skip_answers", TABLES).await;
        let mut locker = room.raw(false).await.unwrap();
        let mut expected = Vec::new();
        locker.query("BEGIN; SELECT FROM jobs WHERE id = 1 FOR UPDATE").await.unwrap();
        for read in READS {
            for around in AROUND {
                for prepared in [false, true] {
                    let mut direct = room.raw(false).await.unwrap();
                    expected.push(told(&mut direct, read, around, prepared).await);
                }
            }
        }
        locker.query("ROLLBACK").await.unwrap();
        let mut holder = inside(&room, "UPDATE jobs SET state = 'held' WHERE id = 1").await;
        let mut expected = expected.into_iter();
        for read in READS {
            for around in AROUND {
                for prepared in [false, true] {
                    let expected = expected.next().unwrap();
                    let mut outside = room.raw(true).await.unwrap();
                    let got = told(&mut outside, read, around, prepared).await;
                    assert_eq!(got, expected, "{kind:?}: {prepared}: {around:?}: {read}");
                    let mut worker = inside(&room, "SELECT 1").await;
                    let got = told(&mut worker, read, around, prepared).await;
                    assert_eq!(got, expected, "{kind:?}: inside: {prepared}: {around:?}: {read}");
                    worker.one("SELECT atone_rollback()").await.unwrap();
                }
            }
        }
        assert_eq!(holder.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        assert_eq!(room.raw(true).await.unwrap().one(NEXT).await.unwrap(), "1", "{kind:?}: it is back");
    }
}

#[tokio::test]
async fn whoever_holds_rows_is_undone_while_a_worker_goes_on() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "skip_undone", TABLES).await;
        let before = room.dump().await;
        for bound in [false, true] {
            let mut holder = inside(&room, "UPDATE jobs SET state = 'held' WHERE id < 3").await;
            let xid = holder.one("SELECT atone_xid()").await.unwrap();
            let mut worker = room.raw(true).await.unwrap();
            if bound {
                worker.one("SELECT atone_begin()").await.unwrap();
            }
            worker.query("BEGIN").await.unwrap();
            assert_eq!(worker.one(NEXT).await.unwrap(), "3", "{kind:?}");
            // What it passed over nobody has locked.
            let mut direct = room.raw(false).await.unwrap();
            let free = "SELECT count(*) FROM (SELECT FROM jobs WHERE id < 3 FOR UPDATE NOWAIT) free";
            assert_eq!(direct.one(free).await.unwrap(), "2", "{kind:?}");
            assert_eq!(holder.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
            room.calm(&xid).await;
            assert_eq!(room.dump().await, before, "{kind:?}");
            assert_eq!(worker.one(NEXT).await.unwrap(), "1", "{kind:?}: it may be had now");
            assert_eq!(error_of(&mut worker, "COMMIT").await, Default::default());
            if bound {
                worker.one("SELECT atone_rollback()").await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn workers_of_global_transactions_take_different_jobs() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "skip_workers", TABLES).await;
        let mut workers = Vec::new();
        for id in 1..=6 {
            let mut worker = inside(&room, "SELECT 1").await;
            assert_eq!(worker.one(NEXT).await.unwrap(), id.to_string(), "{kind:?}");
            workers.push(worker);
        }
        let mut late = inside(&room, "SELECT 1").await;
        assert!(late.query(NEXT).await.unwrap().iter().all(|m| m.kind != b'D'), "{kind:?}: none is left");
        assert_eq!(workers[3].one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        assert_eq!(late.one(NEXT).await.unwrap(), "4", "{kind:?}");
        // Those who share hold nothing against each other.
        let shared = "SELECT id FROM jobs WHERE id = 5 FOR SHARE SKIP LOCKED";
        assert!(late.query(shared).await.unwrap().iter().all(|m| m.kind != b'D'), "{kind:?}");
        assert_eq!(workers[4].one("SELECT atone_commit()").await.unwrap(), "committed");
        workers[3].one("SELECT atone_begin()").await.unwrap();
        for worker in [&mut workers[3], &mut late] {
            assert_eq!(worker.one(shared).await.unwrap(), "5", "{kind:?}");
        }
    }
}

#[tokio::test]
async fn behind_other_statements_it_fails_and_says_why() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "skip_behind", TABLES).await;
        let _holder = inside(&room, "UPDATE jobs SET state = 'held' WHERE id = 1").await;
        for bound in [false, true] {
            let mut raw = room.raw(true).await.unwrap();
            if bound {
                raw.one("SELECT atone_begin()").await.unwrap();
            }
            let (state, why) = error_of(&mut raw, &format!("INSERT INTO log (job) VALUES (9); {NEXT}")).await;
            assert!(state == "55P03" && why.contains("SKIP LOCKED cannot"), "{kind:?}: {state} {why}");
            let insert = "INSERT INTO log (job) VALUES (8)";
            let run = |sql| [parse("", sql, &[]), bind("", "", &[], &[]), execute("", 0)].concat();
            raw.send(&[run(insert), run(NEXT), message(b'S', b"")].concat()).await.unwrap();
            let (state, why) = error_in(&raw.until(b'Z').await.unwrap());
            assert!(state == "55P03" && why.contains("SKIP LOCKED cannot"), "{kind:?}: {state} {why}");
            let advisory = NEXT.replace("id FROM", "pg_try_advisory_lock(id) FROM");
            let (state, why) = error_of(&mut raw, &advisory).await;
            assert!(state == "55P03" && why.contains("advisory"), "{kind:?}: {state} {why}");
            if !bound {
                // It has the row itself, and is told so at its end.
                let own = format!("BEGIN; UPDATE jobs SET done = 7 WHERE id = 1; {NEXT}");
                let (state, why) = error_of(&mut raw, &own).await;
                assert!(state == "55P03" && why.contains("this one itself"), "{kind:?}: {state} {why}");
                raw.query("ROLLBACK").await.unwrap();
            }
            assert_eq!(raw.one("SELECT count(*) FROM log").await.unwrap(), "0", "{kind:?}");
            // As the first of them it passes over the row, and they stay one local transaction.
            raw.send(&[run(NEXT), run(insert), run("SELECT 1 / 0"), message(b'S', b"")].concat())
                .await
                .unwrap();
            let answer = raw.until(b'Z').await.unwrap();
            assert_eq!(rows(&answer), ["2"], "{kind:?}: {}", line(&answer));
            assert_eq!(error_in(&answer).0, "22012", "{kind:?}");
            assert_eq!(raw.one("SELECT count(*) FROM log").await.unwrap(), "0", "{kind:?}");
            let text = raw.query(&format!("{NEXT}; {insert}; {NEXT}")).await.unwrap();
            assert_eq!(rows(&text), ["2"], "{kind:?}: {}", line(&text));
            assert_eq!(error_in(&text).0, "55P03", "{kind:?}");
            assert_eq!(raw.one("SELECT count(*) FROM log").await.unwrap(), "0", "{kind:?}");
            let _ = raw.query("SELECT atone_rollback()").await.unwrap();
        }
    }
}

#[tokio::test]
async fn portals_give_rows_in_parts_and_come_again() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "skip_portals", TABLES).await;
        let part = |name: &str, n| [execute(name, n), message(b'H', b"")].concat();
        let read = "SELECT id FROM jobs WHERE id <> $1 ORDER BY id FOR UPDATE SKIP LOCKED";
        let script = |begin: &str| {
            let other = [parse("o", "SELECT 'other'", &[]), bind("other", "o", &[], &[])].concat();
            let value = bind("p", "r", &[(0, Some(b"3".to_vec()))], &[1]);
            let open = [parse("r", read, &[23]), other, value].concat();
            let parts =
                [part("p", 2), part("p", 2), part("p", 9), part("other", 0), message(b'S', b"")].concat();
            (begin.to_owned(), [open, parts].concat())
        };
        let mut told = Vec::new();
        let mut holder = room.raw(false).await.unwrap();
        holder.query("BEGIN; SELECT FROM jobs WHERE id = 1 FOR UPDATE").await.unwrap();
        for through in [false, true] {
            if through {
                holder = inside(&room, "UPDATE jobs SET state = 'held' WHERE id = 1").await;
            }
            for begin in ["SELECT 1", "BEGIN"] {
                let (begin, parts) = script(begin);
                let mut raw = room.raw(through).await.unwrap();
                raw.query(&begin).await.unwrap();
                raw.send(&parts).await.unwrap();
                told.push(line(&raw.until(b'Z').await.unwrap()));
            }
            holder.query("ROLLBACK").await.unwrap();
        }
        assert_eq!(told[2..], told[..2], "{kind:?}");
    }
}

/// Nothing of the client's is undone with the read: where a portal was bound before it, which the proxy only passed on, it fails.
#[tokio::test]
async fn a_portal_that_was_only_passed_on_is_not_lost() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "skip_passed", TABLES).await;
        let mut holder = inside(&room, "UPDATE jobs SET state = 'held' WHERE id = 1").await;
        let mut raw = room.raw(true).await.unwrap();
        let other = [parse("o", "SELECT 'other'", &[]), bind("other", "o", &[], &[]), message(b'H', b"")];
        raw.send(&other.concat()).await.unwrap();
        raw.until(b'2').await.unwrap();
        let read = [parse("r", NEXT, &[]), bind("p", "r", &[], &[]), execute("p", 0)];
        raw.send(&[read.concat(), execute("other", 0), message(b'S', b"")].concat()).await.unwrap();
        let (state, told) = error_in(&raw.until(b'Z').await.unwrap());
        assert!(state == "55P03" && told.contains("behind other statements"), "{kind:?}: {state} {told}");
        assert_eq!(holder.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
    }
}

/// The first values of all rows.
fn rows(answer: &[Message]) -> Vec<String> {
    answer.iter().filter(|m| m.kind == b'D').filter_map(|m| m.texts().into_iter().next()).collect()
}

/// Takes jobs until all are done, each in a global transaction of its own, of which every third is rolled back.
async fn work(mut raw: Raw, number: usize) -> usize {
    let (mut conflicts, mut taken) = (0, number);
    loop {
        if raw.one("SELECT count(*) FROM jobs WHERE done = 0").await.unwrap() == "0" {
            return conflicts;
        }
        raw.one("SELECT atone_begin()").await.unwrap();
        let block = number.is_multiple_of(2);
        if block {
            raw.query("BEGIN").await.unwrap();
        }
        let next = "SELECT id FROM jobs WHERE done = 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
        let answer = raw.query(next).await.unwrap();
        let mut failed = error_in(&answer).0;
        if let [id] = rows(&answer).as_slice() {
            taken += 1;
            let job = format!(
                "UPDATE jobs SET done = done + 1 WHERE id = {id}; INSERT INTO log (job) VALUES ({id})"
            );
            failed = error_of(&mut raw, &job).await.0;
            if block && failed.is_empty() {
                failed = error_of(&mut raw, "COMMIT").await.0;
            }
            if failed.is_empty() && taken % 3 != 0 {
                assert_eq!(raw.one("SELECT atone_commit()").await.unwrap(), "committed");
                continue;
            }
        }
        conflicts += usize::from(!failed.is_empty());
        raw.query("ROLLBACK").await.unwrap();
        raw.one("SELECT atone_rollback()").await.unwrap();
    }
}

#[tokio::test]
async fn ten_workers_do_each_job_once() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "skip_queue", TABLES).await;
        let fill = "INSERT INTO jobs SELECT n FROM generate_series(7, 60) n";
        room.raw(false).await.unwrap().query(fill).await.unwrap();
        let mut workers = Vec::new();
        for number in 0..10 {
            workers.push(tokio::spawn(work(room.raw(true).await.unwrap(), number)));
        }
        let mut conflicts = 0;
        for worker in workers {
            conflicts += worker.await.unwrap();
        }
        let mut direct = room.raw(false).await.unwrap();
        let done =
            direct.one("SELECT count(*) || ' ' || min(done) || ' ' || max(done) FROM jobs").await.unwrap();
        let logged = direct.one("SELECT count(*) || ' ' || count(DISTINCT job) FROM log").await.unwrap();
        assert_eq!((done.as_str(), logged.as_str()), ("60 1 1", "60 60"), "{kind:?}");
        println!("{kind:?}: {conflicts} conflicts");
    }
}
