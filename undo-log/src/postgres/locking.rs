//! Reads that lock rows: SELECT … FOR UPDATE and its sisters. Which rows were locked is told by more columns, added behind
//! the client's own, where the text shows which tables are locked.

use super::analyze::{Words, sent};
use crate::sql::Token;
use std::ops::Range;

/// A read that locks the rows it returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locking {
    /// The tables locked: as written, and what their columns are qualified by.
    pub tables: Vec<(Range<usize>, Range<usize>)>,
    /// FOR UPDATE or FOR NO KEY UPDATE.
    pub exclusive: bool,
    /// FOR KEY SHARE, which goes with FOR NO KEY UPDATE.
    pub weak: bool,
    /// SKIP LOCKED.
    pub skips: bool,
    /// Neither NOWAIT nor SKIP LOCKED.
    pub waits: bool,
    /// It calls functions that are not surely the server's own, and may write.
    pub calls: bool,
    /// Where FROM begins.
    from: usize,
    /// It has no columns of its own.
    bare: bool,
}

/// Does a read lock rows?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Locks {
    /// No.
    None,
    /// Yes, and it is not sure which.
    Unclear,
    /// Yes, those of these tables.
    Of(Locking),
}

impl Locking {
    /// The statement with four more columns per table: the table meant, the table (or partition) of the row, the row, and
    /// nothing. Of the rows of a table only these columns, if they are given.
    pub fn with_rows(&self, sql: &str, columns: &[Option<Vec<String>>]) -> String {
        let column = |(at, (table, reference)): (usize, &(Range<usize>, Range<usize>))| {
            let columns = columns.get(at).and_then(Option::as_deref);
            let (name, row) = (&sql[table.clone()], &sql[reference.clone()]);
            format!(
                "$atone$ {name} $atone$::pg_catalog.regclass::pg_catalog.oid::pg_catalog.text, \
                 {row}.tableoid::pg_catalog.text, {}, ''",
                sent(row, columns)
            )
        };
        let columns: Vec<String> = self.tables.iter().enumerate().map(column).collect();
        let comma = if self.bare { "" } else { ", " };
        format!("{}{comma}{} {}", &sql[..self.from], columns.join(", "), &sql[self.from..])
    }
}

