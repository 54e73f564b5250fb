//! Reads that lock rows: SELECT … FOR UPDATE, FOR SHARE and LOCK IN SHARE MODE. Where the text shows which tables are locked
//! and how their rows are found, the keys of these rows can be asked for first.

use super::{functions::unknown_call, names, names::TableName, write::listed_unstable};
use crate::sql::{Kind, SqlMode, Token, tokens};
use std::ops::Range;

/// Does a read lock rows?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locks {
    /// No.
    None,
    /// Yes, and it is not sure which.
    Unclear,
    /// Yes, those of these tables.
    Of(Locking),
}

/// A read that locks the rows it returns. Positions are byte offsets into its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locking {
    /// The tables locked.
    pub tables: Vec<Locked>,
    /// FOR UPDATE.
    pub exclusive: bool,
    /// SKIP LOCKED: the next time it may find others.
    pub skips: bool,
    /// Neither NOWAIT nor SKIP LOCKED.
    pub waits: bool,
    /// It gives one row per row of its tables, or per match of a join.
    pub plain: bool,
    /// Only of one table.
    pub single: bool,
    /// From FROM to ORDER BY, LIMIT or the clause.
    pub from: Range<usize>,
    /// Where WHERE stands, or would.
    pub condition: usize,
    /// ORDER BY.
    pub order: Option<Range<usize>>,
    /// LIMIT.
    pub limit: Option<Range<usize>>,
    /// FOR UPDATE, and what goes with it.
    pub clause: Range<usize>,
    /// Where the parameters stand.
    pub params: Vec<usize>,
}

/// A table of which rows are locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Which one.
    pub name: TableName,
    /// What its columns are qualified by.
    pub reference: Range<usize>,
}

/// Words that stand between two tables of FROM.
const JOINS: [&str; 8] = ["JOIN", "INNER", "LEFT", "RIGHT", "CROSS", "NATURAL", "OUTER", "STRAIGHT_JOIN"];
/// Words behind FROM's tables.
const ENDS: [&str; 7] = ["WHERE", "ORDER", "LIMIT", "FOR", "LOCK", "GROUP", "HAVING"];
/// Words before an index hint.
const HINTS: [&str; 3] = ["USE", "FORCE", "IGNORE"];
/// What makes a read something else than one row per row found.
const OTHER: [&str; 13] = [
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "INTO",
    "GROUP",
    "HAVING",
    "WINDOW",
    "PROCEDURE",
    "OVER",
    "WITH",
    "PARTITION",
    "OFFSET",
    "SQL_CALC_FOUND_ROWS",
];
const AGGREGATES: &str = "COUNT SUM MIN MAX AVG GROUP_CONCAT BIT_AND BIT_OR BIT_XOR STD STDDEV STDDEV_POP STDDEV_SAMP VAR_POP \
    VAR_SAMP VARIANCE JSON_ARRAYAGG JSON_OBJECTAGG ANY_VALUE DISTINCT DISTINCTROW";

/// Reads the text of one statement.
pub fn locks(sql: &[u8], mode: SqlMode) -> Locks {
    let Ok(mut all) = tokens(sql, mode) else { return Locks::Unclear };
    while all.last().is_some_and(|t| t.is_punct(sql, b';')) {
        all.pop();
    }
    let words = Words { sql, tokens: &all };
    let clauses: Vec<usize> = (0..all.len()).filter(|at| words.is_clause(*at)).collect();
    match clauses.as_slice() {
        [] => Locks::None,
        [clause] if std::str::from_utf8(sql).is_ok() => {
            words.locking(*clause).map_or(Locks::Unclear, Locks::Of)
        }
        _ => Locks::Unclear,
    }
}

struct Words<'a> {
    sql: &'a [u8],
    tokens: &'a [Token],
}

