//! Keys: their canonical form for locks, and the literals that find a row by what an INSERT wrote.

use super::{Captured, ColumnKind, Key, Parent, References, Row, Storage, Table, column::is_number};
use crate::{
    analyze::Unsupported,
    sql::{hex, quoted},
};

/// A key's value in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Canonical {
    /// The key's name.
    pub index: String,
    /// Per column a kind byte, a length and the bytes by which the database compares.
    pub bytes: Vec<u8>,
    /// As a person would write it.
    pub shown: String,
}

const SHOWN_LIMIT: usize = 120;

/// Strings are compared by weight, which the server computes; an expression per such column of a key.
pub(super) fn weight_expressions(table: &Table) -> Vec<String> {
    weight_expressions_of(table, "")
}

/// The same with something before each column.
pub(super) fn weight_expressions_of(table: &Table, qualifier: &str) -> Vec<String> {
    let mut expressions = Vec::new();
    for part in table.keys().flat_map(|k| &k.parts) {
        let column = &table.columns[part.column];
        if let ColumnKind::Char(_) | ColumnKind::Text(_) = column.kind {
            let name = format!("{qualifier}{}", crate::sql::identifier(&column.name));
            let value = part.prefix.map_or(name.clone(), |n| format!("LEFT({name}, {n})"));
            // Collations with PAD SPACE ignore trailing blanks, but their weights do not.
            let trimmed = format!("TRIM(TRAILING ' ' FROM {value})");
            expressions.push(format!("WEIGHT_STRING(IF({value} = {trimmed}, {trimmed}, {value}))"));
        }
    }
    expressions
}

/// A row with its canonical keys, given the weights in the order of [`weight_expressions`]. A key with a NULL in
/// it has none: NULLs are never equal.
pub(super) fn canonical_keys(table: &Table, row: Row, weights: &[Option<Vec<u8>>]) -> Option<Captured> {
    let weights = &mut weights.iter();
    let key = canonical(table, &table.key, &row, weights, false);
    let uniques =
        table.uniques.iter().filter_map(|key| canonical(table, key, &row, weights, false)).collect();
    let referenced =
        table.referenced.iter().filter_map(|key| canonical(table, key, &row, weights, true)).collect();
    let parent =
        |parent: &Parent| Some((parent.table.clone(), canonical(table, &parent.key, &row, weights, true)?));
    let parents = table.parents.iter().filter_map(parent).collect();
    Some(Captured { key: key?, uniques, references: References { referenced, parents }, row })
}

fn canonical<'w>(
    table: &Table,
    key: &Key,
    row: &Row,
    weights: &mut impl Iterator<Item = &'w Option<Vec<u8>>>,
    across: bool,
) -> Option<Canonical> {
    let (mut bytes, mut shown, mut complete) = (Vec::new(), Vec::new(), true);
    for part in &key.parts {
        let kind = &table.columns[part.column].kind;
        let value = row.0[part.column].as_deref();
        let compared = match kind {
            ColumnKind::Char(_) | ColumnKind::Text(_) => weights.next()?.as_deref(),
            ColumnKind::Binary => {
                value.map(|v| &v[..v.len().min(part.prefix.map_or(v.len(), |n| n as usize))])
            }
            _ => value,
        };
        let (Some(value), Some(compared)) = (value, compared) else {
            complete = false;
            continue;
        };
        // -0 and 0 are one key.
        let compared = if *kind == ColumnKind::Float && compared == b"-0" { b"0" } else { compared };
        // Labels are compared by their numbers, as before these were told apart from others.
        let code = if let ColumnKind::Labels(_) = kind { ColumnKind::Ordinal.code() } else { kind.code() };
        // The two columns of a foreign key may be CHAR and VARCHAR, and one of them ZEROFILL.
        let (code, compared) = match (across, kind) {
            (true, ColumnKind::Char(charset)) => (ColumnKind::Text(charset.clone()).code().0, compared),
            (true, ColumnKind::Number) => (code.0, without_zeros(compared)),
            _ => (code.0, compared),
        };
        bytes.push(code);
        bytes.extend((compared.len() as u32).to_be_bytes());
        bytes.extend(compared);
        shown.push(show(kind, value));
    }
    let mut shown = shown.join(", ");
    if let Some((cut, _)) = shown.char_indices().nth(SHOWN_LIMIT) {
        shown.truncate(cut);
        shown.push('…');
    }
    complete.then(|| Canonical { index: key.name.clone(), bytes, shown })
}

