//! Cuts MySQL and MariaDB text into tokens with byte offsets, as the server's own lexer does.
//!
//! It works on bytes, honours `sql_mode`, drops comments, and reads the inside of version comments
//! (`/*! … */`, `/*M! … */`) as if it stood there, marking every token in it: whether the server runs that text
//! depends on its version, so whoever protects a statement must refuse marked tokens. Character sets whose
//! multi-byte characters may contain a quote or backslash byte (gbk, sjis, big5 …) are the caller's to refuse.

use std::ops::Range;

/// The parts of the session's `sql_mode` that change how text is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SqlMode {
    /// `"x"` is an identifier, not a string.
    pub ansi_quotes: bool,
    /// A backslash in a string is just a backslash.
    pub no_backslash_escapes: bool,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An unquoted word: keyword or identifier.
    Word,
    /// A quoted identifier, quotes included.
    Quoted,
    /// A string literal, quotes included.
    String,
    /// A number, also `0x…`, `0b…`, `x'…'`, `b'…'`.
    Number,
    /// `?`
    Param,
    /// `@x`, `@'x'`, `@@x`; the scope and further parts of `@@session.x` are tokens of their own.
    Variable,
    /// Any other single byte.
    Punct,
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// It stands inside a version comment.
    pub conditional: bool,
}

impl Token {
    /// Where it stands.
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Its bytes.
    pub fn text<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        &sql[self.start..self.end]
    }

    /// Is it this unquoted word, in any case?
    pub fn is_word(&self, sql: &[u8], word: &str) -> bool {
        self.kind == Kind::Word && self.text(sql).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Is it this one-byte sign?
    pub fn is_punct(&self, sql: &[u8], sign: u8) -> bool {
        self.kind == Kind::Punct && sql[self.start] == sign
    }
}

/// The text ends inside a string, quoted name or comment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the text ends inside the {what} that begins at byte {at}")]
pub struct LexError {
    what: &'static str,
    at: usize,
}

/// Cuts `sql` into tokens.
pub fn tokens(sql: &[u8], mode: SqlMode) -> Result<Vec<Token>, LexError> {
    let mut lexer =
        Lexer { sql, mode, at: 0, conditional: false, tokens: Vec::with_capacity(sql.len() / 5 + 4) };
    while lexer.skip_blank()? {
        lexer.token()?;
    }
    if lexer.conditional {
        return Err(LexError { what: "version comment", at: sql.len() });
    }
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    sql: &'a [u8],
    mode: SqlMode,
    at: usize,
    conditional: bool,
    tokens: Vec<Token>,
}

