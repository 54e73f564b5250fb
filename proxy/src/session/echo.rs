//! What a statement leaves behind for the next one to ask: its warnings and ROW_COUNT(). A statement that stood
//! alone was followed by our COMMIT or ROLLBACK, which clears both in the database; here they live one statement longer. So
//! does FOUND_ROWS(), which our own questions change.

use super::{Answer, Backside, Command, End, Session, ask::text_row};
use crate::wire::{
    capability::{AUTOCOMMIT, DEPRECATE_EOF, IN_TRANS, IN_TRANS_READONLY},
    command,
    packet::{self, HEADER, Reader},
    reply::{Expect, OkPacket, Progress, Tracker},
};
use atone_undo_log::sql::{SqlMode, Token, tokens};
use std::io;

/// Flags of an execution that asks for a cursor.
const CURSORS: u8 = 7;

/// What ROW_COUNT() is after an error, and after rows.
pub(super) const NO_ROWS: i64 = -1;

/// The questions that a statement's warnings and errors answer.
const DIAGNOSTICS: [&str; 4] =
    ["SHOW WARNINGS", "SHOW ERRORS", "SHOW COUNT(*) WARNINGS", "SHOW COUNT(*) ERRORS"];

/// Asks what FOUND_ROWS() is, and leaves the counts as they are, which to MariaDB are results of a SELECT.
const COUNTED: &str = "SELECT FOUND_ROWS(), @@warning_count";

/// The leavings of one statement.
#[derive(Default)]
pub(super) struct Echo {
    /// What ROW_COUNT() is; None: what the server says.
    rows: Option<i64>,
    /// What FOUND_ROWS() is; None: what the server says.
    pub found: Option<i64>,
    /// The answers to [`DIAGNOSTICS`], as they came; None when there was nothing to tell.
    told: Option<[Vec<u8>; 4]>,
}

/// What a question asks for.
enum Asked {
    /// One of [`DIAGNOSTICS`], and how much of it.
    Told(usize, Option<usize>),
    /// These columns have these numbers. Some count warnings or errors, if so: to MariaDB such a question leaves them.
    Values(Vec<(usize, i64)>, bool),
}

impl Echo {
    /// Asks for what will be gone after the COMMIT.
    pub(super) async fn keep(backside: &mut Backside, rows: i64, warned: bool) -> io::Result<Self> {
        let mut told = None;
        if warned {
            let found = backside.found.is_none();
            let [warnings, errors, counts @ ..] = DIAGNOSTICS;
            let all = [warnings, errors].into_iter().chain(found.then_some(COUNTED)).chain(counts);
            let all: Vec<u8> =
                all.flat_map(|question| packet::frames(&backside.query_payload(question), 0).0).collect();
            backside.packets.write(&all).await?;
            let mut answers = [const { Vec::new() }; 4];
            for (at, answer) in answers.iter_mut().enumerate() {
                if found && at == 2 {
                    let counted = backside.only_answer().await?;
                    backside.note_found(counted);
                }
                *answer = whole_answer(backside, Expect::Results).await?;
            }
            // MySQL has forgotten how many errors there were.
            let deprecate_eof = backside.capabilities & DEPRECATE_EOF != 0;
            let errors = rows_in(&answers[1], deprecate_eof).filter(|errors| found && *errors > 0);
            if let Some(errors) = errors
                && let Some(counted) = with_values(&answers[3], &[(0, errors)], false, deprecate_eof)
            {
                answers[3] = counted;
            }
            told = Some(answers);
        }
        Ok(Self { rows: Some(rows), found: None, told })
    }

    /// The same, told behind the COMMIT.
    pub(super) fn outside(mut self, deprecate_eof: bool) -> Self {
        for answer in self.told.iter_mut().flatten() {
            let _ = each_frame(answer, |frame| {
                let status_at = match frame.first() {
                    Some(0xfe) if deprecate_eof => OkPacket::read(frame).map(|ok| ok.status_at),
                    Some(0xfe) => Some(3),
                    _ => None,
                };
                if let Some(status) = status_at.and_then(|at| frame.get_mut(at..at + 2)) {
                    let told = u16::from_le_bytes([status[0], status[1]]);
                    let told = (told | AUTOCOMMIT) & !(IN_TRANS | IN_TRANS_READONLY);
                    status.copy_from_slice(&told.to_le_bytes());
                }
                Some(())
            });
        }
        self
    }

