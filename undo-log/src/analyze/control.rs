//! Atone's own SQL: `SELECT atone_begin(…)` and its sisters, and `SET @atone_xid = …`.
//!
//! Only the plain forms are read: one function, alone in a SELECT, with literals or `?` as arguments. Anything
//! else that names them is refused, so that a mistyped call is never silently nothing.

use super::{Unsupported, names};
use crate::sql::{Kind, Token};

/// A request to the proxy itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Which function, in lower case; `set` for `SET @atone_xid`.
    pub function: String,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// The result column's name, when AS gives one.
    pub column: Option<String>,
}

/// An argument of a [`Control`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A string or number literal.
    Text(String),
    /// NULL.
    Null,
    /// The n-th parameter of a prepared statement, from 0.
    Param(usize),
}

const FUNCTIONS: [(&str, usize); 6] = [
    ("atone_begin", 2),
    ("atone_xid", 0),
    ("atone_join", 1),
    ("atone_leave", 0),
    ("atone_commit", 1),
    ("atone_rollback", 1),
];

/// None: the statement has nothing to do with us.
pub(super) fn control(sql: &[u8], tokens: &[Token]) -> Option<Result<Control, Unsupported>> {
    let ours = |t: &Token| {
        let text = t.text(sql);
        match t.kind {
            Kind::Word | Kind::Quoted => {
                FUNCTIONS.iter().any(|(f, _)| text.eq_ignore_ascii_case(f.as_bytes()))
            }
            Kind::Variable => is_variable(text),
            Kind::String | Kind::Number | Kind::Param | Kind::Punct => false,
        }
    };
    let at = tokens.iter().position(ours)?;
    if tokens[0].is_word(sql, "SET") {
        return Some(set(sql, tokens, at));
    }
    // Reading the variable is an ordinary read; setting it by the way would be a binding that nobody notices.
    if tokens[at].kind == Kind::Variable {
        let assigned = |n: usize| tokens.get(n + 1).is_some_and(|t| t.is_punct(sql, b':'));
        let into = tokens.iter().any(|t| t.is_word(sql, "INTO"));
        let anywhere = (0..tokens.len()).any(|n| ours(&tokens[n]) && assigned(n));
        let what = "a statement that sets @atone_xid, other than SET";
        return (anywhere || into).then(|| Err(Unsupported::new(what)));
    }
    let followed = tokens.get(at + 1).is_some_and(|t| t.is_punct(sql, b'('));
    followed.then(|| function(sql, tokens, at))
}

/// `@atone_xid`, in any quotes.
fn is_variable(text: &[u8]) -> bool {
    let plain: Vec<u8> = text.iter().copied().filter(|b| !matches!(b, b'`' | b'\'' | b'"')).collect();
    plain.eq_ignore_ascii_case(b"@atone_xid")
}

fn set(sql: &[u8], tokens: &[Token], at: usize) -> Result<Control, Unsupported> {
    let wrong = || {
        Unsupported::new(
            "SET @atone_xid with anything but one literal, '', NULL or ? (and nothing else in the statement)",
        )
    };
    let value = match (at, &tokens[at + 1..]) {
        (1, [eq, value]) if eq.is_punct(sql, b'=') => value,
        (1, [colon, eq, value]) if colon.is_punct(sql, b':') && eq.is_punct(sql, b'=') => value,
        _ => return Err(wrong()),
    };
    let argument = argument(sql, value, &mut 0).ok_or_else(wrong)?;
    Ok(Control { function: "set".into(), arguments: vec![argument], column: None })
}

