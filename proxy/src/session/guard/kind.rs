//! What a statement outside global transactions means for the guard, by its first words.

use crate::{
    session::several::{ROUTINES, may_be_several},
    wire::scan::first_word,
};
use atone_undo_log::{
    analyze::{Class, Taken, classify, names_in, split, taken},
    sql::{Kind as TokenKind, SqlMode, Token, tokens},
};
use std::ops::Range;

/// What to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Passed on.
    Pass,
    /// A read, which may call something that writes.
    Read,
    /// INSERT, UPDATE or DELETE that may be captured.
    Write,
    /// It may write, and how is not known.
    Unread,
    /// It empties or reshapes tables, and commits what is open.
    Defines(Taken),
    /// It may commit what is open: checked before.
    Commits { chain: bool },
    /// ROLLBACK.
    Rollback,
    /// SAVEPOINT.
    Savepoint(String),
    /// ROLLBACK TO.
    RollbackTo(String),
    /// RELEASE SAVEPOINT.
    Release(String),
    /// LOCK TABLES.
    Lock,
    /// It ends LOCK TABLES, and commits what is open.
    Unlock,
    /// XA PREPARE, or XA COMMIT in one phase: of this transaction.
    XaCommits(String),
    /// XA ROLLBACK.
    XaRollback,
    /// XA END: nothing can be read behind it.
    XaEnd,
}

/// First words of texts that write nothing, alone, unless something they call does.
const READS: [&[u8]; 11] = [
    b"SELECT",
    b"SHOW",
    b"DESC",
    b"DESCRIBE",
    b"HELP",
    b"KILL",
    b"VALUES",
    b"TABLE",
    b"DO",
    b"PREPARE",
    b"DEALLOCATE",
];

/// First words of texts that concern only what is open, alone.
const QUIET: [&[u8]; 15] = [
    b"COMMIT",
    b"ROLLBACK",
    b"START",
    b"RELEASE",
    b"USE",
    b"CREATE",
    b"GRANT",
    b"REVOKE",
    b"OPTIMIZE",
    b"REPAIR",
    b"INSTALL",
    b"UNINSTALL",
    b"CHECK",
    b"CACHE",
    b"HANDLER",
];

/// First words of texts that may write rows in ways that are not captured.
const UNREAD: [&str; 19] = [
    "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "EXECUTE", "WITH", "BINLOG", "EXPLAIN", "DESC",
    "DESCRIBE", "BEGIN", "IF", "CASE", "LOOP", "WHILE", "FOR", "DECLARE",
];

/// How much of a look a text needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// None: it surely reads.
    None,
    /// Into what it calls.
    Calls,
    /// A thorough one.
    Full,
}

/// Does it begin as a read does?
pub(super) fn is_read(text: &[u8]) -> bool {
    READS.iter().any(|word| first_word(text).eq_ignore_ascii_case(word))
}

/// A cheap look. `open`: something was written before, or is known of savepoints or locked tables.
pub(super) fn look(text: &[u8], open: bool) -> Look {
    let word = first_word(text);
    let is = |words: &[&[u8]]| words.iter().any(|w| word.eq_ignore_ascii_case(w));
    if may_be_several(text) {
        return Look::Full;
    }
    if is_read(text) {
        return if text.contains(&b'(') { Look::Calls } else { Look::None };
    }
    let begins = word.eq_ignore_ascii_case(b"BEGIN") && text.len() < 12;
    // Most of what is created is new.
    let replaces = |w: &[u8]| [&b"OR"[..], b"UNIQUE"].iter().any(|word| w.eq_ignore_ascii_case(word));
    let may_replace = word.eq_ignore_ascii_case(b"CREATE")
        && text.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).take(3).any(replaces);
    if (is(&QUIET) || begins || text.trim_ascii().is_empty()) && !open && !may_replace {
        Look::None
    } else {
        Look::Full
    }
}

