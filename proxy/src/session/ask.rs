//! Our own questions on the application's database connection: sent between its statements, read to the end, and
//! never seen by it.

use super::{failure::Failure, tracked::Tracked};
use crate::{
    net::Packets,
    wire::{
        capability::{DEPRECATE_EOF, MORE_RESULTS, MULTI_STATEMENTS, QUERY_ATTRIBUTES},
        command,
        packet::{self, Reader},
        reply::OkPacket,
    },
    yielding::Gate,
};
use bytes::Bytes;
use std::{io, sync::Arc};

/// An answer packet that is larger than this breaks the connection.
const PACKET_LIMIT: usize = 1 << 30;
/// Queries are sent in one go only if they fit into the socket's buffers: the server does not read while it writes.
const PIPELINE_LIMIT: usize = 16 << 10;

/// Turns several statements in one query on, and off.
const ON: [u8; 3] = [command::SET_OPTION, 0, 0];
const OFF: [u8; 3] = [command::SET_OPTION, 1, 0];

/// Asks what FOUND_ROWS() is.
pub const FOUND_ROWS: &str = "SELECT FOUND_ROWS()";

/// A row in the text protocol.
pub type TextRow = Vec<Option<Vec<u8>>>;

/// One result.
#[derive(Debug)]
pub enum Answer {
    /// No rows.
    Ok(OkPacket, Bytes),
    /// Rows.
    Rows(Vec<TextRow>),
    /// More rows, or bytes of rows, than allowed; all were read.
    TooMany,
    /// An error.
    Error(ServerError),
}

/// An error of the server, as it sent it.
#[derive(Debug, Clone)]
pub struct ServerError {
    /// Its number.
    pub code: u16,
    /// The whole ERR payload.
    pub payload: Bytes,
}

impl ServerError {
    /// The sentence.
    pub fn message(&self) -> String {
        let text = self.payload.get(3..).unwrap_or_default();
        let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
        String::from_utf8_lossy(text).into_owned()
    }
}

/// The application's database connection.
pub struct Backside {
    /// Its packets.
    pub packets: Packets,
    /// What client and server agreed on.
    pub capabilities: u32,
    /// Several statements in one query are allowed, as the client asked for.
    pub multi_statements: bool,
    /// The same as the server has it, which we turn on and leave so until it would make a difference; None: not known.
    pub server_multi: Option<bool>,
    /// What FOUND_ROWS() is to the application, where our own questions may have changed it.
    pub found: Option<i64>,
    /// How the local transaction fares.
    pub tracked: Tracked,
    /// Rows that one answer may hold.
    pub row_limit: usize,
    /// Bytes that one answer may hold.
    pub byte_limit: usize,
    /// What may interrupt the statement that runs.
    pub gate: Option<Arc<Gate>>,
    /// It was interrupted for a circle, and what the client is told.
    pub yielded: Option<Failure>,
}

impl Backside {
    /// A connection that has been signed in.
    pub fn new(packets: Packets, capabilities: u32, row_limit: usize, byte_limit: usize) -> Self {
        let multi_statements = capabilities & MULTI_STATEMENTS != 0;
        let server_multi = Some(multi_statements);
        Self {
            packets,
            capabilities,
            multi_statements,
            server_multi,
            found: None,
            tracked: Tracked::default(),
            row_limit,
            byte_limit,
            gate: None,
            yielded: None,
        }
    }

    /// A COM_QUERY payload.
    pub fn query_payload(&self, sql: &str) -> Vec<u8> {
        let mut payload = vec![command::QUERY];
        if self.capabilities & QUERY_ATTRIBUTES != 0 {
            payload.extend([0, 1]);
        }
        payload.extend(sql.as_bytes());
        payload
    }

    /// Asks several questions, each with one answer; in one go when they are small. What FOUND_ROWS() was before them is
    /// kept.
    pub async fn ask<Q: AsRef<str>>(&mut self, queries: &[Q]) -> io::Result<Vec<Answer>> {
        let mut all: Vec<&str> = queries.iter().map(AsRef::as_ref).collect();
        let counts = |query: &&str| query.starts_with("SELECT");
        let found = all.iter().position(counts).filter(|_| self.found.is_none());
        if let Some(at) = found {
            all.insert(at, FOUND_ROWS);
        }
        let mut answers = self.ask_all(&all).await?;
        if let Some(at) = found {
            self.note_found(answers.remove(at));
        }
        Ok(answers)
    }

    /// The answer to [`FOUND_ROWS`]. If it followed others of our questions, it is known already.
    pub fn note_found(&mut self, answer: Answer) {
        if let (None, Answer::Rows(rows)) = (self.found, answer) {
            let text = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
            self.found = text.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
        }
    }

