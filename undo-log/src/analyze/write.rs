//! INSERT, UPDATE and DELETE of one table: our own reading of the tokens.
//!
//! It finds the names (which [`super::second_reader`] must confirm) and the byte positions of the parts that are
//! spliced into image queries. Modifiers that change what a statement does (IGNORE, QUICK, PARTITION …) are
//! refused here, before any parser can take them for a table's name.

use super::{Unsupported, names, names::TableName, second_reader};
use crate::sql::{Kind, SqlMode, Token, tokens};
use std::ops::Range;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// INSERT … VALUES or INSERT … SET.
    Insert,
    /// UPDATE of one table.
    Update,
    /// DELETE from one table.
    Delete,
}

/// A write we understand. Positions are byte offsets into the statement's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What it does.
    pub verb: Verb,
    /// To which table.
    pub table: TableName,
    /// The table and its alias, as written: the FROM of an image query.
    pub target: Range<usize>,
    /// UPDATE: the columns assigned, as written.
    pub assigned: Vec<String>,
    /// UPDATE: what is assigned to them.
    pub values: Vec<Value>,
    /// UPDATE, DELETE: from WHERE, ORDER BY or LIMIT to the end; None when every row is meant.
    pub tail: Option<Range<usize>>,
    /// UPDATE, DELETE: the ORDER BY within the tail, without a LIMIT behind it.
    pub order: Option<Range<usize>>,
    /// The tail picks the same rows when it is evaluated twice in a row: no LIMIT, subquery, variable or
    /// function that changes. Otherwise the statement must be run on the keys of the captured rows.
    pub stable: bool,
    /// INSERT: what is inserted.
    pub rows: Rows,
    /// Where the parameters (`?`) stand, in order.
    pub params: Vec<usize>,
}

/// The rows of an INSERT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The column list, when written.
    pub columns: Option<Vec<String>>,
    /// The values, row by row.
    pub rows: Vec<Row>,
}

/// One row of VALUES.
pub type Row = Vec<Value>;

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Its text.
    pub span: Range<usize>,
    /// What it is.
    pub kind: ValueKind,
}

/// What kind of expression a value is; only the simple ones may stand for a key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// A number, perhaps signed.
    Number,
    /// A string literal.
    Text,
    /// The n-th parameter, from 0.
    Param(usize),
    /// NULL.
    Null,
    /// DEFAULT.
    Default,
    /// Anything else.
    Expression,
}

/// Reads a statement that [`super::classify`] called a write.
pub fn analyze_write(sql: &[u8], mode: SqlMode) -> Result<Write, Unsupported> {
    let text =
        std::str::from_utf8(sql).map_err(|_| Unsupported::new("a statement that is not valid UTF-8"))?;
    let mut all = tokens(sql, mode).map_err(|e| Unsupported::new(e.to_string()))?;
    while all.last().is_some_and(|t| t.is_punct(sql, b';')) {
        all.pop();
    }
    let mut reader = Reader { sql, tokens: &all, at: 0 };
    let mut write = reader.write()?;
    write.params = all.iter().filter(|t| t.kind == Kind::Param).map(|t| t.start).collect();
    refuse_session_counters(sql, &all)?;
    second_reader::confirm(text, &all, &write)?;
    Ok(write)
}

/// The image query that runs first would change what these functions return.
fn refuse_session_counters(sql: &[u8], tokens: &[Token]) -> Result<(), Unsupported> {
    for name in ["ROW_COUNT", "FOUND_ROWS"] {
        if tokens.windows(2).any(|w| w[0].is_word(sql, name) && w[1].is_punct(sql, b'(')) {
            return Err(Unsupported::new(format!("{name}() inside a write")));
        }
    }
    Ok(())
}

struct Reader<'a> {
    sql: &'a [u8],
    tokens: &'a [Token],
    at: usize,
}