/// Does it define a routine, whose text may hold semicolons?
pub(in crate::session) fn defines_routine(text: &[u8], mode: SqlMode) -> bool {
    let first = split(text, mode).unwrap_or_default().first().cloned().unwrap_or_default();
    let text = &text[first];
    let all = tokens(text, mode).unwrap_or_default();
    let begins = all.first().is_some_and(|t| t.is_word(text, "CREATE") || t.is_word(text, "ALTER"));
    begins && ROUTINES.iter().any(|word| all.iter().any(|t| t.is_word(text, word)))
}

/// Is it one statement with nothing behind it but a semicolon?
pub(in crate::session) fn ends_plainly(text: &[u8], mode: SqlMode) -> bool {
    let parts = split(text, mode).unwrap_or_default();
    let [one] = parts.as_slice() else { return false };
    let end = &text[one.end..];
    end.iter().all(|b| *b == b';' || b.is_ascii_whitespace())
        && end.iter().filter(|b| **b == b';').count() <= 1
}

/// What one statement means.
pub(super) fn kind(text: &[u8], mode: SqlMode) -> Kind {
    match classify(text, mode) {
        Class::Empty | Class::Use | Class::Control(_) | Class::Autocommit(false) => Kind::Pass,
        Class::Read | Class::Set => Kind::Read,
        Class::Write => Kind::Write,
        Class::Begin => Kind::Unlock,
        Class::Commit(completion) => {
            Kind::Commits { chain: completion == atone_undo_log::analyze::Completion::Chain }
        }
        Class::Autocommit(true) => Kind::Commits { chain: false },
        Class::Rollback(_) => Kind::Rollback,
        Class::Savepoint(name) => Kind::Savepoint(name),
        Class::RollbackTo(name) => Kind::RollbackTo(name),
        Class::Release(name) => Kind::Release(name),
        Class::Unsupported(_) => unsupported(text, mode),
    }
}

fn unsupported(text: &[u8], mode: SqlMode) -> Kind {
    let Ok(all) = tokens(text, mode) else {
        // The server does not read it either, or reads it in a way that we do not.
        return Kind::Unread;
    };
    let word = |at: usize| all.get(at).map(|t| String::from_utf8_lossy(t.text(text)).to_ascii_uppercase());
    let trimmed = text.trim_ascii_end().len();
    let (first, second) = (word(0).unwrap_or_default(), word(1).unwrap_or_default());
    match first.as_str() {
        "XA" => xa(text, &all, &second),
        "LOCK" if second.starts_with("TABLE") => Kind::Lock,
        "FLUSH" if all.iter().any(|t| t.is_word(text, "LOCK") || t.is_word(text, "EXPORT")) => Kind::Lock,
        "UNLOCK" => Kind::Unlock,
        "SET" if second == "STATEMENT" => Kind::Unread,
        "ANALYZE" if !["TABLE", "LOCAL", "NO_WRITE_TO_BINLOG"].contains(&second.as_str()) => Kind::Unread,
        "CREATE" | "ALTER" | "DROP" | "RENAME" | "TRUNCATE"
            if !all.iter().any(|t| t.is_punct(text, b';') && t.end < trimmed) =>
        {
            taken(text, mode).map_or(Kind::Commits { chain: false }, Kind::Defines)
        }
        "CREATE" | "ALTER" | "DROP" => Kind::Commits { chain: false },
        // Several statements, or none that begins with a word.
        _ if all.iter().any(|t| t.is_punct(text, b';')) => Kind::Unread,
        "SELECT" | "SHOW" | "TABLE" | "VALUES" => Kind::Read,
        "ROLLBACK" | "SAVEPOINT" | "RELEASE" => Kind::Pass,
        _ if all.first().is_some_and(|t| t.kind != TokenKind::Word) => Kind::Unread,
        other if UNREAD.contains(&other) => Kind::Unread,
        _ => Kind::Commits { chain: false },
    }
}

