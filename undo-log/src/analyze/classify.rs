//! The kind of a statement, from its first words. Nothing here trusts a full parse: reads must pass whatever
//! they contain, and what is not surely a read or a write we understand is `Unsupported`.

use super::{
    Unsupported,
    control::{self, Control},
};
use crate::sql::{Kind, LexError, SqlMode, Token, tokens};
use std::ops::Range;

/// What one statement does, as far as transactions are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// Nothing but blanks and comments.
    Empty,
    /// Cannot write, unless a function it calls does (see [`super::calls`]).
    Read,
    /// INSERT, UPDATE or DELETE: [`super::analyze_write`] reads the rest.
    Write,
    /// BEGIN or START TRANSACTION: commits what is open.
    Begin,
    /// COMMIT.
    Commit(Completion),
    /// ROLLBACK of the whole local transaction.
    Rollback(Completion),
    /// SAVEPOINT name.
    Savepoint(String),
    /// ROLLBACK TO name.
    RollbackTo(String),
    /// RELEASE SAVEPOINT name.
    Release(String),
    /// SET, not touching autocommit; it may change how text is read.
    Set,
    /// SET autocommit = on or off; on commits what is open.
    Autocommit(bool),
    /// USE: another default schema.
    Use,
    /// One of Atone's own: answered by the proxy.
    Control(Control),
    /// May write in a way that is not captured; the sentence says what it is.
    Unsupported(Unsupported),
}

/// What follows the end of a local transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// Nothing.
    Plain,
    /// AND CHAIN: a new one begins.
    Chain,
    /// RELEASE: the session ends.
    Release,
}

/// Cuts a text of several statements at its semicolons; blanks at the ends are not part of a statement.
pub fn split(sql: &[u8], mode: SqlMode) -> Result<Vec<Range<usize>>, LexError> {
    let mut statements = Vec::new();
    let mut current: Option<Range<usize>> = None;
    for token in tokens(sql, mode)? {
        if token.is_punct(sql, b';') {
            statements.extend(current.take());
        } else {
            let start = current.map_or(token.start, |c| c.start);
            current = Some(start..token.end);
        }
    }
    statements.extend(current);
    Ok(statements)
}

/// Classifies one statement. `sql` may end in a semicolon; a second statement behind it is unsupported.
pub fn classify(sql: &[u8], mode: SqlMode) -> Class {
    match tokens(sql, mode) {
        Ok(tokens) => classify_tokens(sql, &tokens),
        Err(error) => unsupported(error.to_string()),
    }
}

fn unsupported(what: impl Into<String>) -> Class {
    Class::Unsupported(Unsupported::new(what))
}

fn classify_tokens(sql: &[u8], all: &[Token]) -> Class {
    let end = all.iter().rposition(|t| !t.is_punct(sql, b';')).map_or(0, |p| p + 1);
    let tokens = &all[..end];
    if tokens.iter().any(|t| t.is_punct(sql, b';')) {
        return unsupported("several statements in one");
    }
    if tokens.iter().any(|t| t.conditional) {
        return unsupported("a version comment (/*! … */)");
    }
    let tokens = unwrap_parentheses(sql, tokens);
    let words = Words { sql, tokens };
    let Some(first) = tokens.first() else { return Class::Empty };
    if first.kind != Kind::Word {
        return unsupported("a statement that does not begin with a word");
    }
    if let Some(control) = control::control(sql, tokens) {
        return control.map_or_else(Class::Unsupported, Class::Control);
    }
    let verb = String::from_utf8_lossy(first.text(sql)).to_ascii_uppercase();
    match verb.as_str() {
        "SELECT" | "TABLE" | "VALUES" => words.read(),
        "WITH" => words.with(),
        "SHOW" | "HELP" => Class::Read,
        "DESCRIBE" | "DESC" | "EXPLAIN" => words.explain(),
        "INSERT" | "UPDATE" | "DELETE" => Class::Write,
        "BEGIN" => words.begin(),
        "START" if words.is(1, "TRANSACTION") => words.start(),
        "COMMIT" => words.completion().map_or_else(Class::Unsupported, Class::Commit),
        "ROLLBACK" => words.rollback(),
        "SAVEPOINT" => words.savepoint(1, 2),
        "RELEASE" if words.is(1, "SAVEPOINT") => words.release(),
        "SET" => words.set(),
        "USE" => Class::Use,
        "PREPARE" | "DEALLOCATE" | "DO" | "KILL" => Class::Read,
        "REPLACE" => unsupported("REPLACE"),
        "CALL" => unsupported("CALL of a procedure"),
        "LOAD" => unsupported("LOAD DATA"),
        "EXECUTE" => {
            unsupported("EXECUTE of a statement prepared in SQL (prepare it with the driver instead)")
        }
        "XA" => unsupported("XA"),
        "LOCK" | "UNLOCK" => unsupported("LOCK TABLES, which commits the local transaction,"),
        "CREATE" | "ALTER" | "DROP" | "RENAME" | "TRUNCATE" | "GRANT" | "REVOKE" | "ANALYZE" | "OPTIMIZE"
        | "REPAIR" | "FLUSH" | "INSTALL" | "UNINSTALL" | "CHECK" | "CACHE" | "RESET" => {
            unsupported(format!("{verb}, which commits the local transaction and cannot be undone,"))
        }
        _ => unsupported(format!("a statement beginning with {}", verb.chars().take(32).collect::<String>())),
    }
}

