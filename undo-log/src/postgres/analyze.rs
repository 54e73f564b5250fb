//! What does a statement do? From its first words; for a write, where its RETURNING clause goes.
//!
//! Nothing is guessed about rows or tables here: the server says which table was meant, and its own counters of changed
//! rows say whether anything else was.

use super::lexer::tokens;
use super::locking::{Locking, Locks};
use super::table::quote;
use crate::{
    analyze::{Control, Unsupported},
    sql::{Kind, Token},
};
use std::ops::Range;

/// What one statement does, as far as transactions are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// Nothing but blanks and comments.
    Empty,
    /// Reads; if a function writes all the same, the server's counters tell.
    Read,
    /// Reads, and locks the rows it returns; None: which rows these are is not sure.
    Locking(Option<Locking>),
    /// Changes settings, cursors or names of the session, and takes no snapshot.
    Session,
    /// INSERT, UPDATE or DELETE.
    Write(Write),
    /// Writes where its words do not tell: the server's counts of changed rows say in which tables, and there the rows are
    /// looked for at the end of the local transaction.
    Counted(Counted),
    /// BEGIN or START TRANSACTION.
    Begin,
    /// COMMIT or END; with AND CHAIN a new local transaction begins.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK or ABORT of the whole local transaction.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SAVEPOINT.
    Savepoint(String),
    /// ROLLBACK TO.
    RollbackTo(String),
    /// RELEASE.
    Release(String),
    /// DISCARD ALL: the session is as new.
    DiscardAll,
    /// RESET ALL, with which pools give a session back.
    ResetAll,
    /// One of Atone's own.
    Control(Control),
    /// May change what cannot be undone; the sentence says what it is.
    Unsupported(Unsupported),
}

/// Writes of which only the counts tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// MERGE, writes within WITH, EXPLAIN ANALYZE of a write, writes of unusual form, and reads that call a function that may
    /// write.
    Plain,
    /// COPY: the client sends rows.
    Copy,
    /// CALL and DO: they may end the local transaction by themselves, unless it was begun with BEGIN.
    Procedure,
    /// EXECUTE of the statement of this name.
    Execute(String),
}

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
}

/// A write and the places in its text that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What it does.
    pub verb: Verb,
    /// The table as written.
    pub table: Range<usize>,
    /// What its columns are qualified by: the alias, or the table's own name, as written.
    pub reference: Range<usize>,
    /// Columns assigned by name, folded as the server folds them.
    pub assigned: Vec<String>,
    /// It has a RETURNING clause already.
    pub returning: bool,
    /// Where the statement ends, blanks and semicolons aside.
    pub end: usize,
    /// The keyword VALUES stands at its top: it inserts a known number of rows. Only for messages.
    pub values: bool,
    /// It calls functions that may write.
    pub calls: bool,
}

impl Write {
    /// The statement with four more columns: the table meant, the table (or partition) of the row, the row, and how it was
    /// before the statement: NULL if it was not there, empty if that is not told. `tells_old` from PostgreSQL 18 on, where
    /// rows may be updated; a RETURNING of the client's stays where it is, since positions in errors count from the beginning.
    /// Of the rows only these columns, if they are given.
    pub fn with_returning(&self, sql: &str, tells_old: bool, columns: Option<&[String]>) -> String {
        let name = &sql[self.table.clone()];
        let row = &sql[self.reference.clone()];
        let before = sent("\"atone old\"", columns);
        let (clause, old) = match (self.returning, tells_old && !self.assigned.is_empty()) {
            (true, _) => (",", "''"),
            (false, false) => (" RETURNING", "''"),
            (false, true) => (" RETURNING WITH (OLD AS \"atone old\")", before.as_str()),
        };
        format!(
            "{}{clause} $atone$ {name} $atone$::pg_catalog.regclass::pg_catalog.oid::pg_catalog.text, \
             {row}.tableoid::pg_catalog.text, {}, {old}",
            &sql[..self.end],
            sent(row, columns),
        )
    }
}

/// A row in binary form, whole or only these columns of it.
pub(super) fn sent(row: &str, columns: Option<&[String]>) -> String {
    let what = match columns {
        None => format!("{row}.*"),
        Some(columns) => {
            let names: Vec<String> = columns.iter().map(|name| format!("{row}.{}", quote(name))).collect();
            format!("ROW({})", names.join(", "))
        }
    };
    format!("pg_catalog.encode(pg_catalog.record_send({what}), 'hex')")
}

/// The same where it is not sure how plain strings are read: both readings must agree.
pub fn classify_either_way(sql: &[u8]) -> Class {
    let class = classify(sql, true);
    if sql.contains(&b'\\') && class != classify(sql, false) {
        return unsupported("a statement that means another thing when standard_conforming_strings changes");
    }
    class
}