/// A number without zeros in front.
fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    let counts = |at: usize| digits.get(at).is_some_and(u8::is_ascii_digit);
    &digits[if counts(zeros) { zeros } else { zeros.saturating_sub(1) }..]
}

/// The canonical key of a row whose only key is a number that the server gives where none is given: what was written is
/// what is stored, unless the server warned. None where that is not sure.
pub fn key_of_number(table: &Table, digits: &str) -> Option<Canonical> {
    let [part] = table.key.parts.as_slice() else { return None };
    let column = &table.columns[part.column];
    let integer = table.auto_increment == Some(part.column) && column.kind == ColumnKind::Number;
    let plain = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    let alone = table.uniques.is_empty()
        && !table.refers_or_is_referred_to()
        && table.storage(part.column) == Storage::Plain;
    let row = Row(table.columns.iter().map(|_| Some(digits.as_bytes().to_vec())).collect());
    if integer && plain && alone {
        canonical(table, &table.key, &row, &mut std::iter::empty(), false)
    } else {
        None
    }
}

fn show(kind: &ColumnKind, value: &[u8]) -> String {
    match kind {
        ColumnKind::Number
        | ColumnKind::Float
        | ColumnKind::Ordinal
        | ColumnKind::Labels(_)
        | ColumnKind::Timestamp => String::from_utf8_lossy(value).into_owned(),
        ColumnKind::Binary | ColumnKind::Geometry | ColumnKind::Postgres(_) => {
            hex(&value[..value.len().min(SHOWN_LIMIT)])
        }
        ColumnKind::Char(_)
        | ColumnKind::Text(_)
        | ColumnKind::Temporal
        | ColumnKind::Json
        | ColumnKind::Name => {
            format!("'{}'", String::from_utf8_lossy(&value[..value.len().min(4 * SHOWN_LIMIT)]))
        }
    }
}

/// A key value as an INSERT gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyValue {
    /// A number's digits, perhaps signed.
    Number(String),
    /// A string.
    String {
        /// A literal of it that can stand in SQL as it is.
        literal: String,
        /// Its content, where that is plain text.
        text: Option<String>,
    },
}

/// The literal that finds the row in which `value` was stored into a column of this kind. What the server would
/// convert in ways we do not follow is unsupported; a wrong guess would anyway find too few rows, never wrong ones.
pub fn key_literal(column: &str, kind: &ColumnKind, value: &KeyValue) -> Result<String, Unsupported> {
    use ColumnKind::{
        Binary, Char, Float, Geometry, Json, Labels, Name, Number, Ordinal, Postgres, Temporal, Text,
        Timestamp,
    };
    let digits = |text: &str| is_number(text).then(|| text.to_owned());
    let literal = match (kind, value) {
        (Number | Float, KeyValue::Number(text)) => digits(text),
        (Number | Float, KeyValue::String { text, .. }) => text.as_deref().and_then(digits),
        (Ordinal | Labels(_), KeyValue::Number(text)) => Some(text.clone()),
        // Only digits that are stored as they are written.
        (Char(_) | Text(_), KeyValue::Number(text)) => {
            let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            plain.then(|| quoted(text)).flatten()
        }
        // x'0a' and 0x0a are numbers to the lexer and bytes to a binary column.
        (Binary, KeyValue::Number(text)) => {
            (text.starts_with(['x', 'X']) || text.starts_with("0x")).then(|| text.clone())
        }
        // A CHAR is read without its trailing blanks, which some collations tell apart.
        (Char(_), KeyValue::String { literal, text }) => Some(match text {
            Some(text) if !text.ends_with(' ') => literal.clone(),
            _ => format!("TRIM(TRAILING ' ' FROM {literal})"),
        }),
        (Text(_) | Binary | Temporal | Name | Ordinal | Labels(_), KeyValue::String { literal, .. }) => {
            Some(literal.clone())
        }
        (Temporal | Name, KeyValue::Number(_)) | (Timestamp | Json | Geometry | Postgres(_), _) => None,
    };
    literal.ok_or_else(|| Unsupported(format!("this kind of value for the key column {column}")))
}
