//! Frames of the log, pure. All that one write makes durable is one frame, so that a torn write is always the last.
//!
//! `magic 4 | length 4 | crc32 4 | sequence 8 | records`, little-endian; the checksum covers length, sequence and
//! records. Sequence numbers run through all segments without a gap.

use super::Record;

/// Bytes before the records.
pub(super) const HEAD: usize = 20;
const MAGIC: [u8; 4] = [0xA7, b'O', b'N', 0x1E];
/// No frame is longer; a larger length is damage.
const MAX: usize = 1 << 30;

/// Appends a frame to `out`.
pub(super) fn encode(sequence: u64, records: &[u8], out: &mut Vec<u8>) {
    let length = (records.len() as u32).to_le_bytes();
    let number = sequence.to_le_bytes();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(&length, &number, records).to_le_bytes());
    out.extend_from_slice(&number);
    out.extend_from_slice(records);
}

/// Appends a record to the records of a frame to be.
pub(super) fn encode_record(record: &Record, out: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(record, out)
}

fn checksum(length: &[u8], number: &[u8], records: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(length);
    crc.update(number);
    crc.update(records);
    crc.finalize()
}

/// A frame that is whole.
struct Frame<'a> {
    sequence: u64,
    records: &'a [u8],
    length: usize,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn decode(bytes: &[u8]) -> Option<Frame<'_>> {
    let length = word(bytes, 4)? as usize;
    if bytes.get(..4)? != MAGIC || length > MAX {
        return None;
    }
    let records = bytes.get(HEAD..HEAD + length)?;
    let sequence = u64::from_le_bytes(bytes.get(12..HEAD)?.try_into().ok()?);
    let whole = word(bytes, 8)? == checksum(&bytes[4..8], &bytes[12..HEAD], records);
    whole.then_some(Frame { sequence, records, length: HEAD + length })
}

/// Why a log cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// Damaged here, with whole frames behind it: not the trace of a torn write.
    Middle(usize),
    /// A frame that is whole but does not decode: written by another version.
    Unreadable(usize),
}

/// The frames of a segment's body.
pub(super) struct Frames {
    pub records: Vec<Record>,
    /// Where the next frame belongs.
    pub end: usize,
    /// The sequence number of the next frame.
    pub next: u64,
    /// There were bytes behind the end that are no frame: a torn write.
    pub torn: bool,
}

/// Reads frames from `next` on until the zeros, the end, or a torn write.
pub(super) fn read(bytes: &[u8], mut next: u64) -> Result<Frames, Damage> {
    let mut records = Vec::new();
    let mut end = 0;
    while let Some(frame) = decode(&bytes[end..]).filter(|frame| frame.sequence == next) {
        let mut rest = frame.records;
        while !rest.is_empty() {
            let (record, behind) = postcard::take_from_bytes(rest).map_err(|_| Damage::Unreadable(end))?;
            records.push(record);
            rest = behind;
        }
        end += frame.length;
        next += 1;
    }
    let torn = bytes[end..].iter().any(|byte| *byte != 0);
    if torn && followed(&bytes[end..], next) {
        return Err(Damage::Middle(end));
    }
    Ok(Frames { records, end, next, torn })
}

/// Whether a whole frame, this one or a later one, is somewhere in `bytes`.
fn followed(bytes: &[u8], next: u64) -> bool {
    bytes
        .windows(MAGIC.len())
        .enumerate()
        .filter(|(_, window)| *window == MAGIC)
        .any(|(at, _)| decode(&bytes[at..]).is_some_and(|frame| frame.sequence >= next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(sizes: &[u64]) -> (Vec<u8>, Vec<usize>) {
        let (mut out, mut ends) = (Vec::new(), Vec::new());
        for (number, size) in sizes.iter().enumerate() {
            let mut records = Vec::new();
            for index in 0..*size {
                records = encode_record(&Record::Truncate(index << 20), records).unwrap();
            }
            encode(7 + number as u64, &records, &mut out);
            ends.push(out.len());
        }
        (out, ends)
    }

    proptest! {
        #[test]
        fn any_truncation_gives_a_prefix_of_whole_frames(
            sizes in prop::collection::vec(0..5u64, 1..8), cut: prop::sample::Index, zeros in 0..64usize,
        ) {
            let (mut bytes, ends) = frames(&sizes);
            let cut = cut.index(bytes.len() + 1);
            bytes.truncate(cut);
            bytes.extend(std::iter::repeat_n(0, zeros));
            let read = read(&bytes, 7).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            prop_assert_eq!(read.next, 7 + whole as u64);
            prop_assert_eq!(read.records.len() as u64, sizes[..whole].iter().sum::<u64>());
        }

        #[test]
        fn any_flipped_bit_before_the_last_frame_is_damage(
            sizes in prop::collection::vec(0..5u64, 2..8), place: prop::sample::Index, bit in 0..8u8,
        ) {
            let (mut bytes, ends) = frames(&sizes);
            let place = place.index(ends[ends.len() - 2]);
            bytes[place] ^= 1 << bit;
            prop_assert!(matches!(read(&bytes, 7), Err(Damage::Middle(_))));
        }

        #[test]
        fn any_flipped_bit_of_the_last_frame_cuts_it(
            sizes in prop::collection::vec(0..5u64, 1..8), place: prop::sample::Index, bit in 0..8u8,
        ) {
            let (mut bytes, ends) = frames(&sizes);
            let start = if ends.len() > 1 { ends[ends.len() - 2] } else { 0 };
            let place = start + place.index(bytes.len() - start);
            bytes[place] ^= 1 << bit;
            let read = read(&bytes, 7).unwrap();
            prop_assert!(read.torn && read.end == start);
        }

        #[test]
        fn reading_is_total(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, 0);
        }
    }
}
