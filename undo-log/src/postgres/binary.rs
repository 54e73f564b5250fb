//! Rows as `record_send` gives them, and the few values that we must understand to compare keys.
//!
//! Form of a record: the number of columns, then each column's type and its value behind its length, -1 for NULL; dropped
//! columns are not there. Source: `record_send` and the types' send functions in PostgreSQL's source.

/// A column's type, by its number in the database, and its value.
pub type Value<'a> = (u32, Option<&'a [u8]>);

/// The value of each column and its type.
pub fn record(bytes: &[u8]) -> Option<Vec<Value<'_>>> {
    let mut rest = bytes;
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(taken)
    };
    let count = take(4).and_then(|b| b.try_into().ok()).map(i32::from_be_bytes)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let kind = take(4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes)?;
        let length = take(4).and_then(|b| b.try_into().ok()).map(i32::from_be_bytes)?;
        let value = if length == -1 { None } else { Some(take(usize::try_from(length).ok()?)?) };
        values.push((kind, value));
    }
    rest.is_empty().then_some(values)
}

/// The values alone.
pub fn record_values(bytes: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    Some(record(bytes)?.into_iter().map(|(_, v)| v.map(<[u8]>::to_vec)).collect())
}

/// A numeric's digits without zeros at the end and without the scale it is shown with: 1.0 and 1.00 are one key.
pub(super) fn numeric(value: &[u8]) -> Vec<u8> {
    let short = |at: usize| value.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let (Some(count), Some(weight), Some(sign)) = (short(0), short(2), short(4)) else {
        return value.to_vec();
    };
    let mut digits: Vec<u16> = (0..usize::from(count)).filter_map(|n| short(8 + 2 * n)).collect();
    while digits.last() == Some(&0) {
        digits.pop();
    }
    // NaN and the infinities are signs; a zero has no weight and no sign.
    let special = sign & 0xC000 == 0xC000;
    let (weight, sign) = if digits.is_empty() && !special { (0, 0) } else { (weight, sign) };
    let mut canonical = [sign, if special { 0 } else { weight }].map(u16::to_be_bytes).concat();
    digits.iter().for_each(|d| canonical.extend(d.to_be_bytes()));
    canonical
}

/// A float whose zero has no sign; all NaNs are one.
pub(super) fn float(value: &[u8]) -> Vec<u8> {
    let number = match value {
        [a, b, c, d] => f64::from(f32::from_be_bytes([*a, *b, *c, *d])),
        _ => value.try_into().map_or(f64::NAN, f64::from_be_bytes),
    };
    let canonical = if number == 0.0 { 0.0 } else { number };
    if canonical.is_nan() { f64::NAN.to_be_bytes().to_vec() } else { canonical.to_be_bytes().to_vec() }
}

/// A key's value as a person would write it.
pub(super) fn shown(type_name: &str, value: &[u8]) -> String {
    let int = || -> Option<i64> {
        Some(match value.len() {
            2 => i64::from(i16::from_be_bytes(value.try_into().ok()?)),
            4 => i64::from(i32::from_be_bytes(value.try_into().ok()?)),
            8 => i64::from_be_bytes(value.try_into().ok()?),
            _ => return None,
        })
    };
    let hex = || value.iter().take(64).map(|b| format!("{b:02x}")).collect::<String>();
    let own = if type_name.ends_with(".\"citext\"") { "citext" } else { "" };
    match type_name.strip_prefix("pg_catalog.").unwrap_or(own) {
        "int2" | "int4" | "int8" => int().map_or_else(hex, |n| n.to_string()),
        "text" | "varchar" | "bpchar" | "name" | "citext" => match std::str::from_utf8(value) {
            Ok(text) => format!("'{}'", text.chars().take(120).collect::<String>()),
            Err(_) => hex(),
        },
        "bool" => (value == [1]).to_string(),
        "jsonb" => match value.get(1..).map(std::str::from_utf8) {
            Some(Ok(text)) => format!("'{}'", text.chars().take(120).collect::<String>()),
            _ => hex(),
        },
        "uuid" if value.len() == 16 => {
            let h = hex();
            format!("'{}-{}-{}-{}-{}'", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
        }
        // An enum's label.
        _ if !value.is_empty() && value.iter().all(|b| b.is_ascii_graphic()) => {
            format!("'{}'", String::from_utf8_lossy(&value[..value.len().min(120)]))
        }
        _ => format!("\\x{}", hex()),
    }
}
