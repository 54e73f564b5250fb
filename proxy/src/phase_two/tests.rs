//! Phase two on a real PostgreSQL, with branches as a session leaves them behind. Run with
//! `ATONE_TEST_POSTGRES=postgres://superuser@host:port/postgres cargo test -p atone-proxy --features server-tests`.

use super::{
    forget::forget,
    guard::{Probe, resolve},
    restore::{Mode, Restored, restore},
};
use crate::{
    backend::{Backend, scratch::Scratch},
    config::Database,
};
use atone_protocol::{BranchId, Xid};
use atone_undo_log::{
    capture::Captured,
    record::{Change, Shape, Touched, UndoRecord},
};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

struct World {
    scratch: Scratch,
    backend: Backend,
}

fn xid() -> Xid {
    Xid::from_u128(7)
}

impl World {
    async fn new(name: &str, sql: &str) -> Self {
        let scratch = Scratch::new(name).await;
        scratch.run(sql).await;
        let database = Database {
            name: "shop".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            url: String::new(),
            password_file: None,
            local_writes: None,
        };
        let backend = Backend::open(&database, scratch.account.clone()).await.unwrap();
        Self { scratch, backend }
    }

    /// A branch of these writes, each with the table it writes and whether it deletes, as a session makes one.
    async fn branch(&self, number: u64, writes: &[(&str, bool, &str)]) {
        let record = self.record(&self.scratch.client, writes).await;
        insert(&self.scratch.client, number, &record).await;
        self.scratch.run("COMMIT").await;
    }

