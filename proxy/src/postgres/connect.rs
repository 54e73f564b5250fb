//! Signing in. Every parameter and every packet of authentication passes, so that the server alone decides who gets
//! in; only encryption is ours to settle.

use super::{cancel::Cancels, failure};
use crate::{
    net::{Packets, Stream},
    wire::postgres::{
        Fault,
        message::{HEADER, Reader, parameter},
        startup::{self, First, Startup, misses_channel_binding, without_channel_binding},
    },
};
use std::{collections::BTreeMap, io};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// No message of signing in is longer.
const MESSAGE_LIMIT: usize = 1 << 20;
/// A TLS handshake begins with this byte; a startup packet with the high byte of its length.
const HANDSHAKE: u8 = 0x16;

/// Both sides, signed in.
pub struct Connected {
    /// The client.
    pub client: Packets,
    /// The database.
    pub database: Packets,
    /// What the client began with.
    pub startup: Startup,
    /// What the server reported of its settings.
    pub parameters: BTreeMap<String, String>,
    /// What a request to cancel names the session by.
    pub key: Vec<u8>,
    /// The server's transaction status.
    pub status: u8,
}

/// What signing in needs.
pub struct Door<'a> {
    /// Our certificate, if we have one.
    pub acceptor: Option<&'a TlsAcceptor>,
    /// Running sessions, for requests to cancel; and where the database is.
    pub cancels: &'a Cancels,
}

impl Door<'_> {
    /// Takes both through the handshake; None when no session came of it (the client was told).
    pub async fn sign_in(&self, client: TcpStream) -> io::Result<Option<Connected>> {
        let Some((mut client, packet, startup)) = self.first(client).await? else { return Ok(None) };
        let mut database = match self.cancels.reach.connect(true).await {
            Ok(database) => database,
            Err(error) => {
                client.write(&failure::absent(&error.to_string()).message("FATAL")).await?;
                return Ok(None);
            }
        };
        database.write(&packet).await?;
        let mut parameters = BTreeMap::new();
        let mut key = Vec::new();
        loop {
            let message = tokio::select! {
                message = database.message(MESSAGE_LIMIT) => message?,
                more = client.fill() => {
                    if !more? { return Ok(None) }
                    continue;
                }
            };
            match message.tag {
                b'R' => match Reader(message.body()).int() {
                    Some(0 | 12) => client.write(&message.frame).await?,
                    Some(3) if client.is_tls() && !database.is_tls() => {
                        client.write(&failure::bare_wire().message("FATAL")).await?;
                        return Ok(None);
                    }
                    Some(10) => {
                        let Some(offered) = without_channel_binding(message.body()) else {
                            return Err(invalid("a malformed list of SASL mechanisms"));
                        };
                        client.write(&framed(b'R', &offered)).await?;
                        let answer = client.message(MESSAGE_LIMIT).await?;
                        if database.is_tls() && misses_channel_binding(answer.body()) {
                            database = self.again_without_tls(&packet).await?;
                        }
                        database.write(&answer.frame).await?;
                    }
                    Some(_) => {
                        client.write(&message.frame).await?;
                        // All but the last word of SASL (12) ask for an answer.
                        let answer = client.message(MESSAGE_LIMIT).await?;
                        database.write(&answer.frame).await?;
                    }
                    None => return Err(invalid("a short authentication request")),
                },
                b'E' => {
                    client.write(&message.frame).await?;
                    return Ok(None);
                }
                b'S' => {
                    parameters.extend(parameter(message.body()));
                    client.write(&message.frame).await?;
                }
                b'K' => {
                    key = message.body().to_vec();
                    client.write(&message.frame).await?;
                }
                b'Z' => {
                    let status = message.body().first().copied().unwrap_or(b'I');
                    client.write(&message.frame).await?;
                    return Ok(Some(Connected { client, database, startup, parameters, key, status }));
                }
                _ => client.write(&message.frame).await?,
            }
        }
    }

    /// The client's first packets, up to the one that begins a session; its bytes as they came.
    async fn first(&self, client: TcpStream) -> io::Result<Option<(Packets, Vec<u8>, Startup)>> {
        let mut first = [0];
        client.peek(&mut first).await?;
        let mut client = if first[0] == HANDSHAKE {
            self.accept_tls(client).await?
        } else {
            Packets::new(Stream::Plain(client))
        };
        loop {
            let packet = client.startup(startup::LIMIT).await?;
            match startup::read(&packet) {
                None => {
                    let told =
                        failure::protocol("a connection that begins with neither version 3 nor a request");
                    client.write(&told.message("FATAL")).await?;
                    return Ok(None);
                }
                Some(First::Tls) if self.acceptor.is_some() && !client.is_tls() => {
                    client.write(b"S").await?;
                    let stream =
                        client.into_stream().ok_or_else(|| invalid("bytes before the TLS handshake"))?;
                    let Stream::Plain(stream) = stream else { return Err(invalid("TLS inside TLS")) };
                    client = self.accept_tls(stream).await?;
                }
                Some(First::Tls | First::Gss) => client.write(b"N").await?,
                Some(First::Cancel) => {
                    let key = packet.get(8..).unwrap_or_default().to_vec();
                    self.cancels.forward(&key).await;
                    return Ok(None);
                }
                Some(First::Session(startup)) => return Ok(Some((client, packet, startup))),
            }
        }
    }

    async fn accept_tls(&self, stream: TcpStream) -> io::Result<Packets> {
        let acceptor = self.acceptor.ok_or_else(|| invalid("TLS was asked for but is not offered"))?;
        Ok(Packets::new(Stream::Client(Box::new(acceptor.accept(stream).await?))))
    }

    /// The client would have bound SCRAM to the TLS channel, had it been offered; it says so, signed. A server on TLS
    /// takes that for an attack, one without does not mind. SCRAM shows nobody the password.
    async fn again_without_tls(&self, packet: &[u8]) -> io::Result<Packets> {
        let mut database = self.cancels.reach.connect(false).await?;
        database.write(packet).await?;
        let message = database.message(MESSAGE_LIMIT).await?;
        if message.tag == b'R' && Reader(message.body()).int() == Some(10) {
            return Ok(database);
        }
        let why = if message.tag == b'E' {
            Fault::read(message.body()).message
        } else {
            "another way to sign in".into()
        };
        Err(io::Error::other(format!(
            "the client insists on telling that it could bind SCRAM to TLS (connect with channel_binding=disable), \
             and the database does not let it in without TLS: {why}"
        )))
    }
}

fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![tag];
    frame.extend((body.len() as u32 + 4).to_be_bytes());
    frame.extend(body);
    debug_assert!(frame.len() >= HEADER);
    frame
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
