//! What statements are taken for; equal keys have one form; reading is total.

use super::{
    analyze::{Class, Counted, Verb, classify, classify_either_way, split},
    binary::{float, numeric, record},
    prepare::{prepared_names, prepares_read},
};
use crate::analyze::{Argument, Control};
use proptest::prelude::*;

fn class(sql: &str) -> Class {
    classify(sql.as_bytes(), true)
}

#[test]
fn first_words_tell() {
    for sql in [
        "SELECT 1",
        "(select 1)",
        "TABLE t",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "SHOW search_path",
        "EXPLAIN UPDATE t SET a = 1",
        "COPY t TO STDOUT",
        "COPY (SELECT 1) TO STDOUT",
        "FETCH ALL FROM c",
        "SELECT 'insert; into'",
        "SELECT $$ (INSERT $$",
        "DECLARE c CURSOR FOR SELECT 1",
        "SELECT COUNT(*), \"max\"(a), pg_catalog.now() FROM t AS x (a) WHERE a IN (1) AND (b) = ANY (ARRAY[1]) OR NOT (c)",
        "WITH RECURSIVE n (a) AS (VALUES (1::numeric(5,2))), m AS MATERIALIZED (SELECT 1) SELECT CAST('x' AS varchar(3)) FROM n",
        "SELECT 'f(' || $$f($$, $1, \"f\" FROM t JOIN u USING (a) /* f( */",
        "SELECT rank() OVER (ORDER BY a), sum(a) FILTER (WHERE a > 1) FROM t LIMIT (1) OFFSET (2)",
        "SELECT nextval('s'), pg_advisory_xact_lock(1)",
        "EXPLAIN SELECT f()",
    ] {
        assert_eq!(class(sql), Class::Read, "{sql}");
    }
    for sql in [
        "SELECT 1 INTO t",
        "CREATE TABLE t (a int)",
        "TRUNCATE t",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * INTO u FROM x",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "COPY t FROM PROGRAM 'x'",
        "NOTIFY x",
        "PREPARE TRANSACTION 'x'",
        "COMMIT PREPARED 'x'",
        "SELECT 1; SELECT 2",
        "UPDATE t SET a = 1; DELETE FROM t",
        "VACUUM",
        "SELECT pg_notify('a', 'b')",
        "DECLARE c CURSOR WITH HOLD FOR SELECT f()",
        "SELECT 'open",
        "COPY t TO PROGRAM 'x'",
        "COPY t TO '/tmp/x' (FORMAT csv)",
        "LOCK TABLE t",
        "LOCK t IN ACCESS EXCLUSIVE MODE NOWAIT",
    ] {
        assert!(matches!(class(sql), Class::Unsupported(_)), "{sql}: {:?}", class(sql));
    }
    for sql in [
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "WITH x AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM x",
        "EXPLAIN ANALYZE DELETE FROM t",
        "EXPLAIN (ANALYZE, FORMAT JSON) WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "MERGE INTO t USING u ON a=b WHEN MATCHED THEN DELETE",
        "UPDATE ONLY (t) SET a = 1",
        "COPY (DELETE FROM t RETURNING *) TO STDOUT",
        "INSERT INTO \"a$atone$b\" VALUES (1)",
        "SELECT f()",
        "SELECT * FROM t, shop.f (t.a) AS f (a, b)",
        "SELECT shop.now()",
        "SELECT \"in\"(1)",
        "SELECT \"F\"(1)",
        "SELECT U&\"f\"(1)",
        "SELECT count(*) FROM t WHERE f(a) IN (1)",
        "VALUES (1), (f())",
        "DECLARE c CURSOR FOR SELECT f()",
        "EXPLAIN ANALYZE SELECT f()",
        "COPY (SELECT f()) TO STDOUT",
        "SELECT lo_unlink(1)",
    ] {
        assert_eq!(class(sql), Class::Counted(Counted::Plain), "{sql}");
    }
    assert_eq!(class("copy t (a) from stdin"), Class::Counted(Counted::Copy));
    assert_eq!(class("DO $$ $$"), Class::Counted(Counted::Procedure));
    assert_eq!(class("CALL p()"), Class::Counted(Counted::Procedure));
    assert_eq!(class("EXECUTE \"P\" (1, 'a')"), Class::Counted(Counted::Execute("P".into())));
    assert_eq!(class("  -- nothing\n;"), Class::Empty);
    assert_eq!(class("begin isolation level serializable"), Class::Begin);
    assert_eq!(class("END"), Class::Commit { chain: false });
    assert_eq!(class("COMMIT AND CHAIN"), Class::Commit { chain: true });
    assert_eq!(class("ROLLBACK AND NO CHAIN"), Class::Rollback { chain: false });
    assert_eq!(class("rollback to savepoint \"S\""), Class::RollbackTo("S".into()));
    assert_eq!(class("ROLLBACK TO X"), Class::RollbackTo("x".into()));
    assert_eq!(class("RELEASE SAVEPOINT x"), Class::Release("x".into()));
    assert_eq!(class("SAVEPOINT X"), Class::Savepoint("x".into()));
    assert_eq!(class("SET search_path = a"), Class::Session);
    assert_eq!(class("DISCARD ALL"), Class::DiscardAll);
    assert_eq!(class("RESET ALL"), Class::ResetAll);
    assert_eq!(class("RESET search_path"), Class::Session);
    assert_eq!(class("LOCK TABLE t IN EXCLUSIVE MODE"), Class::Session);
    let names = prepared_names(b"SELECT 1; prepare \"A b\" (int) AS SELECT $1; PREPARE x AS DELETE FROM t");
    assert_eq!(names.unwrap()[..2], ["A b", "x"]);
    assert_eq!(prepared_names(b"PREPARE U&\"\\0073\" AS DELETE FROM t"), None);
    assert_eq!(prepared_names(b"DO $$BEGIN EXECUTE 'PREPARE s AS DELETE FROM t'; END$$"), None);
    let none = prepared_names(b"INSERT INTO t VALUES ('prepare x') ON CONFLICT DO UPDATE SET a = 'y'");
    assert_eq!(none, Some(Vec::new()));
}

