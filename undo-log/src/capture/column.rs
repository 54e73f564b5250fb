//! One column's exact form: the expression that reads it and the literal that writes it back.
//!
//! Why not the plain column: the server converts TIMESTAMP to the session's time zone (an hour a year is
//! ambiguous), strings to the session's character set, and prints FLOAT with six digits.

use crate::sql::{hex, identifier, quoted};

/// How a column's values are read and written exactly.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// Integers, DECIMAL, YEAR: decimal digits.
    Number,
    /// FLOAT and DOUBLE: the shortest digits that name the double.
    Float,
    /// BIT: the number behind it. ENUM and SET too, in records of before their labels were kept.
    Ordinal,
    /// CHAR: bytes in the column's character set, without the padding.
    Char(String),
    /// VARCHAR and TEXT: bytes in the column's character set.
    Text(String),
    /// BINARY, VARBINARY, BLOB: bytes.
    Binary,
    /// DATE, DATETIME, TIME: text at full precision.
    Temporal,
    /// TIMESTAMP: seconds since 1970, with the fraction.
    Timestamp,
    /// MySQL's JSON: its text; behind a zero byte when a value in it (a decimal, a date) is of a type that text does
    /// not keep.
    Json,
    /// Spatial values: SRID and WKB.
    Geometry,
    /// UUID, INET4, INET6: canonical text.
    Name,
    /// ENUM, SET: the number behind it. The type as the catalogue writes it, labels and all, says what numbers mean.
    Labels(String),
    /// Any type of PostgreSQL, by its qualified and quoted name: its binary form.
    Postgres(String),
}

impl ColumnKind {
    /// From the catalogue's `DATA_TYPE`, `CHARACTER_SET_NAME` and `COLUMN_TYPE`; None for a type that is not known to be
    /// exact.
    pub fn of(data_type: &str, charset: Option<&str>, full_type: &str) -> Option<Self> {
        let charset = || charset.map(str::to_owned);
        Some(match data_type.to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" => Self::Number,
            "float" | "double" => Self::Float,
            "bit" => Self::Ordinal,
            "enum" | "set" => Self::Labels(full_type.to_owned()),
            "char" => Self::Char(charset()?),
            "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Self::Text(charset()?),
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Binary,
            "date" | "datetime" | "time" => Self::Temporal,
            "timestamp" => Self::Timestamp,
            "json" => Self::Json,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Geometry,
            "uuid" | "inet4" | "inet6" => Self::Name,
            _ => return None,
        })
    }

    /// The expression that reads the column as exact bytes; NULL stays NULL.
    pub fn expression(&self, column: &str) -> String {
        self.expression_of(identifier(column))
    }

    /// The same of a column as it is written.
    pub(super) fn expression_of(&self, c: String) -> String {
        match self {
            Self::Number | Self::Temporal | Self::Text(_) => format!("CAST({c} AS BINARY)"),
            // A product, because a sum would turn -0 into 0.
            Self::Float => format!("CAST({c} * 1e0 AS BINARY)"),
            Self::Ordinal | Self::Labels(_) => format!("CAST(CAST({c} AS UNSIGNED) AS BINARY)"),
            Self::Char(_) => format!("CAST(TRIM(TRAILING ' ' FROM {c}) AS BINARY)"),
            Self::Timestamp => format!("CAST(UNIX_TIMESTAMP({c}) AS BINARY)"),
            Self::Json => {
                let text = format!("CAST({c} AS CHAR CHARACTER SET utf8mb4)");
                let again = format!("CAST({text} AS JSON)");
                let exact = format!("{again} = {c} AND CAST({again} AS CHAR CHARACTER SET utf8mb4) = {text}");
                format!("IF({exact}, CAST({text} AS BINARY), CONCAT(x'00', CAST({text} AS BINARY)))")
            }
            Self::Name => format!("CAST(CAST({c} AS CHAR CHARACTER SET utf8mb4) AS BINARY)"),
            Self::Binary | Self::Geometry | Self::Postgres(_) => c,
        }
    }

    /// The expression that tells what an expression gives to such a column, if the conversion is followed. The
    /// newlines are for comments.
    pub(super) fn computed(&self, expression: &str) -> Option<String> {
        Some(match self {
            Self::Number | Self::Temporal | Self::Binary => format!("CAST((\n{expression}\n) AS BINARY)"),
            Self::Float => format!("CAST((\n{expression}\n) * 1e0 AS BINARY)"),
            Self::Char(charset) => {
                format!("CAST(TRIM(TRAILING ' ' FROM CONVERT((\n{expression}\n) USING {charset})) AS BINARY)")
            }
            Self::Text(charset) => format!("CAST(CONVERT((\n{expression}\n) USING {charset}) AS BINARY)"),
            Self::Name => format!("CAST(CAST((\n{expression}\n) AS CHAR CHARACTER SET utf8mb4) AS BINARY)"),
            Self::Ordinal
            | Self::Labels(_)
            | Self::Timestamp
            | Self::Json
            | Self::Geometry
            | Self::Postgres(_) => return None,
        })
    }

    /// The literal that stores exactly this value again, in a session at UTC without strict mode. None when the
    /// bytes are not of this kind: a damaged record, never a value the server gave.
    pub fn literal(&self, value: &[u8]) -> Option<String> {
        let ascii = || std::str::from_utf8(value).ok();
        match self {
            Self::Number | Self::Ordinal | Self::Labels(_) => {
                ascii().filter(|t| is_number(t)).map(str::to_owned)
            }
            Self::Float => {
                let text = ascii().filter(|t| is_number(t))?;
                // With an exponent it is a double from the start, and keeps the sign of a zero.
                Some(if text.contains(['e', 'E']) { text.to_owned() } else { format!("{text}e0") })
            }
            Self::Char(charset) | Self::Text(charset) => Some(format!("_{charset} {}", hex(value))),
            Self::Binary | Self::Geometry => Some(hex(value)),
            Self::Temporal | Self::Name => quoted(ascii()?),
            Self::Timestamp => {
                let text = ascii().filter(|t| is_number(t))?;
                let zero = text.bytes().all(|b| matches!(b, b'0' | b'.'));
                Some(if zero { "'0000-00-00 00:00:00'".to_owned() } else { format!("FROM_UNIXTIME({text})") })
            }
            // Binary values travel as parameters.
            Self::Postgres(_) => None,
            Self::Json if !self.is_exact(value) => None,
            Self::Json => Some(format!("CONVERT({} USING utf8mb4)", hex(value))),
        }
    }

    /// Can this value be written back as it was?
    pub fn is_exact(&self, value: &[u8]) -> bool {
        *self != Self::Json || value.first() != Some(&0)
    }

    /// Does a value mean the same in a column of that kind? One of a record is asked about the column as it is now.
    pub(crate) fn means_the_same_as(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Ordinal, Self::Labels(_)) => true,
            // More labels at the end do no harm.
            (Self::Labels(then), Self::Labels(now)) => {
                let more = then.strip_suffix(')').and_then(|then| now.strip_prefix(then));
                more.is_some_and(|more| more.starts_with([',', ')']))
            }
            (then, now) => then == now,
        }
    }

    /// A code for stored forms. Codes are never reused.
    pub(crate) fn code(&self) -> (u8, &str) {
        match self {
            Self::Number => (1, ""),
            Self::Float => (2, ""),
            Self::Ordinal => (3, ""),
            Self::Char(charset) => (4, charset),
            Self::Text(charset) => (5, charset),
            Self::Binary => (6, ""),
            Self::Temporal => (7, ""),
            Self::Timestamp => (8, ""),
            Self::Json => (9, ""),
            Self::Geometry => (10, ""),
            Self::Name => (11, ""),
            Self::Postgres(name) => (12, name),
            Self::Labels(full_type) => (13, full_type),
        }
    }

    pub(crate) fn from_code(code: u8, charset: String) -> Option<Self> {
        Some(match code {
            1 => Self::Number,
            2 => Self::Float,
            3 => Self::Ordinal,
            4 => Self::Char(charset),
            5 => Self::Text(charset),
            6 => Self::Binary,
            7 => Self::Temporal,
            8 => Self::Timestamp,
            9 => Self::Json,
            10 => Self::Geometry,
            11 => Self::Name,
            12 => Self::Postgres(charset),
            13 => Self::Labels(charset),
            _ => return None,
        })
    }
}

