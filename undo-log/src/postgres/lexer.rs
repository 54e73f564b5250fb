//! Cuts PostgreSQL text into tokens with byte offsets, as the server's own lexer does.
//!
//! Source: PostgreSQL's documentation, "Lexical Structure", and `scan.l`.

use crate::sql::{Kind, Token};

/// Why a text cannot be cut.
pub type Open = &'static str;

/// Cuts `sql` into tokens. `standard` is `standard_conforming_strings`: a backslash in a plain string is just one.
pub fn tokens(sql: &[u8], standard: bool) -> Result<Vec<Token>, Open> {
    let mut lexer = Lexer { sql, standard, at: 0, tokens: Vec::with_capacity(sql.len() / 5 + 4) };
    while lexer.skip_blank()? {
        lexer.token()?;
    }
    Ok(lexer.tokens)
}

/// The bytes that may go on a word.
pub fn word_bytes(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

struct Lexer<'a> {
    sql: &'a [u8],
    standard: bool,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.sql.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Steps over blanks and comments; false at the end of the text.
    fn skip_blank(&mut self) -> Result<bool, Open> {
        while self.at < self.sql.len() {
            match (self.peek(0), self.peek(1)) {
                (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => self.at += 1,
                (b'-', b'-') => {
                    let rest = &self.sql[self.at..];
                    self.at += rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
                }
                (b'/', b'*') => self.skip_comment()?,
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Comments nest.
    fn skip_comment(&mut self) -> Result<(), Open> {
        let mut depth = 0_usize;
        while self.at < self.sql.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
        Err("a comment that is not closed")
    }

    fn token(&mut self) -> Result<(), Open> {
        let start = self.at;
        let kind = match (self.peek(0), self.peek(1)) {
            (b'\'', _) => self.string(!self.standard)?,
            (b'e' | b'E', b'\'') => {
                self.at += 1;
                self.string(true)?
            }
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'') => {
                self.at += 1;
                self.string(false)?
            }
            (b'u' | b'U', b'&') if self.peek(2) == b'\'' => {
                self.at += 2;
                self.string(false)?
            }
            (b'u' | b'U', b'&') if self.peek(2) == b'"' => {
                self.at += 2;
                self.quoted()?
            }
            (b'"', _) => self.quoted()?,
            (b'$', b'0'..=b'9') => {
                self.at += 1;
                self.skip_while(|b| b.is_ascii_digit());
                Kind::Param
            }
            (b'$', _) => self.dollar()?,
            (b'0'..=b'9', _) | (b'.', b'0'..=b'9') => self.number(),
            (byte, _) if byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80 => {
                self.skip_while(word_bytes);
                Kind::Word
            }
            _ => {
                self.at += 1;
                Kind::Punct
            }
        };
        self.tokens.push(Token { kind, start, end: self.at, conditional: false });
        Ok(())
    }

    fn skip_while(&mut self, goes_on: impl Fn(u8) -> bool) {
        while self.at < self.sql.len() && goes_on(self.sql[self.at]) {
            self.at += 1;
        }
    }

    /// Digits, a point, an exponent; also 0x, 0o, 0b and underscores between digits.
    fn number(&mut self) -> Kind {
        while self.at < self.sql.len() {
            let exponent = matches!(self.peek(0), b'e' | b'E') && matches!(self.peek(1), b'+' | b'-');
            if exponent && self.peek(2).is_ascii_digit() {
                self.at += 2;
            } else if self.peek(0) == b'.' && self.peek(1) == b'.' {
                break;
            } else if self.peek(0).is_ascii_alphanumeric() || matches!(self.peek(0), b'.' | b'_') {
                self.at += 1;
            } else {
                break;
            }
        }
        Kind::Number
    }

    fn string(&mut self, escapes: bool) -> Result<Kind, Open> {
        self.at += 1;
        while self.at < self.sql.len() {
            match self.peek(0) {
                b'\\' if escapes => self.at += 2,
                b'\'' if self.peek(1) == b'\'' => self.at += 2,
                b'\'' => {
                    self.at += 1;
                    return Ok(Kind::String);
                }
                _ => self.at += 1,
            }
        }
        Err("a string that is not closed")
    }

    fn quoted(&mut self) -> Result<Kind, Open> {
        self.at += 1;
        while self.at < self.sql.len() {
            match self.peek(0) {
                b'"' if self.peek(1) == b'"' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Ok(Kind::Quoted);
                }
                _ => self.at += 1,
            }
        }
        Err("a quoted name that is not closed")
    }

    /// `$tag$ … $tag$`, or a lone dollar sign.
    fn dollar(&mut self) -> Result<Kind, Open> {
        let rest = &self.sql[self.at + 1..];
        let length = rest.iter().take_while(|b| word_bytes(**b) && **b != b'$').count();
        if rest.get(length) != Some(&b'$') {
            self.at += 1;
            return Ok(Kind::Punct);
        }
        let tag = &self.sql[self.at..self.at + length + 2];
        let inside = self.at + tag.len();
        let end = self.sql[inside..].windows(tag.len()).position(|w| w == tag);
        self.at = inside + end.ok_or("a dollar-quoted string that is not closed")? + tag.len();
        Ok(Kind::String)
    }
}
