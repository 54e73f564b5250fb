//! Where the answer to a command ends, which MySQL's protocol leaves to be known from all that came before.

use super::packet::{Packet, Reader};
use super::raw::Raw;
use crate::{Failure, Result};

/// What answers a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing.
    None,
    /// A single packet.
    One,
    /// OK, ERR, a request for a file, or rows; and more of them while the status says so.
    Results,
    /// A statement's number, its parameters and its columns.
    Prepared,
    /// Rows without their columns, or columns without rows.
    Rows,
}

const OK: u8 = 0;
/// Asks the client for a file.
pub const FILE: u8 = 0xfb;
const EOF: u8 = 0xfe;
const ERR: u8 = 0xff;

const MORE_RESULTS: u64 = 8;
const CURSOR_EXISTS: u64 = 64;

impl Raw {
    /// COM_QUERY, without attributes where there could be some.
    pub fn query(&self, text: &[u8]) -> Vec<u8> {
        let head: &[u8] = if self.attributes { &[3, 0, 1] } else { &[3] };
        [head, text].concat()
    }

    /// Runs a query whose answer is one row of one text, and gives the text.
    pub async fn one(&mut self, sql: &str) -> Result<String> {
        self.command(&self.query(sql.as_bytes())).await?;
        let packets = self.answer(Answer::Results).await?;
        let [_, _, .., row, _] = &packets[..] else {
            return Err(Failure::new(format!("{sql}: {packets:?}")));
        };
        Ok(String::from_utf8_lossy(row.body.get(1..).unwrap_or_default()).into_owned())
    }

    /// All packets of an answer, or those that came before the server closed the connection.
    pub async fn answer(&mut self, answer: Answer) -> Result<Vec<Packet>> {
        let mut packets = Vec::new();
        match answer {
            Answer::None => {}
            Answer::One => drop(self.next(&mut packets).await?),
            Answer::Results => while self.result(&mut packets).await? {},
            Answer::Prepared => self.prepared(&mut packets).await?,
            Answer::Rows => drop(self.rows(&mut packets).await?),
        }
        Ok(packets)
    }

    /// Reads a whole message, in as many packets as it has. Gives the first of them.
    async fn next(&mut self, packets: &mut Vec<Packet>) -> Result<Option<Packet>> {
        let mut message = self.message().await?;
        packets.extend(message.iter().cloned());
        Ok(if message.is_empty() { None } else { Some(message.swap_remove(0)) })
    }

    /// Reads one result. Gives whether another follows.
    async fn result(&mut self, packets: &mut Vec<Packet>) -> Result<bool> {
        let Some(first) = self.next(packets).await? else { return Ok(false) };
        match first.kind() {
            ERR | FILE => return Ok(false),
            OK => return Ok(ok_status(&first) & MORE_RESULTS != 0),
            _ => {}
        }
        for _ in 0..Reader(&first.body).lenenc() {
            self.next(packets).await?;
        }
        if !self.deprecate_eof {
            let Some(eof) = self.next(packets).await? else { return Ok(false) };
            if eof.kind() == ERR {
                return Ok(false);
            }
            if eof_status(&eof) & CURSOR_EXISTS != 0 {
                return Ok(eof_status(&eof) & MORE_RESULTS != 0);
            }
        }
        Ok(self.rows(packets).await? & MORE_RESULTS != 0)
    }

    /// Reads up to the end of rows or columns. Gives the status there.
    async fn rows(&mut self, packets: &mut Vec<Packet>) -> Result<u64> {
        loop {
            let Some(packet) = self.next(packets).await? else { return Ok(0) };
            match packet.kind() {
                ERR => return Ok(0),
                EOF if self.deprecate_eof && packet.body.len() < super::packet::FULL => {
                    return Ok(ok_status(&packet));
                }
                EOF if packet.body.len() < 9 => return Ok(eof_status(&packet)),
                _ => {}
            }
        }
    }

    async fn prepared(&mut self, packets: &mut Vec<Packet>) -> Result<()> {
        let Some(first) = self.next(packets).await?.filter(|first| first.kind() == OK) else { return Ok(()) };
        let mut reader = Reader(&first.body[5.min(first.body.len())..]);
        let (columns, parameters) = (reader.number(2), reader.number(2));
        for count in [parameters, columns].into_iter().filter(|count| *count > 0) {
            for _ in 0..count + u64::from(!self.deprecate_eof) {
                self.next(packets).await?;
            }
        }
        Ok(())
    }
}

/// The status of an OK packet, also of one that stands for EOF.
fn ok_status(packet: &Packet) -> u64 {
    let mut reader = Reader(&packet.body[1..]);
    reader.lenenc();
    reader.lenenc();
    reader.number(2)
}

fn eof_status(packet: &Packet) -> u64 {
    let mut reader = Reader(&packet.body[1..]);
    reader.number(2);
    reader.number(2)
}
