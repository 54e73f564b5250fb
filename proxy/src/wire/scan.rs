//! Cheap looks at a statement's text, for sessions outside a global transaction: nothing here parses.

/// Does the text name us anywhere? Only then is it worth cutting into tokens.
pub fn mentions_atone(text: &[u8]) -> bool {
    text.windows(5).any(|w| (w[0] | 0x20) == b'a' && w.eq_ignore_ascii_case(b"atone"))
}

/// Does the text name our schema? Inside a string only together with our table, or where strings are prepared as
/// statements: `SELECT 'atone'` is nobody's business.
pub fn names_schema(text: &[u8]) -> bool {
    use atone_undo_log::sql::{Kind, SqlMode, tokens};
    let prepares = [&b"PREPARE"[..], b"EXECUTE"].iter().any(|w| first_word(text).eq_ignore_ascii_case(w));
    if prepares || text.windows(8).any(|w| w.eq_ignore_ascii_case(b"undo_log")) {
        return true;
    }
    let Ok(tokens) = tokens(text, SqlMode::default()) else { return true };
    tokens.iter().any(|t| {
        let word = t.text(text);
        let bare = word.strip_prefix(b"`").and_then(|w| w.strip_suffix(b"`")).unwrap_or(word);
        let quoted = word.strip_prefix(b"\"").and_then(|w| w.strip_suffix(b"\"")).unwrap_or(bare);
        matches!(t.kind, Kind::Word | Kind::Quoted | Kind::String) && quoted.eq_ignore_ascii_case(b"atone")
    })
}

/// What a statement may do to the session besides reading and writing rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Settings such as character sets may change.
    Settings,
    /// The default schema or sql_mode may change, and with them what a prepared text means.
    Reading,
    /// Settings may change, and temporary tables may come to be.
    TemporaryTables,
    /// All of it.
    Everything,
}

/// The effect of a text of one or more statements, by its first word.
pub fn effect(text: &[u8]) -> Effect {
    const QUIET: [&[u8]; 13] = [
        b"SELECT",
        b"INSERT",
        b"UPDATE",
        b"DELETE",
        b"REPLACE",
        b"COMMIT",
        b"ROLLBACK",
        b"BEGIN",
        b"START",
        b"SHOW",
        b"EXPLAIN",
        b"SAVEPOINT",
        b"RELEASE",
    ];
    let inner = text.strip_suffix(b";").unwrap_or(text);
    // Compound statements hold semicolons too, whatever the client may send.
    if inner.contains(&b';') {
        return Effect::Everything;
    }
    let word = first_word(text);
    if QUIET.iter().any(|q| word.eq_ignore_ascii_case(q)) {
        return Effect::None;
    }
    let is = |other: &[u8]| word.eq_ignore_ascii_case(other);
    if is(b"SET") && !text.windows(8).any(|w| w.eq_ignore_ascii_case(b"sql_mode")) {
        return Effect::Settings;
    }
    if is(b"SET") || is(b"USE") {
        return Effect::Reading;
    }
    // DROP may take the default schema away; EXECUTE and comments with a version may do anything.
    if is(b"") || is(b"EXECUTE") || is(b"DROP") { Effect::Everything } else { Effect::TemporaryTables }
}

/// The first word behind blanks and plain comments; empty when something else comes first.
pub fn first_word(text: &[u8]) -> &[u8] {
    let mut rest = text.trim_ascii_start();
    while let Some(inside) = rest.strip_prefix(b"/*") {
        if matches!(inside.first(), Some(b'!' | b'M')) {
            return b"";
        }
        let Some(end) = inside.windows(2).position(|w| w == b"*/") else { return b"" };
        rest = inside[end + 2..].trim_ascii_start();
    }
    let length = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    &rest[..length]
}

/// Does this statement, when it has succeeded, leave FOUND_ROWS() as it was? To MySQL an UPDATE finds rows.
pub fn keeps_found(text: &[u8], mariadb: bool) -> bool {
    const ENDS: [&[u8]; 8] =
        [b"BEGIN", b"START", b"COMMIT", b"ROLLBACK", b"SAVEPOINT", b"RELEASE", b"SET", b"USE"];
    const WRITES: [&[u8]; 4] = [b"INSERT", b"REPLACE", b"DELETE", b"UPDATE"];
    let word = first_word(text);
    let is = |other: &&[u8]| word.eq_ignore_ascii_case(other);
    if text.strip_suffix(b";").unwrap_or(text).contains(&b';') {
        return false;
    }
    let reads = || text.windows(6).any(|w| w.eq_ignore_ascii_case(b"SELECT"));
    let writes = WRITES.iter().any(is) && (mariadb || !is(&&b"UPDATE"[..]));
    ENDS.iter().any(is) || writes && !reads() || is(&&b"SHOW"[..]) && tells_diagnostics(text)
}

/// SHOW WARNINGS, SHOW ERRORS, or how many there are.
fn tells_diagnostics(text: &[u8]) -> bool {
    let at = text.windows(4).position(|w| w.eq_ignore_ascii_case(b"SHOW")).unwrap_or_default();
    let second = first_word(&text[at + 4..]);
    [&b"WARNINGS"[..], b"ERRORS", b"COUNT"].iter().any(|word| second.eq_ignore_ascii_case(word))
}
