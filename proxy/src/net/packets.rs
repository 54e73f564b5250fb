//! A stream read by frames. The buffer holds what arrived and was not yet taken; taking never copies.

use super::Stream;
use crate::wire::{
    packet::{HEADER, MAX_PAYLOAD, frames, header},
    postgres::{self, message::Message},
};
use bytes::{Buf, Bytes, BytesMut};
use std::{io, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const READ_SIZE: usize = 16 << 10;
/// Answers held while a question is still being sent.
const ANSWERS_LIMIT: usize = 256 << 20;
/// How long a client that has gone already is served as if it were there.
const MOMENT: Duration = Duration::from_millis(200);
/// A buffer that grew beyond this for one large packet is given back.
const KEEP_SIZE: usize = 256 << 10;

/// One side of a session.
pub struct Packets {
    pub(super) stream: Stream,
    pub(super) buffer: BytesMut,
    /// The stream holds bytes back that were written to it.
    pub(super) unflushed: bool,
    /// So many bytes must arrive before anything can be done.
    pub(super) wanted: usize,
    /// What is written is kept in the last of these instead, if there is one.
    held: Vec<Held>,
}

/// What is held back.
struct Held {
    bytes: Vec<u8>,
    limit: usize,
    /// It was not more than the limit.
    whole: bool,
}

impl Held {
    fn add(&mut self, bytes: &[u8]) {
        self.whole &= self.bytes.len() + bytes.len() <= self.limit;
        if self.whole {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.bytes = Vec::new();
        }
    }
}

/// A whole payload.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The sequence number of its last frame.
    pub sequence: u8,
    /// The payload.
    pub payload: Bytes,
}

impl Packets {
    /// Nothing has been read from the stream yet.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            buffer: BytesMut::with_capacity(READ_SIZE),
            unflushed: false,
            wanted: 0,
            held: Vec::new(),
        }
    }

    /// What has arrived.
    pub fn arrived(&self) -> &[u8] {
        &self.buffer
    }

    /// The stream, to begin TLS on it; None when bytes arrived that nobody has read.
    pub fn into_stream(self) -> Option<Stream> {
        self.buffer.is_empty().then_some(self.stream)
    }

    /// Is it encrypted?
    pub fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    /// Reads more; false at the end of the stream. May be dropped while waiting without losing bytes.
    pub async fn fill(&mut self) -> io::Result<bool> {
        self.make_room(READ_SIZE);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// Waits until the other end is gone, of one who waits for longer than a moment: a client may say its last word and go
    /// without reading the answer. What it says meanwhile is kept, up to a bound; behind that it is not seen to go.
    pub async fn gone(&mut self) {
        tokio::time::sleep(MOMENT).await;
        while self.buffer.len() < KEEP_SIZE {
            if !self.fill().await.unwrap_or(false) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Room for more bytes; what was needed for a large packet once is given back.
    pub(super) fn make_room(&mut self, bytes: usize) {
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_SIZE {
            self.buffer = BytesMut::with_capacity(READ_SIZE);
        }
        self.buffer.reserve(bytes);
    }

    /// So many bytes must arrive before anything can be done with them.
    pub fn want(&mut self, bytes: usize) {
        self.wanted = bytes;
    }

    /// Reads until so many bytes have arrived.
    pub async fn fill_to(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            self.buffer.reserve(length - self.buffer.len());
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Takes bytes that have arrived.
    pub fn take(&mut self, length: usize) -> Bytes {
        self.buffer.split_to(length).freeze()
    }

    /// Reads one frame and nothing behind it: a client that asks for TLS may send the handshake's first bytes along.
    pub async fn lone_packet(&mut self, limit: usize) -> io::Result<Packet> {
        self.fill_exactly(HEADER).await?;
        let (length, _) = header(&self.buffer).unwrap_or_default();
        if length > limit.min(MAX_PAYLOAD - 1) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a packet over {limit} bytes")));
        }
        self.fill_exactly(HEADER + length).await?;
        self.packet(limit).await
    }

    async fn fill_exactly(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            let missing = (length - self.buffer.len()) as u64;
            if (&mut self.stream).take(missing).read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads a whole payload of at most `limit` bytes.
    pub async fn packet(&mut self, limit: usize) -> io::Result<Packet> {
        let mut whole: Option<BytesMut> = None;
        loop {
            self.fill_to(HEADER).await?;
            let (length, sequence) = header(&self.buffer).unwrap_or_default();
            if whole.as_ref().map_or(0, BytesMut::len) + length > limit {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a packet over {limit} bytes"),
                ));
            }
            self.fill_to(HEADER + length).await?;
            self.buffer.advance(HEADER);
            let part = self.buffer.split_to(length);
            match &mut whole {
                None => whole = Some(part),
                Some(whole) => whole.extend_from_slice(&part),
            }
            if length < MAX_PAYLOAD {
                return Ok(Packet { sequence, payload: whole.unwrap_or_default().freeze() });
            }
        }
    }

    /// Writes bytes that are frames already.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(held) = self.held.last_mut() {
            held.add(bytes);
            return Ok(());
        }
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// From here on what is written is held back, also within what is.
    pub fn hold(&mut self) {
        self.hold_up_to(usize::MAX);
    }

    /// The same, up to so many bytes.
    pub fn hold_up_to(&mut self, limit: usize) {
        self.held.push(Held { bytes: Vec::new(), limit, whole: true });
    }

    /// Gives back what was held since the last [`Self::hold`].
    pub fn release(&mut self) -> Vec<u8> {
        self.held.pop().map_or_else(Vec::new, |held| held.bytes)
    }

    /// The same; None if it was more than the limit.
    pub fn release_whole(&mut self) -> Option<Vec<u8>> {
        self.held.pop().filter(|held| held.whole).map(|held| held.bytes)
    }

    /// Moves what has arrived here on to the other side.
    pub async fn pass_on(&mut self, length: usize, to: &mut Self) -> io::Result<()> {
        if length > 0 {
            to.write(&self.buffer[..length]).await?;
            self.buffer.advance(length);
        }
        Ok(())
    }

    /// Writes a payload as frames.
    pub async fn send(&mut self, payload: &[u8], sequence: u8) -> io::Result<()> {
        let (bytes, _) = frames(payload, sequence);
        self.write(&bytes).await
    }

    /// Ends the connection.
    pub async fn close(&mut self) {
        // The peer may be gone already, which is what is wanted.
        let _ = self.stream.shutdown().await;
    }
}

