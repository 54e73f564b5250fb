//! The types of PostgreSQL; those that are not its own are made by `OWN`, in a schema that all cases share, so that they
//! have the same numbers in every one.

use crate::types::Family::{Array, Binary, Float, Int, Json, Number, Other, Text};
use crate::types::{Type, of};

/// Makes the types.
pub const OWN: &str = "CREATE TYPE mood AS ENUM ('ok', 'Sad', '');
    CREATE DOMAIN posint AS int CHECK (VALUE > 0);
    CREATE DOMAIN tags AS text[];
    CREATE TYPE pair AS (a int, \"B b\" text[]);
    CREATE TYPE span AS RANGE (subtype = float8);";

/// Those that every server has.
pub static ALL: &[Type] = &[
    of("smallint", Int, 2, &["1", "-32768", "32767", "0"]),
    of("int", Int, 6, &["1", "2", "3", "-2147483648", "2147483647", "0", "42"]),
    of("bigint", Int, 4, &["1", "9223372036854775807", "-9223372036854775808", "12", "9007199254740993"]),
    of(
        "numeric",
        Number,
        4,
        &[
            "1.50",
            "1.5",
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "0.00",
            "-0.000000000000000000000000000000000001",
            "1e100",
        ],
    ),
    of("numeric(12,2)", Number, 2, &["1.50", "-0.01", "9999999999.99", "0", "NaN"]),
    of("real", Float, 1, &["0.1", "-0", "0", "NaN", "Infinity", "1e-45", "3.4028235e38"]),
    of(
        "double precision",
        Float,
        2,
        &["0.1", "-0", "0", "NaN", "-Infinity", "5e-324", "0.30000000000000004"],
    ),
    of("money", Other, 1, &["12.34", "-1234.56", "92233720368547758.07", "0"]),
    of("boolean", Other, 1, &["true", "false"]),
    of("date", Other, 3, &["2024-02-29", "infinity", "-infinity", "4714-11-24 BC", "2001-01-01"]),
    of("time", Other, 1, &["01:02:03.4", "24:00:00", "00:00:00", "23:59:59.999999"]),
    of("timetz", Other, 1, &["01:02:03+02", "23:59:59.999999+15:59", "00:00:00-15:59", "01:00:00+00"]),
    of(
        "timestamp",
        Other,
        2,
        &["2024-05-30 18:51:50.148381", "infinity", "294276-12-31 23:59:59.999999", "2024-02-29"],
    ),
    of(
        "timestamptz",
        Other,
        2,
        &["2024-10-27 00:30:00.123+00", "-infinity", "4714-11-24 00:00:00+00 BC", "2001-01-01 00:00:00+02"],
    ),
    of("timestamptz(3)", Other, 0, &["2024-10-27 00:30:00.123456+00", "infinity"]),
    of("interval", Other, 1, &["1 day", "24 hours", "1 mon -1 day 00:00:00.000001", "P-178000000Y", "0"]),
    of("text", Text, 5, &["a", "A", "a ", "", "it's", "back\\slash", "😀", "new\nline", "NULL"]),
    of("varchar(12)", Text, 3, &["b", "B", "b  ", "", "ß", "\"q\""]),
    of("char(6)", Text, 2, &["c", "c  ", "", "ccc", "é"]),
    of("text COLLATE \"C\"", Text, 1, &["d", "D", "", "ä"]),
    of("\"char\"", Other, 0, &["x", ""]),
    of("name", Other, 0, &["name", ""]),
    of("bytea", Binary, 3, &["\\x00ff5c27", "\\x", "\\x5c6e", "\\x00", "\\x2c"]),
    of("bit(5)", Other, 1, &["10101", "00000", "11111"]),
    of("varbit", Other, 1, &["1", "", "0", "000000000"]),
    of(
        "uuid",
        Other,
        4,
        &[
            "00112233-4455-6677-8899-aabbccddeeff",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
    ),
    of("inet", Other, 1, &["10.0.0.1/8", "::1/128", "0.0.0.0/0", "10.0.0.1"]),
    of("cidr", Other, 1, &["192.168.0.0/16", "::/0"]),
    of("macaddr", Other, 1, &["08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"]),
    of("macaddr8", Other, 0, &["08:00:2b:01:02:03:04:05"]),
    of("xml", Other, 0, &["<a b=\"1\"> x </a>", "text only", ""]),
    of("tsvector", Other, 0, &["'a b':1A,2 c:3", "", "cat:3"]),
    of("point", Other, 0, &["(1,2)", "(-0,1e-300)", "(Infinity,NaN)"]),
    of("box", Other, 0, &["(1,1),(0,0)", "(2,2),(-1,0)"]),
    of("line", Other, 0, &["{1,-1,0}"]),
    of("lseg", Other, 0, &["[(0,0),(1,1)]"]),
    of("path", Other, 0, &["((0,0),(1,1),(2,0))", "[(0,0)]"]),
    of("polygon", Other, 0, &["((0,0),(1,1))", "((0,0),(1,0),(1,1))"]),
    of("circle", Other, 0, &["<(0,0),5>", "<(1,-1),0>"]),
    of("json", Other, 0, &["{}", " {\"b\" :1, \"a\":2,  \"b\":3 } ", "null", "[ 1,\n2 ]"]),
    of(
        "jsonb",
        Json,
        1,
        &["{\"b\": 1, \"a\": [9007199254740993, null, 1.10]}", "null", "[]", "\"\\u00e9\"", "1.10"],
    ),
    of("jsonpath", Other, 0, &["$.a[*] ? (@ > 1)", "$"]),
    of("int[]", Array, 1, &["{1,2}", "{}", "{NULL}", "[0:1]={3,4}", "{10}"]),
    of("int[][]", Array, 1, &["{{1,2},{3,4}}", "{}", "[2:3][-1:0]={{1,2},{3,NULL}}"]),
    of(
        "text[]",
        Array,
        1,
        &["{a}", "{}", "{NULL,\"NULL\",\"\"}", "{\"a,b\",\"c\\\"d\",\"e\\\\f\",\"{}\",\" \"}"],
    ),
    of("timestamptz[]", Array, 1, &["{\"2001-01-01 00:00:00+00\",infinity}", "{}"]),
    of("int4range", Other, 1, &["[1,5)", "empty", "(,)", "[7,8]"]),
    of("numrange", Other, 1, &["[1.50,2]", "(,1.5)", "empty"]),
    of("tstzrange", Other, 1, &["[2001-01-01 00:00:00+00,infinity)", "empty"]),
    of("daterange", Other, 1, &["[2024-01-01,2024-02-01)", "(,)"]),
    of("int4multirange", Other, 1, &["{[1,3),[5,7)}", "{}", "{(,)}"]),
    of("xid8", Other, 0, &["18446744073709551615", "0"]),
    of("pg_lsn", Other, 0, &["16/B374D848", "0/0"]),
    of("tid", Other, 0, &["(0,1)"]),
    of("oid", Other, 0, &["4294967295", "0"]),
    of("mood", Other, 2, &["ok", "Sad", ""]),
    of("posint", Int, 1, &["5", "1", "2147483647", "0"]),
    of("tags", Array, 1, &["{a,b}", "{}"]),
    of("pair", Other, 1, &["(1,\"{a,NULL}\")", "(,)", "(-1,{})"]),
    of("pair[]", Array, 1, &["{\"(1,{x})\",\"(,)\"}", "{}"]),
    of("span", Other, 1, &["[0.1,0.3)", "(,)", "empty"]),
];

/// Those of extensions, with the extension's name.
pub static EXTENSIONS: &[(&str, Type)] = &[
    ("citext", of("citext", Text, 1, &["a", "A", "", "Ünï"])),
    ("hstore", of("hstore", Other, 1, &["a=>1, \"b c\"=>NULL", "", "k=>\"\\\"\""])),
];
