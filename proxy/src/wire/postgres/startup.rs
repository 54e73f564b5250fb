//! The packets before the first message: they have a length and no tag.

use super::message::Reader;

/// The longest packet a client may begin with: the server's own limit.
pub const LIMIT: usize = 10_000;

/// What a connection begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// It asks for TLS.
    Tls,
    /// It asks for GSSAPI encryption.
    Gss,
    /// It asks to cancel what the session with this number and key is doing.
    Cancel,
    /// It begins a session.
    Session(Startup),
}

/// What a session begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// Names and values, in order.
    pub parameters: Vec<(String, String)>,
}

impl Startup {
    /// A parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The database; the user's name when none is given.
    pub fn database(&self) -> &str {
        self.get("database").or_else(|| self.get("user")).unwrap_or_default()
    }
}

/// A request for TLS, as we send it to a server.
pub const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A request to cancel.
const CANCEL: i32 = 80_877_102;

/// The request to cancel what the session of this number and key runs.
pub fn cancel_request(key: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(8 + key.len());
    packet.extend((8 + key.len() as u32).to_be_bytes());
    packet.extend(CANCEL.to_be_bytes());
    packet.extend(key);
    packet
}

/// Reads a packet, its length included.
pub fn read(packet: &[u8]) -> Option<First> {
    let mut reader = Reader(packet.get(4..)?);
    match reader.int()? {
        CANCEL => Some(First::Cancel),
        80_877_103 if packet.len() == 8 => Some(First::Tls),
        80_877_104 if packet.len() == 8 => Some(First::Gss),
        version if version >> 16 == 3 => {
            let mut parameters = Vec::new();
            loop {
                let name = reader.text()?;
                if name.is_empty() {
                    break;
                }
                let value = reader.text()?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                parameters.push((text(name), text(value)));
            }
            Some(First::Session(Startup { parameters }))
        }
        _ => None,
    }
}

/// AuthenticationSASL without the mechanisms that bind to a TLS channel: ours is not the server's.
pub fn without_channel_binding(body: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(body);
    if reader.int()? != 10 {
        return None;
    }
    let mut kept = 10_i32.to_be_bytes().to_vec();
    loop {
        let name = reader.text()?;
        if !name.ends_with(b"-PLUS") {
            kept.extend(name);
            kept.push(0);
        }
        if name.is_empty() {
            return Some(kept);
        }
    }
}

/// Does the client's first SASL answer say that it could bind to the channel but sees no offer? A server on TLS takes
/// that for an attack.
pub fn misses_channel_binding(body: &[u8]) -> bool {
    let mut reader = Reader(body);
    let scram = reader.text().is_some_and(|m| m.starts_with(b"SCRAM-"));
    scram && reader.value().flatten().is_some_and(|first| first.starts_with(b"y,"))
}
