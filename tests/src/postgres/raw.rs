//! A client that adds nothing to PostgreSQL's protocol and hides nothing of it: it signs in, sends what it is told, and
//! gives every message as it came.

use super::message::{self, Message};
use crate::{Context, Failure, Result, wait};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Version 3.0 of the protocol.
const PROTOCOL: u32 = 3 << 16;
const CANCEL: [u8; 4] = 80_877_102_u32.to_be_bytes();

/// A connection that has signed in.
pub struct Raw {
    port: u16,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// The process number and the secret for a cancel request.
    key: Vec<u8>,
    /// What came from AuthenticationOk to the first ReadyForQuery.
    pub greeting: Vec<Message>,
}

impl Raw {
    /// Signs in by password, without TLS. `parameters` go with the startup message.
    pub async fn connect(
        port: u16,
        user: (&str, &str),
        database: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Self> {
        Self::connect_by(PROTOCOL, port, user, database, parameters).await
    }

    /// The same, asking for this version of the protocol.
    pub async fn connect_by(
        protocol: u32,
        port: u16,
        user: (&str, &str),
        database: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.or_fail(format!("port {port}"))?;
        stream.set_nodelay(true).or_fail("a socket")?;
        let (reader, writer) = stream.into_split();
        let reader = BufReader::new(reader);
        let mut raw = Self { port, reader, writer, key: Vec::new(), greeting: Vec::new() };
        let mut startup = protocol.to_be_bytes().to_vec();
        startup.extend(message::texts(&["user", user.0, "database", database]));
        parameters.iter().for_each(|(name, value)| startup.extend(message::texts(&[name, value])));
        startup.push(0);
        raw.send(&message::first(&startup)).await?;
        raw.sign_in(user.1).await?;
        let rest = raw.until(b'Z').await?;
        raw.greeting.extend(rest);
        let key = raw.greeting.iter().find(|message| message.kind == b'K');
        raw.key = key.or_fail("no BackendKeyData came")?.body.clone();
        Ok(raw)
    }

    async fn sign_in(&mut self, password: &str) -> Result<()> {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let message = self.receive().await?;
            if message.kind == b'E' {
                return Err(Failure::new(format!("signing in: {message}")));
            }
            if message.kind == b'v' {
                // What of the version and the options the server does not know.
                self.greeting.push(message);
                continue;
            }
            let (code, rest) = message.body.split_first_chunk::<4>().or_fail("a short message")?;
            match (message.kind, u32::from_be_bytes(*code)) {
                (b'R', 0) => return Ok(()),
                (b'R', 10) => {
                    let first = scram.message();
                    let length = u32::try_from(first.len()).or_fail("SCRAM")?.to_be_bytes();
                    let body = [&message::texts(&[SCRAM_SHA_256])[..], &length, first].concat();
                    self.send(&message::message(b'p', &body)).await?;
                }
                (b'R', 11) => {
                    scram.update(rest).or_fail("SCRAM")?;
                    let answer = message::message(b'p', scram.message());
                    self.send(&answer).await?;
                }
                (b'R', 12) => scram.finish(rest).or_fail("SCRAM")?,
                _ => return Err(Failure::new(format!("signing in: {message}"))),
            }
        }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).await.or_fail("sending")
    }

    /// The next message of the server, within the tests' patience.
    pub async fn receive(&mut self) -> Result<Message> {
        tokio::time::timeout(wait::PATIENCE, self.read()).await.or_fail("no message came")?
    }

    async fn read(&mut self) -> Result<Message> {
        let mut header = [0; 5];
        self.reader.read_exact(&mut header).await.or_fail("receiving")?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let length = usize::try_from(length).or_fail("a length")?.checked_sub(4).or_fail("a length")?;
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).await.or_fail("receiving")?;
        Ok(Message { kind: header[0], body })
    }

    /// All messages up to one of this kind.
    pub async fn until(&mut self, kind: u8) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            let message = match self.receive().await {
                Ok(message) => message,
                Err(error) => {
                    let seen = message::line(&messages);
                    return Err(Failure::new(format!(
                        "waiting for {:?}: {error}, after: {seen}",
                        char::from(kind)
                    )));
                }
            };
            let last = message.kind == kind;
            messages.push(message);
            if last {
                return Ok(messages);
            }
        }
    }

    /// A simple Query, and all that answers it.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Message>> {
        self.send(&message::message(b'Q', &message::texts(&[sql]))).await?;
        self.until(b'Z').await
    }

    /// The same through Parse, Describe, Bind and Execute without parameters, as drivers do it: first prepared and
    /// described, then run, with results in this format.
    pub async fn prepared(&mut self, sql: &str, format: i16) -> Result<Vec<Message>> {
        let sync = message::message(b'S', b"");
        let prepare = [message::parse("", sql, &[]), message::name(b'D', b'S', ""), sync.clone()].concat();
        self.send(&prepare).await?;
        let mut answers = self.until(b'Z').await?;
        if !answers.iter().any(|answer| answer.kind == b'E') {
            let run = [message::bind("", "", &[], &[format]), message::execute("", 0), sync].concat();
            self.send(&run).await?;
            answers.extend(self.until(b'Z').await?);
        }
        Ok(answers)
    }

    /// The single value of the single row that a statement answers, or the server's error as a failure. A rollback of the
    /// session's own is asked about until it is over, however busy the machine is.
    pub async fn one(&mut self, sql: &str) -> Result<String> {
        if sql != "SELECT atone_rollback()" {
            return self.value(sql).await;
        }
        let xid = self.value("SELECT atone_xid()").await.unwrap_or_default();
        let mut answer = self.value(sql).await?;
        let deadline = wait::Deadline::new();
        while answer == "rolling_back" && !deadline.is_over() {
            answer = self.value(&format!("SELECT atone_rollback('{xid}')")).await?;
        }
        Ok(answer)
    }

    async fn value(&mut self, sql: &str) -> Result<String> {
        let answers = self.query(sql).await?;
        let row = answers.iter().find(|answer| answer.kind == b'D');
        let value = row.and_then(|row| row.texts().into_iter().next());
        value.or_fail(format!("{sql} answered {}", message::line(&answers)))
    }

    /// Asks the server, on another connection, to cancel what this session does.
    pub async fn cancel(&self) -> Result<()> {
        let mut other = TcpStream::connect(("127.0.0.1", self.port)).await.or_fail("a cancel request")?;
        let request = message::first(&[&CANCEL[..], &self.key].concat());
        other.write_all(&request).await.or_fail("a cancel request")?;
        // The server closes without an answer.
        let mut rest = Vec::new();
        other.read_to_end(&mut rest).await.or_fail("a cancel request").map(drop)
    }

    /// Whether the server has closed the connection, once it has.
    pub async fn closed(&mut self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        while let Ok(message) = self.receive().await {
            messages.push(message);
        }
        Ok(messages)
    }
}
