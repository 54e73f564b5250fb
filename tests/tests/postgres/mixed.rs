//! A bank in two databases: global transfers between them, some taken back, beside local ones by clients that know nothing of
//! global transactions. No money is made or lost, no read under a lock is undone, and no rollback ever needs a person.

use crate::case::{error_in, same_room};
use atone_tests::postgres::message::Message;
use atone_tests::postgres::{PgWorld, Raw};
use atone_tests::servers::Kind;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TABLES: &str = "CREATE TABLE a (id int PRIMARY KEY, v int NOT NULL, moves int NOT NULL DEFAULT 0);
    INSERT INTO a SELECT g, 100 FROM generate_series(1, 6) g;
    CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.moves := OLD.moves + 1; RETURN NEW; END$$;
    CREATE TRIGGER m BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION moved()";

const NAME: &str = "mixed_bank";

/// Runs statements until one fails; whether all did.
async fn all(raw: &mut Raw, statements: &[String]) -> bool {
    for statement in statements {
        let answer = raw.query(statement).await.unwrap();
        if !fine(statement, &answer) {
            raw.query("ROLLBACK").await.unwrap();
            return false;
        }
    }
    true
}

/// An error must be one that a driver tries again for.
fn fine(statement: &str, answer: &[Message]) -> bool {
    let (state, message) = error_in(answer);
    // 25006: somebody else, or the deadline, has ended the global transaction.
    let known = ["", "55P03", "40P01", "40001", "25006"].contains(&state.as_str());
    assert!(known, "{statement}: {state} {message}");
    state.is_empty()
}

fn add(x: i32, id: i32) -> String {
    format!("UPDATE a SET v = v + {x} WHERE id = {id}")
}

/// One client's work; the xids of its global transactions.
async fn client(seed: u64) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let rooms = [same_room(Kind::Pg15, NAME), same_room(Kind::Pg18, NAME)];
    let mut raws = [rooms[0].raw(true).await.unwrap(), rooms[1].raw(true).await.unwrap()];
    let mut xids = Vec::new();
    for _ in 0..12 {
        let (x, from, to) =
            (random.random_range(1..9), random.random_range(1..=6), random.random_range(1..=6));
        let side = random.random_range(0..2);
        let text = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        match random.random_range(0..6) {
            0 => {
                let script = [text(&["BEGIN"]), vec![add(-x, from), add(x, to)], text(&["COMMIT"])].concat();
                all(&mut raws[side], &script).await;
            }
            1 => {
                let both = format!("{}; {}", add(-x, from), add(x, to));
                all(&mut raws[side], &[both]).await;
            }
            2 => {
                let function = format!("BEGIN; DO $$BEGIN {}; {}; END$$; COMMIT", add(-x, from), add(x, to));
                all(&mut raws[side], &[function]).await;
            }
            3 => {
                // What it read under a lock must still be so when it writes.
                let raw = &mut raws[side];
                let read = format!("SELECT v FROM a WHERE id = {from} FOR UPDATE");
                let begun = all(raw, &text(&["BEGIN"])).await;
                let answer = raw.query(&read).await.unwrap();
                if begun && fine(&read, &answer) {
                    let row = answer.iter().find(|message| message.kind == b'D').unwrap();
                    let v: i32 = row.texts()[0].parse().unwrap();
                    let write = format!("UPDATE a SET v = {} WHERE id = {from}", v - x);
                    all(raw, &[write, add(x, to), "COMMIT".to_owned()]).await;
                } else {
                    raw.query("ROLLBACK").await.unwrap();
                }
            }
            _ => {
                let xid = raws[0].one("SELECT atone_begin('transfer', 20000)").await.unwrap();
                raws[1].one(&format!("SELECT atone_join('{xid}')")).await.unwrap();
                let done = all(&mut raws[side], &[add(-x, from)]).await
                    && all(&mut raws[1 - side], &[format!("BEGIN; {}", add(x, to)), "COMMIT".to_owned()])
                        .await;
                let end = if done && random.random_range(0..4) > 0 { "commit" } else { "rollback" };
                let answer = raws[0].query(&format!("SELECT atone_{end}('{xid}')")).await.unwrap();
                fine(end, &answer);
                raws[1].query("SELECT atone_leave()").await.unwrap();
                xids.push(xid);
            }
        }
    }
    xids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_with_local_and_global_transfers() {
    let world = PgWorld::shared();
    let rooms = [world.room(Kind::Pg15, NAME, TABLES).await, world.room(Kind::Pg18, NAME, TABLES).await];
    let clients: Vec<_> = (0..16).map(|seed| tokio::spawn(client(seed))).collect();
    let (mut committed, mut rolled_back) = (0, 0);
    for client in clients {
        for xid in client.await.unwrap() {
            match rooms[0].calm(&xid).await.as_str() {
                "committed" => committed += 1,
                _ => rolled_back += 1,
            }
        }
    }
    let mut sum = 0;
    for room in &rooms {
        let mut raw = room.raw(false).await.unwrap();
        sum += raw.one("SELECT sum(v) FROM a").await.unwrap().parse::<i64>().unwrap();
    }
    assert_eq!(sum, 1200, "{committed} were committed and {rolled_back} rolled back");
    assert!(committed > 0 && rolled_back > 0, "{committed} were committed and {rolled_back} rolled back");
}