/// Digits with an optional sign, point and exponent.
pub(super) fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = unsigned.splitn(2, ['e', 'E']);
    let digits = parts.next().unwrap_or_default();
    let exponent = parts.next().map(|e| e.strip_prefix(['-', '+']).unwrap_or(e));
    let mantissa_right = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().filter(|b| *b == b'.').count() <= 1;
    mantissa_right && exponent.is_none_or(|e| !e.is_empty() && e.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_mean_the_same_while_none_is_changed() {
        let labels = |text: &str| ColumnKind::Labels(text.to_owned());
        let then = labels("enum('a','b')");
        assert!(then.means_the_same_as(&then) && ColumnKind::Ordinal.means_the_same_as(&then));
        assert!(then.means_the_same_as(&labels("enum('a','b','c')")));
        for changed in ["enum('b','a')", "enum('a')", "set('a','b')", "enum('a','b''c')"] {
            assert!(!then.means_the_same_as(&labels(changed)), "{changed}");
        }
        assert!(
            !then.means_the_same_as(&ColumnKind::Ordinal) && !then.means_the_same_as(&ColumnKind::Number)
        );
    }

    #[test]
    fn literals_refuse_what_the_server_never_gave() {
        let number = ColumnKind::Number;
        assert_eq!(number.literal(b"-12.50").as_deref(), Some("-12.50"));
        for wrong in [&b""[..], b"1;DROP", b"1e", b"e5", b"--1", b"1.2.3", b"1 OR 1", b"\xff"] {
            assert_eq!(number.literal(wrong), None, "{wrong:?}");
        }
        assert_eq!(
            ColumnKind::Temporal.literal(b"2024-05-30 18:51:50.148381").as_deref(),
            Some("'2024-05-30 18:51:50.148381'")
        );
        assert_eq!(ColumnKind::Temporal.literal(b"' OR '"), None);
    }

    #[test]
    fn literals_keep_what_is_easily_lost() {
        assert_eq!(ColumnKind::Float.literal(b"-0").as_deref(), Some("-0e0"));
        assert_eq!(ColumnKind::Float.literal(b"1e-45").as_deref(), Some("1e-45"));
        assert_eq!(ColumnKind::Timestamp.literal(b"0.000000").as_deref(), Some("'0000-00-00 00:00:00'"));
        assert_eq!(ColumnKind::Timestamp.literal(b"1.5").as_deref(), Some("FROM_UNIXTIME(1.5)"));
        assert_eq!(ColumnKind::Text("latin1".into()).literal(b"\xe9'").as_deref(), Some("_latin1 x'e927'"));
    }
}
