//! Values of images as people read them: text in quotes, bytes in hexadecimal, everything short and on one line.

use crate::capture::ColumnKind;
use crate::sql::hex;

/// Characters of a text that are told.
const CHARACTERS: usize = 120;
/// Bytes that are told in hexadecimal.
const BYTES: usize = 60;
/// A value of more bytes is not given to the server to be printed.
const ASKED: usize = 65_536;

/// What is told of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// This.
    Said(String),
    /// MySQL: the text that the server gives for this expression, in quotes.
    Computed(String),
    /// PostgreSQL: the text of the value cast to this type; in quotes or not.
    Printed(String, bool),
}

/// What is told of a value of a column of this kind.
pub fn word(kind: &ColumnKind, value: &[u8]) -> Word {
    match kind {
        ColumnKind::Number | ColumnKind::Float | ColumnKind::Ordinal => Word::Said(bare(&lossy(value))),
        ColumnKind::Labels(full_type) => {
            let labels = labelled(full_type, value).map(|labels| text(&labels));
            Word::Said(labels.unwrap_or_else(|| bare(&lossy(value))))
        }
        ColumnKind::Char(charset) | ColumnKind::Text(charset) => match charset.as_str() {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Word::Said(text(&lossy(value))),
            _ if value.len() > ASKED => Word::Said(bytes(value)),
            _ => Word::Computed(format!("CONVERT(_{charset} {} USING utf8mb4)", hex(value))),
        },
        ColumnKind::Temporal | ColumnKind::Name => Word::Said(text(&lossy(value))),
        ColumnKind::Timestamp => match kind.literal(value) {
            Some(literal) => Word::Computed(format!("CAST({literal} AS CHAR)")),
            None => Word::Said(bytes(value)),
        },
        ColumnKind::Json => Word::Said(text(&lossy(value.strip_prefix(&[0]).unwrap_or(value)))),
        ColumnKind::Binary | ColumnKind::Geometry => Word::Said(bytes(value)),
        ColumnKind::Postgres(name) => match name.strip_prefix("pg_catalog.").unwrap_or_default() {
            "bytea" => Word::Said(bytes(value)),
            "text" | "varchar" | "bpchar" | "name" | "json" => Word::Said(text(&lossy(value))),
            _ if value.len() > ASKED => Word::Said(bytes(value)),
            "bool" | "int2" | "int4" | "int8" | "float4" | "float8" | "numeric" | "oid" => {
                Word::Printed(name.clone(), false)
            }
            _ => Word::Printed(name.clone(), true),
        },
    }
}

/// The label behind the number of an ENUM, or the labels of a SET.
fn labelled(full_type: &str, value: &[u8]) -> Option<String> {
    let number: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    let (word, list) = full_type.split_once('(')?;
    let labels = labels(list)?;
    if word.eq_ignore_ascii_case("enum") {
        // 0 is what was stored for a label that is none.
        let at = usize::try_from(number).ok()?.checked_sub(1);
        return at.map_or(Some(String::new()), |at| labels.get(at).cloned());
    }
    let is_set = |at: usize| at < 64 && number >> at & 1 == 1;
    let set: Vec<String> =
        labels.into_iter().enumerate().filter(|(at, _)| is_set(*at)).map(|l| l.1).collect();
    Some(set.join(","))
}

