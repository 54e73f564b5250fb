//! Signing in. The database's greeting and the client's answer pass through, so that the database alone decides
//! who gets in; only TLS and compression are ours to settle.

use super::failure::Failure;
use crate::{
    net::{Packets, Stream, tls},
    wire::{
        greeting::{Answer, Greeting, set_tls},
        packet,
        reply::OkPacket,
    },
};
use std::{io, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Signing in takes no longer than this.
pub const SIGN_IN_LIMIT: Duration = Duration::from_secs(30);
/// No packet of signing in is larger.
const PACKET_LIMIT: usize = 1 << 20;

/// Both sides, signed in.
pub struct Connected {
    /// The client.
    pub client: Packets,
    /// The database.
    pub database: Packets,
    /// What they agreed on.
    pub answer: Answer,
    /// The server's status flags.
    pub status: u16,
}

/// What signing in needs.
pub struct Door<'a> {
    /// Our certificate, if we have one.
    pub acceptor: Option<&'a TlsAcceptor>,
    /// For the database.
    pub connector: &'a TlsConnector,
    /// The database's host name.
    pub host: &'a str,
}

impl Door<'_> {
    /// Takes both through the handshake; None when the database did not let the client in (it was told so).
    pub async fn sign_in(&self, client: TcpStream, database: TcpStream) -> io::Result<Option<Connected>> {
        let (mut client, mut database) =
            (Packets::new(Stream::Plain(client)), Packets::new(Stream::Plain(database)));
        let first = database.packet(PACKET_LIMIT).await?;
        let Some(greeting) = Greeting::read(first.payload.to_vec()) else {
            // An error instead of a greeting: too many connections, host blocked.
            client.send(&first.payload, first.sequence).await?;
            return Ok(None);
        };
        client.send(&greeting.for_client(self.acceptor.is_some()), 0).await?;
        let mut reply = client.packet(PACKET_LIMIT).await?;
        let mut answer =
            Answer::read(&reply.payload).ok_or_else(|| malformed("not an answer of the 4.1 protocol"))?;
        if answer.tls_request {
            client = self.accept_tls(client).await?;
            reply = client.packet(PACKET_LIMIT).await?;
            answer =
                Answer::read(&reply.payload).ok_or_else(|| malformed("not an answer of the 4.1 protocol"))?;
        }
        if answer.schema.as_ref().is_some_and(|s| s.eq_ignore_ascii_case(b"atone")) {
            client.send(&Failure::private().payload(), reply.sequence.wrapping_add(1)).await?;
            return Ok(None);
        }
        // Some clients set flags that were not offered; the server uses what both have.
        answer.capabilities &= greeting.capabilities();
        // The database's side is encrypted exactly when the client's is and the database can: a password in clear
        // text, which some methods send under TLS, then never travels on a bare wire, and none is asked for twice.
        let encrypt = client.is_tls() && greeting.offers_tls();
        let mut own = reply.payload.to_vec();
        set_tls(&mut own, encrypt);
        let mut sequence = 1;
        if encrypt {
            database.send(&own[..32], sequence).await?;
            sequence += 1;
            database = self.connect_tls(database).await?;
        }
        database.send(&own, sequence).await?;
        let shift = reply.sequence.wrapping_sub(sequence);
        let status = exchange(&mut client, &mut database, shift).await?;
        Ok(status.map(|status| Connected { client, database, answer, status }))
    }

    async fn accept_tls(&self, client: Packets) -> io::Result<Packets> {
        let acceptor = self.acceptor.ok_or_else(|| malformed("TLS was asked for but is not offered"))?;
        let stream = client.into_stream().ok_or_else(|| malformed("bytes before the TLS handshake"))?;
        let Stream::Plain(stream) = stream else { return Err(malformed("TLS inside TLS")) };
        Ok(Packets::new(Stream::Client(Box::new(acceptor.accept(stream).await?))))
    }

    async fn connect_tls(&self, database: Packets) -> io::Result<Packets> {
        let stream = database.into_stream().ok_or_else(|| malformed("bytes before the TLS handshake"))?;
        let Stream::Plain(stream) = stream else { return Err(malformed("TLS inside TLS")) };
        let stream = self.connector.connect(tls::server_name(self.host), stream).await?;
        Ok(Packets::new(Stream::Database(Box::new(stream))))
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Does the server ask for the password itself, which clients send as it is when they are on TLS?
fn asks_for_password(word: &[u8]) -> bool {
    let plugin = word.strip_prefix(&[0xfe]).map(|rest| rest.split(|b| *b == 0).next().unwrap_or_default());
    let clear = plugin.is_some_and(|p| matches!(p, b"mysql_clear_password" | b"sha256_password" | b"dialog"));
    clear || word == [0x01, 0x04]
}

/// Passes packets of authentication both ways until the database says OK (its status flags) or ERR (None). `shift` is
/// how much further the client's numbering is.
pub async fn exchange(client: &mut Packets, database: &mut Packets, shift: u8) -> io::Result<Option<u16>> {
    let bare = client.is_tls() && !database.is_tls();
    loop {
        tokio::select! {
            more = client.fill() => if !more? { return Err(io::ErrorKind::UnexpectedEof.into()) },
            more = database.fill() => if !more? { return Err(io::ErrorKind::UnexpectedEof.into()) },
        }
        while whole(client.arrived()) {
            let answer = client.packet(PACKET_LIMIT).await?;
            database.send(&answer.payload, answer.sequence.wrapping_sub(shift)).await?;
        }
        while whole(database.arrived()) {
            let word = database.packet(PACKET_LIMIT).await?;
            if bare && asks_for_password(&word.payload) {
                client.send(&Failure::bare_wire().payload(), word.sequence.wrapping_add(shift)).await?;
                return Ok(None);
            }
            client.send(&word.payload, word.sequence.wrapping_add(shift)).await?;
            match word.payload.first() {
                Some(0x00) => {
                    let ok = OkPacket::read(&word.payload).ok_or_else(|| malformed("a short OK packet"))?;
                    return Ok(Some(ok.status));
                }
                Some(0xff) => return Ok(None),
                _ => {}
            }
        }
        if client.arrived().len().max(database.arrived().len()) > PACKET_LIMIT {
            return Err(malformed("an authentication packet over 1 MiB"));
        }
    }
}

/// Is a whole frame there?
fn whole(bytes: &[u8]) -> bool {
    packet::header(bytes).is_some_and(|(length, _)| bytes.len() >= packet::HEADER + length)
}
