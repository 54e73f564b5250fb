//! The first packets of a connection: the server's greeting and the client's answer. Only what the proxy decides
//! (compression, TLS) is changed; nonces and answers pass as they are.

use super::{
    capability::{CONNECT_WITH_DB, MARIADB_RELAYED, NOT_RELAYED, PROTOCOL_41, SSL},
    packet::Reader,
};

/// A flag of the low half, which MariaDB clears to say that its own flags follow.
const LONG_PASSWORD: u32 = 1;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const AUTH_LENENC: u32 = 1 << 21;

/// A server's greeting and where its capability flags stand.
#[derive(Debug, Clone)]
pub struct Greeting {
    payload: Vec<u8>,
    low_at: usize,
    nonce: Vec<u8>,
    plugin: Vec<u8>,
    /// The number of the connection.
    pub connection: u32,
}

impl Greeting {
    /// Reads a version 10 greeting.
    pub fn read(payload: Vec<u8>) -> Option<Self> {
        let mut reader = Reader(&payload);
        if reader.byte()? != 10 {
            return None;
        }
        reader.until_zero()?;
        let connection = u32::from_le_bytes(reader.take(4)?.try_into().ok()?);
        let mut nonce = reader.take(8)?.to_vec();
        reader.byte()?;
        let low_at = payload.len() - reader.0.len();
        reader.take(2 + 1 + 2 + 2 + 1 + 10)?;
        nonce.extend(reader.take(12.min(reader.0.len()))?);
        reader.byte();
        let plugin = reader.until_zero().unwrap_or(reader.0).to_vec();
        Some(Self { payload, low_at, nonce, plugin, connection })
    }

    /// The challenge for the client's first answer.
    pub fn nonce(&self) -> &[u8] {
        &self.nonce
    }

    /// The server's usual way to sign in.
    pub fn plugin(&self) -> &[u8] {
        &self.plugin
    }

    /// The server's capabilities.
    pub fn capabilities(&self) -> u32 {
        let at = self.low_at;
        let half = |at: usize| u32::from(self.payload[at]) | u32::from(self.payload[at + 1]) << 8;
        half(at) | half(at + 5) << 16
    }

    /// The greeting as the client gets it: what is not relayed is not offered, TLS when we have a certificate.
    pub fn for_client(&self, tls: bool) -> Vec<u8> {
        let mut flags = self.capabilities() & !NOT_RELAYED & !SSL;
        if tls {
            flags |= SSL;
        }
        let mut payload = self.payload.clone();
        let at = self.low_at;
        payload[at..at + 2].copy_from_slice(&flags.to_le_bytes()[..2]);
        payload[at + 5..at + 7].copy_from_slice(&flags.to_le_bytes()[2..]);
        if flags & LONG_PASSWORD == 0 {
            let own = &mut payload[at + 14..at + 18];
            let bits = u32::from_le_bytes([own[0], own[1], own[2], own[3]]) & MARIADB_RELAYED;
            own.copy_from_slice(&bits.to_le_bytes());
        }
        payload
    }

    /// Does the server speak TLS?
    pub fn offers_tls(&self) -> bool {
        self.capabilities() & SSL != 0
    }
}

/// The client's answer, or its request for TLS, which is the first 32 bytes of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The capabilities both sides will use.
    pub capabilities: u32,
    /// MariaDB's own capabilities.
    pub mariadb_capabilities: u32,
    /// The default schema asked for.
    pub schema: Option<Vec<u8>>,
    /// The way to sign in that it answers in; None is the server's.
    pub plugin: Option<Vec<u8>>,
    /// It is only a request to begin TLS.
    pub tls_request: bool,
}

impl Answer {
    /// Reads an answer; None when it is not one of the 4.1 protocol.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let capabilities = reader.number(4)? as u32;
        if capabilities & PROTOCOL_41 == 0 {
            return None;
        }
        reader.take(4 + 1 + 19)?;
        let own = reader.number(4)? as u32;
        let mariadb_capabilities = if capabilities & LONG_PASSWORD == 0 { own } else { 0 };
        let tls_request = reader.0.is_empty();
        let (mut schema, mut plugin) = (None, None);
        if !tls_request {
            reader.until_zero()?;
            if capabilities & AUTH_LENENC != 0 {
                reader.lenenc_bytes()?;
            } else if capabilities & SECURE_CONNECTION != 0 {
                let length = reader.byte()?;
                reader.take(usize::from(length))?;
            } else {
                reader.until_zero()?;
            }
            if capabilities & CONNECT_WITH_DB != 0 {
                schema = reader.until_zero().map(<[u8]>::to_vec);
            }
            if capabilities & PLUGIN_AUTH != 0 {
                plugin = reader.until_zero().map(<[u8]>::to_vec);
            }
        }
        Some(Self { capabilities, mariadb_capabilities, schema, plugin, tls_request })
    }
}

/// The way to sign in that a COM_CHANGE_USER answers in.
pub fn plugin_of_change_user(payload: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(payload.get(1..)?);
    reader.until_zero()?;
    let length = reader.byte()?;
    reader.take(usize::from(length))?;
    reader.until_zero()?;
    reader.take(2)?;
    reader.until_zero()
}

/// Sets or clears the TLS flag in an answer.
pub fn set_tls(answer: &mut [u8], tls: bool) {
    if let Some(flags) = answer.first_chunk_mut::<4>() {
        let bits = u32::from_le_bytes(*flags);
        *flags = if tls { bits | SSL } else { bits & !SSL }.to_le_bytes();
    }
}