    async fn record(&self, client: &Client, writes: &[(&str, bool, &str)]) -> UndoRecord {
        let postgres = self.backend.postgres().unwrap();
        let mut record = UndoRecord::default();
        client.batch_execute("BEGIN").await.unwrap();
        for (table, gone, sql) in writes {
            let oid = self.scratch.oid(table).await;
            let entry = postgres.entry(oid).await.unwrap().unwrap();
            let (description, layout) = (entry.table.as_ref().unwrap(), entry.layout.as_ref().unwrap());
            let sql = format!("{sql} RETURNING record_send({table}.*)");
            let rows = client.query(&sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            let records: Vec<&[u8]> = rows.iter().map(|row| row.get(0)).collect();
            let folds = postgres.folds(&entry, &records).await.unwrap();
            let left: Vec<Captured> =
                records.iter().map(|row| layout.decode(description, row, &folds).unwrap()).collect();
            let before = postgres.before_images(&entry, &left.iter().collect::<Vec<_>>()).await.unwrap();
            record.tables.push(Shape::of(description));
            for row in left {
                let before = before.iter().find(|b| b.key.bytes == row.key.bytes).map(|b| b.row.clone());
                record.changes.push(Change { row: record.rows.len() as u32, before, moved_to: None });
                record.rows.push(Touched {
                    table: record.tables.len() as u32 - 1,
                    key: description.key_values(&row.row).into_iter().map(<[u8]>::to_vec).collect(),
                    canonical: row.key.bytes.clone(),
                    shown: row.key.shown.clone(),
                    after: (!gone).then_some(row.row),
                });
            }
        }
        UndoRecord::decode(&record.encode()).unwrap()
    }

    async fn undo(&self, number: u64) -> Restored {
        self.end(number, Mode::Careful).await
    }

    async fn end(&self, number: u64, mode: Mode) -> Restored {
        restore(&self.backend, xid(), BranchId::new(number), mode).await.unwrap().0
    }

    async fn blocked(&self, number: u64) -> String {
        match self.undo(number).await {
            Restored::Blocked(why) => why,
            Restored::Done => panic!("undone"),
        }
    }

    /// The whole content of a table, in the order of its key.
    async fn content(&self, table: &str) -> String {
        let query = format!(
            "SELECT coalesce(string_agg({table}::text, ' ' ORDER BY {table}::text), '') FROM {table}"
        );
        self.scratch.client.query_one(&query, &[]).await.unwrap().get(0)
    }

    async fn leftovers(&self) -> String {
        let query = "SELECT coalesce(string_agg(branch_id || status, ' ' ORDER BY branch_id), '') FROM atone.undo_log";
        self.scratch.client.query_one(query, &[]).await.unwrap().get(0)
    }
}

/// In two parts, the first last.
async fn insert(client: &Client, number: u64, record: &UndoRecord) {
    let bytes = record.encode();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for (part, bytes) in [(1_i16, second), (0, first)] {
        let insert = "INSERT INTO atone.undo_log (xid, branch_id, part, parts, status, record) VALUES ($1, $2, $3, 2, 'NORMAL', $4)";
        let number = number.cast_signed();
        client.execute(insert, &[&xid().to_string(), &number, &part, &bytes]).await.unwrap();
    }
}

const TYPES: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN amount AS numeric(9, 2) CHECK (value > 0);
    CREATE TYPE pair AS (a int, b text);
    CREATE TABLE kinds (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b bool, i2 smallint, f4 real, f8 float8, n numeric, t text,
        c char(5), v varchar(9), by bytea, d date, ti time, tz timestamptz, ts timestamp, iv interval, u uuid, j json, jb jsonb, x xml,
        m mood, a amount, p pair, arr int[], ms mood[], r int4range, net inet, mac macaddr, pt point, bits bit(5), vb varbit, tsv tsvector,
        mon money, \"Odd \"\"name\" text, twice int GENERATED ALWAYS AS (i2 * 2) STORED);
    INSERT INTO kinds VALUES (DEFAULT, true, -3, 'NaN', 1e-300, 1.500, E'a\\n''\"é', 'ab', 'x ', '\\x00ff', '0044-03-15 BC', '24:00',
        'infinity', '2020-02-29 12:34:56.789012', '1 mon -3 days 00:00:01', gen_random_uuid(), '{\"a\":  1, \"a\": 2}', '{\"b\": 1.0}',
        '<a>é</a>', 'glad', 1.5, '(1,x)', '{{1,NULL},{3,4}}', '{sad,glad}', '[1,9)', '10.0.0.1/8', '08:00:2b:01:02:03', '(1,2)', '10101', '1',
        'a:1 b:2', '12.34', 'odd'); INSERT INTO kinds DEFAULT VALUES;";

#[tokio::test]
async fn rows_of_all_types_come_back_as_they_were() {
    let world = World::new("types", TYPES).await;
    let before = world.content("kinds").await;
    let update = "UPDATE kinds SET b = NULL, i2 = 9, f4 = 0, f8 = '-0', n = 'NaN', t = '', c = 'z', v = '', by = '', d = 'now', ti = '1:00', \
        tz = 'now', ts = 'infinity', iv = '1 year', u = NULL, j = '1', jb = '2', x = NULL, m = 'sad', a = 2, p = NULL, arr = '{}', ms = NULL, \
        r = 'empty', net = '::1', mac = NULL, pt = NULL, bits = NULL, vb = NULL, tsv = NULL, mon = 0, \"Odd \"\"name\" = 'x'";
    world.branch(1, &[("kinds", false, update)]).await;
    world.branch(2, &[("kinds", true, "DELETE FROM kinds")]).await;
    assert_eq!(world.content("kinds").await, "");
    assert_eq!(world.undo(2).await, Restored::Done);
    assert_eq!(world.undo(1).await, Restored::Done);
    assert_eq!(world.content("kinds").await, before);
    assert_eq!(world.leftovers().await, "1UNDONE 2UNDONE");
    // Again: nothing happens.
    assert_eq!(world.undo(1).await, Restored::Done);

    // More rows than one query asks for.
    world
        .branch(3, &[("kinds", false, "INSERT INTO kinds (i2) SELECT g FROM generate_series(1, 1200) g")])
        .await;
    assert_eq!(world.undo(3).await, Restored::Done);
    assert_eq!(world.content("kinds").await, before);
}

#[tokio::test]
async fn keys_that_stand_in_one_anothers_way_find_an_order() {
    let world = World::new(
        "orders",
        "CREATE TABLE p (id int PRIMARY KEY, u int UNIQUE);
        CREATE TABLE c (id int PRIMARY KEY, p int NOT NULL REFERENCES p);
        CREATE TABLE a (id int PRIMARY KEY, b int NOT NULL);
        CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a DEFERRABLE);
        ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b DEFERRABLE INITIALLY DEFERRED;
        CREATE TABLE root (region text, id numeric, v int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
        CREATE TABLE north (v int, id numeric NOT NULL, region text NOT NULL); ALTER TABLE root ATTACH PARTITION north FOR VALUES IN ('n');
        INSERT INTO p VALUES (1, 10), (2, 20); INSERT INTO c VALUES (1, 1);
        BEGIN; INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 1); COMMIT;
        INSERT INTO root VALUES ('n', 1.0, 5);",
    )
    .await;
    let (p, c, a, root) = (
        world.content("p").await,
        world.content("c").await,
        world.content("a").await,
        world.content("root").await,
    );
    world
        .branch(
            1,
            &[
                ("c", true, "DELETE FROM c"),
                ("p", false, "UPDATE p SET u = 30 WHERE id = 1"),
                ("p", false, "UPDATE p SET u = 10 WHERE id = 2"),
                ("b", true, "DELETE FROM b"),
                ("a", true, "DELETE FROM a"),
                ("root", false, "UPDATE root SET v = 6 WHERE id = 1"),
            ],
        )
        .await;
    assert_eq!(world.undo(1).await, Restored::Done);
    assert_eq!(world.content("p").await, p);
    assert_eq!(world.content("c").await, c);
    assert_eq!(world.content("a").await, a);
    assert_eq!(world.content("root").await, root);
}

#[tokio::test]
async fn what_is_in_the_way_blocks_and_changes_nothing() {
    let world = World::new(
        "blocked",
        "CREATE TABLE p (id int PRIMARY KEY, u int UNIQUE); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);
        CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1); INSERT INTO p VALUES (5, 50)",
    )
    .await;
    world.branch(1, &[("t", false, "UPDATE t SET v = 2")]).await;
    world.scratch.run("UPDATE t SET v = 3").await;
    let why = world.blocked(1).await;
    assert!(why.contains("public.t row 1 was changed by someone else (v)"), "{why}");
    world.scratch.run("UPDATE t SET v = 2; ALTER TABLE t ADD x int").await;
    let why = world.blocked(1).await;
    assert!(why.contains("column x was added"), "{why}");
    world.scratch.run("ALTER TABLE t DROP x; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()").await;
    let why = world.blocked(1).await;
    assert!(why.contains("has triggers now"), "{why}");
    world.scratch.run("DROP TRIGGER g ON t").await;
    assert_eq!(world.undo(1).await, Restored::Done);

