//! Parameters of prepared statements and attributes of queries: from their binary form to SQL literals that mean
//! the same value of the same type.

use super::packet::Reader;
use atone_undo_log::{capture::KeyValue, sql::hex};

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// NULL.
    Null,
    /// An integer or decimal: its digits.
    Number(String),
    /// FLOAT or DOUBLE.
    Double(f64),
    /// A string in the client's character set.
    Text(Vec<u8>),
    /// A string of bytes.
    Blob(Vec<u8>),
    /// A date or time, as a literal's text with its keyword.
    Temporal(&'static str, String),
}

/// Type and flags of a parameter, as sent when they are bound.
pub type ParamType = [u8; 2];

impl Param {
    /// The SQL literal; `charset` is the client's character set.
    pub fn literal(&self, charset: &str) -> String {
        match self {
            Self::Null => "NULL".into(),
            Self::Number(digits) => digits.clone(),
            Self::Double(number) => format!("{number:e}"),
            // Drivers send bytes as strings, too. The server takes any from a parameter, but only proper ones in a literal.
            Self::Text(bytes) if !is_proper(bytes, charset) => format!("_binary {}", hex(bytes)),
            Self::Text(bytes) => format!("_{charset} {}", hex(bytes)),
            Self::Blob(bytes) => format!("_binary {}", hex(bytes)),
            Self::Temporal(keyword, text) => format!("{keyword}'{text}'"),
        }
    }

    /// The value as a key was given.
    pub fn key_value(&self, charset: &str) -> Option<KeyValue> {
        match self {
            Self::Null => None,
            Self::Number(digits) => Some(KeyValue::Number(digits.clone())),
            // Drivers of languages without integers send whole numbers so.
            Self::Double(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
                Some(KeyValue::Number(format!("{number:.0}")))
            }
            Self::Double(number) => Some(KeyValue::Number(format!("{number:e}"))),
            Self::Text(bytes) => Some(KeyValue::String {
                literal: self.literal(charset),
                text: String::from_utf8(bytes.clone()).ok(),
            }),
            Self::Blob(_) => Some(KeyValue::String { literal: self.literal(charset), text: None }),
            Self::Temporal(_, text) => Some(KeyValue::String { literal: format!("'{text}'"), text: None }),
        }
    }
}

/// Whether these bytes are a string of a character set, as far as we know it.
fn is_proper(bytes: &[u8], charset: &str) -> bool {
    match charset {
        "utf8mb4" => std::str::from_utf8(bytes).is_ok(),
        "utf8" | "utf8mb3" => {
            std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(|c| c < '\u{10000}'))
        }
        _ => true,
    }
}

/// The head of COM_STMT_EXECUTE: the statement's id.
pub fn statement_id(payload: &[u8]) -> Option<u32> {
    let mut reader = Reader(payload.get(1..)?);
    reader.number(4).map(|id| id as u32)
}

/// Reads the parameters of COM_STMT_EXECUTE. `types` are those of the last execution that bound any, and are
/// replaced when this one does. `long` holds what came by COM_STMT_SEND_LONG_DATA.
pub fn execute(
    payload: &[u8],
    count: usize,
    attributes: bool,
    types: &mut Vec<ParamType>,
    long: &[Option<Vec<u8>>],
) -> Option<Vec<Param>> {
    let (mut reader, sent) = sent(payload, count, attributes)?;
    let mut params = values(&mut reader, sent, attributes, types, long)?;
    params.truncate(count);
    (params.len() == count).then_some(params)
}

/// What follows the head of COM_STMT_EXECUTE, and how many values it holds: attributes come on top of parameters.
fn sent(payload: &[u8], count: usize, attributes: bool) -> Option<(Reader<'_>, usize)> {
    const COUNT_AVAILABLE: u8 = 8;
    let mut reader = Reader(payload.get(5..)?);
    let flags = reader.byte()?;
    reader.take(4)?;
    let sent = match attributes {
        true if count > 0 || flags & COUNT_AVAILABLE != 0 => usize::try_from(reader.lenenc()?).ok()?,
        _ => count,
    };
    Some((reader, sent))
}

/// Remembers the types that an execution binds, without reading its values.
pub fn note_types(payload: &[u8], count: usize, attributes: bool, types: &mut Vec<ParamType>) -> Option<()> {
    let (mut reader, sent) = sent(payload, count, attributes)?;
    head(&mut reader, sent, attributes, types).map(drop)
}

/// Steps over the attributes before the text of COM_QUERY; the text's offset in the payload.
pub fn query_text(payload: &[u8], attributes: bool) -> Option<usize> {
    let mut reader = Reader(payload.get(1..)?);
    if attributes {
        let count = usize::try_from(reader.lenenc()?).ok()?;
        reader.lenenc()?;
        if count > 0 {
            values(&mut reader, count, true, &mut Vec::new(), &[])?;
        }
    }
    Some(payload.len() - reader.0.len())
}