/// The same for PostgreSQL's messages.
impl Packets {
    /// Reads a whole message of at most `limit` bytes. May be dropped while waiting without losing bytes.
    pub async fn message(&mut self, limit: usize) -> io::Result<Message> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        self.fill_to(postgres::message::HEADER).await?;
        let (tag, length) = match postgres::header(&self.buffer) {
            Some(Ok(header)) => header,
            Some(Err(what)) => return Err(invalid(what.into())),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        if length > limit {
            return Err(invalid(format!("a message over {limit} bytes")));
        }
        self.fill_to(length).await?;
        Ok(Message { tag, frame: self.take(length) })
    }

    /// Reads one packet of a startup, its length included, and nothing behind it.
    pub async fn startup(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        self.fill_exactly(4).await?;
        let length = self.buffer.first_chunk::<4>().map_or(0, |l| u32::from_be_bytes(*l)) as usize;
        if !(8..=limit).contains(&length) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a startup packet whose length cannot be",
            ));
        }
        self.fill_exactly(length).await?;
        Ok(self.take(length).to_vec())
    }

    /// Writes, and reads what comes meanwhile: the other side may not read on before its answers are taken.
    pub async fn write_while_reading(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut reading, mut writing) = tokio::io::split(&mut self.stream);
        let write = async {
            writing.write_all(bytes).await?;
            writing.flush().await
        };
        tokio::pin!(write);
        loop {
            self.buffer.reserve(READ_SIZE);
            tokio::select! {
                biased;
                done = &mut write => return done,
                read = reading.read_buf(&mut self.buffer) => {
                    // What was said before the end is still worth reading.
                    if read? == 0 {
                        return Ok(());
                    }
                    if self.buffer.len() > ANSWERS_LIMIT {
                        return Err(io::Error::other("answers over 256 MiB while the question is still being sent"));
                    }
                }
            }
        }
    }
}
