//! Which tables a statement empties, takes away, or gives another shape.

use super::{TableName, names::name};
use crate::sql::{SqlMode, Token, tokens};

/// What becomes unusable to those who know it as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// These tables, or what else is under these names.
    Tables(Vec<TableName>),
    /// All of a schema.
    Schema(String),
}

/// What a statement takes; None for one that takes nothing, or is not understood. An index that only makes reads faster takes
/// nothing.
pub fn taken(sql: &[u8], mode: SqlMode) -> Option<Taken> {
    let all = tokens(sql, mode).ok()?;
    let mut words = Words { sql, rest: all.as_slice() };
    if words.takes("TRUNCATE") {
        words.takes("TABLE");
        return Some(Taken::Tables(vec![words.table()?]));
    }
    if words.takes("RENAME") {
        if !words.takes("TABLE") && !words.takes("TABLES") {
            return None;
        }
        words.if_exists();
        let mut tables = vec![words.table()?];
        while words.behind(b',') {
            tables.push(words.table()?);
        }
        return Some(Taken::Tables(tables));
    }
    if words.takes("DROP") {
        return words.dropped();
    }
    if words.takes("ALTER") {
        while ["ONLINE", "OFFLINE", "IGNORE"].iter().any(|word| words.takes(word)) {}
        if !words.takes("TABLE") {
            return None;
        }
        words.if_exists();
        let table = words.table()?;
        return (!words.only_about_indexes() && !words.only_tends_partitions())
            .then(|| Taken::Tables(vec![table]));
    }
    if words.takes("CREATE") {
        let replaces = words.takes("OR") && words.takes("REPLACE");
        if replaces && words.takes("TABLE") {
            words.if_exists();
            return Some(Taken::Tables(vec![words.table()?]));
        }
        if words.takes("UNIQUE") && words.takes("INDEX") {
            return words.on_table();
        }
    }
    None
}

struct Words<'a> {
    sql: &'a [u8],
    rest: &'a [Token],
}

impl Words<'_> {
    fn is(&self, word: &str) -> bool {
        self.rest.first().is_some_and(|token| token.is_word(self.sql, word))
    }

    fn takes(&mut self, word: &str) -> bool {
        let is = self.is(word);
        if is {
            self.rest = &self.rest[1..];
        }
        is
    }

    fn if_exists(&mut self) {
        if self.takes("IF") {
            self.takes("NOT");
            self.takes("EXISTS");
        }
    }

    fn table(&mut self) -> Option<TableName> {
        let first = self.name()?;
        if !self.rest.first().is_some_and(|token| token.is_punct(self.sql, b'.')) {
            return Some(TableName { schema: None, name: first });
        }
        self.rest = &self.rest[1..];
        Some(TableName { schema: Some(first), name: self.name()? })
    }

    fn name(&mut self) -> Option<String> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        name(self.sql, first)
    }

    /// Goes behind the next sign of this kind.
    fn behind(&mut self, sign: u8) -> bool {
        let at = self.rest.iter().position(|token| token.is_punct(self.sql, sign));
        self.rest = at.map_or(&[], |at| &self.rest[at + 1..]);
        at.is_some()
    }

    fn on_table(&mut self) -> Option<Taken> {
        while !self.rest.is_empty() {
            if self.takes("ON") {
                return Some(Taken::Tables(vec![self.table()?]));
            }
            self.rest = &self.rest[1..];
        }
        None
    }

    fn dropped(&mut self) -> Option<Taken> {
        if self.takes("INDEX") {
            return self.on_table();
        }
        if self.takes("DATABASE") || self.takes("SCHEMA") {
            self.if_exists();
            return Some(Taken::Schema(self.name()?));
        }
        if !self.takes("TABLE") && !self.takes("TABLES") {
            return None;
        }
        self.if_exists();
        let mut tables = vec![self.table()?];
        while self.rest.first().is_some_and(|token| token.is_punct(self.sql, b',')) {
            self.rest = &self.rest[1..];
            tables.push(self.table()?);
        }
        Some(Taken::Tables(tables))
    }

    /// ANALYZE, CHECK, OPTIMIZE or REPAIR PARTITION, which answer with rows and keep them.
    fn only_tends_partitions(&self) -> bool {
        ["ANALYZE", "CHECK", "OPTIMIZE", "REPAIR"].iter().any(|word| self.is(word))
            && self.rest.get(1).is_some_and(|token| token.is_word(self.sql, "PARTITION"))
    }

    /// Nothing but one more index that is not unique, or when indexes are kept up to date.
    fn only_about_indexes(&self) -> bool {
        let [first, second, rest @ ..] = self.rest else { return false };
        let is = |token: &Token, word| token.is_word(self.sql, word);
        let mut depth = 0_i32;
        let alone = rest.iter().all(|token| {
            depth += i32::from(token.is_punct(self.sql, b'(')) - i32::from(token.is_punct(self.sql, b')'));
            depth > 0 || !token.is_punct(self.sql, b',')
        });
        let adds = is(first, "ADD") && (is(second, "INDEX") || is(second, "KEY"));
        let keeps = (is(first, "DISABLE") || is(first, "ENABLE")) && is(second, "KEYS");
        (adds || keeps) && alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Option<String> {
        taken(sql.as_bytes(), SqlMode::default()).map(|taken| match taken {
            Taken::Tables(tables) => tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Taken::Schema(schema) => format!("all of {schema}"),
        })
    }

    #[test]
    fn tables_are_taken_by_what_does_not_leave_their_rows_as_they_are() {
        for (sql, tables) in [
            ("TRUNCATE t", "t"),
            ("truncate table s.`a``b`", "s.a`b"),
            ("DROP TABLE IF EXISTS a, s.b CASCADE", "a s.b"),
            ("DROP INDEX i ON t", "t"),
            ("DROP SCHEMA IF EXISTS s", "all of s"),
            ("RENAME TABLE a TO b, s.c TO s.d", "a s.c"),
            ("/* x */ ALTER TABLE t DROP COLUMN v", "t"),
            ("ALTER ONLINE TABLE IF EXISTS s.t ADD v INT, ADD INDEX (v)", "s.t"),
            ("ALTER TABLE t ADD INDEX (a), DROP COLUMN b", "t"),
            ("CREATE OR REPLACE TABLE t (id INT)", "t"),
            ("CREATE UNIQUE INDEX i USING BTREE ON s.t (v)", "s.t"),
        ] {
            assert_eq!(of(sql).as_deref(), Some(tables), "{sql}");
        }
        for sql in [
            "DROP TEMPORARY TABLE t",
            "DROP VIEW v",
            "ALTER TABLE t ADD INDEX i (a, b)",
            "CREATE INDEX i ON t (v)",
            "ALTER TABLE t ANALYZE PARTITION p0",
            "/*!40000 ALTER TABLE t DISABLE KEYS */",
            "CREATE TABLE t (id INT)",
            "CREATE OR REPLACE VIEW t AS SELECT 1",
            "ALTER DATABASE d CHARACTER SET utf8mb4",
            "TRUNCATE",
            "SELECT 1",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
    }
}