fn values(
    reader: &mut Reader<'_>,
    count: usize,
    named: bool,
    types: &mut Vec<ParamType>,
    long: &[Option<Vec<u8>>],
) -> Option<Vec<Param>> {
    let nulls = head(reader, count, named, types)?;
    if types.len() < count {
        return None;
    }
    let mut params = Vec::with_capacity(count);
    for at in 0..count {
        params.push(if let Some(Some(data)) = long.get(at) {
            Param::Text(data.clone())
        } else if nulls[at / 8] >> (at % 8) & 1 == 1 {
            Param::Null
        } else {
            value(reader, types[at])?
        });
    }
    Some(params)
}

/// What stands before the values: which are NULL, and the types if they are bound now.
fn head<'a>(
    reader: &mut Reader<'a>,
    count: usize,
    named: bool,
    types: &mut Vec<ParamType>,
) -> Option<&'a [u8]> {
    if count == 0 {
        return Some(&[]);
    }
    if count > 65535 {
        return None;
    }
    let nulls = reader.take(count.div_ceil(8))?;
    if reader.byte()? == 1 {
        types.clear();
        for _ in 0..count {
            types.push([reader.byte()?, reader.byte()?]);
            if named {
                reader.lenenc_bytes()?;
            }
        }
    }
    Some(nulls)
}

fn value(reader: &mut Reader<'_>, [kind, flags]: ParamType) -> Option<Param> {
    let unsigned = flags & 0x80 != 0;
    let mut integer = |bytes: usize| {
        let raw = reader.number(bytes)?;
        let shift = 64 - 8 * bytes as u32;
        let digits = if unsigned { raw.to_string() } else { (((raw << shift) as i64) >> shift).to_string() };
        Some(Param::Number(digits))
    };
    match kind {
        0x06 => Some(Param::Null),
        0x01 => integer(1),
        0x02 | 0x0d => integer(2),
        0x03 | 0x09 => integer(4),
        0x08 => integer(8),
        0x04 => Some(Param::Double(f64::from(f32::from_bits(reader.number(4)? as u32)))),
        0x05 => Some(Param::Double(f64::from_bits(reader.number(8)?))),
        0x00 | 0xf6 => {
            let text = std::str::from_utf8(reader.lenenc_bytes()?).ok()?;
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
            plain.then(|| Param::Number(text.to_owned()))
        }
        0x07 | 0x0a | 0x0c | 0x0e => date(reader, kind == 0x0a || kind == 0x0e),
        0x0b => time(reader),
        0x0f | 0xfd | 0xfe | 0xf7 | 0xf8 | 0xf5 => Some(Param::Text(reader.lenenc_bytes()?.to_vec())),
        0x10 | 0xf9..=0xfc | 0xff => Some(Param::Blob(reader.lenenc_bytes()?.to_vec())),
        _ => None,
    }
}

fn date(reader: &mut Reader<'_>, only_date: bool) -> Option<Param> {
    let mut parts = Reader(reader.lenenc_bytes()?);
    let (year, month, day) = match parts.0.len() {
        0 => (0, 0, 0),
        4 | 7 | 11 => (parts.number(2)?, parts.byte()?, parts.byte()?),
        _ => return None,
    };
    let mut text = format!("{year:04}-{month:02}-{day:02}");
    if !(only_date && parts.0.is_empty()) {
        let clock = if parts.0.is_empty() { [0; 3] } else { [parts.byte()?, parts.byte()?, parts.byte()?] };
        text += &format!(" {:02}:{:02}:{:02}", clock[0], clock[1], clock[2]);
        if !parts.0.is_empty() {
            text += &format!(".{:06}", parts.number(4)?);
        }
    }
    // A typed literal cannot hold a zero date; a string is read as one.
    let keyword = match (month == 0 || day == 0, text.len() == 10) {
        (true, _) => "",
        (false, true) => "DATE",
        (false, false) => "TIMESTAMP",
    };
    Some(Param::Temporal(keyword, text))
}

fn time(reader: &mut Reader<'_>) -> Option<Param> {
    let mut parts = Reader(reader.lenenc_bytes()?);
    if parts.0.is_empty() {
        return Some(Param::Temporal("TIME", "00:00:00".into()));
    }
    let negative = parts.byte()? == 1;
    let days = parts.number(4)?;
    let (hours, minutes, seconds) = (parts.byte()?, parts.byte()?, parts.byte()?);
    let sign = if negative { "-" } else { "" };
    let mut text = format!("{sign}{:02}:{minutes:02}:{seconds:02}", days * 24 + u64::from(hours));
    if !parts.0.is_empty() {
        text += &format!(".{:06}", parts.number(4)?);
    }
    Some(Param::Temporal("TIME", text))
}
