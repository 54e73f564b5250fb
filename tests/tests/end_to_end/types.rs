//! Values of every type come back exactly.

use crate::case::check;
use atone_tests::servers::Kind;
use atone_tests::sql;
use mysql_async::prelude::Queryable;

const TY: &str = "CREATE TABLE ty (id BIGINT PRIMARY KEY, t1 TINYINT(1), b1 BIT(1), b17 BIT(17), b64 BIT(64),
  ub BIGINT UNSIGNED, dc DECIMAL(65,30), f FLOAT, db DOUBLE, y YEAR, d DATE, tm TIME(6), dt0 DATETIME,
  dt6 DATETIME(6), ts3 TIMESTAMP(3) NULL, js JSON, e ENUM('a','b',''), st SET('x','y'), bl LONGBLOB, tx LONGTEXT,
  vb VARBINARY(16), ch CHAR(10), g GEOMETRY, latin VARCHAR(9) CHARACTER SET latin1);
SET sql_mode = '';
INSERT INTO ty VALUES (1, 4, b'1', b'10000000000000001', 18446744073709551615, 18446744073709551615,
  12345678901234567890123456789012345.123456789012345678901234567891, 1e-38, -0.0, 1901, '2024-02-29',
  '-838:59:59.000000', '2024-05-30 18:51:50', '2024-05-30 18:51:50.148381', '2024-10-27 00:30:00.123',
  '{\"b\": 1, \"a\": [9007199254740993, null, \"\\u00e9\"], \"n\": {}}', 'a', 'x,y', x'00FF2C3B5F3A', 'emoji 😀 and ''quotes'' \\\\ \\n',
  x'0001', 'pad  ', ST_GeomFromText('POINT(1 2)'), 'café');
INSERT INTO ty (id) VALUES (2);
INSERT INTO ty VALUES (9223372036854775807, -128, b'0', 0, 0, 0, -0.000000000000000000000000000001, 0.1, 1.7976931348623157e308,
  0, '0000-00-00', '00:00:00.000001', '0000-00-00 00:00:00', '9999-12-31 23:59:59.999999', '1970-01-01 00:00:01.000',
  'null', '', '', '', '', '', '', ST_GeomFromText('LINESTRING(0 0, 1 1)', 4326), '');
INSERT INTO ty (id, f, db, e, d, js) VALUES (-9223372036854775808, 3.4028235e38, 4.9e-324, 'not a member', '2024-00-10', '{}');
INSERT INTO ty (id, f, db, st, latin, vb) VALUES (5, 16777216.5, 0.1, 'y', x'A4FF80', x'000000');
";

#[tokio::test]
async fn all_types() {
    let statements = [
        "UPDATE ty SET t1 = t1 + 1, b1 = NOT b1, b17 = b17 ^ 1, b64 = b64 >> 1, ub = ub / 2, dc = dc + 1 WHERE id = 1",
        "UPDATE ty SET f = f * 2, db = db + 1, y = 2024, d = '2000-01-01', tm = '01:02:03.4' WHERE id IN (1, 5)",
        "UPDATE ty SET dt0 = NOW(), dt6 = NOW(6), ts3 = NOW(3), js = '[1]', e = 'b', st = '' WHERE id = 1",
        "UPDATE ty SET bl = REPEAT(x'00', 1000), tx = 'ß', vb = 'x', ch = 'y', g = NULL, latin = 'z' WHERE id = 1",
        "DELETE FROM ty WHERE id IN (9223372036854775807, -9223372036854775808, 2)",
        "INSERT INTO ty (id, js, f) VALUES (6, '{\"k\": 1.10}', 0.3)",
        "UPDATE ty SET tx = 'set' WHERE id = 2",
        "DELETE FROM ty WHERE id = 5",
    ];
    check("all_types", TY, &statements).await;
}

#[tokio::test]
async fn deleting_every_type() {
    check("delete_types", TY, &["DELETE FROM ty"]).await;
}

