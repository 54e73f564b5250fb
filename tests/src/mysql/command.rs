//! What a client sends, built from the words of a script.

use crate::{Context, Failure, Result};

/// How COM_STMT_EXECUTE is sent.
#[derive(Clone, Copy)]
pub struct Form {
    /// Rows are to be fetched.
    pub cursor: bool,
    /// The types of the values are told; a repetition may leave them out.
    pub types: bool,
    /// The number of the values is told and each has a name, an empty one here: client and server have query attributes.
    pub attributes: bool,
}

/// A flag of COM_STMT_EXECUTE.
const COUNT_IS_TOLD: u8 = 8;

/// COM_STMT_EXECUTE.
pub fn execute(statement: u32, form: Form, values: &str) -> Result<Vec<u8>> {
    let mut payload = with_number(0x17, statement);
    payload.push(u8::from(form.cursor) | if form.attributes { COUNT_IS_TOLD } else { 0 });
    payload.extend(1_u32.to_le_bytes());
    let values: Vec<Value> = match values.trim() {
        "" => Vec::new(),
        values => values.split('|').map(|text| value(text.trim())).collect::<Result<_>>()?,
    };
    if form.attributes {
        payload.extend(length(values.len()));
    }
    if values.is_empty() {
        return Ok(payload);
    }
    let mut nulls = vec![0; values.len().div_ceil(8)];
    let null = values.iter().enumerate().filter(|(_, value)| value.bytes.is_none());
    null.for_each(|(at, _)| nulls[at / 8] |= 1 << (at % 8));
    payload.extend(nulls);
    payload.push(u8::from(form.types));
    if form.types {
        let name = if form.attributes { &[0][..] } else { &[] };
        values.iter().for_each(|value| payload.extend([&[value.kind, 0], name].concat()));
    }
    values.into_iter().for_each(|value| payload.extend(value.bytes.unwrap_or_default()));
    Ok(payload)
}

/// A command about a number.
pub fn with_number(command: u8, number: u32) -> Vec<u8> {
    [&[command], &number.to_le_bytes()[..]].concat()
}

/// A parameter: its type, and its bytes if it is not NULL.
struct Value {
    kind: u8,
    bytes: Option<Vec<u8>>,
}

/// `NULL`, `'text`, `5` (64 bits), `i:5` (32 bits), `d:1.5` (a double), `x:00ff` (a blob), `12:07e8…` (a type and its
/// bytes), `long` (sent before).
fn value(text: &str) -> Result<Value> {
    let of = |kind, bytes: &[u8]| Value { kind, bytes: Some(bytes.to_vec()) };
    if let Some(text) = text.strip_prefix('\'') {
        return Ok(of(253, &lenenc(&expanded(text)?)));
    }
    Ok(match text.split_once(':') {
        Some(("i", number)) => of(3, &number.parse::<i32>().or_fail(text)?.to_le_bytes()),
        Some(("d", number)) => of(5, &number.parse::<f64>().or_fail(text)?.to_le_bytes()),
        Some(("x", hex)) => of(252, &lenenc(&bytes(hex)?)),
        Some((kind, hex)) => of(kind.parse().or_fail(text)?, &bytes(hex)?),
        None if text == "NULL" => Value { kind: 6, bytes: None },
        None if text == "long" => of(252, &[]),
        None => of(8, &text.parse::<i64>().or_fail(text)?.to_le_bytes()),
    })
}

fn lenenc(text: &[u8]) -> Vec<u8> {
    [&length(text.len()), text].concat()
}

/// A number that says its own length.
fn length(number: usize) -> Vec<u8> {
    let bytes = number.to_le_bytes();
    match number {
        0..=250 => bytes[..1].to_vec(),
        251..=0xffff => [&[0xfc], &bytes[..2]].concat(),
        0x1_0000..=0xff_ffff => [&[0xfd], &bytes[..3]].concat(),
        _ => [&[0xfe], &bytes[..]].concat(),
    }
}

/// Bytes written in hexadecimal digits.
pub fn bytes(hex: &str) -> Result<Vec<u8>> {
    let hex: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    if !hex.len().is_multiple_of(2) {
        return Err(Failure::new(format!("half a byte: {}", String::from_iter(hex))));
    }
    hex.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).or_fail("hex")).collect()
}

/// A text with `{x*5}` for five x, `{#e4}` for a byte, and `\n` and `\t` as in Rust.
pub fn expanded(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let text = text.replace("\\n", "\n").replace("\\t", "\t");
    let mut rest = text.as_str();
    while let Some(at) = rest.find('{') {
        out.extend(&rest.as_bytes()[..at]);
        let inner = rest[at + 1..].split_once('}');
        let meant = inner.and_then(|(inner, after)| Some((meaning(inner)?, after)));
        match meant {
            Some((meaning, after)) => {
                out.extend(meaning?);
                rest = after;
            }
            None => {
                out.push(b'{');
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend(rest.as_bytes());
    Ok(out)
}

/// What stands between braces, if it means something.
fn meaning(inner: &str) -> Option<Result<Vec<u8>>> {
    if let Some(hex) = inner.strip_prefix('#') {
        return Some(bytes(hex));
    }
    let (what, count) = inner.rsplit_once('*')?;
    Some(match count.parse() {
        Ok(count) => Ok(what.repeat(count).into_bytes()),
        Err(_) => Err(Failure::new(format!("{{{inner}}}"))),
    })
}