fn word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.sql.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Steps over blanks and comments; false at the end of the text.
    fn skip_blank(&mut self) -> Result<bool, LexError> {
        while self.at < self.sql.len() {
            match (self.peek(0), self.peek(1)) {
                (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => self.at += 1,
                (b'#', _) => self.skip_line(),
                (b'-', b'-')
                    if self.at + 2 >= self.sql.len() || self.peek(2) <= b' ' || self.peek(2) == 0x7f =>
                {
                    self.skip_line();
                }
                // Some character sets have blanks and control characters there too.
                (b'-', b'-') if !self.peek(2).is_ascii() => {
                    return Err(LexError { what: "comment", at: self.at });
                }
                (b'/', b'*') if self.peek(2) == b'!' => self.enter_version_comment(3),
                (b'/', b'*') if self.peek(2) == b'M' && self.peek(3) == b'!' => self.enter_version_comment(4),
                (b'/', b'*') => self.skip_comment()?,
                (b'*', b'/') if self.conditional => {
                    self.conditional = false;
                    self.at += 2;
                }
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    fn skip_line(&mut self) {
        let rest = &self.sql[self.at..];
        self.at += rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |p| p + 1);
    }

    fn skip_comment(&mut self) -> Result<(), LexError> {
        let from = self.at + 2;
        let end = self.sql[from..].windows(2).position(|w| w == b"*/");
        self.at = from + end.ok_or(LexError { what: "comment", at: self.at })? + 2;
        Ok(())
    }

    fn enter_version_comment(&mut self, opening: usize) {
        self.at += opening;
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        self.conditional = true;
    }

    fn token(&mut self) -> Result<(), LexError> {
        let start = self.at;
        let kind = match self.peek(0) {
            b'\'' => self.quoted(b'\'', Kind::String)?,
            b'"' if self.mode.ansi_quotes => self.quoted(b'"', Kind::Quoted)?,
            b'"' => self.quoted(b'"', Kind::String)?,
            b'`' => self.quoted(b'`', Kind::Quoted)?,
            b'?' => self.one(Kind::Param),
            b'@' => self.variable()?,
            b'x' | b'X' | b'b' | b'B' if self.peek(1) == b'\'' => {
                self.at += 1;
                self.quoted(b'\'', Kind::Number)?
            }
            b'n' | b'N' if self.peek(1) == b'\'' => {
                self.at += 1;
                self.quoted(b'\'', Kind::String)?
            }
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() && !self.after_name() => self.number(),
            byte if word_byte(byte) => self.word(),
            _ => self.one(Kind::Punct),
        };
        self.tokens.push(Token { kind, start, end: self.at, conditional: self.conditional });
        Ok(())
    }

    /// `t.1a` names a column; ` .5` is a number.
    fn after_name(&self) -> bool {
        self.tokens.last().is_some_and(|t| t.end == self.at && matches!(t.kind, Kind::Word | Kind::Quoted))
    }

    fn one(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }

    fn word(&mut self) -> Kind {
        while self.at < self.sql.len() && word_byte(self.peek(0)) {
            self.at += 1;
        }
        Kind::Word
    }

    fn number(&mut self) -> Kind {
        // An identifier may begin with a digit (`1st`); the server decides the same way: any letter but an
        // exponent or the x and b of a prefix makes it a word.
        let start = self.at;
        while word_byte(self.peek(0)) || (self.peek(0) == b'.' && self.at >= start) {
            let exponent = matches!(self.peek(0), b'e' | b'E') && matches!(self.peek(1), b'+' | b'-');
            self.at += if exponent && self.peek(2).is_ascii_digit() { 2 } else { 1 };
        }
        Kind::Number
    }

    fn variable(&mut self) -> Result<Kind, LexError> {
        self.at += 1;
        if self.peek(0) == b'@' {
            self.at += 1;
        }
        match self.peek(0) {
            // To the server it is `@` and then whatever such quotes are elsewhere.
            quote @ (b'\'' | b'"') if quote == b'\'' || !self.mode.ansi_quotes => {
                self.quoted(quote, Kind::String)?;
            }
            quote @ (b'"' | b'`') => {
                self.quoted(quote, Kind::Quoted)?;
            }
            _ => {
                while word_byte(self.peek(0)) || self.peek(0) == b'.' {
                    self.at += 1;
                }
            }
        }
        Ok(Kind::Variable)
    }

    fn quoted(&mut self, quote: u8, kind: Kind) -> Result<Kind, LexError> {
        let opening = self.at;
        let escapes = kind == Kind::String && !self.mode.no_backslash_escapes;
        self.at += 1;
        while self.at < self.sql.len() {
            match self.peek(0) {
                b'\\' if escapes => self.at += 2,
                byte if byte == quote && self.peek(1) == quote => self.at += 2,
                byte if byte == quote => {
                    self.at += 1;
                    return Ok(kind);
                }
                _ => self.at += 1,
            }
        }
        let what = if kind == Kind::Quoted { "quoted name" } else { "string" };
        Err(LexError { what, at: opening })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(sql: &str, mode: SqlMode) -> Vec<String> {
        let found = tokens(sql.as_bytes(), mode).unwrap();
        found.iter().map(|t| String::from_utf8_lossy(t.text(sql.as_bytes())).into_owned()).collect()
    }

    #[test]
    fn quoted_variables_end_where_strings_do() {
        let plain = SqlMode::default();
        assert_eq!(texts(r"SELECT @'a\' ', f() -- '", plain), ["SELECT", r"@'a\' '", ",", "f", "(", ")"]);
        assert_eq!(texts(r#"SELECT @"a\" ""#, plain), ["SELECT", r#"@"a\" ""#]);
        let ansi = SqlMode { ansi_quotes: true, ..plain };
        assert_eq!(texts(r#"SELECT @"a\" , 1"#, ansi), ["SELECT", r#"@"a\""#, ",", "1"]);
        let bare = SqlMode { no_backslash_escapes: true, ..plain };
        assert_eq!(texts(r"SELECT @'a\', 1", bare), ["SELECT", r"@'a\'", ",", "1"]);
        assert_eq!(texts(r"SELECT @`a\`, 1", plain), ["SELECT", r"@`a\`", ",", "1"]);
    }

    #[test]
    fn dashes_begin_a_comment_before_any_control_character() {
        let plain = SqlMode::default();
        assert_eq!(texts("SELECT 1 --\x7f'\n, 2", plain), ["SELECT", "1", ",", "2"]);
        assert!(tokens("SELECT 1 --\u{a0}'".as_bytes(), plain).is_err());
    }

    #[test]
    fn comments_vanish_as_the_server_reads_them() {
        let plain = SqlMode::default();
        assert_eq!(texts("a--b\n-- c\nd#e\nf/*g*/h", plain), ["a", "-", "-", "b", "d", "f", "h"]);
        assert_eq!(texts("--", plain), [""; 0]);
        let inside = tokens(b"SELECT /*!99999 x */ y", plain).unwrap();
        assert_eq!(inside.iter().map(|t| t.conditional).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn strings_follow_sql_mode() {
        let plain = SqlMode::default();
        let ansi = SqlMode { ansi_quotes: true, no_backslash_escapes: true };
        assert_eq!(texts(r"'a\'b' c", plain), [r"'a\'b'", "c"]);
        assert_eq!(texts(r"'a\' b", ansi), [r"'a\'", "b"]);
        assert_eq!(texts("'it''s' `a``b`", plain), ["'it''s'", "`a``b`"]);
        assert_eq!(tokens(b"\"c\"", ansi).unwrap()[0].kind, Kind::Quoted);
        assert_eq!(tokens(b"\"c\"", plain).unwrap()[0].kind, Kind::String);
        assert!(tokens(b"'open", plain).is_err() && tokens(b"/* open", plain).is_err());
    }

    #[test]
    fn numbers_names_and_variables_are_whole() {
        let plain = SqlMode::default();
        assert_eq!(
            texts("-1.5e+3,.5,x'0f',0xff", plain),
            ["-", "1.5e+3", ",", ".5", ",", "x'0f'", ",", "0xff"]
        );
        assert_eq!(
            texts("t.1a @@session.x @`a b` @y:=1", plain),
            ["t", ".", "1a", "@@session.x", "@`a b`", "@y", ":", "=", "1"]
        );
    }

    proptest! {
        #[test]
        fn lexing_is_total_and_spans_are_ordered(text in prop::collection::vec(any::<u8>(), 0..200), a: bool, b: bool) {
            if let Ok(found) = tokens(&text, SqlMode { ansi_quotes: a, no_backslash_escapes: b }) {
                let mut last = 0;
                for token in found {
                    prop_assert!(last <= token.start && token.start < token.end && token.end <= text.len());
                    last = token.end;
                }
            }
        }
    }
}