    /// What the question asks for of what is held here.
    fn asked(&self, text: &[u8], deprecate_eof: bool) -> Option<Asked> {
        let mut tokens = tokens(text, SqlMode::default()).ok()?;
        while tokens.last().is_some_and(|token| token.is_punct(text, b';')) {
            tokens.pop();
        }
        let [first, rest @ ..] = tokens.as_slice() else { return None };
        if first.is_word(text, "SHOW") {
            self.told.as_ref()?;
            let words: Vec<Vec<u8>> = rest.iter().map(|t| t.text(text).to_ascii_uppercase()).collect();
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            return match words.as_slice() {
                [b"WARNINGS"] => Some(Asked::Told(0, None)),
                [b"ERRORS"] => Some(Asked::Told(1, None)),
                [b"WARNINGS", b"LIMIT", most] => Some(Asked::Told(0, Some(number(most)?))),
                [b"ERRORS", b"LIMIT", most] => Some(Asked::Told(1, Some(number(most)?))),
                [b"COUNT", b"(", b"*", b")", b"WARNINGS"] => Some(Asked::Told(2, None)),
                [b"COUNT", b"(", b"*", b")", b"ERRORS"] => Some(Asked::Told(3, None)),
                _ => None,
            };
        }
        if !first.is_word(text, "SELECT") {
            return None;
        }
        let items = rest.split(|token| token.is_punct(text, b','));
        let left: Vec<Left> = items.map(|item| left(text, item)).collect::<Option<_>>()?;
        let value = |(at, left): (usize, &Left)| {
            let count = |which: usize| count_in(self.told.as_ref()?.get(which)?, deprecate_eof);
            let value = match left {
                Left::Rows => self.rows,
                Left::Found => self.found,
                Left::Warnings => count(2),
                Left::Errors => count(3),
                Left::LastId => None,
            };
            Some((at, value?))
        };
        let values: Vec<(usize, i64)> = left.iter().enumerate().filter_map(value).collect();
        let counts = left.iter().any(|left| matches!(left, Left::Warnings | Left::Errors));
        (!values.is_empty()).then_some(Asked::Values(values, counts))
    }
}

/// What a statement leaves.
enum Left {
    Rows,
    Found,
    LastId,
    Warnings,
    Errors,
}

fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What an item asks for. None: it is something else than what statements leave, and may do anything.
fn left(text: &[u8], item: &[Token]) -> Option<Left> {
    let (found, alias) = match item {
        [function, open, close, alias @ ..] if open.is_punct(text, b'(') && close.is_punct(text, b')') => {
            let known =
                [("ROW_COUNT", Left::Rows), ("FOUND_ROWS", Left::Found), ("LAST_INSERT_ID", Left::LastId)];
            (known.into_iter().find(|(name, _)| function.is_word(text, name))?.1, alias)
        }
        [variable, alias @ ..] => {
            let name = variable.text(text).to_ascii_lowercase();
            match name.as_slice() {
                b"@@warning_count" | b"@@session.warning_count" => (Left::Warnings, alias),
                b"@@error_count" | b"@@session.error_count" => (Left::Errors, alias),
                _ => return None,
            }
        }
        [] => return None,
    };
    let named = match alias {
        [] | [_] => true,
        [word, _] => word.is_word(text, "AS"),
        _ => false,
    };
    named.then_some(found)
}

impl Session {
    /// Answers a command from the echo of the last one; gives both back when it asks for something else.
    pub(super) async fn answer_from(
        &mut self,
        echo: Echo,
        command: Command,
    ) -> Result<Option<(Command, Echo)>, End> {
        if command.code() == command::PING {
            return self.ping(echo, command).await.map(|()| None);
        }
        let prepared = command.code() == command::STMT_EXECUTE;
        let cursor = prepared && command.payload.get(5).is_none_or(|flags| flags & CURSORS != 0);
        if !(command.code() == command::QUERY || prepared) || cursor {
            return Ok(Some((command, echo)));
        }
        let deprecate_eof = self.backside.capabilities & DEPRECATE_EOF != 0;
        let text = self.text_of(&command);
        match text.and_then(|text| echo.asked(&text, deprecate_eof)) {
            None => return Ok(Some((command, echo))),
            Some(Asked::Told(..)) if prepared => return Ok(Some((command, echo))),
            Some(Asked::Told(which, most)) => {
                let Some(told) = &echo.told else { return Ok(Some((command, echo))) };
                let cut = most.and_then(|most| first_rows(&told[which], most, deprecate_eof));
                self.client.write(cut.as_ref().unwrap_or(&told[which])).await?;
                // They may be asked again and again.
                self.echo = Some(Echo { rows: Some(NO_ROWS), ..echo });
            }
            Some(Asked::Values(values, counts)) => {
                self.backside.restore_multi_statements(&command.payload).await?;
                self.backside.packets.write(&command.frames).await?;
                let answer = whole_answer(&mut self.backside, Expect::Results).await?;
                let told = with_values(&answer, &values, prepared, deprecate_eof).unwrap_or(answer);
                self.client.write(&told).await?;
                if counts && self.mysql.is_mariadb() {
                    self.echo = Some(Echo { rows: Some(NO_ROWS), found: None, ..echo });
                }
            }
        }
        Ok(None)
    }
}

