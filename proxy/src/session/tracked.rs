//! How the local transaction fares, as a client hears it that asks for it (`session_track_transaction_info`). The server
//! tells every change once, and tells us where it followed a question of ours; what only our questions did is not told.

use crate::wire::{
    changes::{self, TRANSACTION},
    reply::OkPacket,
};
use std::borrow::Cow;

/// Eight letters: is one open, was something read or written without transactions, and with, … (MySQL's manual,
/// "Server Tracking of Client Session State").
pub type State = [u8; 8];

/// None is open.
pub const NONE: State = *b"________";
/// The letters for a statement that may do something else on a replica, as FOUND_ROWS() may, and for rows that were sent.
const UNSAFE: u8 = 1 << 5;
const SENT: u8 = 1 << 6;

/// What was told to whom.
pub struct Tracked {
    /// By the server.
    real: State,
    /// To the client.
    told: State,
    /// Letters that only our own questions have set.
    ours: u8,
    /// The client is to hear it even if it is nothing new: so the server would say it.
    pub owed: bool,
}

impl Default for Tracked {
    fn default() -> Self {
        Self { real: NONE, told: NONE, ours: 0, owed: false }
    }
}

impl Tracked {
    /// An OK packet that only we hear, with `ours`: the answer to a question of ours.
    pub fn heard(&mut self, payload: &[u8], ok: &OkPacket, ours: bool) {
        let Some(state) = changes::transaction(payload, ok) else { return };
        for (at, (now, before)) in state.iter().zip(self.real).enumerate() {
            if ours && before == b'_' && *now != b'_' {
                self.ours |= 1 << at;
            }
        }
        self.real = state;
        if state == NONE {
            self.ours = 0;
        }
    }

    /// What the client heard as the server said it.
    pub fn relayed(&mut self, state: State) {
        (self.real, self.told, self.owed) = (state, state, false);
    }

    /// The client has written what we asked about: it has done all that our questions did, but for sending rows.
    pub fn wrote(&mut self) {
        self.ours &= UNSAFE | SENT;
    }

    /// The client has read rows.
    pub fn read(&mut self) {
        self.ours &= UNSAFE;
    }

    /// Is there nothing that the client is to hear otherwise than as the server says it?
    pub fn is_quiet(&self) -> bool {
        self.ours == 0 && !self.owed && self.real == self.told
    }

    /// An OK packet for the client, with what it is to hear.
    pub fn tell<'a>(&mut self, payload: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(ok) = OkPacket::read(payload).filter(|_| payload[0] != 0xff) else {
            return Cow::Borrowed(payload);
        };
        let own = changes::transaction(payload, &ok);
        let mut state = self.real;
        for (at, letter) in state.iter_mut().enumerate() {
            if self.ours & (1 << at) != 0 {
                *letter = b'_';
            }
        }
        let told = (state != self.told || self.owed).then_some(state);
        (self.told, self.owed) = (state, false);
        if own == told {
            return Cow::Borrowed(payload);
        }
        let mut all = changes::of(payload, &ok);
        all.retain(|(kind, _)| *kind != TRANSACTION);
        all.extend(told.map(|state| (TRANSACTION, [&[8], &state[..]].concat())));
        Cow::Owned(changes::replaced(payload, &ok, &all))
    }
}

#[cfg(test)]
mod tests {
    use super::{NONE, Tracked};
    use crate::wire::{
        changes::{TRANSACTION, replaced, transaction},
        reply::OkPacket,
    };

    const OK: &[u8] = b"\x00\x01\x00\x02\x00\x00\x00";

    fn saying(state: &[u8; 8]) -> Vec<u8> {
        replaced(OK, &OkPacket::read(OK).unwrap(), &[(TRANSACTION, [&[8], &state[..]].concat())])
    }

    fn heard(tracked: &mut Tracked, state: &[u8; 8]) {
        let payload = saying(state);
        tracked.heard(&payload, &OkPacket::read(&payload).unwrap(), true);
    }

    fn told(tracked: &mut Tracked, payload: &[u8]) -> Option<[u8; 8]> {
        let told = tracked.tell(payload).into_owned();
        transaction(&told, &OkPacket::read(&told).unwrap())
    }

    #[test]
    fn rows_sent_to_us_are_not_told_before_the_client_reads() {
        let mut tracked = Tracked::default();
        heard(&mut tracked, b"I___W_S_");
        tracked.wrote();
        assert_eq!(told(&mut tracked, OK), Some(*b"I___W___"));
        assert_eq!(told(&mut tracked, OK), None);
        assert!(!tracked.is_quiet());
        tracked.read();
        assert_eq!(told(&mut tracked, OK), Some(*b"I___W_S_"));
        assert!(tracked.is_quiet());
        heard(&mut tracked, &NONE);
        assert_eq!(told(&mut tracked, &saying(&NONE)), Some(NONE));
    }

    #[test]
    fn a_local_transaction_of_ours_is_not_told() {
        let mut tracked = Tracked::default();
        heard(&mut tracked, b"T_______");
        heard(&mut tracked, b"T___W_S_");
        heard(&mut tracked, &NONE);
        assert_eq!(told(&mut tracked, &saying(b"T___W_S_")), None);
        assert!(tracked.is_quiet());
    }

    #[test]
    fn what_is_owed_is_told_though_it_is_not_new() {
        let mut tracked = Tracked::default();
        heard(&mut tracked, &NONE);
        tracked.owed = true;
        assert_eq!(told(&mut tracked, OK), Some(NONE));
        assert_eq!(told(&mut tracked, OK), None);
    }
}
