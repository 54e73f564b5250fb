//! Names of a global transaction and of its branches.

use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU64, str::FromStr};

/// A global transaction: 48 bits of milliseconds since 1970, then 80 random bits, so that ids sort by the time
/// of begin and cannot be guessed. Written as 26 characters of Crockford's base 32 (the ULID form).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Xid(u128);

/// One attempt at a local transaction; a retry gets a new one. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BranchId(u64);

/// The identity of a database: drawn once by the proxy that first meets it, and kept in it (`atone.lineage`), so that its
/// replicas and restored copies have it too, and no other database has. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lineage(NonZeroU64);

/// The text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {what}")]
pub struct ParseIdError {
    what: &'static str,
    text: String,
}

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 26;

impl Xid {
    /// An id from the time of begin (milliseconds since 1970) and randomness, of which 80 bits are used.
    pub fn new(now_ms: u64, random: u128) -> Self {
        Self((u128::from(now_ms) << 80) | (random & ((1 << 80) - 1)))
    }

    /// The time of begin, in milliseconds since 1970.
    pub fn begun_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// The id as a number.
    pub fn as_u128(self) -> u128 {
        self.0
    }

    /// The id of a number.
    pub fn from_u128(number: u128) -> Self {
        Self(number)
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; LENGTH];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = DIGITS[(rest & 31) as usize];
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Xid {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong =
            || ParseIdError { what: "an xid (26 letters and digits)", text: text.chars().take(64).collect() };
        // The first digit holds 3 bits only: 26 * 5 = 130.
        if text.len() != LENGTH || text.as_bytes()[0] > b'7' {
            return Err(wrong());
        }
        let mut number = 0;
        for byte in text.bytes() {
            let digit = DIGITS.iter().position(|d| *d == byte.to_ascii_uppercase()).ok_or_else(wrong)?;
            number = (number << 5) | digit as u128;
        }
        Ok(Self(number))
    }
}

impl Lineage {
    /// The identity of a number; 0 is none.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The identity as a number.
    pub fn as_u64(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Lineage {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let number =
            Some(text).filter(|text| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = number.and_then(|text| u64::from_str_radix(text, 16).ok()).and_then(Self::new);
        let wrong = || ParseIdError {
            what: "the identity of a database (16 hexadecimal digits)",
            text: text.chars().take(64).collect(),
        };
        number.ok_or_else(wrong)
    }
}

impl BranchId {
    /// The branch of a number, which its proxy drew at random.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The id as a number.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for BranchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for BranchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BranchId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = || ParseIdError {
            what: "a branch id (16 hexadecimal digits)",
            text: text.chars().take(64).collect(),
        };
        if text.len() != 16 {
            return Err(wrong());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn xid_text_round_trips(number: u128) {
            let xid = Xid::from_u128(number);
            prop_assert_eq!(xid.to_string().parse::<Xid>().unwrap(), xid);
            prop_assert_eq!(xid.to_string().to_lowercase().parse::<Xid>().unwrap(), xid);
        }

        #[test]
        fn xids_sort_by_time_as_numbers_and_as_text(a in 0..1u64 << 47, b in 0..1u64 << 47, ra: u128, rb: u128) {
            prop_assume!(a < b);
            let (a, b) = (Xid::new(a, ra), Xid::new(b, rb));
            prop_assert!(a < b && a.to_string() < b.to_string());
        }

        #[test]
        fn parsing_is_total(text in ".{0,40}") {
            let _ = text.parse::<Xid>();
            let _ = text.parse::<BranchId>();
        }
    }

    #[test]
    fn an_xid_over_128_bits_is_refused() {
        assert!("80000000000000000000000000".parse::<Xid>().is_err());
        assert!("7ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<Xid>().is_ok());
    }
}