    async fn ask_all(&mut self, queries: &[&str]) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(queries.len());
        if queries.iter().map(|q| q.len()).sum::<usize>() <= PIPELINE_LIMIT {
            let all: Vec<u8> =
                queries.iter().flat_map(|q| packet::frames(&self.query_payload(q), 0).0).collect();
            self.packets.write(&all).await?;
            for _ in queries {
                answers.push(self.only_answer().await?);
            }
        } else {
            for query in queries {
                self.packets.send(&self.query_payload(query), 0).await?;
                answers.push(self.only_answer().await?);
            }
        }
        Ok(answers)
    }

    /// Asks one question.
    pub async fn ask_one(&mut self, sql: &str) -> io::Result<Answer> {
        Ok(self.ask(&[sql]).await?.remove(0))
    }

    /// Runs statements in one message, of which each is run only if those before it succeeded; their answers, up to
    /// the first error.
    pub async fn run_together(&mut self, sql: &str) -> io::Result<Vec<Answer>> {
        let payload = self.query_payload(sql);
        self.run_payload(&payload).await
    }

    /// The same with the whole COM_QUERY.
    pub async fn run_payload(&mut self, payload: &[u8]) -> io::Result<Vec<Answer>> {
        let query = packet::frames(payload, 0).0;
        if self.server_multi == Some(true) {
            self.packets.write(&query).await?;
        } else {
            self.packets.write(&[packet::frames(&ON, 0).0, query].concat()).await?;
            self.packets.packet(PACKET_LIMIT).await?;
            self.server_multi = Some(true);
        }
        let mut answers = Vec::new();
        loop {
            let (answer, more) = self.answer().await?;
            answers.push(answer);
            if !more {
                return Ok(answers);
            }
        }
    }

    /// Before a command of the client's: what holds several statements, or may, must find them allowed or not as it wants.
    pub async fn restore_multi_statements(&mut self, payload: &[u8]) -> io::Result<()> {
        if self.multi_statements || self.server_multi != Some(true) {
            return Ok(());
        }
        let text = payload.strip_suffix(b";").unwrap_or(payload);
        let several = payload.first() == Some(&command::QUERY) && text.contains(&b';');
        if several { self.give_back_multi_statements().await } else { Ok(()) }
    }

    /// Turns several statements in one query off again, if we turned them on.
    pub async fn give_back_multi_statements(&mut self) -> io::Result<()> {
        if self.server_multi == Some(true) && !self.multi_statements {
            self.packets.write(&packet::frames(&OFF, 0).0).await?;
            self.packets.packet(PACKET_LIMIT).await?;
            self.server_multi = Some(false);
        }
        Ok(())
    }

    /// Sends a command's frames as the application made them, and reads its one answer.
    pub async fn run_raw(&mut self, frames: &[u8]) -> io::Result<Answer> {
        self.restore_multi_statements(frames.get(packet::HEADER..).unwrap_or_default()).await?;
        self.packets.write(frames).await?;
        self.only_answer().await
    }

    /// An answer that no other follows. If one did, every later answer would be taken for another question's.
    pub async fn only_answer(&mut self) -> io::Result<Answer> {
        match self.answer().await? {
            (answer, false) => Ok(answer),
            (_, true) => Err(io::Error::new(io::ErrorKind::InvalidData, "a second answer to one question")),
        }
    }

    /// One answer, and whether another follows.
    async fn answer(&mut self) -> io::Result<(Answer, bool)> {
        let malformed = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let first = self.packets.packet(PACKET_LIMIT).await?.payload;
        match first.first() {
            Some(0x00) => {
                let ok = OkPacket::read(&first).ok_or_else(|| malformed("a short OK packet"))?;
                let more = ok.status & MORE_RESULTS != 0;
                self.tracked.heard(&first, &ok, true);
                Ok((Answer::Ok(ok, first), more))
            }
            Some(0xff) => Ok((Answer::Error(self.error(first).await), false)),
            _ => {
                let columns = Reader(&first).lenenc().filter(|c| (1..=65535).contains(c));
                self.rows(columns.ok_or_else(|| malformed("a result without columns"))? as usize).await
            }
        }
    }

    async fn error(&mut self, payload: Bytes) -> ServerError {
        let code = payload.get(1..3).map_or(0, |c| u16::from_le_bytes([c[0], c[1]]));
        self.spoken(code, payload).await
    }

    async fn rows(&mut self, columns: usize) -> io::Result<(Answer, bool)> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a malformed row");
        let deprecate_eof = self.capabilities & DEPRECATE_EOF != 0;
        for _ in 0..columns + usize::from(!deprecate_eof) {
            self.packets.packet(PACKET_LIMIT).await?;
        }
        let (mut rows, mut bytes, mut too_many) = (Vec::new(), 0, false);
        loop {
            let payload = self.packets.packet(PACKET_LIMIT).await?.payload;
            match payload.first() {
                Some(0xff) => return Ok((Answer::Error(self.error(payload).await), false)),
                Some(0xfe) if payload.len() < if deprecate_eof { packet::MAX_PAYLOAD } else { 9 } => {
                    let status = if deprecate_eof {
                        let ok = OkPacket::read(&payload);
                        ok.iter().for_each(|ok| self.tracked.heard(&payload, ok, true));
                        ok.map(|ok| ok.status)
                    } else {
                        payload.get(3..5).map(|s| u16::from_le_bytes([s[0], s[1]]))
                    };
                    let more = status.ok_or_else(malformed)? & MORE_RESULTS != 0;
                    return Ok((if too_many { Answer::TooMany } else { Answer::Rows(rows) }, more));
                }
                _ => {}
            }
            bytes += payload.len();
            too_many |= rows.len() >= self.row_limit || bytes > self.byte_limit;
            if too_many {
                rows = Vec::new();
                continue;
            }
            rows.push(text_row(&payload, columns).ok_or_else(malformed)?);
        }
    }
}

/// A row of text, cut into its columns.
pub(super) fn text_row(payload: &[u8], columns: usize) -> Option<TextRow> {
    let mut reader = Reader(payload);
    let mut row = Vec::with_capacity(columns);
    for _ in 0..columns {
        if reader.0.first() == Some(&0xfb) {
            reader.byte()?;
            row.push(None);
        } else {
            row.push(Some(reader.lenenc_bytes()?.to_vec()));
        }
    }
    Some(row)
}
