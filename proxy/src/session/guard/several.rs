//! Several statements in one text, of which some write: each is run by itself, and their answers are put together as the
//! server would have given them.

use super::kind::Kind;
use crate::{
    session::{Command, End, Session},
    wire::{
        capability::{DEPRECATE_EOF, MORE_RESULTS},
        packet::{self, HEADER, MAX_PAYLOAD, Reader},
        reply::OkPacket,
    },
};
use bytes::Bytes;
use std::ops::Range;

/// The server does not understand the text.
const SYNTAX: u16 = 1064;

impl Session {
    pub(super) async fn several(
        &mut self,
        text: &Bytes,
        parts: Vec<Range<usize>>,
        command: Command,
    ) -> Result<Option<Command>, End> {
        if !self.backside.multi_statements {
            // The server does not take it, and says so.
            return Ok(Some(command));
        }
        let head = command.payload.slice(..command.payload.len() - text.len());
        let deprecate_eof = self.backside.capabilities & DEPRECATE_EOF != 0;
        let mut number = 1;
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            let alone = self.part(&head, text.slice(part.clone())).await?;
            let mut stitch = Stitch { told: Vec::new(), number, error: None };
            if stitch.add(&alone, !last, deprecate_eof).is_none() {
                return Err(End::Done);
            }
            if stitch.error == Some(SYNTAX) {
                // It says what stands behind the mistake.
                let rest = self.rest(&head, text.slice(part.start..)).await?;
                stitch = Stitch { told: Vec::new(), number, error: Some(SYNTAX) };
                if stitch.add(&rest, false, deprecate_eof).is_none() {
                    return Err(End::Done);
                }
            }
            self.client.write(&stitch.told).await?;
            number = stitch.number;
            if stitch.error.is_some() {
                break;
            }
        }
        Ok(None)
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

    /// Runs all that is left, as one that cannot be read.
    async fn rest(&mut self, head: &Bytes, text: Bytes) -> Result<Vec<u8>, End> {
        let payload: Bytes = [head, &text[..]].concat().into();
        let command = Command { frames: packet::frames(&payload, 0).0.into(), payload };
        self.client.hold();
        let done = Box::pin(self.guard_one(Kind::Unread, &text, command, None)).await;
        let told = self.client.release();
        done.map(|_| told)
    }
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
