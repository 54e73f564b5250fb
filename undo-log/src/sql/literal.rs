//! Writing names and values so that any `sql_mode` reads them back exactly.

use std::fmt::Write;

/// A name in back quotes.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `x'…'`: bytes, whatever they are.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + 3);
    text.push_str("x'");
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\'');
    text
}

/// A string of characters that no `sql_mode` treats specially, in single quotes; None when it holds others.
pub fn quoted(text: &str) -> Option<String> {
    let plain = |b: u8| (b' '..0x7f).contains(&b) && b != b'\'' && b != b'\\';
    text.bytes().all(plain).then(|| format!("'{text}'"))
}