/// Table, reference, assigned, returning.
fn write(sql: &str) -> (String, String, Vec<String>, bool) {
    let Class::Write(write) = class(sql) else { panic!("{sql}: {:?}", class(sql)) };
    (sql[write.table].into(), sql[write.reference].into(), write.assigned, write.returning)
}

#[test]
fn writes_are_read() {
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    for (sql, table, reference, assigned, returning) in [
        ("INSERT INTO t VALUES (1)", "t", "t", &[][..], false),
        ("insert into s.\"T\" as x (a) select 1 returning x.a", "s.\"T\"", "x", &[], true),
        ("INSERT INTO t DEFAULT VALUES", "t", "t", &[], false),
        (
            "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET \"B\" = 1, C = excluded.c WHERE t.d > 1",
            "t",
            "t",
            &["B", "c"],
            false,
        ),
        (
            "UPDATE t SET a = 1, b = (SELECT 1 FROM u), c = x IS DISTINCT FROM y, d = 2 FROM u WHERE u.e = 1",
            "t",
            "t",
            &["a", "b", "c", "d"],
            false,
        ),
        (
            "UPDATE ONLY s.t * AS q SET (a, b) = (1, 2), arr[1] = 3 RETURNING *",
            "s.t",
            "q",
            &["a", "b", "arr"],
            true,
        ),
        ("UPDATE t x SET a = a + 1", "t", "x", &["a"], false),
        ("DELETE FROM ONLY t USING u WHERE t.a = u.a;", "t", "t", &[], false),
        ("DELETE FROM t x WHERE CURRENT OF c", "t", "x", &[], false),
        ("WITH y AS (SELECT 1) UPDATE t SET a = 1 FROM y", "t", "t", &["a"], false),
    ] {
        assert_eq!(write(sql), (table.into(), reference.into(), names(assigned), returning), "{sql}");
    }
    let sql = "DELETE FROM s.\"T\" -- all\n ; ";
    let Class::Write(found) = class(sql) else { panic!() };
    assert_eq!(found.verb, Verb::Delete);
    assert!(
        found
            .with_returning(sql, false, None)
            .starts_with("DELETE FROM s.\"T\" RETURNING $atone$ s.\"T\" $atone$::pg_catalog.regclass")
    );
    assert_eq!(found.with_returning(sql, true, None), found.with_returning(sql, false, None));
    let sql = "UPDATE t SET a = 1";
    let Class::Write(found) = class(sql) else { panic!() };
    assert!(
        found
            .with_returning(sql, true, None)
            .contains(" RETURNING WITH (OLD AS \"atone old\") $atone$ t $atone$")
    );
    let keys = found.with_returning(sql, true, Some(&["id".to_owned(), "a\"b".to_owned()]));
    for row in ["t", "\"atone old\""] {
        assert!(keys.contains(&format!("record_send(ROW({row}.\"id\", {row}.\"a\"\"b\"))")), "{keys}");
    }
    let sql = "UPDATE t SET a = 1 RETURNING a";
    let Class::Write(found) = class(sql) else { panic!() };
    assert!(
        found
            .with_returning(sql, true, None)
            .starts_with("UPDATE t SET a = 1 RETURNING a, $atone$ t $atone$")
    );
}

