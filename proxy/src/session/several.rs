//! Several statements in one text, of which some write: each is run by itself, and their answers are put together as the
//! server would have given them.

use super::{Command, End, Session, echo::whole_answer};
use crate::wire::{
    capability::{AUTOCOMMIT, DEPRECATE_EOF, IN_TRANS, IN_TRANS_READONLY, MORE_RESULTS},
    command,
    packet::{self, HEADER, MAX_PAYLOAD, Reader},
    reply::{Expect, OkPacket},
};
use atone_undo_log::{
    analyze::split,
    sql::{Kind as TokenKind, SqlMode, tokens},
};
use bytes::Bytes;
use std::ops::Range;

/// Statements of one text.
pub(super) struct Parts {
    /// Where they stand.
    pub ranges: Vec<Range<usize>>,
    /// A semicolon and a comment stand behind the last: to the server that is an empty statement.
    empty: bool,
}

/// Is there a semicolon in it that does not end it?
pub(super) fn may_be_several(text: &[u8]) -> bool {
    text.strip_suffix(b";").unwrap_or(text).contains(&b';')
}

/// Cuts a text of several statements, where the server surely cuts it at the same places.
pub(super) fn parts(text: &[u8], mode: SqlMode) -> Option<Parts> {
    // What the server makes of a version comment depends on it.
    if tokens(text, mode).ok()?.iter().any(|t| t.conditional) {
        return None;
    }
    let ranges = split(text, mode).ok()?;
    let end = text.get(ranges.last()?.end..)?;
    let signs = |gap: &[u8]| gap.iter().filter(|b| **b == b';').count();
    let apart = ranges.windows(2).all(|pair| signs(&text[pair[0].end..pair[1].start]) == 1);
    let ends = tokens(end, mode).ok()?;
    let behind = ends.first().map_or(&[][..], |sign| end[sign.end..].trim_ascii());
    let empty = !behind.is_empty();
    let begins = |part: &[u8], word: &str| {
        tokens(part, mode).is_ok_and(|all| all.first().is_some_and(|t| t.is_word(part, word)))
    };
    let whole = |part: &Range<usize>| {
        let part = &text[part.clone()];
        let all = tokens(part, mode).unwrap_or_default();
        let has = |word: &&str| all.iter().any(|t| t.is_word(part, word));
        let compound =
            COMPOUND.iter().any(|word| begins(part, word)) && !(begins(part, "BEGIN") && all.len() < 3);
        let defines = ["CREATE", "ALTER"].iter().any(|word| begins(part, word)) && ROUTINES.iter().any(has);
        all.first().is_some_and(|t| t.kind == TokenKind::Word) && !compound && !defines
    };
    let several = ranges.len() > 1 || empty;
    (several && apart && ends.len() <= 1 && ranges.iter().all(whole)).then_some(Parts { ranges, empty })
}

/// What is defined by a text that may hold several statements.
pub(super) const ROUTINES: [&str; 5] = ["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"];

/// What may hold semicolons of its own, or asks for a file.
const COMPOUND: [&str; 9] = ["BEGIN", "IF", "CASE", "LOOP", "WHILE", "REPEAT", "FOR", "DECLARE", "LOAD"];

/// The server does not understand the text.
pub(super) const SYNTAX: u16 = 1064;

impl Session {
    pub(super) async fn several(&mut self, text: &Bytes, parts: Parts, command: Command) -> Result<(), End> {
        if !self.backside.multi_statements && parts.ranges.len() > 1 {
            // The server does not take it, and says so.
            return self.relay(command).await.map(drop);
        }
        // Without them the comment is a part of the one statement.
        let empty = parts.empty && self.backside.multi_statements;
        let head = command.payload.slice(..command.payload.len() - text.len());
        let deprecate_eof = self.backside.capabilities & DEPRECATE_EOF != 0;
        let mut number = self.answer;
        for (at, part) in parts.ranges.iter().enumerate() {
            let last = at + 1 == parts.ranges.len() && !empty;
            let alone = self.part(&head, text.slice(part.clone())).await?;
            let mut stitch = Stitch { told: Vec::new(), number, error: None };
            if stitch.add(&alone, !last, deprecate_eof).is_none() {
                return Err(End::Done);
            }
            if stitch.error == Some(SYNTAX) {
                // It says what stands behind the mistake.
                let rest = self.mistake(&text[part.start..]).await?.unwrap_or(alone);
                stitch = Stitch { told: Vec::new(), number, error: Some(SYNTAX) };
                if stitch.add(&rest, false, deprecate_eof).is_none() {
                    return Err(End::Done);
                }
            }
            self.client.write(&stitch.told).await?;
            number = stitch.number;
            if stitch.error.is_some() {
                return Ok(());
            }
        }
        if empty {
            let kept = AUTOCOMMIT | IN_TRANS | IN_TRANS_READONLY;
            self.client.send(&packet::ok(0, 0, self.status & kept), number).await?;
        }
        Ok(())
    }

