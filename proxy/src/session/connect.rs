//! Signing in. The database's greeting and the client's answer pass through, so that the database alone decides
//! who gets in; only TLS and compression are ours to settle.

use super::{
    exchange::{Exchange, Exchanged, legs},
    failure::Failure,
};
use crate::{
    net::{Packets, Stream, password_key::PasswordKey, tls},
    wire::{
        auth::Method,
        greeting::{Answer, Greeting, set_tls},
    },
};
use std::{io, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Signing in takes no longer than this.
pub const SIGN_IN_LIMIT: Duration = Duration::from_secs(30);
/// No packet of signing in is larger.
pub(super) const PACKET_LIMIT: usize = 1 << 20;

/// Both sides, signed in.
pub struct Connected {
    /// The client.
    pub client: Packets,
    /// The database.
    pub database: Packets,
    /// What they agreed on.
    pub answer: Answer,
    /// How the client signed in.
    pub method: Method,
    /// The server's status flags.
    pub status: u16,
    /// The server's number of the connection.
    pub number: u64,
}

/// What signing in needs.
pub struct Door<'a> {
    /// Our certificate, if we have one.
    pub acceptor: Option<&'a TlsAcceptor>,
    /// For the database.
    pub connector: &'a TlsConnector,
    /// For passwords, where only the database's side is encrypted.
    pub key: &'a PasswordKey,
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
        let mut reply = client.lone_packet(PACKET_LIMIT).await?;
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
        let mut own = reply.payload.to_vec();
        set_tls(&mut own, greeting.offers_tls());
        let mut sequence = 1;
        if greeting.offers_tls() {
            database.send(&own[..32], sequence).await?;
            sequence += 1;
            database = self.connect_tls(database).await?;
        }
        let plugin = answer.plugin.as_deref().unwrap_or(greeting.plugin());
        let mut method = Method::new(plugin, greeting.nonce());
        if !method.first_may_pass(legs(&client, &database)) {
            client.send(&Failure::bare_wire().payload(), reply.sequence.wrapping_add(1)).await?;
            return Ok(None);
        }
        database.send(&own, sequence).await?;
        let exchange = Exchange {
            client: &mut client,
            to_client: reply.sequence.wrapping_add(1),
            database: &mut database,
            to_database: sequence.wrapping_add(1),
            key: self.key,
            method: &mut method,
        };
        match exchange.run().await? {
            Exchanged::Accepted(status) => {
                let number = greeting.connection.into();
                Ok(Some(Connected { client, database, answer, method, status, number }))
            }
            Exchanged::Refused | Exchanged::Failed => Ok(None),
        }
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
