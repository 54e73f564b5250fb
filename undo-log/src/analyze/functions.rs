//! What a statement names: the proxy asks the catalogue whether one of the names is a stored function, which may
//! write, or a view that calls one. Nothing here guesses what is native: servers differ, and a quoted name never is.

use super::names;
use crate::sql::{Kind, SqlMode, Token, tokens};

/// The names in a statement, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Those that stand before a parenthesis and are not surely native.
    pub called: Vec<String>,
    /// Those that stand before a dot: schemas, tables, packages.
    pub qualifiers: Vec<String>,
    /// All of them.
    pub all: Vec<String>,
}

/// The names in a text of one or more statements; None when some cannot be read.
pub fn names_in(sql: &[u8], mode: SqlMode) -> Option<Names> {
    let tokens = tokens(sql, mode).ok()?;
    let mut found = Names::default();
    for (at, token) in tokens.iter().enumerate() {
        // `2fa` is a number to the lexer, and a name to the server where one is expected.
        let name = match token.kind {
            Kind::Word | Kind::Quoted => names::name(sql, token)?,
            Kind::Number => String::from_utf8_lossy(token.text(sql)).into_owned(),
            Kind::String | Kind::Param | Kind::Variable | Kind::Punct => continue,
        };
        let name = name.to_lowercase();
        let next = tokens.get(at + 1);
        let qualified = at > 0 && tokens[at - 1].is_punct(sql, b'.');
        if next.is_some_and(|t| t.is_punct(sql, b'(')) {
            // A native function is native only when it is written plainly: quoted, qualified or with a blank behind
            // it the name may be a stored one.
            let plain = token.kind == Kind::Word && !qualified;
            let adjacent = next.is_some_and(|t| t.start == token.end);
            if !(plain && (listed(RESERVED, &name) || adjacent && listed(BUILTIN, &name))) {
                found.called.push(name.clone());
            }
        } else if next.is_some_and(|t| t.is_punct(sql, b'.')) {
            found.qualifiers.push(name.clone());
        }
        found.all.push(name);
    }
    Some(found)
}

/// Does it call anything that is not a common native function? Then it may give another answer the next time.
pub(super) fn calls_unknown(sql: &[u8], tokens: &[Token]) -> bool {
    unknown_call(sql, tokens, "").is_some()
}

/// The first such call of a function that is not listed in `more` either.
pub(super) fn unknown_call(sql: &[u8], tokens: &[Token], more: &str) -> Option<String> {
    tokens.windows(2).find_map(|pair| {
        let name = names::name(sql, &pair[0]).unwrap_or_default();
        let named = matches!(pair[0].kind, Kind::Word | Kind::Quoted) && pair[1].is_punct(sql, b'(');
        let known = listed(RESERVED, &name) || listed(BUILTIN, &name) || listed(more, &name);
        (named && !known).then_some(name)
    })
}

fn listed(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(name))
}

/// Reserved words that may stand before a parenthesis: none can name a stored function.
const RESERVED: &str = "ALL AND AS BETWEEN BY CASE COLUMNS CROSS DISTINCT DIV ELSE EXISTS FROM GROUP HAVING IN INNER \
    INSERT INTO INTERVAL IS JOIN KEY LEFT LIKE LIMIT MOD NOT ON OR ORDER OVER PARTITION PRIMARY REGEXP REPLACE RIGHT \
    RLIKE SELECT SET STRAIGHT_JOIN THEN UNION UNIQUE UPDATE USE USING VALUES WHEN WHERE WITH XOR CHAR CHARACTER \
    DECIMAL VARCHAR BINARY VARBINARY INT BIGINT FLOAT DOUBLE EXCEPT INTERSECT LATERAL ROW_NUMBER RANK DENSE_RANK LAG \
    LEAD NTILE FIRST_VALUE LAST_VALUE NTH_VALUE CUME_DIST PERCENT_RANK JSON_TABLE";

