//! Frames: three bytes of length, one of sequence, the payload; 0xffffff means that the payload goes on.

/// Bytes before each payload.
pub const HEADER: usize = 4;
/// A payload of this length is continued in the next frame.
pub const MAX_PAYLOAD: usize = 0xff_ffff;

/// Length and sequence number of the frame that begins here, once its header is there.
pub fn header(bytes: &[u8]) -> Option<(usize, u8)> {
    let [a, b, c, sequence] = *bytes.first_chunk::<HEADER>()?;
    Some((usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16, sequence))
}

/// The frames of a payload, the first one numbered `sequence`; also the number after the last.
pub fn frames(payload: &[u8], mut sequence: u8) -> (Vec<u8>, u8) {
    let mut bytes = Vec::with_capacity(payload.len() + HEADER + 4 * (payload.len() / MAX_PAYLOAD));
    let mut rest = payload;
    loop {
        let (now, later) = rest.split_at(rest.len().min(MAX_PAYLOAD));
        bytes.extend_from_slice(&(now.len() as u32).to_le_bytes()[..3]);
        bytes.push(sequence);
        bytes.extend_from_slice(now);
        sequence = sequence.wrapping_add(1);
        if now.len() < MAX_PAYLOAD {
            return (bytes, sequence);
        }
        rest = later;
    }
}

/// An ERR payload. `state` has five characters.
pub fn error(code: u16, state: &str, message: &str) -> Vec<u8> {
    let mut payload = vec![0xff];
    payload.extend(code.to_le_bytes());
    payload.push(b'#');
    payload.extend(state.bytes().chain(std::iter::repeat(b'0')).take(5));
    payload.extend(message.bytes().take(4096));
    payload
}

/// A plain OK payload.
pub fn ok(affected: u64, last_insert_id: u64, status: u16) -> Vec<u8> {
    let mut payload = vec![0];
    put_lenenc(&mut payload, affected);
    put_lenenc(&mut payload, last_insert_id);
    payload.extend(status.to_le_bytes());
    payload.extend([0, 0]);
    payload
}

/// A row of text.
pub fn text_row(columns: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut payload = Vec::new();
    for column in columns {
        match column {
            None => payload.push(0xfb),
            Some(text) => {
                put_lenenc(&mut payload, text.len() as u64);
                payload.extend(text);
            }
        }
    }
    payload
}

/// Appends a length-encoded integer.
pub fn put_lenenc(bytes: &mut Vec<u8>, number: u64) {
    match number {
        0..=250 => bytes.push(number as u8),
        251..=0xffff => {
            bytes.push(0xfc);
            bytes.extend(&number.to_le_bytes()[..2]);
        }
        0x1_0000..=0xff_ffff => {
            bytes.push(0xfd);
            bytes.extend(&number.to_le_bytes()[..3]);
        }
        _ => {
            bytes.push(0xfe);
            bytes.extend(number.to_le_bytes());
        }
    }
}

/// Reads a payload from the front. Every read is checked; None means that the bytes end too early.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A little-endian number of up to eight bytes.
    pub fn number(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.take(bytes)?;
        Some(taken.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// A length-encoded integer.
    pub fn lenenc(&mut self) -> Option<u64> {
        match self.byte()? {
            small @ 0..=250 => Some(u64::from(small)),
            0xfc => self.number(2),
            0xfd => self.number(3),
            0xfe => self.number(8),
            _ => None,
        }
    }

    /// A length-encoded string.
    pub fn lenenc_bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.lenenc()?).ok()?;
        self.take(length)
    }

    /// Bytes up to a zero, which is taken too.
    pub fn until_zero(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|b| *b == 0)?;
        let taken = self.take(length)?;
        self.byte()?;
        Some(taken)
    }
}
