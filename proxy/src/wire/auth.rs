//! Whole passwords in the exchange of signing in, where one leg is encrypted and the other is not.
//!
//! `caching_sha2_password` (when the server does not remember the account) and `sha256_password` send the password
//! as it is under TLS, and under the server's RSA key without. Each side must see the form that belongs to its own leg.
//! Challenges and their answers, fast ones too, are the same on both kinds of leg and pass.
//! Form of the exchanges: MySQL's source documentation, "Caching_sha2_password information".

/// Which of the two legs are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legs {
    /// Both, or none.
    Alike,
    /// Only the database's.
    BareClient,
    /// Only the client's.
    BareDatabase,
}

/// The way to sign in that is being gone through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    name: Vec<u8>,
    nonce: Vec<u8>,
    /// The server asked for the whole password.
    whole: bool,
    /// A password that waits for the server's key.
    held: Option<Vec<u8>>,
}

/// What to do with a packet of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromClient {
    /// The database gets it as it is.
    Pass,
    /// The client asks for the key: it gets ours.
    GiveKey,
    /// It is a password under our key: the database gets it as it is.
    Decrypt,
    /// It is a password: the database is asked for its key with this word first.
    AskKey(u8),
    /// It would be a password on a bare wire.
    Refuse,
}

/// What to do with a packet of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromDatabase {
    /// The client gets it as it is.
    Pass,
    /// It is the key for this password.
    Encrypt(Vec<u8>),
    /// The client's answer would be a password on a bare wire.
    Refuse,
}

const SHA256: &[u8] = b"sha256_password";
const ASK_KEY_SHA256: u8 = 1;
const ASK_KEY_CACHING: u8 = 2;
const WHOLE_PASSWORD: [u8; 2] = [1, 4];

impl Method {
    /// As the client's first answer names it, with the challenge that it answers.
    pub fn new(name: &[u8], nonce: &[u8]) -> Self {
        Self { name: name.to_vec(), nonce: nonce.to_vec(), whole: false, held: None }
    }

    /// The challenge that passwords under a key are mixed with.
    pub fn nonce(&self) -> &[u8] {
        &self.nonce
    }

    /// May the client's first answer go to the database? It is given in the client's chosen way, unasked.
    pub fn first_may_pass(&self, legs: Legs) -> bool {
        match legs {
            Legs::Alike => true,
            Legs::BareClient => self.name != SHA256,
            Legs::BareDatabase => self.name != SHA256 && !in_clear(&self.name),
        }
    }

    /// A packet of the client, after its first answer.
    pub fn on_client(&mut self, packet: &[u8], legs: Legs) -> FromClient {
        let sha256 = self.name == SHA256;
        let ask = if sha256 { ASK_KEY_SHA256 } else { ASK_KEY_CACHING };
        // A lone zero is the empty password, in any form.
        if !(self.whole || sha256) || legs == Legs::Alike || packet.len() <= 1 && packet != [ask] {
            return FromClient::Pass;
        }
        match legs {
            Legs::Alike => FromClient::Pass,
            Legs::BareClient if packet == [ask] => FromClient::GiveKey,
            Legs::BareClient => FromClient::Decrypt,
            Legs::BareDatabase if self.held.is_none() => {
                self.held = Some(packet.to_vec());
                FromClient::AskKey(ask)
            }
            Legs::BareDatabase => FromClient::Refuse,
        }
    }

    /// A packet of the database.
    pub fn on_database(&mut self, packet: &[u8], legs: Legs) -> FromDatabase {
        if let (Some(1), Some(password)) = (packet.first(), self.held.take()) {
            return FromDatabase::Encrypt(password);
        }
        if let Some(rest) = packet.strip_prefix(&[0xfe]) {
            let mut parts = rest.splitn(2, |b| *b == 0);
            let name = parts.next().unwrap_or_default();
            let nonce = parts.next().unwrap_or_default();
            *self = Self::new(name, nonce.strip_suffix(&[0]).unwrap_or(nonce));
            if legs == Legs::BareDatabase && in_clear(name) {
                return FromDatabase::Refuse;
            }
        }
        self.whole |= packet == WHOLE_PASSWORD;
        FromDatabase::Pass
    }
}

/// Ways to sign in that send the password as it is on any leg.
fn in_clear(name: &[u8]) -> bool {
    matches!(name, b"mysql_clear_password" | b"dialog")
}

/// A password with its final zero, mixed with the challenge: its own inverse.
pub fn mixed(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    password.iter().zip(nonce.iter().cycle()).map(|(p, n)| p ^ n).collect()
}