/// Cuts a text of several statements at its semicolons.
pub fn split(sql: &[u8], standard: bool) -> Result<Vec<Range<usize>>, Unsupported> {
    let all = tokens(sql, standard).map_err(Unsupported::new)?;
    let mut statements = Vec::new();
    let mut current: Option<Range<usize>> = None;
    let mut depth = 0_i32;
    // The body of a function in standard form (BEGIN ATOMIC … END) holds semicolons; such a text is one statement.
    let atomic = all.windows(2).any(|w| w[0].is_word(sql, "BEGIN") && w[1].is_word(sql, "ATOMIC"));
    for token in all {
        match token.text(sql) {
            b"(" => depth += 1,
            b")" => depth -= 1,
            _ => {}
        }
        if token.is_punct(sql, b';') && depth <= 0 && !atomic {
            statements.extend(current.take());
        } else {
            let start = current.map_or(token.start, |c| c.start);
            current = Some(start..token.end);
        }
    }
    statements.extend(current);
    Ok(statements)
}

const COUNTED: Class = Class::Counted(Counted::Plain);

fn unsupported(what: impl Into<String>) -> Class {
    Class::Unsupported(Unsupported::new(what))
}

/// Classifies one statement; a second one behind a semicolon is unsupported.
pub fn classify(sql: &[u8], standard: bool) -> Class {
    match tokens(sql, standard) {
        Err(what) => unsupported(what),
        Ok(all) => {
            let end = all.iter().rposition(|t| !t.is_punct(sql, b';')).map_or(0, |p| p + 1);
            Words { sql, tokens: &all[..end] }.classify()
        }
    }
}

/// A statement, token by token.
pub(super) struct Words<'a> {
    pub sql: &'a [u8],
    pub tokens: &'a [Token],
}