const BUILTIN: &str = "ABS ACOS ADDDATE ADDTIME AES_DECRYPT AES_ENCRYPT ASCII ASIN ATAN ATAN2 AVG BIN \
    BIT_AND BIT_COUNT BIT_LENGTH BIT_OR BIT_XOR CAST CEIL CEILING CHAR_LENGTH CHARACTER_LENGTH CHARSET \
    COALESCE COLLATION COMPRESS CONCAT CONCAT_WS CONNECTION_ID CONV CONVERT CONVERT_TZ COS COT COUNT CRC32 CURDATE \
    CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURTIME DATABASE DATE DATE_ADD DATE_FORMAT DATE_SUB \
    DATEDIFF DATETIME DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DEFAULT DEGREES ELT EXP EXPORT_SET EXTRACT FIELD \
    FIND_IN_SET FLOOR FORMAT FOUND_ROWS FROM_BASE64 FROM_DAYS FROM_UNIXTIME GET_FORMAT GREATEST GROUP_CONCAT \
    HEX HOUR IF IFNULL INET_ATON INET_NTOA INET6_ATON INET6_NTOA INSTR ISNULL JSON_ARRAY JSON_ARRAYAGG JSON_CONTAINS \
    JSON_EXTRACT JSON_KEYS JSON_LENGTH JSON_MERGE_PATCH JSON_MERGE_PRESERVE JSON_OBJECT JSON_OBJECTAGG JSON_QUOTE \
    JSON_REMOVE JSON_REPLACE JSON_SEARCH JSON_SET JSON_INSERT JSON_TYPE JSON_UNQUOTE JSON_VALID JSON_VALUE LAST_DAY \
    LAST_INSERT_ID LCASE LEAST LENGTH LN LOCALTIME LOCALTIMESTAMP LOCATE LOG LOG10 LOG2 LOWER LPAD LTRIM MAKEDATE \
    MAKETIME MATCH MAX MICROSECOND MID MIN MINUTE MONTH MONTHNAME NOW NULLIF OCT OCTET_LENGTH ORD PERIOD_ADD \
    PERIOD_DIFF PI POSITION POW POWER QUARTER QUOTE RADIANS RAND REGEXP_INSTR REGEXP_REPLACE REGEXP_SUBSTR \
    REPEAT REVERSE ROUND ROW_COUNT RPAD RTRIM SCHEMA SEC_TO_TIME SECOND SHA2 SIGN SIN SOUNDEX SPACE SQRT \
    ST_ASTEXT ST_GEOMFROMTEXT STD STDDEV STDDEV_POP STDDEV_SAMP STR_TO_DATE STRCMP SUBDATE SUBSTR SUBSTRING \
    SUBSTRING_INDEX SUBTIME SUM SYSDATE TAN TIME TIME_FORMAT TIME_TO_SEC TIMEDIFF TIMESTAMP TIMESTAMPADD TIMESTAMPDIFF \
    TO_BASE64 TO_DAYS TO_SECONDS TRIM TRUNCATE UCASE UNCOMPRESS UNHEX UNIX_TIMESTAMP UPPER USER UTC_DATE UTC_TIME \
    UTC_TIMESTAMP UUID VAR_POP VAR_SAMP VARIANCE VERSION WEEK WEEKDAY WEEKOFYEAR WEIGHT_STRING YEAR YEARWEEK";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_seen_however_it_is_written() {
        let sql = b"SELECT now(), `F`(1), shop.abs (2), 2fa(), pk.w() FROM v WHERE a IN (1) AND 'x(' = @y";
        let found = names_in(sql, SqlMode::default()).unwrap();
        assert_eq!(found.called, ["f", "abs", "2fa", "w"]);
        assert_eq!(found.qualifiers, ["shop", "pk"]);
        let quoted = names_in(b"SELECT `now`(), now ()", SqlMode::default()).unwrap();
        assert_eq!(quoted.called, ["now", "now"]);
        assert!(found.all.contains(&"v".to_owned()) && !found.all.contains(&"x".to_owned()));
        assert_eq!(names_in(b"SELECT f\xe9()", SqlMode::default()), None);
    }
}
