//! Changes of a session's state, which OK packets tell behind their info to clients that ask for them.
//!
//! Shape (MySQL's manual, "OK_Packet"): where the status has [`STATE_CHANGED`], the info is followed by a length and as
//! many bytes of changes, each a kind, a length and data.

use super::{
    packet::{Reader, put_lenenc},
    reply::OkPacket,
};

/// Status: what follows the info are changes of the session's state.
pub const STATE_CHANGED: u16 = 1 << 14;
/// The name of a commit.
pub const COMMIT_NAME: u8 = 3;
/// How the local transaction fares, in eight letters.
pub const TRANSACTION: u8 = 5;

/// A change: its kind and its data.
pub type Change = (u8, Vec<u8>);

/// Those that an OK packet tells.
pub fn of(payload: &[u8], ok: &OkPacket) -> Vec<Change> {
    if ok.status & STATE_CHANGED == 0 {
        return Vec::new();
    }
    let mut changes = Vec::new();
    let mut rest = Reader(payload.get(after_info(payload, ok)..).unwrap_or_default());
    let mut rest = Reader(rest.lenenc_bytes().unwrap_or_default());
    while let Some(kind) = rest.byte() {
        let Some(data) = rest.lenenc_bytes() else { break };
        changes.push((kind, data.to_vec()));
    }
    changes
}

/// How the local transaction fares, if an OK packet tells it.
pub fn transaction(payload: &[u8], ok: &OkPacket) -> Option<[u8; 8]> {
    let (_, data) = of(payload, ok).into_iter().find(|(kind, _)| *kind == TRANSACTION)?;
    data.strip_prefix(&[8])?.try_into().ok()
}

/// The OK packet with these instead of its own.
pub fn replaced(payload: &[u8], ok: &OkPacket, changes: &[Change]) -> Vec<u8> {
    let fixed = ok.status_at + 4;
    let mut told = payload[..after_info(payload, ok)].to_vec();
    if ok.info.is_empty() {
        told.truncate(fixed);
    }
    let mut status = ok.status & !STATE_CHANGED;
    if !changes.is_empty() {
        let mut all = Vec::new();
        for (kind, data) in changes {
            all.push(*kind);
            put_lenenc(&mut all, data.len() as u64);
            all.extend(data);
        }
        if told.len() == fixed {
            told.push(0);
        }
        put_lenenc(&mut told, all.len() as u64);
        told.extend(all);
        status |= STATE_CHANGED;
    }
    told[ok.status_at..ok.status_at + 2].copy_from_slice(&status.to_le_bytes());
    told
}

/// Where the info ends.
fn after_info(payload: &[u8], ok: &OkPacket) -> usize {
    let fixed = ok.status_at + 4;
    let mut rest = Reader(payload.get(fixed..).unwrap_or_default());
    let length = rest.0.len();
    match rest.lenenc_bytes() {
        Some(_) => fixed + length - rest.0.len(),
        None => payload.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::{COMMIT_NAME, STATE_CHANGED, TRANSACTION, of, replaced};
    use crate::wire::reply::OkPacket;

    #[test]
    fn changes_are_read_and_replaced() {
        let plain = b"\x00\x01\x00\x02\x00\x00\x00".as_slice();
        let ok = OkPacket::read(plain).unwrap();
        assert!(of(plain, &ok).is_empty());
        let state = (TRANSACTION, b"\x08I___W___".to_vec());
        let told = replaced(plain, &ok, std::slice::from_ref(&state));
        assert_eq!(told, b"\x00\x01\x00\x02\x40\x00\x00\x00\x0b\x05\x09\x08I___W___");
        let ok = OkPacket::read(&told).unwrap();
        assert_eq!((ok.status, of(&told, &ok)), (2 | STATE_CHANGED, vec![state.clone()]));
        let both = replaced(&told, &ok, &[(COMMIT_NAME, b"x".to_vec()), state]);
        assert_eq!(of(&both, &OkPacket::read(&both).unwrap()).len(), 2);
        assert_eq!(replaced(&both, &OkPacket::read(&both).unwrap(), &[]), plain);
        let info = b"\x00\x01\x00\x02\x00\x00\x00\x02hi".as_slice();
        assert_eq!(replaced(info, &OkPacket::read(info).unwrap(), &[]), info);
    }
}
