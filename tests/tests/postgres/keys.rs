//! Keys of every type that a key may have, and tables that have none.

use crate::case::check;

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