/// Words that end a table of FROM, or stand between two.
const JOINS: [&str; 8] = ["JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "NATURAL", "OUTER"];
/// Words behind FROM's tables.
const ENDS: [&str; 9] = ["WHERE", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", "GROUP", "HAVING", "WINDOW"];
/// What cannot be a table's alias, besides.
const NO_ALIAS: [&str; 4] = ["ON", "USING", "TABLESAMPLE", "LATERAL"];

impl Words<'_> {
    pub(super) fn locks(&self) -> Locks {
        let is_clause = |at: usize| {
            self.is(at, "FOR")
                && (self.is(at + 1, "UPDATE")
                    || self.is(at + 1, "SHARE")
                    || self.is(at + 1, "NO") && self.is(at + 2, "KEY")
                    || self.is(at + 1, "KEY") && self.is(at + 2, "SHARE"))
        };
        let clauses: Vec<usize> = (0..self.tokens.len()).filter(|at| is_clause(*at)).collect();
        match clauses.as_slice() {
            [] => Locks::None,
            [clause] => self.locking(*clause).map_or(Locks::Unclear, Locks::Of),
            _ => Locks::Unclear,
        }
    }

    fn locking(&self, clause: usize) -> Option<Locking> {
        let depths = self.depths();
        if !self.is(0, "SELECT") || depths[clause] != 0 {
            return None;
        }
        let top = |word: &str| {
            (1..clause).find(|at| {
                self.is(*at, word) && depths[*at] == 0 && !(word == "FROM" && self.is(*at - 1, "DISTINCT"))
            })
        };
        if ["UNION", "INTERSECT", "EXCEPT", "INTO"].iter().any(|word| top(word).is_some()) {
            return None;
        }
        let from = top("FROM")?;
        let items = self.items(from + 1, clause, &depths)?;
        let mut at = clause + 1;
        let exclusive = self.is(at, "UPDATE") || self.is(at, "NO");
        let weak = self.is(at, "KEY");
        while ["NO", "KEY", "UPDATE", "SHARE"].iter().any(|word| self.is(at, word)) {
            at += 1;
        }
        let tables = if self.is(at, "OF") {
            let mut named = Vec::new();
            loop {
                let name = self.name(at + 1)?;
                let item =
                    items.iter().find(|(_, reference)| self.name(*reference).as_ref() == Some(&name))?;
                named.push(item.clone());
                at += 2;
                if !self.is_punct(at, b',') {
                    break named;
                }
            }
        } else {
            items
        };
        let skips = self.is(at, "SKIP") && self.is(at + 1, "LOCKED");
        let waits = !skips && !self.is(at, "NOWAIT");
        at += 2 * usize::from(skips) + usize::from(!skips && !waits);
        // LIMIT may stand behind it.
        if at < self.tokens.len() && !["LIMIT", "OFFSET", "FETCH"].iter().any(|word| self.is(at, word)) {
            return None;
        }
        let span = |(name, reference): (Range<usize>, usize)| {
            (self.tokens[name.start].start..self.tokens[name.end - 1].end, self.tokens[reference].span())
        };
        let tables: Vec<_> = tables.into_iter().map(span).collect();
        if tables.iter().any(|(name, _)| self.sql[name.clone()].windows(7).any(|w| w == b"$atone$")) {
            return None;
        }
        let (from, bare) = (self.tokens[from].start, from == 1);
        Some(Locking { tables, exclusive, weak, skips, waits, calls: false, from, bare })
    }

    /// How many parentheses are open before each token.
    fn depths(&self) -> Vec<i32> {
        let mut depth = 0;
        let step = |token: &Token| {
            let before = depth;
            match token.text(self.sql) {
                b"(" | b"[" => depth += 1,
                b")" | b"]" => depth -= 1,
                _ => {}
            }
            before
        };
        self.tokens.iter().map(step).collect()
    }

    /// The tables between FROM and `end`: where the name stands, and what its columns are qualified by. None where there is
    /// anything but plain tables.
    fn items(&self, mut at: usize, end: usize, depths: &[i32]) -> Option<Vec<(Range<usize>, usize)>> {
        let mut items = Vec::new();
        let any = |at: usize, words: &[&str]| words.iter().any(|word| self.is(at, word));
        loop {
            at += usize::from(self.is(at, "ONLY"));
            let start = at;
            loop {
                if any(at, &JOINS) || any(at, &ENDS) || any(at, &NO_ALIAS) {
                    return None;
                }
                self.name(at)?;
                at += 1;
                if !self.is_punct(at, b'.') {
                    break;
                }
                at += 1;
            }
            let (name, mut reference) = (start..at, at - 1);
            at += usize::from(self.is_punct(at, b'*'));
            if self.is(at, "AS")
                || self.name(at).is_some() && !any(at, &JOINS) && !any(at, &ENDS) && !any(at, &NO_ALIAS)
            {
                at += usize::from(self.is(at, "AS"));
                self.name(at)?;
                reference = at;
                at += 1;
            }
            if self.is_punct(at, b'(') || any(at, &["TABLESAMPLE"]) {
                return None;
            }
            items.push((name, reference));
            // A join's condition.
            if any(at, &["ON", "USING"]) {
                while at < end
                    && !(depths[at] == 0 && (self.is_punct(at, b',') || any(at, &JOINS) || any(at, &ENDS)))
                {
                    at += 1;
                }
            }
            if at >= end || any(at, &ENDS) {
                return Some(items);
            }
            if self.is_punct(at, b',') {
                at += 1;
                continue;
            }
            let joined = at;
            while any(at, &JOINS) {
                at += 1;
            }
            if at == joined {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::postgres::{Class, classify};

    fn respelled(sql: &str) -> Option<String> {
        match classify(sql.as_bytes(), true) {
            Class::Locking(locking) => Some(locking?.with_rows(sql, &[])),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn tables_that_are_locked_are_told() {
        let row = |name: &str, row: &str| {
            format!(
                "$atone$ {name} $atone$::pg_catalog.regclass::pg_catalog.oid::pg_catalog.text, {row}.tableoid::pg_catalog.text, \
                 pg_catalog.encode(pg_catalog.record_send({row}.*), 'hex'), ''"
            )
        };
        for (sql, before, tables, after) in [
            ("SELECT * FROM t FOR UPDATE", "SELECT * , ", vec![("t", "t")], " FROM t FOR UPDATE"),
            ("SELECT FROM t for share", "SELECT ", vec![("t", "t")], " FROM t for share"),
            (
                "SELECT a IS DISTINCT FROM b FROM s.\"T\" AS x, ONLY u WHERE x.a = (SELECT 1 FROM z) ORDER BY 1 LIMIT 2 FOR NO KEY UPDATE SKIP LOCKED",
                "SELECT a IS DISTINCT FROM b , ",
                vec![("s.\"T\"", "x"), ("u", "u")],
                " FROM s.\"T\" AS x, ONLY u WHERE x.a = (SELECT 1 FROM z) ORDER BY 1 LIMIT 2 FOR NO KEY UPDATE SKIP LOCKED",
            ),
            (
                "SELECT 1 FROM a LEFT JOIN b ON a.x = b.x JOIN c USING (y) WHERE true FOR UPDATE OF a, C",
                "SELECT 1 , ",
                vec![("a", "a"), ("c", "c")],
                " FROM a LEFT JOIN b ON a.x = b.x JOIN c USING (y) WHERE true FOR UPDATE OF a, C",
            ),
        ] {
            let rows: Vec<String> = tables.iter().map(|(name, reference)| row(name, reference)).collect();
            let expected = format!("{before}{}{after}", rows.join(", "));
            assert_eq!(respelled(sql), Some(expected), "{sql}");
        }
    }

    #[test]
    fn how_it_waits_is_told() {
        let of = |sql: &str| match classify(sql.as_bytes(), true) {
            Class::Locking(Some(l)) => (l.exclusive, l.weak, l.skips, l.waits),
            other => panic!("{sql}: {other:?}"),
        };
        assert_eq!(of("SELECT * FROM t FOR UPDATE"), (true, false, false, true));
        assert_eq!(of("SELECT * FROM t FOR UPDATE LIMIT 1"), (true, false, false, true));
        assert_eq!(of("SELECT * FROM t FOR UPDATE NOWAIT LIMIT 1"), (true, false, false, false));
        assert_eq!(of("SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED LIMIT 1"), (true, false, true, false));
        assert_eq!(of("SELECT * FROM t FOR SHARE OF t SKIP LOCKED"), (false, false, true, false));
        assert_eq!(of("SELECT * FROM t FOR KEY SHARE SKIP LOCKED"), (false, true, true, false));
        assert_eq!(of("SELECT skip FROM locked FOR SHARE"), (false, false, false, true));
    }

    #[test]
    fn what_is_not_sure_is_said() {
        for sql in [
            "SELECT * FROM (SELECT * FROM t) x FOR UPDATE",
            "SELECT * FROM (SELECT * FROM t FOR UPDATE) x",
            "SELECT * FROM f() FOR UPDATE",
            "SELECT * FROM t, LATERAL (SELECT 1) x FOR UPDATE",
            "WITH x AS (SELECT 1) SELECT * FROM x FOR UPDATE",
            "SELECT * FROM a, b FOR UPDATE OF a FOR SHARE OF b",
            "SELECT * FROM a FOR UPDATE OF b",
            "SELECT * FROM t TABLESAMPLE SYSTEM (10) FOR UPDATE",
            "(SELECT * FROM t FOR UPDATE)",
            "SELECT 1 FOR UPDATE",
        ] {
            assert_eq!(respelled(sql), None, "{sql}");
        }
        for sql in [
            "SELECT substring(a for 3) FROM t",
            "SELECT 'for update' FROM t",
            "SELECT * FROM t -- FOR UPDATE",
        ] {
            assert_eq!(classify(sql.as_bytes(), true), Class::Read, "{sql}");
        }
    }
}