#[test]
fn strings_and_comments_hide_semicolons() {
    let parts = |sql: &str| {
        split(sql.as_bytes(), true).unwrap().into_iter().map(|r| sql[r].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        parts("a; b;; /* c; /* d */ ; */ e'\\';' ; $x$ ; $y$ ; $x$"),
        ["a", "b", "e'\\';'", "$x$ ; $y$ ; $x$"]
    );
    let off = split(b"SELECT '\\';' ; b", false).unwrap();
    assert_eq!(off.len(), 2);
    assert_eq!(parts("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END").len(), 1);
}

#[test]
fn strings_that_can_be_read_two_ways() {
    let either = |sql: &str| classify_either_way(sql.as_bytes());
    assert!(matches!(either(r"UPDATE t SET a = 'x\', id = 5 --'"), Class::Unsupported(_)));
    assert!(matches!(either(r"UPDATE t SET a = 'x\n', b = 5"), Class::Write(_)));
    assert!(matches!(either(r"UPDATE t SET a = E'x\'', b = 5"), Class::Write(_)));
}

#[test]
fn own_functions() {
    let control = |function: &str, arguments: &[Argument], column: Option<&str>| {
        Class::Control(Control {
            function: function.into(),
            arguments: arguments.to_vec(),
            column: column.map(Into::into),
        })
    };
    let text = |t: &str| Argument::Text(t.into());
    assert_eq!(class("SELECT atone_begin()"), control("atone_begin", &[], None));
    assert_eq!(
        class("select Atone_Begin('a', 500) AS x"),
        control("atone_begin", &[text("a"), text("500")], Some("x"))
    );
    let both = [text("a"), text("500")];
    assert_eq!(class("SELECT atone_begin(('a'), ('500'::int8))"), control("atone_begin", &both, None));
    assert_eq!(class("SELECT atone_join($1)"), control("atone_join", &[Argument::Param(0)], None));
    assert_eq!(
        class("SELECT atone_join($1::VARCHAR) id"),
        control("atone_join", &[Argument::Param(0)], Some("id"))
    );
    assert_eq!(class("SET atone.xid = 'abc'"), control("set", &[text("abc")], None));
    assert_eq!(class("SET SESSION atone.xid TO DEFAULT"), control("set", &[Argument::Null], None));
    assert_eq!(class("RESET atone.xid"), control("set", &[Argument::Null], None));
    for sql in [
        "SELECT 1, atone_begin()",
        "SELECT * FROM atone_begin()",
        "SELECT atone_join()",
        "SET LOCAL atone.xid = 'a'",
        "SET atone.xid = 'a', 'b'",
        "SET atone.other = 1",
        "INSERT INTO t VALUES (atone_begin())",
        "SELECT atone_begin('a' || 'b')",
    ] {
        assert!(matches!(class(sql), Class::Unsupported(_)), "{sql}: {:?}", class(sql));
    }
    assert_eq!(class("SELECT current_setting('atone.xid')"), Class::Read);
}

#[test]
fn equal_keys_have_one_form() {
    // 1.0, 1.00 and 1; 0.0 and -0; 100 and 100.0
    let number = |digits: &[u16], weight: u16, sign: u16, scale: u16| {
        let head = [digits.len() as u16, weight, sign, scale];
        head.iter().chain(digits).flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>()
    };
    assert_eq!(numeric(&number(&[1, 0], 0, 0, 1)), numeric(&number(&[1], 0, 0, 0)));
    assert_eq!(numeric(&number(&[], 0, 0, 2)), numeric(&number(&[0], 3, 0x4000, 0)));
    assert_ne!(numeric(&number(&[1], 0, 0, 0)), numeric(&number(&[1], 1, 0, 0)));
    assert_ne!(numeric(&number(&[], 0, 0xC000, 0)), numeric(&number(&[], 0, 0xD000, 0)));
    assert_eq!(float(&(-0.0_f64).to_be_bytes()), float(&0.0_f64.to_be_bytes()));
    assert_eq!(float(&1.5_f32.to_be_bytes()), float(&1.5_f64.to_be_bytes()));
}

proptest! {
    #[test]
    fn reading_is_total(sql in "\\PC{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..80), standard: bool) {
        let _ = (classify(sql.as_bytes(), standard), classify(&bytes, standard), split(&bytes, standard));
        let _ = (record(&bytes), numeric(&bytes), float(&bytes));
    }
}

#[test]
fn what_is_prepared_in_sql_reads_or_may_write() {
    for sql in
        ["PREPARE p AS SELECT 1", "prepare p (int, text) as select $1 AS a", "PREPARE \"as\" AS TABLE t"]
    {
        assert!(prepares_read(sql.as_bytes()), "{sql}");
    }
    for sql in [
        "PREPARE p AS UPDATE t SET v = 1",
        "PREPARE p AS WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "SELECT 1; PREPARE p AS SELECT 1",
        "PREPARE p AS SELECT 1; PREPARE q AS DELETE FROM t",
        "PREPARE p",
    ] {
        assert!(!prepares_read(sql.as_bytes()), "{sql}");
    }
}
