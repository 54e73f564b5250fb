//! MySQL and MariaDB.

pub mod schema;
pub mod session;
mod special;
mod types;

use crate::dialect::{Dialect, Numbered};
use crate::generate::{Gen, Table};
use crate::statement::{Param, Statement, Value};
use crate::types::{Family, Type};
use rand::Rng;
use rand::rngs::SmallRng;

/// The dialect.
pub struct MySql {
    /// Whether the server is MariaDB.
    pub maria: bool,
}

const NUMBERED: &[Numbered] = &[
    Numbered { definition: "INT AUTO_INCREMENT", like: "INT", may_be_given: true },
    Numbered { definition: "BIGINT UNSIGNED AUTO_INCREMENT", like: "BIGINT UNSIGNED", may_be_given: true },
];

impl Dialect for MySql {
    fn quoted(&self, name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn types(&self) -> Vec<&'static Type> {
        types::BOTH.iter().chain(if self.maria { types::MARIADB } else { types::MYSQL }).collect()
    }

    fn value(&self, of: &Type, text: Option<&str>, _: bool) -> Value {
        let Some(text) = text else {
            return Value { sql: "NULL".to_owned(), place: "?".to_owned(), param: Param::Null };
        };
        let characters = Param::Text(text.to_owned());
        let whole = match (text.parse(), text.parse()) {
            (Ok(number), _) => Param::Int(number),
            (_, Ok(number)) => Param::UInt(number),
            _ => characters.clone(),
        };
        let (sql, place, param) = match of.family {
            Family::Int | Family::Bits => (text.to_owned(), "?", whole),
            Family::Number => (text.to_owned(), "?", characters),
            Family::Float => (text.to_owned(), "?", Param::Double(text.parse().expect("a number"))),
            Family::Binary if text.is_empty() => ("''".to_owned(), "?", Param::Bytes(Vec::new())),
            Family::Binary => (format!("x'{text}'"), "?", Param::Bytes(bytes(text))),
            Family::Shape => {
                (format!("ST_GeomFromText({})", literal(text)), "ST_GeomFromText(?)", characters)
            }
            Family::Text | Family::Json | Family::Array | Family::Other => (literal(text), "?", characters),
        };
        Value { sql, place: place.to_owned(), param }
    }

    fn numbered(&self) -> &'static [Numbered] {
        NUMBERED
    }

    fn generated(&self, of: &Type) -> &'static [&'static str] {
        match of.family {
            // Its length depends on sql_mode.
            Family::Text if of.sql.starts_with("CHAR(") => &[],
            Family::Int => &["BIGINT AS (@ % 7) STORED", "BIGINT AS (COALESCE(@, 0) % 5) VIRTUAL"],
            Family::Text => &["INT AS (CHAR_LENGTH(@)) VIRTUAL", "INT AS (CHAR_LENGTH(@)) STORED"],
            Family::Json => &["INT AS (JSON_LENGTH(@)) VIRTUAL", "VARCHAR(20) AS (JSON_TYPE(@)) STORED"],
            _ => &[],
        }
    }

    fn expressions(&self, family: Family) -> &'static [&'static str] {
        match family {
            Family::Int => &["@ + 1", "-@", "@ * 3", "COALESCE(@, 0) + 1", "IF(@ > 3, 1, 2)"],
            Family::Number | Family::Float => &["@ + 1", "-@", "@ / 3", "COALESCE(@, 7.5)"],
            Family::Bits => &["@ ^ 1", "@ >> 1"],
            Family::Text => &["CONCAT(@, 'x')", "UPPER(@)", "REVERSE(@)", "LEFT(@, 1)"],
            Family::Binary => &["CONCAT(@, x'00')", "REVERSE(@)"],
            Family::Json => &["JSON_ARRAY(@, 1)", "JSON_OBJECT('k', @)", "JSON_SET(@, '$.n', 1)"],
            Family::Array | Family::Shape | Family::Other => &[],
        }
    }

    fn conditions(&self, family: Family) -> &'static [&'static str] {
        match family {
            Family::Int => &["@ > 5", "@ % 2 = 0", "@ BETWEEN -10 AND 10", "@ <> 1"],
            Family::Number | Family::Float => &["@ < 1", "@ <> 0", "@ >= 1.5"],
            Family::Bits => &["@ = 1", "@ > 1"],
            Family::Text => &["@ LIKE '%a%'", "@ > 'b'", "CHAR_LENGTH(@) < 4", "@ = 'A'"],
            Family::Binary => &["LENGTH(@) > 1", "@ < x'20'"],
            Family::Json => &["JSON_LENGTH(@) > 0", "JSON_TYPE(@) = 'OBJECT'"],
            Family::Array | Family::Shape | Family::Other => &[],
        }
    }

    fn fleeting(&self) -> &'static str {
        "RAND() < 0.5"
    }

    fn partitioned(&self, _: &str, column: &str) -> (String, Vec<String>) {
        (format!(" PARTITION BY KEY ({column}) PARTITIONS 3"), Vec::new())
    }

    fn to_itself(&self) -> &'static str {
        ""
    }

    fn no_columns(&self) -> &'static str {
        "() VALUES ()"
    }

    fn returning(&self, _: &str) -> Option<&'static str> {
        None
    }

    fn special(&self, r#gen: &mut Gen, table: &Table) -> Vec<Statement> {
        special::special(r#gen, table, self.maria)
    }

    fn settings(&self, rng: &mut SmallRng) -> Vec<String> {
        // The clock stands still, so that two runs agree.
        let mut settings = vec!["SET timestamp = 1700000000".to_owned()];
        let mut now_and_then = |setting: &str| {
            if rng.random_range(0..6) == 0 {
                settings.push(setting.to_owned());
            }
        };
        now_and_then("SET sql_mode = ''");
        now_and_then("SET time_zone = '+08:00'");
        now_and_then("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
        now_and_then("SET auto_increment_increment = 3");
        now_and_then("SET sql_safe_updates = 0");
        settings
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0"))
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let pairs = hexadecimal.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hexadecimal");
    pairs.map(byte).collect()
}