/// `'a','it''s'` as the catalogue writes it.
fn labels(list: &str) -> Option<Vec<String>> {
    let mut labels = Vec::new();
    let mut rest = list.strip_prefix('\'')?.chars().peekable();
    let mut label = String::new();
    loop {
        match rest.next()? {
            '\'' if rest.next_if_eq(&'\'').is_some() => label.push('\''),
            '\'' => {
                labels.push(std::mem::take(&mut label));
                match rest.next()? {
                    ',' => rest.next_if_eq(&'\'')?,
                    _ => return Some(labels),
                };
            }
            '\\' => label.push(match rest.next()? {
                'n' => '\n',
                'r' => '\r',
                '0' => '\0',
                other => other,
            }),
            other => label.push(other),
        }
    }
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// A text in quotes; a long one is cut, and its length told.
pub fn text(value: &str) -> String {
    let shown: String =
        value.chars().take(CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    match value.chars().count() {
        length if length > CHARACTERS => format!("'{shown}…' ({length} characters)"),
        _ => format!("'{shown}'"),
    }
}

/// A number, or what else needs no quotes.
pub fn bare(value: &str) -> String {
    let quoted = text(value);
    match quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(whole) => whole.to_owned(),
        None => quoted,
    }
}

/// Bytes in hexadecimal; many are cut, and their number told.
pub fn bytes(value: &[u8]) -> String {
    let shown = hex(&value[..value.len().min(BYTES)]);
    match value.len() {
        length if length > BYTES => format!("{}…' ({length} bytes)", shown.trim_end_matches('\'')),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_bytes_are_bytes() {
        let said = |kind: &ColumnKind, value: &[u8]| match word(kind, value) {
            Word::Said(said) => said,
            other => panic!("{other:?}"),
        };
        let utf8 = ColumnKind::Text("utf8mb4".into());
        assert_eq!(said(&utf8, "é".as_bytes()), "'é'");
        assert_eq!(said(&utf8, b""), "''");
        assert_eq!(said(&utf8, b"NULL"), "'NULL'");
        assert_eq!(said(&utf8, b"a\x1b[2J\nb"), "'a [2J b'");
        assert_eq!(said(&utf8, &[b'x'; 500]), format!("'{}…' (500 characters)", "x".repeat(120)));
        assert_eq!(said(&ColumnKind::Number, b"-1.50"), "-1.50");
        assert_eq!(said(&ColumnKind::Binary, &[0, 255]), "x'00ff'");
        assert_eq!(said(&ColumnKind::Binary, &[1; 100]), format!("x'{}…' (100 bytes)", "01".repeat(60)));
        assert_eq!(said(&ColumnKind::Postgres("pg_catalog.text".into()), b"a"), "'a'");
        assert_eq!(said(&ColumnKind::Json, b"\0[1.5]"), "'[1.5]'");
    }

    #[test]
    fn labels_are_told_instead_of_their_numbers() {
        let said = |full_type: &str, value: &str| match word(
            &ColumnKind::Labels(full_type.into()),
            value.as_bytes(),
        ) {
            Word::Said(said) => said,
            other => panic!("{other:?}"),
        };
        let full_type = "enum('new','it''s \\\\ paid','a,b')";
        assert_eq!(
            [said(full_type, "1"), said(full_type, "2"), said(full_type, "3")],
            ["'new'", "'it's \\ paid'", "'a,b'"]
        );
        assert_eq!([said(full_type, "0"), said(full_type, "4")], ["''", "4"]);
        assert_eq!([said("set('a','b','c')", "5"), said("set('a')", "0")], ["'a,c'", "''"]);
        assert_eq!(said("odd", "5"), "5");
    }

    #[test]
    fn what_only_the_server_can_tell_is_asked_of_it() {
        let latin = word(&ColumnKind::Char("latin1".into()), b"\xe9");
        assert_eq!(latin, Word::Computed("CONVERT(_latin1 x'e9' USING utf8mb4)".into()));
        let time = word(&ColumnKind::Timestamp, b"1.5");
        assert_eq!(time, Word::Computed("CAST(FROM_UNIXTIME(1.5) AS CHAR)".into()));
        let number = ColumnKind::Postgres("pg_catalog.int4".into());
        assert_eq!(word(&number, &[0; 4]), Word::Printed("pg_catalog.int4".into(), false));
        assert_eq!(word(&ColumnKind::Timestamp, b"1;2"), Word::Said("x'313b32'".into()));
    }
}