    /// Runs one of them; its whole answer.
    async fn part(&mut self, head: &Bytes, text: Bytes) -> Result<Vec<u8>, End> {
        let payload = [head, &text[..]].concat();
        let frames = packet::frames(&payload, 0).0.into();
        let command = Command { frames, payload: payload.into() };
        self.client.hold();
        let done = Box::pin(self.dispatch(command)).await;
        let told = self.client.release();
        done.map(|()| told)
    }

    /// The error that the server meets in a text, without running it.
    pub(super) async fn mistake(&mut self, text: &[u8]) -> Result<Option<Vec<u8>>, End> {
        let prepare = [&[command::STMT_PREPARE], text].concat();
        self.backside.packets.write(&packet::frames(&prepare, 0).0).await?;
        let answer = whole_answer(&mut self.backside, Expect::Prepared).await?;
        if answer.get(HEADER) == Some(&0xff) {
            return Ok(Some(answer));
        }
        if let Some(number) = answer.get(HEADER + 1..HEADER + 5) {
            let close = [&[command::STMT_CLOSE], number].concat();
            self.backside.packets.write(&packet::frames(&close, 0).0).await?;
        }
        Ok(None)
    }
}

/// The number of the error that an answer is.
pub(super) fn code_of(answer: &[u8]) -> Option<u16> {
    let error = answer.get(HEADER..)?.strip_prefix(&[0xff])?;
    error.first_chunk().map(|code| u16::from_le_bytes(*code))
}

/// Answers put together.
struct Stitch {
    told: Vec<u8>,
    number: u8,
    error: Option<u16>,
}

impl Stitch {
    /// Adds the answer of one statement, with `more` behind it.
    fn add(&mut self, answer: &[u8], more: bool, deprecate_eof: bool) -> Option<()> {
        let mut rest = answer;
        // Definitions and the EOF behind them, then rows.
        let (mut definitions, mut rows, mut continued) = (0_u64, false, false);
        while !rest.is_empty() {
            let (length, _) = packet::header(rest)?;
            let (frame, behind) = rest.split_at_checked(HEADER + length)?;
            let mut frame = frame.to_vec();
            frame[HEADER - 1] = self.number;
            self.number = self.number.wrapping_add(1);
            rest = behind;
            let body = &frame[HEADER..];
            let (part, tag) = (continued, body.first().copied());
            continued = length == MAX_PAYLOAD;
            let status_at = match tag {
                _ if part => None,
                Some(0xff) if definitions == 0 || rows => {
                    self.error = body.get(1..3).map(|c| u16::from_le_bytes([c[0], c[1]]));
                    None
                }
                _ if definitions > 1 => {
                    definitions -= 1;
                    None
                }
                _ if definitions == 1 => {
                    (definitions, rows) = (0, true);
                    (!deprecate_eof).then_some(3)
                }
                Some(0xfe) if rows && (length < 9 || deprecate_eof && length < MAX_PAYLOAD) => {
                    rows = false;
                    if deprecate_eof { Some(OkPacket::read(body)?.status_at) } else { Some(3) }
                }
                _ if rows => None,
                Some(0x00) => Some(OkPacket::read(body)?.status_at),
                _ => {
                    // With an EOF behind them there is one frame more.
                    definitions = Reader(body).lenenc()? + u64::from(!deprecate_eof);
                    None
                }
            };
            if let (Some(at), true) = (status_at, more) {
                let status = frame.get_mut(HEADER + at..HEADER + at + 2)?;
                let told = u16::from_le_bytes([status[0], status[1]]) | MORE_RESULTS;
                status.copy_from_slice(&told.to_le_bytes());
            }
            self.told.extend(frame);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::parts;
    use atone_undo_log::sql::SqlMode;

    #[test]
    fn texts_are_cut_only_where_it_is_sure() {
        let cut = |sql: &str| parts(sql.as_bytes(), SqlMode::default()).map(|p| (p.ranges.len(), p.empty));
        assert_eq!(cut("UPDATE t SET v = ';'; SELECT 1;"), Some((2, false)));
        assert_eq!(cut("BEGIN; UPDATE t SET v = 1; COMMIT"), Some((3, false)));
        assert_eq!(cut("UPDATE t SET v = 1; SELECT 1; -- end"), Some((2, true)));
        assert_eq!(cut("UPDATE t SET v = 1; # end"), Some((1, true)));
        for sql in [
            "UPDATE t SET v = 1;",
            "UPDATE t SET v = 1;; SELECT 1",
            "CREATE PROCEDURE p() BEGIN UPDATE t SET v = 1; END",
            "BEGIN NOT ATOMIC UPDATE t SET v = 1; END",
            "SELECT 1; LOAD DATA LOCAL INFILE 'x' INTO TABLE t",
            "IF 1 THEN UPDATE t SET v = 1; END IF",
            "/*!99999 DELETE FROM t */; SELECT 1",
            "CREATE TABLE c (a INT) /*!50100 PARTITION BY HASH (a) */; SELECT 1",
        ] {
            assert_eq!(cut(sql), None, "{sql}");
        }
    }
}
