//! Which functions a statement calls, so that the proxy can ask the catalogue whether one of them is a stored
//! function, which may write. Native functions never write.

use super::names;
use crate::sql::{Kind, Token};

/// Something that looks like a call: a name before a parenthesis.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Call {
    /// The schema, when written; a call with a schema is always a stored function.
    pub schema: Option<String>,
    /// The function.
    pub name: String,
}

/// Every call in a statement that is not surely native; the catalogue knows which are stored functions.
pub fn calls(sql: &[u8], tokens: &[Token]) -> Vec<Call> {
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if !pair[1].is_punct(sql, b'(') || !matches!(pair[0].kind, Kind::Word | Kind::Quoted) {
            continue;
        }
        let Some(name) = names::name(sql, &pair[0]) else { continue };
        let qualified = at >= 2 && tokens[at - 1].is_punct(sql, b'.');
        let schema = if qualified { names::name(sql, &tokens[at - 2]) } else { None };
        let adjacent = pair[0].end == pair[1].start;
        if schema.is_none() && (is_reserved(&name) || (adjacent && is_builtin(&name))) {
            continue;
        }
        let call = Call { schema, name };
        if !found.contains(&call) {
            found.push(call);
        }
    }
    found
}

fn listed(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(name))
}

/// A common native function. One that is missing here only costs a look into the catalogue.
pub fn is_builtin(name: &str) -> bool {
    listed(BUILTIN, name)
}

fn is_reserved(name: &str) -> bool {
    listed(RESERVED, name)
}

/// Reserved words that may stand before a parenthesis: none can name a stored function.
const RESERVED: &str = "ALL AND AS BETWEEN BY CASE COLUMNS CROSS DISTINCT DIV ELSE EXISTS FROM GROUP HAVING IN INNER \
    INSERT INTO INTERVAL IS JOIN KEY LEFT LIKE LIMIT MOD NOT ON OR ORDER OVER PARTITION PRIMARY REGEXP REPLACE RIGHT \
    RLIKE SELECT SET STRAIGHT_JOIN THEN UNION UNIQUE UPDATE USE USING VALUES WHEN WHERE WITH XOR CHAR CHARACTER \
    DECIMAL VARCHAR BINARY VARBINARY INT BIGINT FLOAT DOUBLE EXCEPT INTERSECT LATERAL ROW_NUMBER RANK DENSE_RANK LAG \
    LEAD NTILE FIRST_VALUE LAST_VALUE NTH_VALUE CUME_DIST PERCENT_RANK JSON_TABLE";

const BUILTIN: &str = "ABS ACOS ADDDATE ADDTIME AES_DECRYPT AES_ENCRYPT ANY_VALUE ASCII ASIN ATAN ATAN2 AVG BIN \
    BIN_TO_UUID BIT_AND BIT_COUNT BIT_LENGTH BIT_OR BIT_XOR CAST CEIL CEILING CHAR_LENGTH CHARACTER_LENGTH CHARSET \
    COALESCE COLLATION COMPRESS CONCAT CONCAT_WS CONNECTION_ID CONV CONVERT CONVERT_TZ COS COT COUNT CRC32 CURDATE \
    CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURTIME DATABASE DATE DATE_ADD DATE_FORMAT DATE_SUB \
    DATEDIFF DATETIME DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DEFAULT DEGREES ELT EXP EXPORT_SET EXTRACT FIELD \
    FIND_IN_SET FLOOR FORMAT FOUND_ROWS FROM_BASE64 FROM_DAYS FROM_UNIXTIME GET_FORMAT GREATEST GROUP_CONCAT GROUPING \
    HEX HOUR IF IFNULL INET_ATON INET_NTOA INET6_ATON INET6_NTOA INSTR ISNULL JSON_ARRAY JSON_ARRAYAGG JSON_CONTAINS \
    JSON_EXTRACT JSON_KEYS JSON_LENGTH JSON_MERGE_PATCH JSON_MERGE_PRESERVE JSON_OBJECT JSON_OBJECTAGG JSON_QUOTE \
    JSON_REMOVE JSON_REPLACE JSON_SEARCH JSON_SET JSON_INSERT JSON_TYPE JSON_UNQUOTE JSON_VALID JSON_VALUE LAST_DAY \
    LAST_INSERT_ID LCASE LEAST LENGTH LN LOCALTIME LOCALTIMESTAMP LOCATE LOG LOG10 LOG2 LOWER LPAD LTRIM MAKEDATE \
    MAKETIME MATCH MAX MD5 MICROSECOND MID MIN MINUTE MONTH MONTHNAME NOW NULLIF OCT OCTET_LENGTH ORD PERIOD_ADD \
    PERIOD_DIFF PI POSITION POW POWER QUARTER QUOTE RADIANS RAND REGEXP_INSTR REGEXP_LIKE REGEXP_REPLACE REGEXP_SUBSTR \
    REPEAT REVERSE ROUND ROW ROW_COUNT RPAD RTRIM SCHEMA SEC_TO_TIME SECOND SHA SHA1 SHA2 SIGN SIN SOUNDEX SPACE SQRT \
    ST_ASTEXT ST_GEOMFROMTEXT STD STDDEV STDDEV_POP STDDEV_SAMP STR_TO_DATE STRCMP SUBDATE SUBSTR SUBSTRING \
    SUBSTRING_INDEX SUBTIME SUM SYSDATE TAN TIME TIME_FORMAT TIME_TO_SEC TIMEDIFF TIMESTAMP TIMESTAMPADD TIMESTAMPDIFF \
    TO_BASE64 TO_DAYS TO_SECONDS TRIM TRUNCATE UCASE UNCOMPRESS UNHEX UNIX_TIMESTAMP UPPER USER UTC_DATE UTC_TIME \
    UTC_TIMESTAMP UUID UUID_TO_BIN VAR_POP VAR_SAMP VARIANCE VERSION WEEK WEEKDAY WEEKOFYEAR WEIGHT_STRING YEAR YEARWEEK";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{SqlMode, tokens};

    #[test]
    fn only_what_may_be_stored_is_named() {
        let sql =
            b"SELECT now(), f(1), shop.abs(2), `g`(3), count (4) FROM t WHERE a IN (1) AND (b) AND x.y = 2";
        let found = calls(sql, &tokens(sql, SqlMode::default()).unwrap());
        let names: Vec<_> = found.iter().map(|c| (c.schema.as_deref(), c.name.as_str())).collect();
        assert_eq!(names, [(None, "f"), (Some("shop"), "abs"), (None, "g"), (None, "count")]);
    }
}