/// `(SELECT …)` reads like `SELECT …`.
fn unwrap_parentheses<'t>(sql: &[u8], mut tokens: &'t [Token]) -> &'t [Token] {
    while tokens.first().is_some_and(|t| t.is_punct(sql, b'(')) {
        tokens = &tokens[1..];
    }
    tokens
}

struct Words<'a> {
    sql: &'a [u8],
    tokens: &'a [Token],
}

impl Words<'_> {
    fn is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|t| t.is_word(self.sql, word))
    }

    fn has(&self, word: &str) -> bool {
        self.tokens.iter().any(|t| t.is_word(self.sql, word))
    }

    /// The name at a position, unquoted and in lower case, as the server compares savepoints; only letters it surely
    /// compares as we do (to it, `e` and `é` are one name).
    fn name(&self, at: usize) -> Option<String> {
        let name = super::names::name(self.sql, self.tokens.get(at)?)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b' ' | b'-' | b'.');
        name.bytes().all(plain).then(|| name.to_ascii_lowercase())
    }

    fn read(&self) -> Class {
        let into_file = |(at, t): (usize, &Token)| {
            t.is_word(self.sql, "INTO") && (self.is(at + 1, "OUTFILE") || self.is(at + 1, "DUMPFILE"))
        };
        if self.tokens.iter().enumerate().any(into_file) {
            return unsupported("SELECT … INTO a file");
        }
        Class::Read
    }

    /// WITH … SELECT reads; WITH … UPDATE and DELETE are not captured.
    fn with(&self) -> Class {
        let mut depth = 0;
        for (at, token) in self.tokens.iter().enumerate() {
            match token.text(self.sql) {
                b"(" => depth += 1,
                b")" => depth -= 1,
                _ if depth == 0 && token.is_word(self.sql, "SELECT") => return self.read(),
                _ if depth == 0
                    && at > 0
                    && ["UPDATE", "DELETE", "INSERT", "REPLACE"].iter().any(|w| self.is(at, w)) =>
                {
                    return unsupported("a write that begins with WITH");
                }
                _ => {}
            }
        }
        // WITH … (SELECT …) keeps its verb in parentheses.
        if ["UPDATE", "DELETE", "INSERT", "REPLACE"].iter().any(|w| self.has(w)) {
            return unsupported("a WITH whose verb is not plain");
        }
        self.read()
    }

    fn explain(&self) -> Class {
        let write = ["UPDATE", "DELETE", "INSERT", "REPLACE"].iter().any(|w| self.has(w));
        if self.has("ANALYZE") && write { unsupported("EXPLAIN ANALYZE of a write") } else { Class::Read }
    }

    fn begin(&self) -> Class {
        match self.tokens.len() {
            1 => Class::Begin,
            2 if self.is(1, "WORK") => Class::Begin,
            _ => unsupported("BEGIN with more behind it"),
        }
    }

    /// `START TRANSACTION [WITH CONSISTENT SNAPSHOT | READ WRITE | READ ONLY] [, …]`
    fn start(&self) -> Class {
        let known = ["WITH", "CONSISTENT", "SNAPSHOT", "READ", "WRITE", "ONLY"];
        let plain = |t: &Token| t.is_punct(self.sql, b',') || known.iter().any(|w| t.is_word(self.sql, w));
        if self.tokens[2..].iter().all(plain) {
            Class::Begin
        } else {
            unsupported("START TRANSACTION with unknown words behind it")
        }
    }

    /// `[WORK] [AND [NO] CHAIN] [[NO] RELEASE]` behind COMMIT or ROLLBACK.
    fn completion(&self) -> Result<Completion, Unsupported> {
        let mut rest: Vec<String> = self.tokens[1..]
            .iter()
            .map(|t| String::from_utf8_lossy(t.text(self.sql)).to_ascii_uppercase())
            .collect();
        if rest.first().is_some_and(|w| w == "WORK") {
            rest.remove(0);
        }
        match rest.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] | ["AND", "NO", "CHAIN"] | ["NO", "RELEASE"] | ["AND", "NO", "CHAIN", "NO", "RELEASE"] => {
                Ok(Completion::Plain)
            }
            ["AND", "CHAIN"] | ["AND", "CHAIN", "NO", "RELEASE"] => Ok(Completion::Chain),
            ["RELEASE"] | ["AND", "NO", "CHAIN", "RELEASE"] => Ok(Completion::Release),
            _ => Err(Unsupported::new("COMMIT or ROLLBACK with unknown words behind it")),
        }
    }

    fn rollback(&self) -> Class {
        let to = usize::from(self.is(1, "WORK")) + 1;
        if self.is(to, "TO") {
            let at = to + 1 + usize::from(self.is(to + 1, "SAVEPOINT") && self.tokens.len() > to + 2);
            return match self.name(at) {
                Some(name) if self.tokens.len() == at + 1 => Class::RollbackTo(name),
                _ => unsupported("ROLLBACK TO without a plain name"),
            };
        }
        self.completion().map_or_else(Class::Unsupported, Class::Rollback)
    }

    fn savepoint(&self, at: usize, length: usize) -> Class {
        match self.name(at) {
            Some(name) if self.tokens.len() == length => Class::Savepoint(name),
            _ => unsupported("SAVEPOINT without a plain name"),
        }
    }

    fn release(&self) -> Class {
        match self.name(2) {
            Some(name) if self.tokens.len() == 3 => Class::Release(name),
            _ => unsupported("RELEASE SAVEPOINT without a plain name"),
        }
    }

    fn set(&self) -> Class {
        for word in ["PASSWORD", "STATEMENT", "DEFAULT"] {
            // SET STATEMENT … FOR runs a statement (MariaDB); the others commit the local transaction.
            if self.is(1, word) {
                return unsupported(format!("SET {word}"));
            }
        }
        if let Some(scope) = (1..self.tokens.len()).find_map(|at| self.servers_own(at)) {
            return unsupported(format!(
                "SET {scope}, which changes the server for everybody and cannot be undone,"
            ));
        }
        let touches = |t: &Token| {
            let text = String::from_utf8_lossy(t.text(self.sql)).to_ascii_lowercase();
            let text = text.trim_start_matches('@').replace(['`', '"'], "");
            matches!(t.kind, Kind::Word | Kind::Quoted | Kind::Variable)
                && text.rsplit('.').next().is_some_and(|name| name == "autocommit")
        };
        let Some(at) = self.tokens.iter().position(touches) else { return Class::Set };
        // Only SET [SESSION] autocommit = value, alone, is understood; `:=` has two signs.
        let rest: Vec<&[u8]> = self.tokens[at + 1..].iter().map(|t| t.text(self.sql)).collect();
        let value = match rest.as_slice() {
            [b"=", value] | [b":", b"=", value] => value.to_ascii_uppercase(),
            _ => return unsupported("SET of autocommit together with something else"),
        };
        let scope = &self.tokens[1..at];
        if !(scope.is_empty() || (scope.len() == 1 && (self.is(1, "SESSION") || self.is(1, "LOCAL")))) {
            return unsupported("SET of autocommit together with something else");
        }
        match value.as_slice() {
            b"1" | b"ON" | b"TRUE" | b"'ON'" | b"'1'" | b"DEFAULT" => Class::Autocommit(true),
            b"0" | b"OFF" | b"FALSE" | b"'OFF'" => Class::Autocommit(false),
            _ => unsupported("SET autocommit to an expression"),
        }
    }

    /// The scope of what is assigned here, behind SET or a comma, if it is a setting of the server and not the session's.
    fn servers_own(&self, at: usize) -> Option<&'static str> {
        if at > 1 && !self.tokens[at - 1].is_punct(self.sql, b',') {
            return None;
        }
        let text = String::from_utf8_lossy(self.tokens[at].text(self.sql)).to_ascii_uppercase();
        let text = text.strip_prefix("@@").unwrap_or(&text).replace(['`', '"'], "");
        let scope = text.split('.').next()?;
        ["GLOBAL", "PERSIST", "PERSIST_ONLY"].into_iter().find(|known| *known == scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(sql: &str) -> Class {
        classify(sql.as_bytes(), SqlMode::default())
    }

    #[test]
    fn reads_pass_whatever_they_contain() {
        for sql in [
            "SELECT 1;",
            "select j.n FROM docs, JSON_TABLE(docs.doc,'$.p[*]' COLUMNS(n VARCHAR(9) PATH '$.n')) j",
            "(SELECT 1) UNION (SELECT 2)",
            "WITH RECURSIVE x AS (SELECT 1 FROM a WHERE b IN (SELECT 2)) SELECT * FROM x FOR UPDATE",
            "/* hint */ SELECT a FROM t LOCK IN SHARE MODE",
            "SHOW WARNINGS",
            "EXPLAIN UPDATE t SET a=1",
            "DESC t",
            "EXPLAIN ANALYZE SELECT 1",
        ] {
            assert_eq!(class(sql), Class::Read, "{sql}");
        }
    }

    #[test]
    fn transaction_control_is_read_exactly() {
        use Completion::{Chain, Plain, Release};
        for (sql, expected) in [
            ("begin", Class::Begin),
            ("START TRANSACTION READ ONLY", Class::Begin),
            ("COMMIT", Class::Commit(Plain)),
            ("commit work and chain", Class::Commit(Chain)),
            ("ROLLBACK RELEASE;", Class::Rollback(Release)),
            ("ROLLBACK TO `A b`", Class::RollbackTo("a b".into())),
            ("rollback work to savepoint S1", Class::RollbackTo("s1".into())),
            ("ROLLBACK TO savepoint", Class::RollbackTo("savepoint".into())),
            ("SAVEPOINT s", Class::Savepoint("s".into())),
            ("RELEASE SAVEPOINT s", Class::Release("s".into())),
            ("SET autocommit=1", Class::Autocommit(true)),
            ("SET SESSION AUTOCOMMIT = OFF", Class::Autocommit(false)),
            ("set @@autocommit := 0", Class::Autocommit(false)),
            ("SET @@session.autocommit = on", Class::Autocommit(true)),
            ("SET NAMES utf8mb4", Class::Set),
            ("SET @global = 1, @a = @@GLOBAL.max_connections", Class::Set),
            ("SET character_set_client = @@global.character_set_client", Class::Set),
            ("  -- nothing\n", Class::Empty),
        ] {
            assert_eq!(class(sql), expected, "{sql}");
        }
    }

    #[test]
    fn what_may_write_uncaptured_is_unsupported() {
        for sql in [
            "REPLACE INTO t VALUES (1)",
            "CALL p()",
            "WITH x AS (SELECT 1) UPDATE t SET a=1",
            "WITH x AS (SELECT 1) (DELETE FROM t)",
            "ANALYZE UPDATE t SET a=1",
            "EXPLAIN ANALYZE DELETE FROM t",
            "SELECT 1 INTO OUTFILE '/x'",
            "DROP TABLE t",
            "TRUNCATE t",
            "/*!50000 UPDATE t SET a=1 */",
            "SELECT 1; UPDATE t SET a=1",
            "SET autocommit = 1, sql_mode = ''",
            "SET sql_mode = '', autocommit = @x",
            "COMMIT PREPARED",
            "SET PASSWORD = 'x'",
            "SET GLOBAL max_connections = 1",
            "set @a = 1, @@`global`.max_connections = 1",
            "SET PERSIST max_connections = 1",
            "SET sql_mode = '', @@persist_only . max_connections = 1",
            "START TRANSACTION foo",
            "SAVEPOINT é",
            "SET DEFAULT ROLE a TO b",
            "SET STATEMENT max_statement_time=1 FOR UPDATE t SET a=1",
            "BEGIN NOT ATOMIC UPDATE t SET a=1; END",
            "START SLAVE",
            "EXECUTE IMMEDIATE 'UPDATE t SET a=1'",
            "XA START 'x'",
            "LOCK TABLES t WRITE",
            "HANDLER t OPEN",
            "'x'",
        ] {
            assert!(matches!(class(sql), Class::Unsupported(_)), "{sql}: {:?}", class(sql));
        }
    }

    #[test]
    fn autocommit_is_seen_in_any_quotes() {
        let ansi = SqlMode { ansi_quotes: true, no_backslash_escapes: false };
        for sql in ["SET \"autocommit\"=1", "SET @@\"autocommit\" = 1", "SET `autocommit` = 1"] {
            assert_eq!(classify(sql.as_bytes(), ansi), Class::Autocommit(true), "{sql}");
        }
    }

    #[test]
    fn splitting_keeps_semicolons_in_strings() {
        let sql = b" a 'x;y' ;; b -- ;\n ; ";
        let parts: Vec<_> = split(sql, SqlMode::default())
            .unwrap()
            .into_iter()
            .map(|r| String::from_utf8_lossy(&sql[r]).into_owned())
            .collect();
        assert_eq!(parts, ["a 'x;y'", "b"]);
    }
}
