//! What a text outside global transactions may do, from its first words and a cheap look at the rest: those that surely only
//! read are relayed without another look.

use crate::wire::scan::first_word;
use atone_undo_log::postgres::{Class, Counted, classify};

/// First words of texts that write no rows, alone.
const READS: [&[u8]; 24] = [
    b"SELECT",
    b"SHOW",
    b"VALUES",
    b"TABLE",
    b"BEGIN",
    b"START",
    b"COMMIT",
    b"END",
    b"ROLLBACK",
    b"ABORT",
    b"SAVEPOINT",
    b"RELEASE",
    b"SET",
    b"RESET",
    b"FETCH",
    b"MOVE",
    b"CLOSE",
    b"DEALLOCATE",
    b"LISTEN",
    b"UNLISTEN",
    b"NOTIFY",
    b"DISCARD",
    b"VACUUM",
    b"CHECKPOINT",
];

/// First words of texts of which the counts tell what they wrote, where our reading does not.
const WRITES: [&str; 8] = ["WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "SELECT", "EXPLAIN", "DECLARE"];

/// May a text that is only relayed write rows? Yes, where its first word does not say no.
pub(super) fn may_write(text: &[u8]) -> bool {
    let word = first_word(text);
    if !READS.iter().any(|read| word.eq_ignore_ascii_case(read)) {
        return !text.trim_ascii().is_empty();
    }
    let end = text.iter().rposition(|b| !b.is_ascii_whitespace() && *b != b';').map_or(0, |at| at + 1);
    text[..end].contains(&b';') || may_lock(text) || may_call(text)
}

/// Calls of functions that are not surely the server's own: the counts tell whether they write.
fn may_call(text: &[u8]) -> bool {
    text.contains(&b'(') && classify(text, true) == Class::Counted(Counted::Plain)
}

/// Does a text begin or end a block? Within a pipeline nothing else says so before its Sync.
pub(super) fn moves_block(text: &[u8]) -> bool {
    let words = [&b"BEGIN"[..], b"START", b"COMMIT", b"END", b"ROLLBACK", b"ABORT"];
    words.iter().any(|word| first_word(text).eq_ignore_ascii_case(word))
}

/// FOR, and what may follow it where rows are locked.
fn may_lock(text: &[u8]) -> bool {
    let follows = |rest: &[u8]| {
        let rest = rest.trim_ascii_start();
        let words = [&b"UPDATE"[..], b"SHARE", b"NO", b"KEY", b"/*", b"--"];
        words.iter().any(|word| rest.get(..word.len()).is_some_and(|r| r.eq_ignore_ascii_case(word)))
    };
    let mut windows = text.windows(3).enumerate();
    windows.any(|(at, word)| word.eq_ignore_ascii_case(b"FOR") && follows(&text[at + 3..]))
}

/// A text that our reading does not understand: do the counts tell what it wrote?
pub(super) fn counts(text: &str) -> bool {
    let word = String::from_utf8_lossy(first_word(text.as_bytes())).to_ascii_uppercase();
    WRITES.contains(&word.as_str())
}

/// PREPARE TRANSACTION, the only PREPARE that is not understood. A transaction that is prepared keeps its row locks.
pub(super) fn prepares_transaction(text: &str) -> bool {
    first_word(text.as_bytes()).eq_ignore_ascii_case(b"PREPARE")
}

/// May a text (behind the name of a Parse, or alone) that is only relayed change what names mean?
pub(super) fn changes_names(body: &[u8]) -> bool {
    let words = [&b"SET"[..], b"RESET", b"DISCARD", b"CREATE", b"ALTER", b"DROP", b"GRANT", b"REVOKE"];
    let by_word = |text: &[u8]| words.iter().any(|word| first_word(text).eq_ignore_ascii_case(word));
    body.splitn(3, |b| *b == 0).any(by_word)
        || body.windows(10).any(|w| w.eq_ignore_ascii_case(b"set_config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_reads_is_not_looked_at() {
        assert!(
            may_write(b"SELECT * FROM t\nfor\n update") && !may_write(b"SELECT substring(a FOR 3), 'for'")
        );
        assert!(may_write(b"SELECT f(1)") && !may_write(b"SELECT count(*) FROM t WHERE v IN (1)"));
        for text in ["SELECT 1", " /* x */ select 1 ;  ", "BEGIN", "", "  ", "commit;", "SHOW a"] {
            assert!(!may_write(text.as_bytes()), "{text}");
        }
        for text in [
            "UPDATE t SET v = 1",
            "SELECT 1; DELETE FROM t",
            "WITH a AS (DELETE FROM t) SELECT 1",
            "(SELECT 1)",
            "EXPLAIN ANALYZE DELETE FROM t",
            "COPY t FROM STDIN",
            "CALL f()",
        ] {
            assert!(may_write(text.as_bytes()), "{text}");
        }
    }
}
