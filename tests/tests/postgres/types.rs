//! Values of every type come back exactly.

use crate::case::{Mode, check, check_modes, error_of, room};
use atone_tests::servers::Kind;

const PT: &str = "CREATE TYPE mood AS ENUM ('ok', 'Sad'); CREATE DOMAIN posint AS int CHECK (VALUE > 0);
    CREATE TABLE acc (id int PRIMARY KEY, u text, m numeric);
    CREATE TABLE pt (id uuid PRIMARY KEY, jb jsonb, j json, bt bytea, tz timestamptz, ts timestamp, tt timetz, iv interval, mo money,
      n numeric, ip inet, x xml, r int4range, ts_v tsvector, b bit(5), md mood, p posint, pnt point, comp acc);
    INSERT INTO pt VALUES
      ('00000000-0000-0000-0000-000000000001', '{\"b\": 1, \"a\": [9007199254740993, null, 1.10]}', ' {\"b\" :1, \"a\":2,  \"b\":3 } ',
       '\\x00ff5c27', 'infinity', '-infinity', '23:59:59.999999+15:59', '1 mon -1 day 00:00:00.000001', '-1234.56', 'NaN', '10.0.0.1/8',
       '<a b=\"1\"> x </a>', '[1,5)', '''a b'':1A,2 c:3', B'10101', 'Sad', 5, '(-0,1e-300)', ROW(1, 'a,\"b\"(c)', NULL)),
      ('00000000-0000-0000-0000-000000000002', 'null', 'null', '', '4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999',
       '00:00:00-15:59', 'P-178000000Y', '92233720368547758.07', '-0.000000000000000000000000000000000001', '::1/128', 'text only',
       'empty', '', B'00000', 'ok', 1, '(Infinity,NaN)', ROW(NULL, NULL, NULL)),
      ('00000000-0000-0000-0000-000000000003', '\"\\u00e9\"', '[]', '\\x5c6e', '2024-10-27 00:30:00.123+00', '2024-02-29', '00:00:00+00', '0',
       '0', '12345678901234567890123456789012345.1234567890', '0.0.0.0/0', '', '(,)', 'cat:3', B'11111', NULL, NULL, '(0,0)', NULL);
    INSERT INTO pt (id) VALUES ('00000000-0000-0000-0000-000000000004')";

const SU: &str = "CREATE TABLE su (id bigint PRIMARY KEY, dept_ids bigint[], tags text[], m int[][]);
    INSERT INTO su VALUES (1, '{}', '{}', '{}'), (2, '{NULL}', '{NULL,\"NULL\",\"\"}', '{{1,2},{3,4}}'),
      (3, '{10}', '{\"a,b\",\"c\\\"d\",\"e\\\\f\",\"{}\",\" \"}', '[2:3][-1:0]={{1,2},{3,NULL}}'), (4, NULL, NULL, NULL),
      (9223372036854775807, '{-9223372036854775808}', '{😀}', '{{{1}}}')";

const MORE: &str = "CREATE TYPE pair AS (a int, b text[]); CREATE TYPE span AS RANGE (subtype = float8); CREATE DOMAIN tags AS text[];
    CREATE TABLE more (id int PRIMARY KEY, f4 real, f8 double precision, i2 smallint, c char(4), vc varchar(9), n \"char\", nm name,
      ox oid, rc regclass, vb varbit, bx box, ln line, ls lseg, pa path, po polygon, ci circle, mac macaddr, mac8 macaddr8, cid cidr,
      dr daterange, mr int4multirange, pr pair, prs pair[], sp span, tg tags, jp jsonpath, tid_ tid, lsn pg_lsn, xs xid8);
    INSERT INTO more VALUES (1, 0.1, 0.1, -32768, 'a', 'x  ', 'c', 'name', 4294967295, 'pg_catalog.pg_class', B'1', '(1,1),(0,0)',
      '{1,-1,0}', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '((0,0),(1,1))', '<(0,0),5>', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
      '192.168.0.0/16', '[2024-01-01,2024-02-01)', '{[1,3),[5,7)}', '(1,\"{a,NULL}\")',
      '{\"(1,{x})\",\"(,)\"}', '[0.1,0.3)', '{a,b}', '$.a[*] ? (@ > 1)', '(0,1)', '16/B374D848', '18446744073709551615');
    INSERT INTO more (id, f4, f8, i2, c, vc, n, nm, ox, vb, pa, dr, mr, prs, sp, tg, jp, lsn, xs) VALUES
      (2, '-0', '-0', 0, '', '', '', '', 0, B'', '[(0,0)]', 'empty', '{}', '{}', '(,)', '{}', '$', '0/0', '0');
    INSERT INTO more (id, f4, f8, pr) VALUES (3, 'NaN', 'NaN', '(,)');
    INSERT INTO more (id, f4, f8) VALUES
      (4, 'Infinity', '5e-324'), (5, 3.4028235e38, 1.7976931348623157e308), (6, 1e-45, 0.30000000000000004)";

#[tokio::test]
async fn the_types_of_the_list() {
    let statements = [
        "UPDATE pt SET jb = '{}', j = '{}', bt = NULL, tz = '2001-01-01', ts = '2001-01-01', tt = '01:00+00', iv = '1 day', mo = 1 WHERE p = 5",
        "UPDATE pt SET n = 1, ip = '1.1.1.1', x = '<z/>', r = NULL, ts_v = 'dog', b = B'00001', md = 'ok', p = 7, pnt = '(1,1)', comp = ROW(2, 'x', 1)",
        "DELETE FROM pt WHERE md IS NULL OR md = 'ok'",
        "INSERT INTO pt (id, j, n, tz) VALUES ('00000000-0000-0000-0000-000000000009', ' [ 1 ] ', '1.500', 'infinity')",
        "UPDATE pt SET comp.m = 5 WHERE id = '00000000-0000-0000-0000-000000000009'",
    ];
    check("pt", PT, &statements).await;
    check("pt_delete", PT, &["DELETE FROM pt"]).await;
    let each = [
        "jb", "j", "bt", "tz", "ts", "tt", "iv", "mo", "n", "ip", "x", "r", "ts_v", "b", "md", "p", "pnt",
        "comp",
    ];
    let each = each.map(|column| format!("UPDATE pt SET {column} = NULL WHERE {column} IS NOT NULL"));
    let each: Vec<&str> = each.iter().map(String::as_str).collect();
    check("pt_each", PT, &each).await;
}

#[tokio::test]
async fn arrays() {
    let statements = [
        "UPDATE su SET dept_ids = dept_ids || 5, tags[1] = 'new'",
        "UPDATE su SET m[1][1] = 9 WHERE id = 2",
        "INSERT INTO su VALUES (7, ARRAY[1,2], ARRAY['x'], ARRAY[[1]])",
        "DELETE FROM su WHERE id IN (1, 3)",
    ];
    check("su", SU, &statements).await;
    check("su_delete", SU, &["DELETE FROM su"]).await;
}

#[tokio::test]
async fn more_types() {
    let columns = "f4 = 0, f8 = 0, i2 = 5, c = 'zz', vc = 'zz', n = 'z', nm = 'z', ox = 1, rc = NULL, vb = B'111', bx = NULL, ln = NULL, ls = NULL, \
        pa = NULL, po = NULL, ci = NULL, mac = NULL, mac8 = NULL, cid = NULL, dr = NULL, mr = NULL, pr = NULL, prs = NULL, sp = NULL, \
        tg = NULL, jp = NULL, tid_ = NULL, lsn = NULL, xs = NULL";
    check("more_update", MORE, &[&format!("UPDATE more SET {columns}")]).await;
    check("more_delete", MORE, &["DELETE FROM more"]).await;
    check(
        "more_some",
        MORE,
        &["UPDATE more SET pr.a = 7, f8 = f8 * 2 WHERE id < 3", "INSERT INTO more (id, f4) VALUES (9, 0.3)"],
    )
    .await;
}

#[tokio::test]
async fn long_values() {
    let tables = "CREATE TABLE long (id int PRIMARY KEY, t text, b bytea, j jsonb);
        INSERT INTO long SELECT 1, repeat('ä\\', 500000), decode(repeat('00ff5c', 300000), 'hex'), jsonb_build_object('k', repeat('v', 300000));
        INSERT INTO long SELECT 2, string_agg(md5(g::text), ''), NULL, NULL FROM generate_series(1, 50000) g";
    let statements = ["UPDATE long SET t = 'short' WHERE id = 1", "DELETE FROM long WHERE id = 2"];
    check_modes("long", tables, &statements, &[Mode::Autocommit, Mode::Prepared]).await;
    check_modes("long_same", tables, &["UPDATE long SET j = '{}'"], &[Mode::Local]).await;
}

/// A value that the server sends in binary but does not take back so.
#[tokio::test]
async fn types_without_a_binary_form() {
    // The server sends an empty tsquery in binary, but does not take it back.
    let tables = "CREATE TABLE acl (id int PRIMARY KEY, a aclitem, v int); INSERT INTO acl VALUES (1, 'app=r/app', 1);
        CREATE TABLE ask (id int PRIMARY KEY, q tsquery, v int); INSERT INTO ask VALUES (1, '', 1), (2, 'a & !b:*', 1)";
    for kind in Kind::POSTGRES {
        let room = room(kind, "no_binary", tables).await;
        let before = room.dump().await;
        for table in ["acl", "ask"] {
            for statement in ["UPDATE % SET v = 2", "DELETE FROM %", "INSERT INTO % VALUES (3)"] {
                let statement = statement.replace('%', table);
                let mut raw = room.raw(true).await.unwrap();
                raw.one("SELECT atone_begin()").await.unwrap();
                let (state, message) = error_of(&mut raw, &statement).await;
                assert_eq!(state, "0A000", "{kind:?}: {statement}: {message}");
                assert!(message.starts_with("atone: "), "{kind:?}: {statement}: {message}");
                let status = raw.one("SELECT atone_rollback()").await.unwrap();
                assert_eq!(status, "rolled_back", "{kind:?}: {statement}");
                assert_eq!(room.dump().await, before, "{kind:?}: {statement}");
            }
        }
    }
}

/// The client's settings change how values are written; what is recorded must not follow them.
#[tokio::test]
async fn settings_do_not_change_what_is_recorded() {
    for kind in Kind::POSTGRES {
        for tables in [PT, SU, MORE] {
            let room = room(kind, "settings", tables).await;
            let before = room.dump().await;
            let mut raw = room.raw(true).await.unwrap();
            for setting in [
                "SET TimeZone = 'Asia/Tokyo'",
                "SET DateStyle = 'German'",
                "SET IntervalStyle = 'sql_standard'",
                "SET bytea_output = 'escape'",
                "SET extra_float_digits = -15",
                "SET standard_conforming_strings = off",
                "SET backslash_quote = on",
                "SET xmlbinary = 'hex'",
                "SET quote_all_identifiers = on",
                "SET search_path = pg_temp, shop_settings",
            ] {
                raw.query(setting).await.unwrap();
            }
            let xid = raw.one("SELECT atone_begin()").await.unwrap();
            let table = ["pt", "su", "more"]
                .into_iter()
                .find(|name| tables.contains(&format!("TABLE {name} ")))
                .unwrap();
            let answer = raw.query(&format!("DELETE FROM {table}")).await.unwrap();
            assert!(answer.iter().any(|message| message.kind == b'C'), "{kind:?}, {table}: {answer:?}");
            assert_ne!(room.dump().await, before);
            assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back", "{kind:?}, {table}");
            assert_eq!(room.dump().await, before, "{kind:?}, {table}");
            room.calm(&xid).await;
        }
    }
}
