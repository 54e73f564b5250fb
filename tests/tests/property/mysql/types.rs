//! The types of MySQL and MariaDB.

use crate::types::Family::{Binary, Bits, Float, Int, Json, Number, Other, Shape, Text};
use crate::types::{Type, of};

/// Those that both have.
pub static BOTH: &[Type] = &[
    of("TINYINT", Int, 2, &["1", "0", "-128", "127", "5"]),
    of("TINYINT(1)", Int, 0, &["1", "4", "-128", "0"]),
    of("SMALLINT UNSIGNED", Int, 2, &["7", "0", "65535", "256"]),
    of("MEDIUMINT", Int, 1, &["3", "-8388608", "8388607"]),
    of("INT", Int, 6, &["1", "2", "3", "-2147483648", "2147483647", "0", "42"]),
    of("INT UNSIGNED", Int, 2, &["1", "4294967295", "0", "17"]),
    of("BIGINT", Int, 4, &["1", "9223372036854775807", "-9223372036854775808", "12", "9007199254740993"]),
    of("BIGINT UNSIGNED", Int, 3, &["1", "18446744073709551615", "9223372036854775808", "0", "33"]),
    of("DECIMAL(12,2)", Number, 4, &["1.50", "-0.01", "9999999999.99", "0", "1.5", "12"]),
    of(
        "DECIMAL(65,30)",
        Number,
        1,
        &[
            "1",
            "12345678901234567890123456789012345.123456789012345678901234567891",
            "-0.000000000000000000000000000001",
            "0",
        ],
    ),
    of("FLOAT", Float, 0, &["0.1", "1e-38", "3.4028235e38", "16777216.5", "-0.0", "0"]),
    of(
        "DOUBLE",
        Float,
        0,
        &["0.1", "-0.0", "1.7976931348623157e308", "4.9e-324", "0", "0.30000000000000004"],
    ),
    of("BIT(1)", Bits, 0, &["0", "1"]),
    of("BIT(17)", Bits, 0, &["65537", "0", "131071", "255"]),
    of("BIT(64)", Bits, 0, &["1", "18446744073709551615", "9223372036854775808", "10"]),
    of("YEAR", Other, 1, &["2024", "1901", "2155", "0"]),
    of("DATE", Other, 3, &["2024-02-29", "1000-01-01", "9999-12-31", "2001-01-01"]),
    // Dates of zeros are no keys here, a limit that is known: in strict mode MySQL refuses to look for them by literals, so
    // that such a row cannot be found again by its key, and its statement fails.
    of("DATE", Other, 0, &["2001-01-01", "0000-00-00", "2024-00-10"]),
    of("DATETIME", Other, 0, &["2001-01-01 00:00:00", "0000-00-00 00:00:00"]),
    of(
        "TIME(6)",
        Other,
        1,
        &["01:02:03.4", "-838:59:59.000000", "838:59:59", "00:00:00.000001", "-00:00:00.5"],
    ),
    of("DATETIME", Other, 2, &["2024-05-30 18:51:50", "1000-01-01 00:00:00", "9999-12-31 23:59:59"]),
    of(
        "DATETIME(6)",
        Other,
        2,
        &["2024-05-30 18:51:50.148381", "9999-12-31 23:59:59.999999", "2001-01-01 00:00:00"],
    ),
    of(
        "TIMESTAMP(3) NULL",
        Other,
        0,
        &["2024-10-27 00:30:00.123", "1970-01-02 00:00:01", "2038-01-18 03:14:07", "2024-03-31 02:30:00"],
    ),
    of(
        "DATETIME(3) NULL ON UPDATE CURRENT_TIMESTAMP(3)",
        Other,
        0,
        &["2024-05-30 18:51:50.148", "2001-01-01"],
    ),
    of(
        "TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
        Other,
        0,
        &["2024-05-30 18:51:50.148381"],
    ),
    of(
        "JSON",
        Json,
        0,
        &[
            "{}",
            "null",
            "[1, null, \"é\"]",
            "{\"b\": 1, \"a\": [9007199254740993, {\"c\": {}}]}",
            "1.10",
            "\"x\\\\y\"",
            "1e400",
            "{\"k\" :  1}",
        ],
    ),
    of("ENUM('a','b','','名')", Other, 0, &["a", "b", "", "名", "none"]),
    of("SET('x','y','z')", Other, 0, &["x", "x,z", "", "y", "none"]),
    of("BLOB", Binary, 0, &["00FF2C3B5F3A", "", "5C27", "0000"]),
    of("LONGBLOB", Binary, 0, &["FF", "", "00", "F09F9880"]),
    of("VARBINARY(16)", Binary, 3, &["0001", "", "2C3B5F3A", "00", "FF27225C"]),
    of("BINARY(4)", Binary, 2, &["01020304", "00000000", "FF", "2C3B"]),
    of("TEXT", Text, 0, &["text", "", "emoji 😀 and 'quotes' \\ \n", "trailing  ", "Ünï"]),
    of("LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", Text, 0, &["long", "", "a\0b", "--"]),
    of("CHAR(10)", Text, 2, &["pad", "", "Pad", "'", "ß"]),
    of("VARCHAR(20)", Text, 4, &["a", "A", "a,b", "a;b", "", "😀", "é", "e", "back\\slash", "\"q\""]),
    of("VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", Text, 3, &["a", "A", "a ", "", "z", "``"]),
    of(
        "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        Text,
        3,
        &["b", "B", "b ", "", "ss", "ß", "ñ", "n"],
    ),
    of(
        "VARCHAR(12) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        Text,
        1,
        &["c", "C", "", "ß", "ss", "\u{301}"],
    ),
    of("VARCHAR(9) CHARACTER SET latin1", Text, 2, &["café", "CAFE", "", "x ", "€"]),
    of("VARCHAR(9) CHARACTER SET ucs2", Text, 0, &["two", "", "é"]),
    of(
        "GEOMETRY",
        Shape,
        0,
        &["POINT(1 2)", "LINESTRING(0 0,1 1)", "POLYGON((0 0,1 0,1 1,0 0))", "POINT(-0.5 1e-30)"],
    ),
];

/// Those that only MySQL has.
pub static MYSQL: &[Type] = &[of(
    "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs",
    Text,
    2,
    &["a", "á", "A", "a ", ""],
)];

/// Those that only MariaDB has.
pub static MARIADB: &[Type] = &[
    of("UUID", Other, 1, &["00112233-4455-6677-8899-aabbccddeeff", "00000000-0000-0000-0000-000000000000"]),
    of("INET6", Other, 1, &["::1", "2001:db8::ff00:42:8329", "::", "::ffff:192.0.2.1"]),
];
