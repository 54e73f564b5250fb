//! Keys of types that extensions bring along: citext, whose values are equal when the server's `lower()` of them is, hstore and
//! ltree. They live in a schema that no search path of the proxy's leads to.

use crate::case::{Mode, check, check_modes, error_in, error_of, room};
use atone_tests::postgres::{PgWorld, Raw, message};
use atone_tests::servers::Kind;
use tokio::sync::OnceCell;

/// Makes the extensions in both databases, once.
async fn extensions() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(async || {
        for kind in Kind::POSTGRES {
            let room = PgWorld::shared().room(kind, "extensions", "").await;
            let service = room.service().await.unwrap();
            let sql = "CREATE SCHEMA \"Ext\"; GRANT USAGE ON SCHEMA \"Ext\" TO public; CREATE EXTENSION citext SCHEMA \"Ext\";
                CREATE EXTENSION hstore SCHEMA \"Ext\"; CREATE EXTENSION ltree SCHEMA \"Ext\"";
            service.batch_execute(sql).await.unwrap();
        }
    })
    .await;
}

const TABLES: &str = "CREATE TABLE k (k \"Ext\".citext PRIMARY KEY, n int);
    INSERT INTO k VALUES ('ABC', 1), ('straße', 2), ('ÄÖ', 3), ('x Y', 4), ('', 5), ('x y ', 6);
    CREATE TABLE child (id int PRIMARY KEY, k \"Ext\".citext REFERENCES k ON UPDATE CASCADE ON DELETE CASCADE);
    INSERT INTO child VALUES (1, 'STRAßE'), (2, 'äö'), (3, '');
    CREATE TABLE u (id int PRIMARY KEY, k \"Ext\".citext UNIQUE, m \"Ext\".citext);
    INSERT INTO u VALUES (1, 'One', 'q'), (2, NULL, NULL), (3, 'Three', 'Z');
    CREATE TABLE two (a int, b \"Ext\".citext, v int, PRIMARY KEY (b, a)); INSERT INTO two VALUES (1, 'B', 1), (2, 'b', 2);
    CREATE TABLE h (k \"Ext\".hstore PRIMARY KEY, n int);
    INSERT INTO h VALUES ('b=>NULL,a=>1', 1), ('', 2), ('a=>NULL', 3), ('a=>\"NULL\"', 4), ('aa=>1', 5), ('a=>a1', 6);
    CREATE TABLE l (k \"Ext\".ltree PRIMARY KEY, n int); INSERT INTO l VALUES ('Top.Science', 1), ('', 2), ('top.science', 3)";

/// The client finds the types and their operators.
fn path(room: &str) -> String {
    format!("SET search_path = shop_{room}, \"Ext\"")
}

#[tokio::test]
async fn rows_named_by_citext() {
    extensions().await;
    let path = path("citext");
    let statements = [
        path.as_str(),
        "UPDATE k SET n = n + 1 WHERE k = 'abc'",
        "UPDATE k SET n = n + 1",
        "UPDATE k SET k = 'aBc' WHERE k = 'ABC' RETURNING *",
        "UPDATE k SET k = 'STRASSE' WHERE k = 'STRAßE'",
        "INSERT INTO k VALUES ('X y', 9), ('New', 9) ON CONFLICT (k) DO UPDATE SET n = EXCLUDED.n, k = EXCLUDED.k RETURNING k",
        "INSERT INTO k VALUES ('NEW', 9) ON CONFLICT DO NOTHING",
        "DELETE FROM k WHERE k = 'x Y'",
        "INSERT INTO k VALUES ('X Y', 7)",
        "DELETE FROM k WHERE k = ''",
        "DELETE FROM k WHERE k = 'ABC'",
        "INSERT INTO k VALUES ('abC', 8)",
        "INSERT INTO child VALUES (7, 'ABC')",
        "UPDATE k SET k = 'moved' WHERE k = 'Äö'",
        "DELETE FROM u WHERE id = 1",
        "INSERT INTO u VALUES (9, 'ONE', 'Q')",
        "UPDATE u SET k = 'three' WHERE id = 3",
        "UPDATE u SET k = 'x', m = 'y' WHERE id = 2",
        "UPDATE two SET v = v + 1 WHERE b = 'b'",
        "UPDATE two SET b = 'C' WHERE a = 2",
        "DELETE FROM two WHERE (a, b) = (1, 'b')",
    ];
    check("citext", TABLES, &statements).await;
}

#[tokio::test]
async fn rows_named_by_citext_that_no_statement_tells_of() {
    extensions().await;
    let path = path("citext_search");
    let statements = [
        path.as_str(),
        "MERGE INTO k USING (VALUES ('abc'), ('other')) AS v (k) ON k.k = v.k::citext WHEN MATCHED THEN UPDATE SET n = 50 \
         WHEN NOT MATCHED THEN INSERT VALUES (v.k, 51)",
        "WITH gone AS (DELETE FROM k WHERE k = 'x Y' RETURNING *) INSERT INTO k SELECT upper(k::text), n FROM gone",
        "WITH made AS (INSERT INTO u VALUES (20, 'oNe2', 'x') RETURNING id) UPDATE u SET k = 'THREE' WHERE id = 3",
        "DELETE FROM k WHERE k = 'äÖ'",
    ];
    check_modes("citext_search", TABLES, &statements, &[Mode::Local, Mode::PreparedLocal]).await;
}

#[tokio::test]
async fn rows_named_by_hstore_and_ltree() {
    extensions().await;
    let path = path("hstore");
    let statements = [
        path.as_str(),
        "UPDATE h SET n = n + 1 WHERE k = 'a=>1, b=>NULL, a=>2'::hstore OR k = 'a=>1,b=>NULL'",
        "UPDATE h SET n = n + 1",
        "UPDATE h SET k = 'b=>NULL, a=>1' WHERE n > 1 AND k ? 'b'",
        "INSERT INTO h VALUES ('a=>1,b=>NULL', 9), ('z=>\"\"', 9) ON CONFLICT (k) DO UPDATE SET n = EXCLUDED.n",
        "DELETE FROM h WHERE k = 'a=>NULL'",
        "INSERT INTO h VALUES ('a=>NULL', 8)",
        "DELETE FROM h WHERE k = 'aa=>1'",
        "UPDATE h SET k = k || 'c=>3' WHERE k = 'a=>a1'",
        "UPDATE l SET n = n + 1 WHERE k = 'Top.Science'",
        "DELETE FROM l WHERE k = ''",
        "INSERT INTO l VALUES ('Top.Science.Astronomy', 5)",
        "UPDATE l SET k = 'top' WHERE k = 'top.science'",
    ];
    check("hstore", TABLES, &statements).await;
}

/// Equal values are one lock, whatever their bytes are; for other global transactions, for writers outside, and for readers
/// that lock.
#[tokio::test]
async fn equal_values_of_extensions_are_one_lock() {
    extensions().await;
    for kind in Kind::POSTGRES {
        for (held, taken, free) in [
            (
                "UPDATE k SET n = 50 WHERE k = 'ABC'",
                "UPDATE k SET n = 51 WHERE k = 'abc'",
                "UPDATE k SET n = 52 WHERE k = ''",
            ),
            (
                "DELETE FROM k WHERE k = 'straße'",
                "INSERT INTO k VALUES ('STRAßE', 1)",
                "INSERT INTO k VALUES ('strasse', 1)",
            ),
            (
                "DELETE FROM k WHERE k = 'x Y'",
                "INSERT INTO k VALUES ('X Y', 1)",
                "INSERT INTO k VALUES ('X  Y', 1)",
            ),
            (
                "UPDATE k SET n = 50 WHERE k = 'äö'",
                "SELECT n FROM k WHERE k = 'ÄÖ' FOR UPDATE",
                "SELECT n FROM k WHERE k = '' FOR UPDATE",
            ),
            (
                "UPDATE u SET k = NULL WHERE id = 1",
                "INSERT INTO u VALUES (9, 'ONE')",
                "INSERT INTO u VALUES (9, 'ONe!')",
            ),
            (
                "DELETE FROM two WHERE a = 1",
                "INSERT INTO two VALUES (1, 'b')",
                "INSERT INTO two VALUES (1, 'bb')",
            ),
            (
                "DELETE FROM h WHERE k = 'a=>1,b=>NULL'",
                "INSERT INTO h VALUES ('b=>NULL,a=>1', 5)",
                "INSERT INTO h VALUES ('b=>\"NULL\",a=>1', 5)",
            ),
            (
                "DELETE FROM l WHERE k = 'Top.Science'",
                "INSERT INTO l VALUES ('Top.Science')",
                "INSERT INTO l VALUES ('Top.science')",
            ),
        ] {
            let room = room(kind, "ext_locks", TABLES).await;
            let session = async || -> Raw {
                let mut raw = room.raw(true).await.unwrap();
                raw.query(&path("ext_locks")).await.unwrap();
                raw
            };
            let (mut holder, mut other, mut local) = (session().await, session().await, session().await);
            holder.one("SELECT atone_begin()").await.unwrap();
            assert_eq!(error_of(&mut holder, held).await, Default::default(), "{kind:?}: {held}");
            other.one("SELECT atone_begin()").await.unwrap();
            for raw in [&mut other, &mut local] {
                let (state, message) = error_of(raw, taken).await;
                assert_eq!(state, "55P03", "{kind:?}: {taken} behind {held}: {message}");
            }
            for raw in [&mut local, &mut other] {
                raw.query("BEGIN").await.unwrap();
                assert_eq!(error_of(raw, free).await, Default::default(), "{kind:?}: {free} behind {held}");
                raw.query("ROLLBACK").await.unwrap();
            }
            assert_eq!(other.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
            assert_eq!(
                holder.one("SELECT atone_rollback()").await.unwrap(),
                "rolled_back",
                "{kind:?}: {held}"
            );
            let (state, _) = error_of(&mut local, taken).await;
            assert_ne!(state, "55P03", "{kind:?}: {taken}, when {held} is undone");
        }
    }
}

#[tokio::test]
async fn copied_rows_of_citext() {
    extensions().await;
    for kind in Kind::POSTGRES {
        let room = room(kind, "ext_copy", TABLES).await;
        let before = room.dump().await;
        let mut copier = room.raw(true).await.unwrap();
        let xid = copier.one("SELECT atone_begin()").await.unwrap();
        copier.send(&message::message(b'Q', &message::texts(&["COPY k FROM STDIN"]))).await.unwrap();
        copier.until(b'G').await.unwrap();
        let rows = message::message(b'd', "Copied\t1\nÜBER\t2\n".as_bytes());
        copier.send(&[rows, message::message(b'c', b"")].concat()).await.unwrap();
        let answer = copier.until(b'Z').await.unwrap();
        assert_eq!(error_in(&answer), Default::default(), "{kind:?}");
        let mut local = room.raw(true).await.unwrap();
        local.query(&path("ext_copy")).await.unwrap();
        let (state, message) = error_of(&mut local, "UPDATE k SET n = 5 WHERE k = 'über'").await;
        assert_eq!(state, "55P03", "{kind:?}: {message}");
        assert_eq!(copier.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(room.calm(&xid).await, "rolled_back", "{kind:?}");
        assert_eq!(room.dump().await, before, "{kind:?}");
    }
}

/// What is not exactly the extension's own order stays refused.
#[tokio::test]
async fn other_keys_of_extensions_are_refused() {
    extensions().await;
    let tables = "CREATE DOMAIN mail AS \"Ext\".citext; CREATE TABLE of_domain (k mail PRIMARY KEY);
        CREATE TABLE of_texts (k \"Ext\".citext); CREATE UNIQUE INDEX ON of_texts (k text_ops); ALTER TABLE of_texts ALTER k SET NOT NULL;
        CREATE TABLE of_arrays (k \"Ext\".citext[] PRIMARY KEY)";
    for kind in Kind::POSTGRES {
        let room = room(kind, "ext_refused", tables).await;
        for (table, value) in [("of_domain", "'a'"), ("of_texts", "'a'"), ("of_arrays", "'{a}'")] {
            let mut raw = room.raw(true).await.unwrap();
            raw.one("SELECT atone_begin()").await.unwrap();
            let (state, message) = error_of(&mut raw, &format!("INSERT INTO {table} VALUES ({value})")).await;
            assert_eq!(state, "0A000", "{kind:?}: {table}: {message}");
            assert!(message.contains("no key that names rows exactly"), "{kind:?}: {table}: {message}");
        }
    }
}

#[tokio::test]
async fn what_a_foreign_key_of_citext_refers_to_is_held() {
    extensions().await;
    for kind in Kind::POSTGRES {
        let room = room(kind, "citext_parents", TABLES).await;
        let (mut holder, mut other) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
        for session in [&mut holder, &mut other] {
            assert_eq!(error_of(session, &path("citext_parents")).await, Default::default());
        }
        holder.one("SELECT atone_begin()").await.unwrap();
        let held = "INSERT INTO k VALUES ('Neu', 7); DELETE FROM child WHERE id = 2";
        assert_eq!(error_of(&mut holder, held).await, Default::default(), "{kind:?}");
        for (waits, sql) in [
            (true, "INSERT INTO child VALUES (9, 'nEU')"),
            (true, "DELETE FROM k WHERE n = 3"),
            (false, "INSERT INTO child VALUES (9, 'abc')"),
        ] {
            let (state, message) = error_of(&mut other, sql).await;
            assert_eq!(state, if waits { "55P03" } else { "" }, "{kind:?}: {sql}: {message}");
        }
        assert_eq!(holder.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}");
    }
}
