//! A client that adds nothing to MySQL's protocol and hides nothing of it: it signs in, sends what it is told, and gives
//! every packet as it came.

use super::packet::{FULL, Packet, framed};
use crate::{Context, Result, wait};
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What the client says it can, beyond what any client of the last ten years can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abilities {
    /// No more.
    Old,
    /// Rows that end with OK, the session's state with each OK, and attributes of queries where the server has them.
    New,
}

/// A connection that has signed in.
pub struct Raw {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// The number of the last packet that was received.
    last: u8,
    /// Rows end with OK.
    pub(super) deprecate_eof: bool,
    /// A query's text comes after its attributes.
    pub(super) attributes: bool,
    /// The server's greeting and its OK, without what differs from connection to connection.
    pub greeting: Vec<Packet>,
}

impl Raw {
    /// Signs in by password, without TLS.
    pub async fn connect(port: u16, user: (&str, &str), schema: &str, abilities: Abilities) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.or_fail(format!("port {port}"))?;
        stream.set_nodelay(true).or_fail("a socket")?;
        let (reader, writer) = stream.into_split();
        let reader = BufReader::new(reader);
        let (last, greeting) = (0, Vec::new());
        let mut raw = Self { reader, writer, last, deprecate_eof: false, attributes: false, greeting };
        raw.sign_in(user, schema, abilities).await?;
        Ok(raw)
    }

    /// Whether the greeting is MariaDB's.
    pub(super) fn is_mariadb(&self) -> bool {
        let version = self.greeting.first().map_or(&[][..], |greeting| &greeting.body);
        version.windows(7).any(|word| word == b"MariaDB")
    }

    /// Sends a command. A server that has gone is not noticed here but where its answer is missing.
    pub async fn command(&mut self, payload: &[u8]) -> Result<()> {
        match self.writer.write_all(&framed(0, payload)).await {
            Err(error) if gone(error.kind()) => Ok(()),
            result => result.or_fail("sending"),
        }
    }

    /// Sends a message within an exchange, numbered as the next.
    pub async fn reply(&mut self, payload: &[u8]) -> Result<()> {
        self.last = self.last.wrapping_add(1);
        self.writer.write_all(&framed(self.last, payload)).await.or_fail("sending")
    }

    /// The next message of the server, in the packets that it came in, within the tests' patience. Nothing if the server
    /// has closed the connection.
    pub async fn message(&mut self) -> Result<Vec<Packet>> {
        let mut packets = Vec::new();
        loop {
            let packet = tokio::time::timeout(wait::PATIENCE, self.packet()).await;
            let Some(packet) = packet.or_fail("no packet came")?? else { return Ok(packets) };
            let last = packet.body.len() < FULL;
            packets.push(packet);
            if last {
                return Ok(packets);
            }
        }
    }

    async fn packet(&mut self) -> Result<Option<Packet>> {
        let mut header = [0; 4];
        match self.reader.read_exact(&mut header).await {
            Err(error) if gone(error.kind()) => return Ok(None),
            result => result.or_fail("receiving")?,
        };
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let mut body = vec![0; usize::try_from(length).or_fail("a length")?];
        self.reader.read_exact(&mut body).await.or_fail("receiving")?;
        self.last = header[3];
        Ok(Some(Packet { number: header[3], body }))
    }

    /// What comes until the server has closed the connection.
    pub async fn closed(&mut self) -> Result<Vec<Packet>> {
        let mut packets = Vec::new();
        loop {
            let message = self.message().await?;
            if message.is_empty() {
                return Ok(packets);
            }
            packets.extend(message);
        }
    }
}

fn gone(kind: ErrorKind) -> bool {
    [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&kind)
}
