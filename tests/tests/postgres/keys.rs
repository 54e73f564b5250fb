//! Keys of every type that a key may have, and tables that have none.

use crate::case::{Mode, check, check_modes, error_of, room};
use atone_tests::servers::Kind;

#[tokio::test]
async fn text_uuid_numeric_and_others() {
    let tables = "CREATE TABLE k_text (k text PRIMARY KEY, n int);
        INSERT INTO k_text VALUES ('a,b', 1), ('a;b', 2), ('''', 3), ('', 4), ('A', 5), ('a', 6), ('x ', 7), ('x', 8), ('😀', 9),
          (E'back\\\\slash\\n', 10), ('(\"q\")', 11);
        CREATE TABLE k_char (k char(5) PRIMARY KEY, n int); INSERT INTO k_char VALUES ('x', 1), ('y   ', 2);
        CREATE TABLE k_uuid (k uuid PRIMARY KEY, n int);
        INSERT INTO k_uuid VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1), ('00000000-0000-0000-0000-000000000000', 2);
        CREATE TABLE k_num (k numeric PRIMARY KEY, n int);
        INSERT INTO k_num VALUES (1.50, 1), ('NaN', 2), (0.000, 3), ('-12345678901234567890.123456789', 4), ('Infinity', 5);
        CREATE TABLE k_dec (k numeric(10,2) PRIMARY KEY, n int); INSERT INTO k_dec VALUES (1.5, 1);
        CREATE TABLE k_time (k timestamptz PRIMARY KEY, n int);
        INSERT INTO k_time VALUES ('2024-05-30 18:51:50.148381+00', 1), ('infinity', 2), ('2024-10-27 00:30:00+00', 3), ('4714-11-24 00:00:00+00 BC', 4);
        CREATE TABLE k_bytea (k bytea PRIMARY KEY, n int); INSERT INTO k_bytea VALUES ('\\x', 1), ('\\x00ff', 2);
        CREATE TABLE k_bool (k bool, d date, i int8, PRIMARY KEY (k, d, i)); INSERT INTO k_bool VALUES (true, '2024-02-29', -9223372036854775808);
        CREATE TYPE shade AS ENUM ('ok', 'Sad'); CREATE TABLE k_enum (k shade PRIMARY KEY, n int); INSERT INTO k_enum VALUES ('ok', 1), ('Sad', 2);
        CREATE DOMAIN code AS text CHECK (VALUE <> ''); CREATE TABLE k_dom (k code PRIMARY KEY, n int); INSERT INTO k_dom VALUES ('c', 1);
        CREATE TABLE k_inet (k inet PRIMARY KEY, n int); INSERT INTO k_inet VALUES ('10.0.0.1/8', 1), ('::1', 2)";
    let mut statements: Vec<String> = Vec::new();
    for table in ["text", "char", "uuid", "num", "dec", "time", "bytea", "enum", "dom", "inet"]
        .map(|name| format!("k_{name}"))
    {
        statements.push(format!("UPDATE {table} SET n = n + 100"));
        statements.push(format!("DELETE FROM {table} WHERE n % 2 = 1"));
    }
    statements.push("DELETE FROM k_bool".into());
    statements.push("INSERT INTO k_text VALUES ('trailing ', 1), ('new', 2)".into());
    statements.push("INSERT INTO k_num VALUES (7.000, 7), (0.1, 8)".into());
    statements.push("INSERT INTO k_uuid VALUES ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12', 3)".into());
    statements.push("INSERT INTO k_char VALUES ('zz', 3)".into());
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    check("key_types", tables, &statements).await;
}

#[tokio::test]
async fn unique_indexes_and_dropped_columns() {
    let tables = "CREATE TABLE u (gone int, id int PRIMARY KEY, name text, UNIQUE (name));
        ALTER TABLE u DROP COLUMN gone; ALTER TABLE u ADD extra int DEFAULT 5;
        INSERT INTO u VALUES (1, 'one'), (2, NULL), (3, NULL);
        CREATE UNIQUE INDEX ON u (lower(name)); CREATE UNIQUE INDEX ON u (extra, id) WHERE extra > 3;
        CREATE TABLE incl (a int, b int, PRIMARY KEY (a) INCLUDE (b)); INSERT INTO incl VALUES (1, 1)";
    let statements = [
        "UPDATE u SET name = 'ONE more' WHERE id = 1",
        "UPDATE u SET name = 'one' WHERE id = 2",
        "INSERT INTO u VALUES (4, 'four')",
        "DELETE FROM u WHERE id = 3",
        "UPDATE incl SET b = 2",
        "DELETE FROM incl",
        "INSERT INTO incl VALUES (5, 5)",
    ];
    check("unique", tables, &statements).await;
}

/// Values that are equal and not the same, one by one: of which type, what there is, an equal of the first, and another.
const MADE: [(&str, &str, &str, &str); 13] = [
    ("interval", "'1 mon', '-1 day', '00:00:00.000001'", "'30 days'", "'1 hour'"),
    ("jsonb", "'{\"b\": 1.50, \"a\": [null]}', '1', '[1]'", "'{\"a\": [null], \"b\": 1.5}'", "'\"1.50\"'"),
    ("int[]", "'{1,NULL}', '{}', '[0:1]={1,NULL}', '{{1,2},{3,4}}'", "'{1,NULL}'", "'{NULL,1}'"),
    ("numeric[]", "'{1.50,2}', '{}', '{NULL}'", "'{1.5,2.00}'", "'{1.5}'"),
    ("char(3)[]", "'{a,b}', '{}'", "'{\"a \",b}'", "'{a}'"),
    ("float8[]", "'{-0}', '{1}'", "'{0}'", "'{NaN}'"),
    ("numrange", "'[1.50,2]', '(,3)', 'empty'", "'[1.5,2.0]'", "'[1.5,2.0)'"),
    ("tstzrange", "'[2024-01-01 00:00+00,infinity)', '(,)'", "'[2024-01-01 02:00+02,infinity)'", "'empty'"),
    ("int4range", "'[1,5)', 'empty'", "'[1,4]'", "'[1,4)'"),
    ("nummultirange", "'{[1.0,2),[3,4)}', '{}'", "'{[3.0,4),[1,2.0)}'", "'{[1,4)}'"),
    ("pair", "'(1.0,\"{01:00,NULL}\")', '(,)'", "'(1,\"{\"\"60 min\"\",NULL}\")'", "'(1,{})'"),
    ("pair[]", "'{\"(1.0,{})\"}', '{}'", "'{\"(1,{})\"}'", "'{NULL}'"),
    ("amounts", "'{1.0}', '{}'", "'{1.00}'", "'{2}'"),
];

/// Types of one's own among them.
const OWN: &str = "CREATE TYPE pair AS (n numeric, a interval[]); CREATE DOMAIN amounts AS numeric[]";

fn tables(of: &str, values: &str) -> String {
    let rows = values.split("', ").map(|value| format!("('{}')", value.trim_matches('\'')));
    let rows: Vec<String> = rows.collect();
    format!(
        "{OWN}; CREATE TABLE k (k {of} PRIMARY KEY, n int); INSERT INTO k (k) VALUES {}; UPDATE k SET n = 1;
         CREATE TABLE u (id int PRIMARY KEY, k {of} UNIQUE); INSERT INTO u SELECT row_number() OVER (), k FROM k",
        rows.join(", ")
    )
}

#[tokio::test]
async fn values_that_are_equal_and_not_the_same() {
    for (at, (of, values, equal, other)) in MADE.into_iter().enumerate() {
        let (equal, other) = (format!("{equal}::{of}"), format!("{other}::{of}"));
        let statements = [
            format!("UPDATE k SET n = n + 1 WHERE k = {equal}"),
            format!("UPDATE k SET k = {equal} WHERE k = {equal}"),
            format!(
                "INSERT INTO k VALUES ({other}, 5), ({equal}, 6) ON CONFLICT (k) DO UPDATE SET n = EXCLUDED.n"
            ),
            format!("DELETE FROM k WHERE k = {equal}"),
            format!("INSERT INTO k VALUES ({equal}, 7)"),
            format!("UPDATE k SET n = n + 10 WHERE k <> {equal}"),
            format!("UPDATE k SET k = {other} WHERE k = {other}"),
            format!("DELETE FROM k WHERE k = {other}"),
            format!("UPDATE k SET k = {other} WHERE k = {equal}"),
            format!("UPDATE u SET k = {equal} WHERE id = 1"),
            "DELETE FROM u WHERE id = 2".into(),
        ];
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        let modes = [[Mode::Autocommit, Mode::PreparedLocal][at % 2]];
        check_modes(&format!("made_{at}"), &tables(of, values), &statements, &modes).await;
    }
}

/// Equal values are one lock, whatever their bytes are.
#[tokio::test]
async fn equal_values_are_one_lock() {
    for kind in Kind::POSTGRES {
        for (at, (of, values, equal, other)) in MADE.into_iter().enumerate() {
            let room = room(kind, &format!("lock_{at}"), &tables(of, values)).await;
            let (mut first, mut second) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
            first.one("SELECT atone_begin()").await.unwrap();
            second.one("SELECT atone_begin()").await.unwrap();
            for gone in [
                format!("DELETE FROM k WHERE k = {equal}::{of}"),
                "UPDATE u SET k = NULL WHERE id = 1".into(),
            ] {
                assert_eq!(error_of(&mut first, &gone).await, Default::default(), "{kind:?}: {of}");
            }
            for taken in ["INSERT INTO k VALUES (@, 5)", "INSERT INTO u VALUES (9, @)"] {
                let (state, message) = error_of(&mut second, &taken.replace('@', equal)).await;
                assert_eq!(state, "55P03", "{kind:?}: {of}: {taken}: {message}");
                let free = taken.replace('@', other).replace('9', "99");
                assert_eq!(error_of(&mut second, &free).await, Default::default(), "{kind:?}: {of}: {free}");
            }
            assert_eq!(second.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}: {of}");
            assert_eq!(first.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}: {of}");
        }
    }
}
