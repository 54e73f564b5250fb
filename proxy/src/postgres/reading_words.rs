//! What the words of a statement say about checked reads (`checked`): does it give rows of tables, may it be done twice, does it
//! name the setting?

use super::{checked::SETTING, statements::Prepared};
use crate::isolation;
use atone_undo_log::postgres::{Class, Counted, tokens};

/// Does a message's text name the setting?
pub(super) fn names_setting(body: &[u8]) -> bool {
    crate::wire::scan::mentions_atone(body) && body.windows(9).any(|w| w.eq_ignore_ascii_case(b"isolation"))
}

/// Does it begin a block?
pub(super) fn begins_block(text: &[u8]) -> bool {
    let word = crate::wire::scan::first_word(text);
    word.eq_ignore_ascii_case(b"BEGIN") || word.eq_ignore_ascii_case(b"START")
}

/// A value that `SET atone.isolation = '…'` may not have.
pub(super) fn wrong_value(text: &[u8]) -> Option<String> {
    let all = tokens(text, true).ok()?;
    let word = |at: usize, word: &str| all.get(at).is_some_and(|t| t.is_word(text, word));
    let at = 1 + usize::from(word(1, "LOCAL") || word(1, "SESSION"));
    if !(word(0, "SET") && word(at, "atone") && word(at + 2, "isolation")) {
        return None;
    }
    let value = std::str::from_utf8(all.get(at + 4)?.text(text)).ok()?;
    if word(at + 4, "DEFAULT") {
        return None;
    }
    isolation::read(SETTING, Some(value.trim_matches('\''))).err()
}

/// Does it only read, as far as its words tell, and give rows of tables?
pub(super) fn gives_rows(prepared: &Prepared) -> bool {
    match prepared.class() {
        Class::Read | Class::Counted(Counted::Plain) | Class::Locking(None) | Class::Unsupported(_) => {}
        Class::Counted(Counted::Execute(_)) => return true,
        Class::Empty
        | Class::Locking(Some(_))
        | Class::Session
        | Class::Write(_)
        | Class::Counted(_)
        | Class::Begin
        | Class::Commit { .. }
        | Class::Rollback { .. }
        | Class::Savepoint(_)
        | Class::RollbackTo(_)
        | Class::Release(_)
        | Class::DiscardAll
        | Class::ResetAll
        | Class::Control(_) => return false,
    }
    let text = prepared.text.as_bytes();
    let Ok(all) = tokens(text, true) else { return true };
    let first = all.iter().find(|t| !t.is_punct(text, b'('));
    let first = first.map_or(&b""[..], |t| t.text(text)).to_ascii_uppercase();
    let says = |words: &[&str]| all.iter().any(|t| words.iter().any(|word| t.is_word(text, word)));
    let writes = || says(&["INSERT", "UPDATE", "DELETE", "MERGE"]);
    match first.as_slice() {
        b"SELECT" | b"VALUES" | b"TABLE" | b"FETCH" | b"COPY" => true,
        b"WITH" => *prepared.class() == Class::Read || !writes(),
        b"EXPLAIN" => says(&["ANALYZE", "ANALYSE"]) && !writes(),
        _ => false,
    }
}

/// Is it surely the same when it is done twice, as long as it writes nothing?
pub(super) fn repeats(prepared: &Prepared) -> bool {
    let text = prepared.text.to_ascii_lowercase();
    !["advisory", "nextval", "setval", "set_config"].iter().any(|word| text.contains(word))
}

/// Does it give rows of a cursor?
pub(super) fn is_fetch(prepared: &Prepared) -> bool {
    let text = prepared.text.as_bytes();
    tokens(text, true).is_ok_and(|all| all.first().is_some_and(|t| t.is_word(text, "FETCH")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str) -> Prepared {
        Prepared::new(text.to_owned(), Vec::new(), false)
    }

    #[test]
    fn what_gives_rows_is_checked_and_writes_are_not() {
        for text in [
            "SELECT 1",
            "-- x\n(SELECT v FROM t)",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "WITH a AS (SELECT 1) (SELECT * FROM a)",
            "TABLE t",
            "VALUES (1)",
            "SELECT f(1) FROM t",
            "EXPLAIN ANALYZE SELECT * FROM t",
            "COPY (SELECT 1) TO STDOUT",
            "EXECUTE a",
            "FETCH ALL FROM c",
            "SELECT * FROM (SELECT 1) a FOR UPDATE",
        ] {
            assert!(gives_rows(&prepared(text)), "{text}");
        }
        for text in [
            "UPDATE t SET v = 1 RETURNING v",
            "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
            "EXPLAIN SELECT 1",
            "COPY t FROM STDIN",
            "SHOW atone.isolation",
            "DECLARE c CURSOR FOR SELECT 1",
            "CALL f()",
            "BEGIN",
            "CREATE TABLE t AS SELECT 1",
        ] {
            assert!(!gives_rows(&prepared(text)), "{text}");
        }
    }

    #[test]
    fn a_value_that_is_none_is_told_from_the_statement() {
        for text in ["SET atone.isolation = 'x'", "set local ATONE.Isolation to serializable"] {
            assert!(
                wrong_value(text.as_bytes()).is_some_and(|why| why.contains("read_uncommitted")),
                "{text}"
            );
        }
        for text in [
            "SET atone.isolation = 'read_committed'",
            "SET SESSION atone.isolation TO read_uncommitted",
            "SET atone.isolation TO DEFAULT",
            "RESET atone.isolation",
            "SHOW atone.isolation",
            "SELECT set_config('atone.isolation', 'x', false)",
        ] {
            assert_eq!(wrong_value(text.as_bytes()), None, "{text}");
        }
    }
}