fn function(sql: &[u8], tokens: &[Token], at: usize) -> Result<Control, Unsupported> {
    let function = names::name(sql, &tokens[at]).unwrap_or_default().to_ascii_lowercase();
    let wrong = || {
        Unsupported::new(format!(
            "{function}() anywhere but alone, as SELECT {function}(…) [AS name], with literals or ? as arguments"
        ))
    };
    if at != 1 || !tokens[0].is_word(sql, "SELECT") {
        return Err(wrong());
    }
    let close = tokens.iter().position(|t| t.is_punct(sql, b')')).ok_or_else(wrong)?;
    let mut arguments = Vec::new();
    let mut params = 0;
    for (place, token) in tokens[at + 2..close].iter().enumerate() {
        if place % 2 == 0 {
            arguments.push(argument(sql, token, &mut params).ok_or_else(wrong)?);
        } else if !token.is_punct(sql, b',') {
            return Err(wrong());
        }
    }
    let most = FUNCTIONS.iter().find(|(f, _)| *f == function).map_or(0, |(_, n)| *n);
    let commas_right = close == at + 2 || (close - at - 2) % 2 == 1;
    if !commas_right || arguments.len() > most || (function == "atone_join" && arguments.is_empty()) {
        return Err(Unsupported::new(format!("{function}() with {} arguments", arguments.len())));
    }
    let mut rest = &tokens[close + 1..];
    if rest.first().is_some_and(|t| t.is_word(sql, "FROM"))
        && rest.get(1).is_some_and(|t| t.is_word(sql, "DUAL"))
    {
        rest = &rest[2..];
    }
    let column = match rest {
        [] => None,
        [as_word, name] if as_word.is_word(sql, "AS") => Some(alias(sql, name).ok_or_else(wrong)?),
        [name] => Some(alias(sql, name).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    Ok(Control { function, arguments, column })
}

fn alias(sql: &[u8], token: &Token) -> Option<String> {
    match token.kind {
        Kind::String => string(token.text(sql)),
        _ => names::name(sql, token),
    }
}

fn argument(sql: &[u8], token: &Token, params: &mut usize) -> Option<Argument> {
    match token.kind {
        Kind::String => string(token.text(sql)).map(Argument::Text),
        Kind::Number => Some(Argument::Text(String::from_utf8_lossy(token.text(sql)).into_owned())),
        Kind::Param => {
            *params += 1;
            Some(Argument::Param(*params - 1))
        }
        Kind::Word if token.is_word(sql, "NULL") => Some(Argument::Null),
        Kind::Word | Kind::Quoted | Kind::Variable | Kind::Punct => None,
    }
}

/// A string literal without escapes; xids and names need none.
fn string(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let inner = text.get(1..text.len() - 1)?;
    (!inner.contains(['\\', '\'', '"'])).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Class, classify};
    use super::*;
    use crate::sql::SqlMode;

    fn read(sql: &str) -> Class {
        classify(sql.as_bytes(), SqlMode::default())
    }

    fn control(function: &str, arguments: &[Argument], column: Option<&str>) -> Class {
        Class::Control(Control {
            function: function.into(),
            arguments: arguments.to_vec(),
            column: column.map(str::to_owned),
        })
    }

    #[test]
    fn plain_calls_are_read() {
        let text = |t: &str| Argument::Text(t.to_owned());
        assert_eq!(read("SELECT atone_begin()"), control("atone_begin", &[], None));
        assert_eq!(
            read("select ATONE_BEGIN('o', 500) as x;"),
            control("atone_begin", &[text("o"), text("500")], Some("x"))
        );
        assert_eq!(read("SELECT atone_join(?)"), control("atone_join", &[Argument::Param(0)], None));
        assert_eq!(read("SELECT atone_xid() FROM dual"), control("atone_xid", &[], None));
        assert_eq!(read("SET @atone_xid = 'abc'"), control("set", &[text("abc")], None));
        assert_eq!(read("SET @ATONE_XID := NULL"), control("set", &[Argument::Null], None));
        assert_eq!(read("SET @`atone_xid` = 'abc'"), control("set", &[text("abc")], None));
        assert_eq!(read("SELECT @atone_xid"), Class::Read);
    }

    #[test]
    fn anything_else_that_calls_them_is_refused() {
        for sql in [
            "SELECT 1, atone_begin()",
            "SELECT atone_begin() + 1",
            "SELECT atone_begin(1,2,3)",
            "SELECT atone_begin('a' 'b')",
            "SELECT atone_begin('a',)",
            "SELECT atone_join()",
            "SELECT atone_join(CONCAT('a','b'))",
            "SET @x = 1, @atone_xid = 'a'",
            "SET @atone_xid = CONCAT('a','b')",
            "SELECT @atone_xid := 'a'",
            "SELECT 'a' INTO @atone_xid",
            "SET @x = 1, @`atone_xid` = 'a'",
            "INSERT INTO t VALUES (atone_begin())",
        ] {
            assert!(matches!(read(sql), Class::Unsupported(_)), "{sql}: {:?}", read(sql));
        }
    }
}