impl Words<'_> {
    fn is(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|t| t.is_word(self.sql, word))
    }

    fn any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    fn is_punct(&self, at: usize, sign: u8) -> bool {
        self.tokens.get(at).is_some_and(|t| t.is_punct(self.sql, sign))
    }

    fn name(&self, at: usize) -> Option<String> {
        names::name(self.sql, self.tokens.get(at)?)
    }

    fn is_clause(&self, at: usize) -> bool {
        self.is(at, "FOR") && self.any(at + 1, &["UPDATE", "SHARE"])
            || self.is(at, "LOCK") && self.is(at + 1, "IN") && self.is(at + 2, "SHARE")
    }

    fn locking(&self, clause: usize) -> Option<Locking> {
        let depths = self.depths();
        let conditional = self.tokens.iter().any(|t| t.conditional);
        if !self.is(0, "SELECT") || depths[clause] != 0 || conditional || self.unstable() {
            return None;
        }
        let top = |word: &str| (1..clause).find(|at| self.is(*at, word) && depths[*at] == 0);
        if OTHER.iter().any(|word| top(word).is_some()) {
            return None;
        }
        let from = top("FROM")?;
        let (order, limit) = (top("ORDER"), top("LIMIT"));
        let end_of_from = order.or(limit).unwrap_or(clause);
        let condition = top("WHERE").unwrap_or(end_of_from);
        let items = self.items(from + 1, condition, &depths)?;
        let (tables, exclusive, rest) = self.clause(clause, &items)?;
        let (waits, skips) = match self.tokens.len() - rest {
            0 => (true, false),
            1 if self.is(rest, "NOWAIT") => (false, false),
            2 if self.is(rest, "SKIP") && self.is(rest + 1, "LOCKED") => (false, true),
            2 if self.is(rest, "WAIT") => (true, false),
            _ => return None,
        };
        let list = &self.tokens[1..from];
        let aggregate = |t: &Token| {
            let text = String::from_utf8_lossy(t.text(self.sql));
            t.kind == Kind::Word && AGGREGATES.split_ascii_whitespace().any(|a| a.eq_ignore_ascii_case(&text))
        };
        let plain = !list.iter().any(aggregate);
        // Which rows come first must not hang on what the read computes.
        if limit.is_some() && !(plain && self.orders_by_columns(list, order, limit.unwrap_or(clause))) {
            return None;
        }
        let start = |at: usize| self.tokens[at].start;
        let end = |at: usize| self.tokens[at - 1].end;
        let single = items.len() == 1;
        Some(Locking {
            tables,
            exclusive,
            skips,
            waits,
            plain,
            single,
            from: start(from)..end(end_of_from),
            condition: end(condition),
            order: order.map(|at| start(at)..end(limit.unwrap_or(clause))),
            limit: limit.map(|at| start(at)..end(clause)),
            clause: start(clause)..end(self.tokens.len()),
            params: self.tokens.iter().filter(|t| t.kind == Kind::Param).map(|t| t.start).collect(),
        })
    }

    /// May it find other rows when it is run twice in a row?
    fn unstable(&self) -> bool {
        let unstable = |t: &Token| match t.kind {
            Kind::Variable => true,
            Kind::Word | Kind::Quoted => listed_unstable(&String::from_utf8_lossy(t.text(self.sql))),
            Kind::String | Kind::Number | Kind::Param | Kind::Punct => false,
        };
        self.tokens[1..].iter().any(unstable) || unknown_call(self.sql, self.tokens, "INDEX").is_some()
    }

    /// What the clause locks: which tables, whether FOR UPDATE, and where it goes on.
    fn clause(&self, at: usize, items: &[Locked]) -> Option<(Vec<Locked>, bool, usize)> {
        if self.is(at, "LOCK") {
            return self.is(at + 3, "MODE").then(|| (items.to_vec(), false, at + 4));
        }
        let exclusive = self.is(at + 1, "UPDATE");
        if !self.is(at + 2, "OF") {
            return Some((items.to_vec(), exclusive, at + 2));
        }
        let (mut named, mut at) = (Vec::new(), at + 3);
        loop {
            let name = self.name(at)?.to_lowercase();
            let spelt = |item: &&Locked| {
                let token = self.tokens.iter().find(|t| t.start == item.reference.start);
                token.and_then(|t| names::name(self.sql, t)).is_some_and(|n| n.to_lowercase() == name)
            };
            named.push(items.iter().find(spelt)?.clone());
            at += 1;
            if !self.is_punct(at, b',') {
                return Some((named, exclusive, at));
            }
            at += 1;
        }
    }

    /// ORDER BY names columns that are no names of what the read computes.
    fn orders_by_columns(&self, list: &[Token], order: Option<usize>, end: usize) -> bool {
        let Some(order) = order else { return true };
        let aliased = list.iter().enumerate().any(|(at, t)| {
            let before =
                at > 0 && !list[at - 1].is_punct(self.sql, b',') && !list[at - 1].is_punct(self.sql, b'.');
            t.is_word(self.sql, "AS") || before && matches!(t.kind, Kind::Word | Kind::Quoted)
        });
        let items = self.tokens[order + 2..end].split(|t| t.is_punct(self.sql, b','));
        items.into_iter().all(|item| {
            let item = match item {
                [rest @ .., last] if last.is_word(self.sql, "ASC") || last.is_word(self.sql, "DESC") => rest,
                all => all,
            };
            let names = |t: &Token| matches!(t.kind, Kind::Word | Kind::Quoted);
            match item {
                [column] => names(column) && !aliased,
                [table, dot, column] => names(table) && dot.is_punct(self.sql, b'.') && names(column),
                _ => false,
            }
        })
    }

    /// How many parentheses are open before each token.
    fn depths(&self) -> Vec<i32> {
        let mut depth = 0;
        let step = |token: &Token| {
            let before = depth;
            match token.text(self.sql) {
                b"(" => depth += 1,
                b")" => depth -= 1,
                _ => {}
            }
            before
        };
        self.tokens.iter().map(step).collect()
    }

    /// The tables between FROM and `end`. None where there is anything but plain tables.
    fn items(&self, mut at: usize, end: usize, depths: &[i32]) -> Option<Vec<Locked>> {
        let mut items = Vec::new();
        let free = |at: usize| at >= end || self.any(at, &JOINS) || self.any(at, &ENDS);
        loop {
            let first = self.name(at).filter(|_| !free(at))?;
            let (mut schema, mut table, mut reference) = (None, first, at..at + 1);
            at += 1;
            if self.is_punct(at, b'.') {
                schema = Some(std::mem::replace(&mut table, self.name(at + 1)?));
                reference = reference.start..at + 2;
                at += 2;
            }
            let plain = |at: usize| !free(at) && !self.any(at, &["ON", "USING"]) && !self.any(at, &HINTS);
            if self.is(at, "AS") || self.name(at).is_some() && plain(at) {
                at += usize::from(self.is(at, "AS"));
                self.name(at)?;
                reference = at..at + 1;
                at += 1;
            }
            if self.any(at, &HINTS) {
                while at < end && !self.is_punct(at, b')') {
                    at += 1;
                }
                at += 1;
            }
            let span = self.tokens[reference.start].start..self.tokens[reference.end - 1].end;
            items.push(Locked { name: TableName { schema, name: table }, reference: span });
            // A join's condition.
            if self.any(at, &["ON", "USING"]) {
                while at < end && !(depths[at] == 0 && (self.is_punct(at, b',') || self.any(at, &JOINS))) {
                    at += 1;
                }
            }
            if at >= end {
                return Some(items);
            }
            if self.is_punct(at, b',') {
                at += 1;
                continue;
            }
            let joined = at;
            while self.any(at, &JOINS) {
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
    use super::*;

    fn of(sql: &str) -> Locks {
        locks(sql.as_bytes(), SqlMode::default())
    }

    #[test]
    fn tables_that_are_locked_are_told() {
        for (sql, tables, exclusive) in [
            ("SELECT * FROM t FOR UPDATE", "t:t", true),
            ("select a from s.t as x where a = ? lock in share mode", "s.t:x", false),
            (
                "SELECT 1 FROM a LEFT JOIN b ON a.x = b.x JOIN c USING (y) FOR UPDATE OF a, C NOWAIT",
                "a:a c:c",
                true,
            ),
            ("SELECT a, b FROM t FORCE INDEX (i) ORDER BY a LIMIT 1 FOR SHARE SKIP LOCKED;", "t:t", false),
            ("SELECT a AS v FROM `t` x, u ORDER BY x.v DESC LIMIT 2 FOR UPDATE", "t:x u:u", true),
            ("SELECT COUNT(*) FROM t WHERE a IN (1, 2) FOR UPDATE WAIT 5", "t:t", true),
        ] {
            let Locks::Of(locking) = of(sql) else { panic!("{sql}: {:?}", of(sql)) };
            let told = locking.tables.iter().map(|t| format!("{}:{}", t.name, &sql[t.reference.clone()]));
            assert_eq!(told.collect::<Vec<_>>().join(" "), tables, "{sql}");
            assert_eq!(locking.exclusive, exclusive, "{sql}");
        }
        for sql in ["SELECT 1", "SELECT SUBSTRING('a' FOR 1)", "SELECT 'FOR UPDATE' FROM t -- FOR UPDATE"] {
            assert_eq!(of(sql), Locks::None, "{sql}");
        }
    }

    #[test]
    fn what_is_not_sure_is_said() {
        for sql in [
            "SELECT * FROM (SELECT * FROM t) x FOR UPDATE",
            "SELECT * FROM (SELECT * FROM t FOR UPDATE) x",
            "(SELECT * FROM t FOR UPDATE)",
            "WITH x AS (SELECT 1) SELECT * FROM x FOR UPDATE",
            "SELECT * FROM t WHERE a IN (SELECT 1) FOR UPDATE",
            "SELECT * FROM t WHERE a = @x FOR UPDATE",
            "SELECT * FROM t WHERE f(a) FOR UPDATE",
            "SELECT a FROM t GROUP BY a FOR UPDATE",
            "SELECT -a AS a FROM t ORDER BY a LIMIT 1 FOR UPDATE",
            "SELECT a FROM t ORDER BY 1 LIMIT 1 FOR UPDATE",
            "SELECT COUNT(*) FROM t LIMIT 1 FOR UPDATE",
            "SELECT * FROM a, b FOR UPDATE OF a FOR SHARE OF b",
            "SELECT a FROM t FOR UPDATE INTO @x",
            "SELECT a FROM t PARTITION (p) FOR UPDATE",
        ] {
            assert_eq!(of(sql), Locks::Unclear, "{sql}");
        }
    }
}
