//! Packets of MySQL's protocol as they are on the wire: a number, and at most 16 MiB - 1 bytes.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A packet of this length is continued by the next.
pub const FULL: usize = 0xff_ffff;

/// Bodies longer than this are shown by their length and a hash.
const SHOWN: usize = 400;

/// A packet of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    /// Its sequence number.
    pub number: u8,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl Packet {
    /// Its first byte; 0 if there is none.
    pub fn kind(&self) -> u8 {
        self.body.first().copied().unwrap_or(0)
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, shown(&self.body))
    }
}

fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN {
        return bytes.escape_ascii().to_string();
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{}… {} bytes, {:016x}", bytes[..40].escape_ascii(), bytes.len(), hasher.finish())
}

/// A payload as the packets that carry it, the first with this number.
pub fn framed(mut number: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 8);
    let mut rest = payload;
    loop {
        let (head, tail) = rest.split_at(rest.len().min(FULL));
        let length = u32::try_from(head.len()).expect("less than 16 MiB").to_le_bytes();
        bytes.extend([length[0], length[1], length[2], number]);
        bytes.extend(head);
        number = number.wrapping_add(1);
        rest = tail;
        if head.len() < FULL {
            return bytes;
        }
    }
}

/// Reads what a server sent; zeros where there is nothing left.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// A number of so many bytes, the lowest first.
    pub fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// A number that says its own length.
    pub fn lenenc(&mut self) -> u64 {
        match self.number(1) {
            0xfc => self.number(2),
            0xfd => self.number(3),
            0xfe => self.number(8),
            small => small,
        }
    }

    /// Bytes up to a zero, or all.
    pub fn text(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let text = self.take(end);
        self.take(1);
        text
    }
}
