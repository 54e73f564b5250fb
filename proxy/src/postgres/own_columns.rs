//! The columns that we have added to the rows of a write or of a locking read: ours are taken out, the client gets its own.

use super::pipeline::Seen;
use crate::wire::postgres::{
    build,
    message::{HEADER, Message, row},
};
use std::io;

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// So many columns of each table are ours; they stand last.
pub const OURS: usize = 4;

/// The rows that a row of a write, or of a read that locks rows of so many tables, tells of.
pub(super) fn capture(
    message: &Message,
    write: usize,
    reads: usize,
    answer: &mut Vec<u8>,
) -> io::Result<Vec<Seen>> {
    let malformed = || invalid("a malformed row of a write");
    let values = row(message.body()).ok_or_else(malformed)?;
    let at = values.len().checked_sub(OURS * reads.max(1)).ok_or_else(malformed)?;
    let mut seen = Vec::new();
    for ours in values[at..].chunks(OURS) {
        let text = |n: usize| ours[n].and_then(|v| std::str::from_utf8(v).ok());
        let oid = |n: usize| text(n).and_then(|t| t.parse::<u32>().ok());
        if reads > 0 && ours[1].is_none() {
            // An outer join found no row.
            continue;
        }
        let (Some(meant), Some(found), Some(row)) = (oid(0), oid(1), text(2).and_then(unhex)) else {
            return Err(malformed());
        };
        let old = match (ours[3], text(3)) {
            (None, _) => Some(None),
            (Some(_), Some("")) => None,
            (Some(_), hex) => Some(Some(hex.and_then(unhex).ok_or_else(malformed)?)),
        };
        seen.push(Seen { write, meant, found, row, old });
    }
    if at > 0 || reads > 0 {
        build::data_row(answer, &values[..at]);
    }
    Ok(seen)
}

/// The description of the client's own columns; it awaits NoData in place of none.
pub(super) fn describe(message: &Message, reads: usize, answer: &mut Vec<u8>) -> io::Result<()> {
    let body = message.body();
    let malformed = || invalid("a malformed description of rows");
    let count = body.get(..2).map(|c| usize::from(u16::from_be_bytes([c[0], c[1]]))).ok_or_else(malformed)?;
    let own = count.checked_sub(OURS * reads.max(1)).ok_or_else(malformed)?;
    if own == 0 && reads == 0 {
        return Ok(());
    }
    let mut end = 2;
    for _ in 0..own {
        let name = body[end..].iter().position(|b| *b == 0).ok_or_else(malformed)?;
        end += name + 1 + 18;
        if end > body.len() {
            return Err(malformed());
        }
    }
    let mut frame = vec![b'T'];
    frame.extend((end as u32 + 4).to_be_bytes());
    frame.extend((own as u16).to_be_bytes());
    frame.extend(&body[2..end]);
    debug_assert!(frame.len() > HEADER);
    answer.extend(frame);
    Ok(())
}

/// Bytes from their hexadecimal digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|p| Some((digit(p[0])? << 4 | digit(*p.get(1)?)?) as u8)).collect()
}