fn xa(text: &[u8], all: &[atone_undo_log::sql::Token], second: &str) -> Kind {
    let mut end = all.len();
    while end > 0 && all[end - 1].is_punct(text, b';') {
        end -= 1;
    }
    let one_phase = end > 4 && all[end - 2].is_word(text, "ONE") && all[end - 1].is_word(text, "PHASE");
    let until = if one_phase { end - 2 } else { end };
    let name = || {
        let span = all.get(2)?.start..all.get(until.checked_sub(1)?)?.end;
        Some(String::from_utf8_lossy(text.get(span)?).into_owned())
    };
    match second {
        "PREPARE" => Kind::XaCommits(name().unwrap_or_default()),
        "COMMIT" if one_phase => Kind::XaCommits(name().unwrap_or_default()),
        "ROLLBACK" => Kind::XaRollback,
        "END" => Kind::XaEnd,
        _ => Kind::Pass,
    }
}

/// The name of a prepared statement, if it is surely compared as we do.
fn prepared_name(text: &[u8], token: &Token) -> Option<String> {
    let name = std::str::from_utf8(token.text(text)).ok().filter(|name| name.is_ascii())?.to_lowercase();
    match token.kind {
        TokenKind::Word => Some(name),
        TokenKind::Quoted => {
            let quote = &name[..1];
            Some(name[1..name.len() - 1].replace(&quote.repeat(2), quote))
        }
        _ => None,
    }
}

/// Does a text surely prepare nothing?
pub(super) fn prepares_nothing(text: &[u8], mode: SqlMode) -> bool {
    const PREPARE: &[u8] = b"PREPARE";
    if !text.windows(PREPARE.len()).any(|w| w.eq_ignore_ascii_case(PREPARE)) {
        return true;
    }
    let Ok(all) = tokens(text, mode) else { return false };
    let ends =
        ["DEALLOCATE", "DROP", "XA"].iter().any(|word| all.first().is_some_and(|t| t.is_word(text, word)));
    let one = !all.iter().rev().skip_while(|t| t.is_punct(text, b';')).any(|t| t.is_punct(text, b';'));
    ends && one || !all.iter().any(|t| t.is_word(text, "PREPARE"))
}

/// Which name PREPARE gives, and to what, if that is a plain string; None: it is not known what is prepared.
pub(super) fn prepares(text: &[u8], mode: SqlMode) -> Option<(String, Option<Range<usize>>)> {
    let mut all = tokens(text, mode).ok()?;
    while all.last().is_some_and(|t| t.is_punct(text, b';')) {
        all.pop();
    }
    let one = !all.iter().any(|t| t.is_punct(text, b';') || t.conditional);
    if !one || !all.first()?.is_word(text, "PREPARE") {
        return None;
    }
    let name = prepared_name(text, all.get(1)?)?;
    let what = all.get(3).filter(|t| t.kind == TokenKind::String && all[2].is_word(text, "FROM"));
    let inside = what.map(|t| t.start + 1..t.end - 1);
    Some((name, inside.filter(|span| !text[span.clone()].iter().any(|b| matches!(b, b'\\' | b'\'' | b'"')))))
}

/// Which name EXECUTE runs.
pub(in crate::session) fn executes(text: &[u8], mode: SqlMode) -> Option<String> {
    prepared_name(text, tokens(text, mode).ok()?.get(1)?)
}

/// Is it one read that calls nothing?
pub(super) fn only_reads(text: &[u8], mode: SqlMode) -> bool {
    kind(text, mode) == Kind::Read && !calls(text, mode)
}

