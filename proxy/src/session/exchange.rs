//! The exchange of authentication packets, both ways, until the database says yes or no. Where one leg is encrypted and
//! the other is not, a whole password changes its form in between (`wire::auth`).

use super::{connect::PACKET_LIMIT, failure::Failure};
use crate::{
    net::{
        Packets,
        password_key::{PasswordKey, encrypt},
    },
    wire::{
        auth::{FromClient, FromDatabase, Legs, Method, mixed},
        packet,
        reply::OkPacket,
    },
};
use std::io;

/// Both sides while a client signs in, or changes its user.
pub struct Exchange<'a> {
    /// The client.
    pub client: &'a mut Packets,
    /// The number of the next packet to the client.
    pub to_client: u8,
    /// The database.
    pub database: &'a mut Packets,
    /// The number of the next packet to the database.
    pub to_database: u8,
    /// Our key.
    pub key: &'a PasswordKey,
    /// How the client signs in.
    pub method: &'a mut Method,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// The database said OK, with these status flags.
    Accepted(u16),
    /// The database said no; the client was told. Whether the connection goes on is the database's to say.
    Refused,
    /// We said no while the database waits for an answer, so that the connection cannot go on.
    Failed,
}

/// Which of the legs are encrypted.
pub fn legs(client: &Packets, database: &Packets) -> Legs {
    match (client.is_tls(), database.is_tls()) {
        (false, true) => Legs::BareClient,
        (true, false) => Legs::BareDatabase,
        _ => Legs::Alike,
    }
}

impl Exchange<'_> {
    /// Goes on until the database says yes or no, or we do.
    pub async fn run(mut self) -> io::Result<Exchanged> {
        let legs = legs(self.client, self.database);
        loop {
            tokio::select! {
                more = self.client.fill() => if !more? { return Err(io::ErrorKind::UnexpectedEof.into()) },
                more = self.database.fill() => if !more? { return Err(io::ErrorKind::UnexpectedEof.into()) },
            }
            while whole(self.client.arrived()) {
                let packet = self.client.packet(PACKET_LIMIT).await?;
                self.to_client = packet.sequence.wrapping_add(1);
                if let Some(failure) = self.on_client(&packet.payload, legs).await? {
                    return self.fail(&failure).await;
                }
            }
            while whole(self.database.arrived()) {
                let packet = self.database.packet(PACKET_LIMIT).await?;
                self.to_database = packet.sequence.wrapping_add(1);
                match self.method.on_database(&packet.payload, legs) {
                    FromDatabase::Pass => self.tell_client(&packet.payload).await?,
                    FromDatabase::Encrypt(password) => {
                        let Some(hidden) =
                            encrypt(&packet.payload[1..], &mixed(&password, self.method.nonce()))
                        else {
                            return Err(invalid("the database's public key cannot be read"));
                        };
                        self.tell_database(&hidden).await?;
                        continue;
                    }
                    FromDatabase::Refuse => return self.fail(&Failure::bare_wire()).await,
                }
                match packet.payload.first() {
                    Some(0x00) => {
                        let ok =
                            OkPacket::read(&packet.payload).ok_or_else(|| invalid("a short OK packet"))?;
                        return Ok(Exchanged::Accepted(ok.status));
                    }
                    Some(0xff) => return Ok(Exchanged::Refused),
                    _ => {}
                }
            }
            if self.client.arrived().len().max(self.database.arrived().len()) > PACKET_LIMIT {
                return Err(invalid("an authentication packet over 1 MiB"));
            }
        }
    }

    async fn on_client(&mut self, packet: &[u8], legs: Legs) -> io::Result<Option<Failure>> {
        match self.method.on_client(packet, legs) {
            FromClient::Pass => self.tell_database(packet).await?,
            FromClient::GiveKey => {
                let mut answer = vec![1];
                answer.extend(self.key.pem()?.as_bytes());
                self.tell_client(&answer).await?;
            }
            FromClient::Decrypt => match self.key.decrypt(packet)? {
                Some(hidden) => {
                    let password = mixed(&hidden, self.method.nonce());
                    self.tell_database(&password).await?;
                }
                None => return Ok(Some(Failure::foreign_key())),
            },
            FromClient::AskKey(word) => self.tell_database(&[word]).await?,
            FromClient::Refuse => return Ok(Some(Failure::bare_wire())),
        }
        Ok(None)
    }

    async fn tell_client(&mut self, payload: &[u8]) -> io::Result<()> {
        self.client.send(payload, self.to_client).await?;
        self.to_client = self.to_client.wrapping_add(1);
        Ok(())
    }

    async fn tell_database(&mut self, payload: &[u8]) -> io::Result<()> {
        self.database.send(payload, self.to_database).await?;
        self.to_database = self.to_database.wrapping_add(1);
        Ok(())
    }

    async fn fail(&mut self, failure: &Failure) -> io::Result<Exchanged> {
        self.tell_client(&failure.payload()).await?;
        Ok(Exchanged::Failed)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Is a whole frame there?
fn whole(bytes: &[u8]) -> bool {
    packet::header(bytes).is_some_and(|(length, _)| bytes.len() >= packet::HEADER + length)
}