impl Session {
    /// The answer to a ping leaves warnings as they are; MySQL's counts them.
    async fn ping(&mut self, echo: Echo, command: Command) -> Result<(), End> {
        let Answer::Ok(ok, payload) = self.backside.run_raw(&command.frames).await? else {
            return Err(End::Done);
        };
        let deprecate_eof = self.backside.capabilities & DEPRECATE_EOF != 0;
        let told = echo.told.as_ref().filter(|_| !self.mysql.is_mariadb());
        let warnings = told.and_then(|told| count_in(&told[2], deprecate_eof));
        let mut payload = payload.to_vec();
        if let Some(warnings) = warnings.and_then(|count| u16::try_from(count).ok()) {
            payload[ok.status_at + 2..ok.status_at + 4].copy_from_slice(&warnings.to_le_bytes());
        }
        self.status = ok.status;
        self.echo = Some(echo);
        self.tell(&payload).await
    }
}

/// Keeps an answer as it comes.
pub(super) async fn whole_answer(backside: &mut Backside, expect: Expect) -> io::Result<Vec<u8>> {
    let malformed = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut tracker = Tracker::new(expect, backside.capabilities);
    let mut answer = Vec::new();
    loop {
        let progress = tracker.advance(backside.packets.arrived());
        let (count, ended) = match progress {
            Progress::End(count) => (count, true),
            Progress::More(count) => (count, false),
            Progress::File(_) => return Err(malformed("a file is asked for")),
            Progress::Malformed(what) => return Err(malformed(what)),
        };
        answer.extend(backside.packets.take(count));
        if ended {
            return Ok(answer);
        }
        if !backside.packets.fill().await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Walks over the payloads of frames, which are all small.
fn each_frame(bytes: &mut [u8], mut look: impl FnMut(&mut [u8]) -> Option<()>) -> Option<()> {
    let mut at = 0;
    while at < bytes.len() {
        let start = at + HEADER;
        let (length, _) = packet::header(&bytes[at..])?;
        look(bytes.get_mut(start..start + length)?)?;
        at = start + length;
    }
    Some(())
}

/// Takes an answer apart: how many columns it has, and its frames, each with its number.
fn frames_of(answer: &[u8]) -> Option<(usize, Vec<&[u8]>)> {
    let mut rest = answer;
    let mut frames = Vec::new();
    while let Some((length, _)) = packet::header(rest) {
        let (frame, more) = rest.split_at_checked(HEADER + length)?;
        frames.push(frame);
        rest = more;
    }
    let columns = Reader(frames.first()?.get(HEADER..)?).lenenc()?;
    Some((usize::try_from(columns).ok()?, frames))
}

/// An answer of one row in which these columns have these numbers.
fn with_values(answer: &[u8], values: &[(usize, i64)], binary: bool, deprecate_eof: bool) -> Option<Vec<u8>> {
    let (columns, frames) = frames_of(answer)?;
    let mut told = Vec::with_capacity(answer.len() + 16);
    for (number, frame) in frames.into_iter().enumerate() {
        if number == columns + 1 + usize::from(!deprecate_eof) {
            let row = match binary {
                true => numbers_row(&frame[HEADER..], columns, values)?,
                false => {
                    let mut row = text_row(&frame[HEADER..], columns)?;
                    for (at, value) in values {
                        *row.get_mut(*at)? = Some(value.to_string().into_bytes());
                    }
                    packet::text_row(&row)
                }
            };
            told.extend(packet::frames(&row, frame[HEADER - 1]).0);
        } else {
            told.extend(frame);
        }
    }
    Some(told)
}

/// A binary row of numbers of eight bytes, some of them replaced.
fn numbers_row(row: &[u8], columns: usize, values: &[(usize, i64)]) -> Option<Vec<u8>> {
    let start = 1 + (columns + 9) / 8;
    let mut row = row.to_vec();
    if row.len() != start + 8 * columns {
        return None;
    }
    for (at, value) in values {
        row.get_mut(start + 8 * at..)?.first_chunk_mut::<8>()?.copy_from_slice(&value.to_le_bytes());
    }
    Some(row)
}

/// How many rows an answer has.
fn rows_in(answer: &[u8], deprecate_eof: bool) -> Option<i64> {
    let (columns, frames) = frames_of(answer)?;
    i64::try_from(frames.len()).ok()?.checked_sub_unsigned(columns as u64 + 2 + u64::from(!deprecate_eof))
}

/// The number in an answer of one row and column.
fn count_in(answer: &[u8], deprecate_eof: bool) -> Option<i64> {
    let (columns, frames) = frames_of(answer)?;
    let frame = frames.get(columns + 1 + usize::from(!deprecate_eof))?;
    let row = text_row(&frame[HEADER..], columns)?;
    std::str::from_utf8(row.first()?.as_deref()?).ok()?.parse().ok()
}

/// An answer without the rows behind the first so many.
fn first_rows(answer: &[u8], most: usize, deprecate_eof: bool) -> Option<Vec<u8>> {
    let (columns, mut frames) = frames_of(answer)?;
    let end = frames.pop()?;
    frames.truncate(columns + 1 + usize::from(!deprecate_eof) + most);
    let number = frames.last()?[HEADER - 1].wrapping_add(1);
    let mut told = frames.concat();
    told.extend(packet::frames(&end[HEADER..], number).0);
    Some(told)
}