#[tokio::test]
async fn times_survive_another_time_zone_and_sql_mode() {
    for kind in Kind::ALL {
        let room = crate::case::room("zones", TY).await;
        let before = room.dump(kind).await;
        let mut conn = room.app(kind).await;
        for setting in [
            "SET time_zone = '+08:00'",
            "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
            "SET NAMES latin1",
            "SET @atone = 1",
        ] {
            conn.query_drop(setting).await.unwrap();
        }
        let xid = sql::begin(&mut conn).await.unwrap();
        conn.query_drop("UPDATE \"ty\" SET ts3 = '2024-03-31 02:30:00', tx = 'back\\slash' WHERE id = 1")
            .await
            .unwrap();
        conn.query_drop("DELETE FROM ty WHERE id <> 1").await.unwrap();
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(room.dump(kind).await, before, "{kind:?}");
        room.calm(&xid).await;
    }
}

#[tokio::test]
async fn generated_columns() {
    let tables = "CREATE TABLE bal (id BIGINT PRIMARY KEY, c DECIMAL(18,6) DEFAULT 0, d DECIMAL(18,6) DEFAULT 0,
          s DECIMAL(18,6) GENERATED ALWAYS AS (IFNULL(c,0)+IFNULL(d,0)) STORED, j JSON,
          jv VARCHAR(30) AS (JSON_UNQUOTE(JSON_EXTRACT(j,'$.p'))) VIRTUAL);
        INSERT INTO bal (id, c, d, j) VALUES (1, 1.5, 2, '{\"p\": \"x\"}'), (2, 0, NULL, NULL), (3, 9, 9, '{}');\n";
    let statements = [
        "UPDATE bal SET c = c + 1 WHERE s > 1",
        "UPDATE bal SET j = '{\"p\": 5}' WHERE id = 2",
        "INSERT INTO bal (id, c) VALUES (4, 4)",
        "DELETE FROM bal WHERE id IN (1, 3)",
    ];
    check("generated", tables, &statements).await;
}

#[tokio::test]
async fn string_keys() {
    let tables = "CREATE TABLE spk (k VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, n INT);
        INSERT INTO spk VALUES ('a,b', 1), ('a;b', 2), ('a_b', 3), ('a:b', 4), ('^^^', 5), ('''', 6), ('', 7), ('A', 8),
          ('é', 9), ('😀', 10), ('back\\\\slash', 11), ('nul\\0byte', 12);\n";
    let statements = [
        "UPDATE spk SET n = n + 100",
        "UPDATE spk SET n = 0 WHERE k = 'a'",
        "DELETE FROM spk WHERE k IN ('a,b', '😀', '')",
        "INSERT INTO spk VALUES ('trailing ', 1), ('😀', 2)",
        "DELETE FROM spk WHERE k = '''' OR k LIKE '%slash'",
    ];
    check("string_keys", tables, &statements).await;
}

#[tokio::test]
async fn binary_and_date_keys() {
    let tables = "CREATE TABLE bpk (oid BINARY(16) PRIMARY KEY, p VARCHAR(30));
        INSERT INTO bpk VALUES (x'00000000000000000000000000000000', 'zero'), (x'2C3B5F3A', 'marks'), (x'FF', 'ff');
        CREATE TABLE dpk (id BIGINT, at DATETIME(6) NOT NULL, t VARCHAR(9), PRIMARY KEY (at));
        INSERT INTO dpk VALUES (1, '2024-05-30 18:51:50.148381', 'x'), (2, '2024-05-30 18:51:50.148382', 'y');
        CREATE TABLE npk (n DECIMAL(20,5), u BIGINT UNSIGNED, v INT, PRIMARY KEY (n, u));
        INSERT INTO npk VALUES (1.5, 18446744073709551615, 1), (-1.50000, 9223372036854775808, 2);\n";
    let statements = [
        "UPDATE bpk SET p = 'new'",
        "DELETE FROM bpk WHERE oid = CAST(x'FF' AS BINARY(16))",
        "UPDATE dpk SET t = 'z' WHERE at = '2024-05-30 18:51:50.148381'",
        "DELETE FROM dpk WHERE id = 2",
        "UPDATE npk SET v = 9 WHERE u = 18446744073709551615",
        "DELETE FROM npk WHERE n < 0",
        "INSERT INTO npk VALUES (7, 7, 7)",
    ];
    check("binary_keys", tables, &statements).await;
}