impl Words<'_> {
    pub fn is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|t| t.is_word(self.sql, word))
    }

    pub fn is_punct(&self, at: usize, sign: u8) -> bool {
        self.tokens.get(at).is_some_and(|t| t.is_punct(self.sql, sign))
    }

    fn has(&self, word: &str) -> bool {
        self.tokens.iter().any(|t| t.is_word(self.sql, word))
    }

    /// A name as the server folds it.
    pub fn name(&self, at: usize) -> Option<String> {
        let token = self.tokens.get(at)?;
        let text = std::str::from_utf8(token.text(self.sql)).ok()?;
        match token.kind {
            Kind::Word => Some(text.to_ascii_lowercase()),
            Kind::Quoted if text.starts_with('"') => Some(text.get(1..text.len() - 1)?.replace("\"\"", "\"")),
            Kind::Quoted | Kind::String | Kind::Number | Kind::Param | Kind::Variable | Kind::Punct => None,
        }
    }

    fn classify(&self) -> Class {
        if self.tokens.iter().any(|t| t.is_punct(self.sql, b';')) {
            return unsupported("several statements in one");
        }
        let Some(mut first) = self.tokens.iter().position(|t| !t.is_punct(self.sql, b'(')) else {
            return Class::Empty;
        };
        let notifies =
            |at: usize| self.name(at).is_some_and(|n| n == "pg_notify") && self.is_punct(at + 1, b'(');
        if (0..self.tokens.len()).any(notifies) {
            return unsupported("pg_notify()");
        }
        if let Some(control) = self.control() {
            return control.map_or_else(Class::Unsupported, Class::Control);
        }
        if self.is(0, "WITH") {
            let Some(main) = self.main_verb() else { return unsupported("a WITH whose verb is not plain") };
            first = main;
        }
        let verb = String::from_utf8_lossy(self.tokens[first].text(self.sql)).to_ascii_uppercase();
        match verb.as_str() {
            "SELECT" | "TABLE" | "VALUES" => match (self.read(), self.locks()) {
                (Class::Read, Locks::Of(mut locking)) => {
                    locking.calls = self.counted_if_it_may_call(Class::Read) != Class::Read;
                    Class::Locking(Some(locking))
                }
                (Class::Read, Locks::Unclear) => Class::Locking(None),
                (class, _) => self.counted_if_it_may_call(class),
            },
            "SHOW" | "FETCH" | "MOVE" | "CLOSE" => Class::Read,
            // Its query is run, with all that its functions write, while the transaction commits.
            "DECLARE" if self.has("HOLD") && !self.has("WITHOUT") => unsupported("DECLARE … WITH HOLD"),
            "DECLARE" => self.counted_if_it_may_call(self.read()),
            "EXPLAIN" => self.explain(),
            "COPY" => self.copy(),
            "INSERT" | "UPDATE" | "DELETE" => self.write(first).map_or(COUNTED, Class::Write),
            "MERGE" => COUNTED,
            "CALL" | "DO" => Class::Counted(Counted::Procedure),
            "EXECUTE" => self.name(1).map_or_else(
                || unsupported("EXECUTE of no name"),
                |name| Class::Counted(Counted::Execute(name)),
            ),
            "BEGIN" => Class::Begin,
            "START" if self.is(1, "TRANSACTION") => Class::Begin,
            "COMMIT" | "END" if self.is(1, "PREPARED") => unsupported("COMMIT PREPARED"),
            "COMMIT" | "END" => Class::Commit { chain: self.chains() },
            "ROLLBACK" | "ABORT" => self.rollback(),
            "SAVEPOINT" => self.name(1).map_or_else(|| unsupported("SAVEPOINT of no name"), Class::Savepoint),
            "RELEASE" => self
                .name(1 + usize::from(self.is(1, "SAVEPOINT")))
                .map_or_else(|| unsupported("RELEASE of no name"), Class::Release),
            "RESET" if self.is(1, "ALL") => Class::ResetAll,
            "SET" | "RESET" | "DEALLOCATE" | "UNLISTEN" | "LISTEN" => Class::Session,
            // The proxy reads rows from outside.
            "LOCK" if !self.has("MODE") || self.has("ACCESS") && self.has("EXCLUSIVE") => unsupported(
                "LOCK TABLE in ACCESS EXCLUSIVE MODE, which keeps the proxy from reading the table,",
            ),
            "LOCK" => Class::Session,
            "DISCARD" if self.is(1, "ALL") => Class::DiscardAll,
            "DISCARD" if self.is(1, "PLANS") || self.is(1, "SEQUENCES") => Class::Session,
            "PREPARE" if self.is(1, "TRANSACTION") => unsupported("PREPARE TRANSACTION"),
            "PREPARE" => Class::Session,
            "NOTIFY" | "TRUNCATE" => unsupported(verb),
            other => {
                unsupported(format!("{}, which cannot be undone", other.chars().take(32).collect::<String>()))
            }
        }
    }

    fn chains(&self) -> bool {
        self.has("CHAIN") && !self.has("NO")
    }

    fn rollback(&self) -> Class {
        if self.is(1, "PREPARED") {
            return unsupported("ROLLBACK PREPARED");
        }
        let Some(to) = self.tokens.iter().position(|t| t.is_word(self.sql, "TO")) else {
            return Class::Rollback { chain: self.chains() };
        };
        let at = to + 1 + usize::from(self.is(to + 1, "SAVEPOINT") && to + 2 < self.tokens.len());
        self.name(at).map_or_else(|| unsupported("ROLLBACK TO no name"), Class::RollbackTo)
    }

    fn read(&self) -> Class {
        // SELECT … INTO makes a table. The word stands nowhere else at the top of a read.
        let mut depth = 0_i32;
        for token in self.tokens {
            match token.text(self.sql) {
                b"(" => depth += 1,
                b")" => depth -= 1,
                _ if depth == 0 && token.is_word(self.sql, "INTO") => {
                    return unsupported("SELECT … INTO a table");
                }
                _ => {}
            }
        }
        if self.writes_inside() { COUNTED } else { Class::Read }
    }

    /// A read of functions that may write is not just a read.
    fn counted_if_it_may_call(&self, class: Class) -> Class {
        if class == Class::Read && self.may_call_writer() { COUNTED } else { class }
    }

    fn explain(&self) -> Class {
        if !self.has("ANALYZE") && !self.has("ANALYSE") {
            return Class::Read;
        }
        let has = |words: &[&str]| words.iter().any(|w| self.has(w));
        match () {
            () if has(&["CREATE", "REFRESH", "DECLARE"]) => {
                unsupported("EXPLAIN ANALYZE of what makes or fills a table")
            }
            () if has(&["INSERT", "UPDATE", "DELETE", "MERGE", "EXECUTE"]) => COUNTED,
            () => self.counted_if_it_may_call(Class::Read),
        }
    }

    fn copy(&self) -> Class {
        if self.has("PROGRAM") {
            return unsupported("COPY with a PROGRAM");
        }
        let mut depth = 0_i32;
        for token in self.tokens {
            match token.text(self.sql) {
                b"(" => depth += 1,
                b")" => depth -= 1,
                _ if depth == 0 && token.is_word(self.sql, "FROM") => return Class::Counted(Counted::Copy),
                _ if depth == 0 && token.is_word(self.sql, "TO") => break,
                _ => {}
            }
        }
        let to_file = |at: usize| {
            self.is(at, "TO")
                && self.tokens.get(at + 1).is_some_and(|t| matches!(t.kind, Kind::Quoted | Kind::String))
        };
        if (0..self.tokens.len()).any(to_file) {
            return unsupported("COPY … TO a file of the server");
        }
        let writes = self.writes_inside();
        self.counted_if_it_may_call(if writes { COUNTED } else { Class::Read })
    }

    /// The verb behind `WITH name AS (…), …`: the first such word outside parentheses.
    fn main_verb(&self) -> Option<usize> {
        let mut depth = 0_i32;
        for (at, token) in self.tokens.iter().enumerate() {
            match token.text(self.sql) {
                b"(" => depth += 1,
                b")" => depth -= 1,
                _ if depth == 0
                    && at > 1
                    && ["SELECT", "TABLE", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE"]
                        .iter()
                        .any(|w| self.is(at, w)) =>
                {
                    return Some(at);
                }
                _ => {}
            }
        }
        None
    }

    /// A write as part of another statement stands behind a parenthesis, perhaps behind WITH there.
    fn writes_inside(&self) -> bool {
        let writes = |at: usize| ["INSERT", "UPDATE", "DELETE", "MERGE"].iter().any(|w| self.is(at, w));
        (1..self.tokens.len()).any(|at| self.is_punct(at - 1, b'(') && writes(at))
    }

    /// None: where its RETURNING would go is not sure, or it would not tell of all that is written.
    fn write(&self, first: usize) -> Option<Write> {
        if self.writes_inside() {
            return None;
        }
        let mut at = first + 1;
        let verb = match () {
            () if self.is(first, "INSERT") => Verb::Insert,
            () if self.is(first, "UPDATE") => Verb::Update,
            () => Verb::Delete,
        };
        let keyword = match verb {
            Verb::Insert => Some("INTO"),
            Verb::Update => None,
            Verb::Delete => Some("FROM"),
        };
        if let Some(keyword) = keyword {
            if !self.is(at, keyword) {
                return None;
            }
            at += 1;
        }
        // `ONLY` is reserved; `ONLY (name)` is rare.
        at += usize::from(verb != Verb::Insert && self.is(at, "ONLY"));
        let start = at;
        let mut last = at;
        loop {
            self.name(last)?;
            if !self.is_punct(last + 1, b'.') {
                break;
            }
            last += 2;
        }
        let table = self.tokens[start].start..self.tokens[last].end;
        if self.sql[table.clone()].windows(7).any(|w| w == b"$atone$") {
            return None;
        }
        let mut reference = self.tokens[last].span();
        at = last + 1;
        at += usize::from(verb != Verb::Insert && self.is_punct(at, b'*'));
        let aliased = self.is(at, "AS");
        let followers: &[&str] = match verb {
            Verb::Insert => &["OVERRIDING", "DEFAULT", "VALUES", "SELECT", "WITH", "TABLE"],
            Verb::Update => &["SET"],
            Verb::Delete => &["USING", "WHERE", "RETURNING"],
        };
        let follows =
            at == self.tokens.len() || self.is_punct(at, b'(') || followers.iter().any(|w| self.is(at, w));
        if aliased || !follows {
            at += usize::from(aliased);
            if self.name(at).is_none() || (verb == Verb::Insert && !aliased) {
                return None;
            }
            reference = self.tokens[at].span();
            at += 1;
        }
        let (assigned, returning) = self.clauses(at)?;
        Some(Write {
            verb,
            calls: self.may_call_writer_beside(&table),
            table,
            reference,
            assigned,
            returning,
            end: self.tokens[self.tokens.len() - 1].end,
            values: self.has("VALUES"),
        })
    }

    /// Columns behind SET, and whether there is a RETURNING, both outside parentheses.
    fn clauses(&self, from: usize) -> Option<(Vec<String>, bool)> {
        let (mut assigned, mut returning, mut setting, mut target, mut depth) =
            (Vec::new(), false, false, false, 0_i32);
        let mut at = from;
        while at < self.tokens.len() {
            let outside = depth == 0;
            match self.tokens[at].text(self.sql) {
                b"(" if setting && target => {
                    // (a, b) = …
                    at += 1;
                    while at < self.tokens.len() && !self.is_punct(at, b')') {
                        assigned.extend(self.name(at));
                        at += 1;
                    }
                    target = false;
                }
                b"(" | b"[" => depth += 1,
                b")" | b"]" => depth -= 1,
                b"," if outside && setting => target = true,
                _ if !outside => {}
                _ if self.is(at, "RETURNING") => (returning, setting) = (true, false),
                _ if self.is(at, "SET") && !returning => (setting, target) = (true, true),
                // `a IS DISTINCT FROM b` goes on.
                _ if self.is(at, "FROM") && self.is(at - 1, "DISTINCT") => {}
                _ if self.is(at, "FROM") || self.is(at, "WHERE") => setting = false,
                _ if setting && target => {
                    assigned.push(self.name(at)?);
                    target = false;
                }
                _ => {}
            }
            at += 1;
        }
        (depth == 0).then_some((assigned, returning))
    }
}