const MODIFIERS: [&str; 8] =
    ["IGNORE", "LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "ONLY", "HISTORY", "PARTITION"];

impl Reader<'_> {
    fn is(&self, word: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|t| t.is_word(self.sql, word))
    }

    fn is_punct(&self, sign: u8) -> bool {
        self.tokens.get(self.at).is_some_and(|t| t.is_punct(self.sql, sign))
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    fn take_punct(&mut self, sign: u8) -> bool {
        let found = self.is_punct(sign);
        self.at += usize::from(found);
        found
    }

    fn rest(&self) -> String {
        match self.tokens.get(self.at) {
            Some(t) => String::from_utf8_lossy(t.text(self.sql)).chars().take(40).collect(),
            None => "the end".into(),
        }
    }

    fn write(&mut self) -> Result<Write, Unsupported> {
        let verb = if self.take("INSERT") {
            Verb::Insert
        } else if self.take("UPDATE") {
            Verb::Update
        } else if self.take("DELETE") {
            Verb::Delete
        } else {
            return Err(Unsupported::new("a statement that is not INSERT, UPDATE or DELETE"));
        };
        let name = format!("{verb:?}").to_ascii_uppercase();
        if let Some(modifier) = MODIFIERS.iter().find(|m| self.is(m) && !self.names_a_table(verb)) {
            return Err(Unsupported::new(format!("{name} {modifier}")));
        }
        match verb {
            Verb::Insert => self.take("INTO"),
            Verb::Delete if !self.take("FROM") => {
                return Err(Unsupported::new("a DELETE from several tables"));
            }
            Verb::Update | Verb::Delete => true,
        };
        let start = self.tokens.get(self.at).map_or(self.sql.len(), |t| t.start);
        let table = self.table(&name)?;
        if self.is("PARTITION") {
            return Err(Unsupported::new(format!("{name} … PARTITION")));
        }
        let mut write = Write {
            verb,
            table,
            target: start..start,
            assigned: Vec::new(),
            values: Vec::new(),
            tail: None,
            order: None,
            stable: true,
            rows: Rows::default(),
            params: Vec::new(),
        };
        match verb {
            Verb::Insert => self.insert(&mut write)?,
            Verb::Update => self.update(&mut write, start)?,
            Verb::Delete => self.delete(&mut write, start)?,
        }
        Ok(write)
    }

    /// `quick`, `only` and `history` are not reserved: `UPDATE only SET …` means a table of that name.
    fn names_a_table(&self, verb: Verb) -> bool {
        let next = self.tokens.get(self.at + 1);
        verb == Verb::Update && next.is_some_and(|t| t.is_word(self.sql, "SET"))
    }

    fn name(&mut self) -> Option<String> {
        let name = names::name(self.sql, self.tokens.get(self.at)?)?;
        self.at += 1;
        Some(name)
    }

    fn table(&mut self, verb: &str) -> Result<TableName, Unsupported> {
        let wrong = |r: &Self| {
            Unsupported::new(format!("{verb} of something other than one table, at '{}'", r.rest()))
        };
        let first = self.name().ok_or_else(|| wrong(self))?;
        if !self.take_punct(b'.') {
            return Ok(TableName { schema: None, name: first });
        }
        let name = self.name().ok_or_else(|| wrong(self))?;
        Ok(TableName { schema: Some(first), name })
    }

    /// `[AS] alias`, up to one of the words that may follow; the target ends behind it.
    fn alias(&mut self, write: &mut Write, start: usize, followers: &[&str]) -> Result<(), Unsupported> {
        if self.take("AS") || !(self.at == self.tokens.len() || followers.iter().any(|w| self.is(w))) {
            let rest = self.rest();
            self.name().ok_or_else(|| Unsupported::new(format!("a write to several tables, at '{rest}'")))?;
        }
        if !(self.at == self.tokens.len() || followers.iter().any(|w| self.is(w))) {
            return Err(Unsupported::new(format!(
                "a write to several tables or with an unknown clause, at '{}'",
                self.rest()
            )));
        }
        write.target = start..self.tokens[self.at - 1].end;
        Ok(())
    }

    fn update(&mut self, write: &mut Write, start: usize) -> Result<(), Unsupported> {
        self.alias(write, start, &["SET"])?;
        if !self.take("SET") {
            return Err(Unsupported::new("an UPDATE without SET"));
        }
        let mut params = self.params_before();
        loop {
            write.assigned.push(self.assignment_target()?);
            let from = self.at;
            self.skip_expression(&["WHERE", "ORDER", "LIMIT"]);
            write.values.push(self.value(from, &mut params)?);
            if !self.take_punct(b',') {
                break;
            }
        }
        self.tail(write)
    }

    fn delete(&mut self, write: &mut Write, start: usize) -> Result<(), Unsupported> {
        self.alias(write, start, &["WHERE", "ORDER", "LIMIT", "RETURNING"])?;
        self.tail(write)
    }

    /// `[[schema.]table.]column =`
    fn assignment_target(&mut self) -> Result<String, Unsupported> {
        let wrong = |r: &Self| {
            Unsupported::new(format!("an assignment that is not column = value, at '{}'", r.rest()))
        };
        let mut column = self.name().ok_or_else(|| wrong(self))?;
        while self.take_punct(b'.') {
            column = self.name().ok_or_else(|| wrong(self))?;
        }
        self.take_punct(b':');
        if self.take_punct(b'=') { Ok(column) } else { Err(wrong(self)) }
    }

    /// Steps over an expression: to a comma or one of the words, outside parentheses.
    fn skip_expression(&mut self, until: &[&str]) {
        let mut depth = 0_i32;
        while let Some(token) = self.tokens.get(self.at) {
            let text = token.text(self.sql);
            let stops = text == b"," || text == b")" || until.iter().any(|w| self.is(w));
            match text {
                _ if depth == 0 && stops => return,
                b"(" => depth += 1,
                b")" => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// `[WHERE …] [ORDER BY …] [LIMIT …]` to the end.
    fn tail(&mut self, write: &mut Write) -> Result<(), Unsupported> {
        let Some(first) = self.tokens.get(self.at) else { return Ok(()) };
        if !["WHERE", "ORDER", "LIMIT"].iter().any(|w| self.is(w)) {
            return Err(Unsupported::new(format!(
                "a clause that is not WHERE, ORDER BY or LIMIT, at '{}'",
                self.rest()
            )));
        }
        let last = self.tokens[self.tokens.len() - 1];
        write.tail = Some(first.start..last.end);
        let mut depth = 0_i32;
        let mut order = None;
        let mut limit = None;
        for at in self.at..self.tokens.len() {
            self.at = at;
            let token = self.tokens[at];
            match token.text(self.sql) {
                b"(" => depth += 1,
                b")" => depth -= 1,
                _ if depth != 0 => {}
                _ if self.is("RETURNING") => return Err(Unsupported::new("RETURNING in a DELETE")),
                _ if self.is("ORDER") => order = Some(token.start),
                _ if self.is("LIMIT") => limit = Some(token.start),
                _ => {}
            }
        }
        if depth != 0 {
            return Err(Unsupported::new("a write with unbalanced parentheses"));
        }
        write.order = order.map(|start| start..limit.unwrap_or(last.end));
        let tail = self.tokens.iter().filter(|t| t.start >= first.start);
        write.stable = limit.is_none() && tail.clone().all(|t| stable_token(self.sql, t)) && {
            let tail: Vec<Token> = tail.copied().collect();
            !super::functions::calls_unknown(self.sql, &tail)
        };
        Ok(())
    }

    fn insert(&mut self, write: &mut Write) -> Result<(), Unsupported> {
        write.target = write.target.start..self.tokens[self.at - 1].end;
        if self.take("SET") {
            return self.insert_set(write);
        }
        if self.is_punct(b'(') && !self.tokens.get(self.at + 1).is_some_and(|t| t.is_word(self.sql, "SELECT"))
        {
            write.rows.columns = Some(self.column_list()?);
        }
        if !(self.take("VALUES") || self.take("VALUE")) {
            return Err(Unsupported::new(format!(
                "an INSERT that is not INSERT … VALUES, at '{}'",
                self.rest()
            )));
        }
        let mut params = self.params_before();
        loop {
            write.rows.rows.push(self.row(&mut params)?);
            if !self.take_punct(b',') {
                break;
            }
        }
        self.end_of_insert()
    }

    fn end_of_insert(&self) -> Result<(), Unsupported> {
        match self.at == self.tokens.len() {
            true => Ok(()),
            false if self.is("ON") => Err(Unsupported::new("INSERT … ON DUPLICATE KEY UPDATE")),
            false if self.is("RETURNING") => Err(Unsupported::new("INSERT … RETURNING")),
            false => {
                Err(Unsupported::new(format!("an INSERT with more behind its values, at '{}'", self.rest())))
            }
        }
    }

    /// INSERT … SET a = 1, b = 2 is one row.
    fn insert_set(&mut self, write: &mut Write) -> Result<(), Unsupported> {
        let (mut columns, mut row, mut params) = (Vec::new(), Vec::new(), self.params_before());
        loop {
            columns.push(self.assignment_target()?);
            let from = self.at;
            self.skip_expression(&["ON", "AS", "RETURNING"]);
            row.push(self.value(from, &mut params)?);
            if !self.take_punct(b',') {
                break;
            }
        }
        write.rows = Rows { columns: Some(columns), rows: vec![row] };
        self.end_of_insert()
    }

    fn params_before(&self) -> usize {
        self.tokens[..self.at].iter().filter(|t| t.kind == Kind::Param).count()
    }

    fn column_list(&mut self) -> Result<Vec<String>, Unsupported> {
        self.at += 1;
        let mut columns = Vec::new();
        while !self.take_punct(b')') {
            let wrong =
                Unsupported::new(format!("a column list with something else in it, at '{}'", self.rest()));
            let mut name = self.name().ok_or_else(|| wrong.clone())?;
            while self.take_punct(b'.') {
                name = self.name().ok_or_else(|| wrong.clone())?;
            }
            columns.push(name);
            if !self.take_punct(b',') && !self.is_punct(b')') {
                return Err(wrong);
            }
        }
        Ok(columns)
    }

    fn row(&mut self, params: &mut usize) -> Result<Row, Unsupported> {
        // MySQL also writes VALUES ROW(1, 2), in an INSERT as a table value constructor.
        if !self.take_punct(b'(') {
            return Err(Unsupported::new(format!(
                "an INSERT whose rows are not in parentheses, at '{}'",
                self.rest()
            )));
        }
        let mut row = Vec::new();
        if self.take_punct(b')') {
            return Ok(row);
        }
        loop {
            let from = self.at;
            self.skip_expression(&[]);
            row.push(self.value(from, params)?);
            if self.take_punct(b')') {
                return Ok(row);
            }
            if !self.take_punct(b',') {
                return Err(Unsupported::new("an INSERT whose values do not end"));
            }
        }
    }

    fn value(&self, from: usize, params: &mut usize) -> Result<Value, Unsupported> {
        let found = &self.tokens[from..self.at];
        let (Some(first), Some(last)) = (found.first(), found.last()) else {
            return Err(Unsupported::new(format!("an empty value, at '{}'", self.rest())));
        };
        let kind = match found {
            [one] => match one.kind {
                Kind::Number => ValueKind::Number,
                Kind::String => ValueKind::Text,
                Kind::Param => ValueKind::Param(*params),
                Kind::Word if one.is_word(self.sql, "NULL") => ValueKind::Null,
                Kind::Word if one.is_word(self.sql, "DEFAULT") => ValueKind::Default,
                Kind::Word | Kind::Quoted | Kind::Variable | Kind::Punct => ValueKind::Expression,
            },
            [sign, number] if number.kind == Kind::Number && matches!(sign.text(self.sql), b"-" | b"+") => {
                ValueKind::Number
            }
            _ => ValueKind::Expression,
        };
        *params += found.iter().filter(|t| t.kind == Kind::Param).count();
        Ok(Value { span: first.start..last.end, kind })
    }
}

const UNSTABLE: &str = "SELECT RAND UUID UUID_SHORT NOW SYSDATE CURDATE CURTIME CURRENT_DATE CURRENT_TIME \
    CURRENT_TIMESTAMP LOCALTIME LOCALTIMESTAMP UTC_DATE UTC_TIME UTC_TIMESTAMP UNIX_TIMESTAMP LAST_INSERT_ID SLEEP \
    GET_LOCK RELEASE_LOCK BENCHMARK NEXTVAL NEXT LASTVAL SETVAL RANDOM_BYTES TABLE";

/// Is this word one of those that make an expression give another value the second time?
pub(super) fn listed_unstable(word: &str) -> bool {
    UNSTABLE.split_ascii_whitespace().any(|w| w.eq_ignore_ascii_case(word))
}

fn stable_token(sql: &[u8], token: &Token) -> bool {
    let text = String::from_utf8_lossy(token.text(sql));
    match token.kind {
        Kind::Variable => false,
        Kind::Word | Kind::Quoted => !listed_unstable(&text),
        Kind::String | Kind::Number | Kind::Param | Kind::Punct => true,
    }
}