    world.branch(2, &[("p", false, "INSERT INTO p VALUES (1, 1)")]).await;
    world.scratch.run("INSERT INTO c VALUES (1, 1)").await;
    let why = world.blocked(2).await;
    assert!(why.contains("rows of public.c have come to point at it"), "{why}");
    assert_eq!(world.content("c").await, "(1,1)");
    world.branch(3, &[("p", true, "DELETE FROM p WHERE id = 5")]).await;
    world.scratch.run("INSERT INTO p VALUES (6, 50)").await;
    let why = world.blocked(3).await;
    assert!(why.contains("refuses the undo") && why.contains("23505"), "{why}");
    assert_eq!(world.leftovers().await.matches("NORMAL").count(), 4);
    world.scratch.run("DROP TABLE c, p").await;
    let why = world.blocked(3).await;
    assert!(why.contains("public.p is gone"), "{why}");
}

#[tokio::test]
async fn a_guard_waits_for_an_open_branch_and_ends_a_dead_one() {
    let world = World::new(
        "guards",
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 1);
        DROP ROLE IF EXISTS atone_app; CREATE ROLE atone_app LOGIN PASSWORD 'atone'; GRANT ALL ON t TO atone_app",
    )
    .await;
    let probe = async |number| resolve(&world.backend, xid(), BranchId::new(number)).await.unwrap().0;
    world.branch(1, &[("t", false, "UPDATE t SET v = 2 WHERE id = 1")]).await;
    assert_eq!(probe(1).await, Probe::Committed);
    assert_eq!(probe(u64::MAX).await, Probe::Guarded);
    assert_eq!(probe(u64::MAX).await, Probe::Guarded);

    let application = world.scratch.another("atone_app").await;
    let record = world.record(&application, &[("t", false, "UPDATE t SET v = 3 WHERE id = 2")]).await;
    insert(&application, 2, &record).await;
    let commit = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        application.batch_execute("COMMIT").await.unwrap();
    };
    assert_eq!(tokio::join!(probe(2), commit).0, Probe::Committed);
    assert_eq!(world.undo(2).await, Restored::Done);
    assert_eq!(probe(2).await, Probe::Undone);

    let record = world.record(&application, &[("t", false, "UPDATE t SET v = 4 WHERE id = 2")]).await;
    insert(&application, 3, &record).await;
    let asked = Instant::now();
    assert_eq!(world.undo(3).await, Restored::Done);
    assert!(asked.elapsed() > Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(application.batch_execute("COMMIT").await.is_err());
    assert_eq!(world.content("t").await, "(1,2) (2,1)");

    // A guard stays while an older transaction is open; committed branches are forgotten in one go.
    let older = world.scratch.another("atone_app").await;
    older.batch_execute("BEGIN").await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(probe(4).await, Probe::Guarded);
    let primary =
        forget(&world.backend, &[(xid(), BranchId::new(1)), (xid(), BranchId::new(9))]).await.unwrap();
    assert_eq!(primary, world.backend.sight().primary);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(world.backend.with_leftovers(10).await.unwrap(), [xid().to_string()]);
    world.backend.sweep(&[xid()]).await.unwrap();
    let left = world.leftovers().await;
    assert!(left.contains("4GUARD") && !left.contains("UNDONE") && !left.contains("NORMAL"), "{left}");
    older.batch_execute("COMMIT").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.backend.sweep(&[xid()]).await.unwrap();
    assert_eq!(world.leftovers().await, "");
}
