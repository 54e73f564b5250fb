//! Atone's own SQL on PostgreSQL: `SELECT atone_begin(…)` and its sisters, `SET atone.xid = …`. Only the plain forms are read; anything
//! else that names them is refused, so that a mistyped call is never silently nothing.

use super::analyze::Words;
use crate::{
    analyze::{Argument, Control, Unsupported},
    sql::{Kind, Token},
};

const FUNCTIONS: [(&str, usize); 6] = [
    ("atone_begin", 2),
    ("atone_xid", 0),
    ("atone_join", 1),
    ("atone_leave", 0),
    ("atone_commit", 1),
    ("atone_rollback", 1),
];

impl Words<'_> {
    pub fn control(&self) -> Option<Result<Control, Unsupported>> {
        let named = |at: usize| self.name(at).filter(|n| FUNCTIONS.iter().any(|(f, _)| f == n));
        if (self.is(0, "SET") || self.is(0, "RESET"))
            && let Some(at) = (1..self.tokens.len().min(4))
                .find(|at| self.name(*at).is_some_and(|n| n == "atone") && self.is_punct(at + 1, b'.'))
        {
            // The server keeps it, and is asked for it when it matters.
            let kept = self.name(at + 2).is_some_and(|name| name == "lock_wait" || name == "isolation");
            return (!kept).then(|| self.set(at));
        }
        let at = (0..self.tokens.len()).find(|at| named(*at).is_some() && self.is_punct(at + 1, b'('))?;
        Some(self.call(at, &named(at)?))
    }

    /// `SET atone.xid = 'x'`, `SET atone.xid TO DEFAULT`, `RESET atone.xid`.
    fn set(&self, at: usize) -> Result<Control, Unsupported> {
        let wrong = || Unsupported::new("SET atone.xid with anything but one literal, '' or DEFAULT");
        if self.name(at + 2).as_deref() != Some("xid") {
            return Err(Unsupported::new(
                "a setting of atone other than atone.xid, atone.lock_wait and atone.isolation",
            ));
        }
        if self.is(1, "LOCAL") {
            return Err(Unsupported::new("SET LOCAL atone.xid (use SET, and leave with SET atone.xid = '')"));
        }
        let argument = match &self.tokens[at + 3..] {
            [] if self.is(0, "RESET") => Argument::Null,
            [eq, value] if eq.is_punct(self.sql, b'=') || eq.is_word(self.sql, "TO") => {
                self.literal(value).ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        };
        Ok(Control { function: "set".into(), arguments: vec![argument], column: None })
    }

    fn literal(&self, token: &Token) -> Option<Argument> {
        let text = std::str::from_utf8(token.text(self.sql)).ok()?;
        match token.kind {
            Kind::String if text.starts_with('\'') => {
                let inner = text.get(1..text.len() - 1)?;
                (!inner.contains(['\\', '\''])).then(|| Argument::Text(inner.to_owned()))
            }
            Kind::Number => Some(Argument::Text(text.to_owned())),
            Kind::Param => text.get(1..)?.parse::<usize>().ok()?.checked_sub(1).map(Argument::Param),
            Kind::Word if ["NULL", "DEFAULT"].iter().any(|w| token.is_word(self.sql, w)) => {
                Some(Argument::Null)
            }
            Kind::Word | Kind::Quoted | Kind::String | Kind::Variable | Kind::Punct => None,
        }
    }

    /// Drivers that write values into the text put them in parentheses.
    fn without_parentheses<'t>(&self, mut part: &'t [Token]) -> &'t [Token] {
        while let [first, inner @ .., last] = part
            && first.is_punct(self.sql, b'(')
            && last.is_punct(self.sql, b')')
        {
            part = inner;
        }
        part
    }

    /// `SELECT f(…) [[AS] name]`; an argument may be cast.
    fn call(&self, at: usize, function: &str) -> Result<Control, Unsupported> {
        let wrong = || {
            Unsupported::new(format!(
                "{function}() anywhere but alone, as SELECT {function}(…) [AS name], with literals or parameters as arguments"
            ))
        };
        if at != 1 || !self.is(0, "SELECT") {
            return Err(wrong());
        }
        let mut depth = 0_i32;
        let closes = |n: &usize| {
            depth += i32::from(self.is_punct(*n, b'(')) - i32::from(self.is_punct(*n, b')'));
            depth == 0
        };
        let close = (at + 1..self.tokens.len()).find(closes).ok_or_else(wrong)?;
        let mut arguments = Vec::new();
        for part in self.tokens[at + 2..close].split(|t| t.is_punct(self.sql, b',')) {
            match self.without_parentheses(part) {
                [] if close == at + 2 => {}
                [value] => arguments.push(self.literal(value).ok_or_else(wrong)?),
                [value, a, b, cast @ ..]
                    if a.is_punct(self.sql, b':')
                        && b.is_punct(self.sql, b':')
                        && cast.iter().all(|t| t.kind == Kind::Word || t.is_punct(self.sql, b'.')) =>
                {
                    arguments.push(self.literal(value).ok_or_else(wrong)?);
                }
                _ => return Err(wrong()),
            }
        }
        let most = FUNCTIONS.iter().find(|(f, _)| *f == function).map_or(0, |(_, n)| *n);
        if arguments.len() > most || (function == "atone_join" && arguments.is_empty()) {
            return Err(Unsupported::new(format!("{function}() with {} arguments", arguments.len())));
        }
        let column = match self.tokens.len() - close {
            1 => None,
            2 => Some(self.name(close + 1).ok_or_else(wrong)?),
            3 if self.is(close + 1, "AS") => Some(self.name(close + 2).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        Ok(Control { function: function.to_owned(), arguments, column })
    }
}