/// Does a read call anything that is not surely the server's own?
pub(super) fn calls(text: &[u8], mode: SqlMode) -> bool {
    names_in(text, mode).is_none_or(|names| !names.called.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Kind {
        kind(sql.as_bytes(), SqlMode::default())
    }

    #[test]
    fn only_what_surely_reads_is_not_looked_at() {
        for sql in [
            "SELECT 1",
            " /* x */ select a from t;",
            "SHOW TABLES",
            "BEGIN",
            "commit;",
            "",
            "CREATE TABLE t (id INT)",
        ] {
            assert_eq!(look(sql.as_bytes(), false), Look::None, "{sql}");
        }
        assert_eq!(look(b"SELECT f(1)", false), Look::Calls);
        for sql in [
            "UPDATE t SET v = 1",
            "SELECT 1; DELETE FROM t",
            "/*! UPDATE t SET v = 1 */",
            "WITH a AS (SELECT 1) DELETE FROM t",
            "(SELECT 1)",
            "BEGIN NOT ATOMIC UPDATE t SET v = 1",
            "SET @x = 1",
            "ALTER TABLE t ADD a INT",
            "CREATE OR REPLACE TABLE t (id INT)",
            "EXPLAIN ANALYZE UPDATE t SET v = 1",
        ] {
            assert_eq!(look(sql.as_bytes(), false), Look::Full, "{sql}");
        }
        assert_eq!(look(b"COMMIT", true), Look::Full);
    }

    #[test]
    fn first_words_tell_what_a_statement_means() {
        let name = |name: &str| name.to_owned();
        for (sql, kind) in [
            ("UPDATE t SET v = 1", Kind::Write),
            ("REPLACE INTO t VALUES (1)", Kind::Unread),
            ("CALL p()", Kind::Unread),
            ("/*!50000 UPDATE t SET v = 1 */", Kind::Unread),
            ("/*!40000 ALTER TABLE t DISABLE KEYS */", Kind::Commits { chain: false }),
            ("SET STATEMENT max_statement_time = 1 FOR UPDATE t SET v = 1", Kind::Unread),
            ("ANALYZE UPDATE t SET v = 1", Kind::Unread),
            ("ANALYZE TABLE t", Kind::Commits { chain: false }),
            ("COMMIT AND CHAIN", Kind::Commits { chain: true }),
            ("START TRANSACTION", Kind::Unlock),
            ("DROP VIEW t", Kind::Commits { chain: false }),
            ("DROP TABLE t;", Kind::Defines(taken(b"DROP TABLE t", SqlMode::default()).unwrap())),
            ("LOCK TABLES t WRITE", Kind::Lock),
            ("FLUSH TABLES t FOR EXPORT", Kind::Lock),
            ("FLUSH STATUS", Kind::Commits { chain: false }),
            ("XA PREPARE 'a','b'", Kind::XaCommits(name("'a','b'"))),
            ("XA COMMIT 'a' ONE PHASE;", Kind::XaCommits(name("'a'"))),
            ("XA COMMIT 'a'", Kind::Pass),
            ("XA ROLLBACK 'a'", Kind::XaRollback),
            ("XA END 'a'", Kind::XaEnd),
            ("SELECT 1", Kind::Read),
            ("UPDATE t SET v = 'open", Kind::Unread),
        ] {
            assert_eq!(of(sql), kind, "{sql}");
        }
    }

    #[test]
    fn names_of_prepared_statements_are_the_servers() {
        let of = |sql: &str| {
            prepares(sql.as_bytes(), SqlMode::default()).map(|(name, what)| (name, what.is_some()))
        };
        assert_eq!(of("PREPARE `S` FROM 'SELECT 1'"), Some(("s".into(), true)));
        assert_eq!(of("-- c\nPREPARE s FROM 'SELECT 1';"), Some(("s".into(), true)));
        assert_eq!(of("prepare s from @a"), Some(("s".into(), false)));
        for sql in [
            "SELECT 1; PREPARE s FROM 'SELECT 1'",
            "PREPARE é FROM 'SELECT 1'",
            "PREPARE s FROM 'SELECT 1'; SELECT 2",
        ] {
            assert_eq!(of(sql), None, "{sql}");
            assert!(!prepares_nothing(sql.as_bytes(), SqlMode::default()), "{sql}");
        }
        for sql in ["SELECT 'PREPARE'", "DEALLOCATE PREPARE s", "XA PREPARE 'a'"] {
            assert!(prepares_nothing(sql.as_bytes(), SqlMode::default()), "{sql}");
        }
        assert_eq!(executes(b"EXECUTE `S` USING @a", SqlMode::default()).as_deref(), Some("s"));
    }

    #[test]
    fn what_defines_a_routine_is_not_cut() {
        let defines = |sql: &str| defines_routine(sql.as_bytes(), SqlMode::default());
        assert!(defines("CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.v = 1; END"));
        assert!(!defines("CREATE TABLE a (b INT); UPDATE t SET v = 1; -- end"));
    }
}
