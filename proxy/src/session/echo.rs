//! What a statement leaves behind for the next one to ask: its warnings and ROW_COUNT(). A statement that stood
//! alone was followed by our COMMIT or ROLLBACK, which clears both in the database; here they live one statement longer.

use super::{Backside, Command, End, Session, ask::text_row};
use crate::wire::{
    capability::{AUTOCOMMIT, DEPRECATE_EOF, IN_TRANS, IN_TRANS_READONLY},
    command,
    packet::{self, HEADER, Reader},
    reply::{Expect, OkPacket, Progress, Tracker},
};
use atone_undo_log::sql::{SqlMode, Token, tokens};
use std::io;

/// What ROW_COUNT() is after an error, and after rows.
pub(super) const NO_ROWS: i64 = -1;

/// The leavings of one statement.
pub(super) struct Echo {
    /// What ROW_COUNT() is.
    rows: i64,
    /// The answer to `SHOW WARNINGS`, as it came; None when there were none.
    warnings: Option<Vec<u8>>,
}

/// What a question asks for.
enum Asked {
    Warnings,
    /// ROW_COUNT(), in these columns.
    Rows(Vec<usize>),
}

impl Echo {
    /// Asks for what will be gone after the COMMIT.
    pub(super) async fn keep(backside: &mut Backside, rows: i64, warned: bool) -> io::Result<Self> {
        let mut warnings = None;
        if warned {
            let query = packet::frames(&backside.query_payload("SHOW WARNINGS"), 0).0;
            warnings = Some(whole_answer(backside, &query).await?);
        }
        Ok(Self { rows, warnings })
    }

    /// The same, told behind the COMMIT.
    pub(super) fn outside(mut self, deprecate_eof: bool) -> Self {
        if let Some(warnings) = &mut self.warnings {
            let _ = each_frame(warnings, |frame| {
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
    fn asked(&self, text: &[u8]) -> Option<Asked> {
        let mut tokens = tokens(text, SqlMode::default()).ok()?;
        while tokens.last().is_some_and(|token| token.is_punct(text, b';')) {
            tokens.pop();
        }
        let [first, rest @ ..] = tokens.as_slice() else { return None };
        match rest {
            [one] if first.is_word(text, "SHOW") && one.is_word(text, "WARNINGS") => {
                self.warnings.as_ref().map(|_| Asked::Warnings)
            }
            items if first.is_word(text, "SELECT") => {
                let items = items.split(|token| token.is_punct(text, b','));
                let counts: Vec<bool> = items.map(|item| is_count(text, item)).collect::<Option<_>>()?;
                let at: Vec<usize> = (0..counts.len()).filter(|at| counts[*at]).collect();
                (!at.is_empty()).then_some(Asked::Rows(at))
            }
            _ => None,
        }
    }
}

/// Is this ROW_COUNT()? None: it is something else than what statements leave, and may do anything.
fn is_count(text: &[u8], item: &[Token]) -> Option<bool> {
    let [function, open, close, alias @ ..] = item else { return None };
    let call = open.is_punct(text, b'(') && close.is_punct(text, b')');
    let named = match alias {
        [] | [_] => true,
        [word, _] => word.is_word(text, "AS"),
        _ => false,
    };
    let known = ["ROW_COUNT", "FOUND_ROWS", "LAST_INSERT_ID"];
    let known = known.iter().position(|name| function.is_word(text, name))?;
    (call && named).then_some(known == 0)
}

impl Session {
    /// Answers a command from the echo of the last one; gives it back when it asks for something else.
    pub(super) async fn answer_from(&mut self, echo: Echo, command: Command) -> Result<Option<Command>, End> {
        if command.code() != command::QUERY {
            return Ok(Some(command));
        }
        let asked = self.text_at(&command).and_then(|at| echo.asked(&command.payload[at..]));
        match (asked, echo.warnings) {
            (None, _) | (Some(Asked::Warnings), None) => return Ok(Some(command)),
            (Some(Asked::Warnings), Some(warnings)) => {
                self.client.write(&warnings).await?;
                // They may be asked again and again.
                self.echo = Some(Echo { rows: NO_ROWS, warnings: Some(warnings) });
            }
            (Some(Asked::Rows(at)), _) => {
                let answer = whole_answer(&mut self.backside, &command.frames).await?;
                let deprecate_eof = self.backside.capabilities & DEPRECATE_EOF != 0;
                let told = with_count(&answer, &at, echo.rows, deprecate_eof).unwrap_or(answer);
                self.client.write(&told).await?;
            }
        }
        Ok(None)
    }
}

/// Asks, and keeps the answer as it came.
async fn whole_answer(backside: &mut Backside, frames: &[u8]) -> io::Result<Vec<u8>> {
    let malformed = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    backside.packets.write(frames).await?;
    let mut tracker = Tracker::new(Expect::Results, backside.capabilities);
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

/// An answer of one row in which these columns have this number.
fn with_count(answer: &[u8], at: &[usize], count: i64, deprecate_eof: bool) -> Option<Vec<u8>> {
    let mut rest = answer;
    let mut told = Vec::with_capacity(answer.len() + 16);
    let mut columns = 0;
    for number in 0.. {
        let Some((length, sequence)) = packet::header(rest) else { return Some(told) };
        let (frame, more) = rest.split_at_checked(HEADER + length)?;
        let payload = &frame[HEADER..];
        if number == 0 {
            columns = usize::try_from(Reader(payload).lenenc()?).ok()?;
        }
        if number == columns + 1 + usize::from(!deprecate_eof) {
            let mut row = text_row(payload, columns)?;
            at.iter().for_each(|at| row[*at] = Some(count.to_string().into_bytes()));
            told.extend(packet::frames(&packet::text_row(&row), sequence).0);
        } else {
            told.extend(frame);
        }
        rest = more;
    }
    None
}
