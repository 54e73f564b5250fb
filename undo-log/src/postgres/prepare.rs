//! What PREPARE in SQL prepares, and under which names.

use super::{
    analyze::{Class, Words, classify},
    lexer::tokens,
};
use crate::sql::Kind;

/// Does PREPARE in SQL prepare a read? No, where that is not sure.
pub fn prepares_read(sql: &[u8]) -> bool {
    [true, false].into_iter().all(|standard| {
        let Ok(all) = tokens(sql, standard) else { return false };
        let words = Words { sql, tokens: &all };
        // Behind the name and the types of the parameters.
        let body = all.iter().skip(2).find(|t| t.is_word(sql, "AS"));
        words.is(0, "PREPARE") && body.is_some_and(|word| classify(&sql[word.end..], standard) == Class::Read)
    })
}

/// The names that a text may prepare in SQL, whatever stands around them; None: it may be any name.
pub fn prepared_names(sql: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for standard in [true, false] {
        // What cannot be cut the server does not run.
        let all = tokens(sql, standard).unwrap_or_default();
        let words = Words { sql, tokens: &all };
        let kind = |at: usize| all.get(at).map(|token| token.kind);
        for at in 0..all.len() {
            if words.is(at, "PREPARE") && matches!(kind(at + 1), Some(Kind::Word | Kind::Quoted)) {
                names.push(words.name(at + 1)?);
            }
            if words.is(at, "DO") && (kind(at + 1) == Some(Kind::String) || words.is(at + 1, "LANGUAGE")) {
                return None;
            }
        }
    }
    Some(names)
}
