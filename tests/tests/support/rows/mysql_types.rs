//! Types of MySQL and MariaDB.

use super::Section;
use super::types::{Type, section, ty};

/// Zero dates, and an ENUM's empty error value, are let in.
const LAX: &str = "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'";

const TYPES: &[Type] = &[
    ty("TINYINT(1)", &["4", "-128", "1"], "0"),
    ty("INT", &["2147483647", "-1"], "7"),
    ty("INT ZEROFILL", &["7", "0"], "8"),
    ty("DECIMAL(5,2) ZEROFILL", &["7.5", "0"], "8"),
    ty("DOUBLE(10,3)", &["7.125", "-0.5"], "8"),
    ty("BIGINT UNSIGNED", &["18446744073709551615", "9223372036854775808"], "7"),
    ty(
        "DECIMAL(65,30)",
        &["0.000000000000000000000000000001", "-99999999999999999999999999999999999.5"],
        "1",
    ),
    ty("FLOAT", &["0.1", "1.17549e-38", "16777216"], "1"),
    ty("DOUBLE", &["0.1", "5e-324", "1.7976931348623157e308", "0.30000000000000004"], "1"),
    ty("BIT(1)", &["b'1'"], "b'0'"),
    ty("BIT(17)", &["b'10000000000000001'", "b'0'"], "b'11'"),
    ty("BIT(64)", &["0xFFFFFFFFFFFFFFFF", "b'10'"], "b'11'"),
    ty("BOOLEAN", &["TRUE", "FALSE"], "2"),
    ty("YEAR", &["0", "1901", "2155"], "2024"),
    ty("DATE", &["'2024-02-29'", "'0000-00-00'", "'2024-00-10'"], "'2001-01-01'"),
    ty("TIME(6)", &["'-838:59:59.000000'", "'00:00:00.000001'"], "'01:00:00'"),
    ty("DATETIME", &["'2024-05-30 18:51:50'", "'0000-00-00 00:00:00'"], "'2001-01-01 00:00:00'"),
    ty(
        "DATETIME(6)",
        &["'2024-05-30 18:51:50.148381'", "'9999-12-31 23:59:59.999999'"],
        "'2001-01-01 00:00:00'",
    ),
    ty(
        "TIMESTAMP(3) NULL",
        &["'2024-10-27 00:30:00.123'", "'2024-10-27 01:30:00.123'"],
        "'2001-01-01 00:00:00'",
    ),
    ty("CHAR(10)", &["'a'", "''", "'é😀'"], "'other'"),
    ty("VARCHAR(64)", &["'a,b'", "'a;b'", "''''", "''", "'emoji 😀'", "'back\\\\slash'"], "'other'"),
    ty("VARCHAR(64) COLLATE utf8mb4_bin", &["'A'", "'a'", "'ä'"], "'other'"),
    ty("VARCHAR(9) CHARACTER SET latin1", &["_latin1 0xE9FF", "'x'"], "'other'"),
    ty("VARCHAR(9) CHARACTER SET utf16", &["'é😀'", "''"], "'other'"),
    ty("VARCHAR(9) CHARACTER SET sjis", &["_utf8mb4 'ソ表'", "'x'"], "'other'"),
    ty("VARCHAR(9) CHARACTER SET utf8mb3", &["'é'", "'x '"], "'other'"),
    ty("VARCHAR(9) CHARACTER SET ascii", &["'a'"], "'other'"),
    ty("TEXT", &["'long'", "''"], "'other'"),
    ty("LONGTEXT", &["REPEAT('😀', 10000)", "'x'"], "'other'"),
    ty("BINARY(16)", &["0x00", "0x2C3B5F3A00FF", "REPEAT(0xFF, 16)"], "0x01"),
    ty("VARBINARY(16)", &["0x00", "''", "0x2C3B5F3A5C27"], "0x01"),
    ty("LONGBLOB", &["0x00FF5C27", "REPEAT(0x00FF, 10000)"], "0x01"),
    ty("ENUM('a','b','')", &["'a'", "''", "0"], "'b'"),
    ty("SET('x','y')", &["'x,y'", "''", "'y'"], "'x'"),
    ty("JSON", &["'{}'", "'null'", "'{\"b\": [1, 2.5, 9007199254740993], \"a\": \"😀\"}'"], "'[1]'"),
    ty(
        "GEOMETRY",
        &["ST_GeomFromText('POINT(1 2)', 4326)", "ST_GeomFromText('LINESTRING(0 0, 1 1)')"],
        "ST_GeomFromText('POINT(0 0)')",
    ),
    ty("MULTIPOLYGON", &["ST_GeomFromText('MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)))')"], "NULL"),
    ty(
        "GEOMETRYCOLLECTION",
        &["ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(0 0, 1 1))')"],
        "NULL",
    ),
    ty("POINT", &["ST_GeomFromText('POINT(1 2)')"], "ST_GeomFromText('POINT(0 0)')"),
    ty("UUID", &["'123e4567-e89b-12d3-a456-426655440000'"], "'00000000-0000-0000-0000-000000000001'"),
    ty("INET6", &["'::1'", "'2001:db8::ff00:42:8329'"], "'::'"),
    ty("INET4", &["'10.0.0.1'", "'255.255.255.255'"], "'0.0.0.0'"),
    ty("VECTOR(3)", &["STRING_TO_VECTOR('[1, 2, 3]')"], "STRING_TO_VECTOR('[0, 0, 0.5]')"),
];

pub fn sections() -> Vec<Section> {
    vec![section("Types", TYPES, &[LAX])]
}
