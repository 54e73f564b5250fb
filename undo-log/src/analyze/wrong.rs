//! Telling what may be no statement at all from what is only not understood.

use super::second_reader;
use crate::sql::{SqlMode, tokens};

/// May a statement that is not understood be none to the server either?
pub fn may_be_wrong(sql: &[u8], mode: SqlMode) -> bool {
    let (Ok(text), Ok(tokens)) = (std::str::from_utf8(sql), tokens(sql, mode)) else { return true };
    let Some(first) = tokens.first() else { return false };
    let verb = text[first.span()].to_ascii_uppercase();
    match verb.as_str() {
        _ if tokens.iter().any(|t| t.conditional) => false,
        "INSERT" | "UPDATE" | "DELETE" => second_reader::read(text, &tokens).is_err(),
        known => !STATEMENTS.contains(&known),
    }
}

/// How other statements begin.
const STATEMENTS: [&str; 65] = [
    "ALTER",
    "ANALYZE",
    "BACKUP",
    "BEGIN",
    "BINLOG",
    "CACHE",
    "CALL",
    "CASE",
    "CHANGE",
    "CHECK",
    "CHECKSUM",
    "CLONE",
    "COMMIT",
    "CREATE",
    "DEALLOCATE",
    "DECLARE",
    "DESC",
    "DESCRIBE",
    "DO",
    "DROP",
    "EXECUTE",
    "EXPLAIN",
    "FLUSH",
    "FOR",
    "GET",
    "GRANT",
    "HANDLER",
    "HELP",
    "IF",
    "IMPORT",
    "INSTALL",
    "KILL",
    "LOAD",
    "LOCK",
    "LOOP",
    "OPTIMIZE",
    "PREPARE",
    "PURGE",
    "RELEASE",
    "RENAME",
    "REPAIR",
    "REPEAT",
    "REPLACE",
    "RESET",
    "RESIGNAL",
    "RESTART",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "SHOW",
    "SHUTDOWN",
    "SIGNAL",
    "START",
    "STOP",
    "TABLE",
    "TRUNCATE",
    "UNINSTALL",
    "UNLOCK",
    "USE",
    "VALUES",
    "WHILE",
    "WITH",
    "XA",
];

#[cfg(test)]
mod tests {
    use super::may_be_wrong;
    use crate::sql::SqlMode;

    #[test]
    fn only_what_cannot_be_read_may_be_wrong() {
        for sql in
            ["SELEC 1", "SELECT 'open", "INSERT INTO t VALUES", "UPDATE t SET v = 1 WHERE id = 1 WHERE"]
        {
            assert!(may_be_wrong(sql.as_bytes(), SqlMode::default()), "{sql}");
        }
        for sql in [
            "DROP TABLE t",
            "CALL p()",
            "/*! SELECT 1 */",
            "INSERT IGNORE INTO t VALUES (1)",
            "",
            "GET DIAGNOSTICS @n = NUMBER",
        ] {
            assert!(!may_be_wrong(sql.as_bytes(), SqlMode::default()), "{sql}");
        }
    }
}
