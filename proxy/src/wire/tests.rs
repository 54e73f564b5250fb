//! Any split of any reply gives the same end; any bytes give an answer, never a panic.

use super::{
    capability::DEPRECATE_EOF,
    greeting::{Answer, Greeting},
    packet::{self, Reader},
    params::{self, Param},
    reply::{Expect, OkPacket, Progress, Tracker},
    scan::{Effect, effect, mentions_atone, names_schema},
};
use proptest::prelude::*;

fn frames(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sequence = 1;
    for payload in payloads {
        let (frame, next) = packet::frames(payload, sequence);
        bytes.extend(frame);
        sequence = next;
    }
    bytes
}

/// Feeds the bytes in pieces; what was passed on, and the tracker.
fn feed(bytes: &[u8], expect: Expect, capabilities: u32, cuts: &[usize]) -> (usize, bool, Tracker) {
    let mut tracker = Tracker::new(expect, capabilities);
    let (mut passed, mut until) = (0, 0);
    let ends = cuts.iter().copied().chain([bytes.len()]);
    for end in ends {
        until = end.clamp(until, bytes.len());
        match tracker.advance(&bytes[passed..until]) {
            Progress::More(n) => passed += n,
            Progress::End(n) => return (passed + n, true, tracker),
            Progress::File(_) | Progress::Malformed(_) => return (passed, false, tracker),
        }
    }
    (passed, false, tracker)
}

const OK: &[u8] = &[0, 1, 0, 2, 0, 0, 0];
const OK_MORE: &[u8] = &[0, 1, 0, 10, 0, 0, 0];
const EOF: &[u8] = &[0xfe, 0, 0, 2, 0];
const OK_EOF: &[u8] = &[0xfe, 0, 0, 2, 0, 0, 0];
const ROW_LIKE_OK: &[u8] = &[0, 0, 5, b'h', b'e', b'l', b'l', b'o'];

fn cases() -> Vec<(Vec<u8>, Expect, u32)> {
    let error = packet::error(1062, "23000", "Duplicate entry");
    vec![
        (frames(&[OK]), Expect::Results, 0),
        (frames(&[&error]), Expect::Results, 0),
        (frames(&[&[1], b"col", EOF, b"\x01a", &[0xfb], EOF]), Expect::Results, 0),
        (frames(&[&[1], b"col", ROW_LIKE_OK, OK_EOF]), Expect::Results, DEPRECATE_EOF),
        (frames(&[OK_MORE, &[2], b"c1", b"c2", b"\x01a\x01b", OK_EOF]), Expect::Results, DEPRECATE_EOF),
        (frames(&[&[1], b"col", EOF, b"\x01a", &error]), Expect::Results, 0),
        (frames(&[&[1], b"col", &[0xfe, 0, 0, 66, 0]]), Expect::Results, 0),
        (
            frames(&[&[0, 7, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0], b"p1", b"p2", EOF, b"c1", EOF]),
            Expect::Prepared,
            0,
        ),
        (
            frames(&[&[0, 7, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0], b"p1", b"p2", b"c1"]),
            Expect::Prepared,
            DEPRECATE_EOF,
        ),
        (frames(&[&[0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]), Expect::Prepared, 0),
        (frames(&[b"Uptime: 1"]), Expect::One, 0),
        (frames(&[b"row", EOF]), Expect::Rows, 0),
        (frames(&[b"def", b"def", EOF]), Expect::Fields, 0),
        (Vec::new(), Expect::Nothing, 0),
    ]
}

proptest! {
    #[test]
    fn any_split_ends_where_the_whole_does(case in 0..14usize, cuts in prop::collection::vec(0..80usize, 0..12), after: bool) {
        let (mut bytes, expect, capabilities) = cases()[case].clone();
        let length = bytes.len();
        if after {
            bytes.extend(frames(&[OK]));
        }
        let mut cuts = cuts;
        cuts.sort_unstable();
        let (passed, ended, _) = feed(&bytes, expect, capabilities, &cuts);
        prop_assert!(ended);
        prop_assert_eq!(passed, length);
    }

    #[test]
    fn reading_is_total(bytes in prop::collection::vec(any::<u8>(), 0..120), caps: u32, count in 0..20usize) {
        let _ = feed(&bytes, Expect::Results, caps, &[]);
        let _ = feed(&bytes, Expect::Prepared, caps, &[]);
        let _ = Greeting::read(bytes.clone()).map(|g| g.for_client(true));
        let _ = Answer::read(&bytes);
        let _ = OkPacket::read(&bytes);
        let _ = params::execute(&bytes, count, true, &mut Vec::new(), &[]);
        let _ = params::query_text(&bytes, true);
        let _ = (mentions_atone(&bytes), names_schema(&bytes), effect(&bytes));
    }

    #[test]
    fn lenenc_round_trips(number: u64) {
        let mut bytes = Vec::new();
        packet::put_lenenc(&mut bytes, number);
        prop_assert_eq!(Reader(&bytes).lenenc(), Some(number));
    }
}

#[test]
fn payloads_of_16_mib_are_cut_and_followed() {
    for length in
        [packet::MAX_PAYLOAD - 1, packet::MAX_PAYLOAD, packet::MAX_PAYLOAD + 1, 2 * packet::MAX_PAYLOAD]
    {
        // A continuation that looks like the end of the rows must not be taken for it.
        let mut row = vec![0xfe; length];
        row[0] = 0xfe;
        let bytes = frames(&[&[1], b"col", &row, OK_EOF]);
        if length == packet::MAX_PAYLOAD - 1 {
            continue; // 0xfe below 16 MiB is the end by definition
        }
        let (passed, ended, _) = feed(&bytes, Expect::Results, DEPRECATE_EOF, &[100, 20_000_000]);
        assert!(ended && passed == bytes.len(), "{length}");
    }
}

#[test]
fn outcomes_are_read() {
    let (_, _, tracker) =
        feed(&frames(&[&packet::error(1213, "40001", "Deadlock")]), Expect::Results, 0, &[]);
    assert_eq!(tracker.outcome.error, Some(1213));
    let (_, _, tracker) = feed(&cases()[7].0, Expect::Prepared, 0, &[]);
    assert_eq!(tracker.outcome.prepared, Some((7, 2)));
    let mut update = vec![0, 1, 0, 2, 0, 0, 0];
    update.extend(b"Rows matched: 3  Changed: 1  Warnings: 0");
    assert_eq!(OkPacket::read(&update).unwrap().matched(), Some(3));
    update.insert(7, 40);
    // The length of this sentence is the ASCII code of a digit, and so is its first number's place.
    let mut german = vec![0, 1, 0, 2, 0, 0, 0, 53];
    german.extend(format!("{:<53}", "Datensaetze gefunden: 2  Geaendert: 2  Warnungen: 0").into_bytes());
    assert_eq!(OkPacket::read(&german).unwrap().matched(), Some(2));
    assert_eq!(OkPacket::read(&update).unwrap().matched(), Some(3));
}

#[test]
fn parameters_become_literals_of_their_type() {
    let mut payload = vec![0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0];
    payload.extend([0b0001_0000, 1]);
    payload.extend([8, 0, 8, 0x80, 5, 0, 0xfd, 0, 6, 0, 12, 0, 11, 0]);
    payload.extend((-5_i64).to_le_bytes());
    payload.extend(u64::MAX.to_le_bytes());
    payload.extend(42.0_f64.to_le_bytes());
    payload.extend(b"\x03a'b");
    payload.extend([7, 0xe8, 7, 5, 30, 18, 51, 50]);
    payload.extend([8, 1, 1, 0, 0, 0, 2, 3, 4]);
    let mut types = Vec::new();
    let params = params::execute(&payload, 7, false, &mut types, &[]).unwrap();
    let literals: Vec<String> = params.iter().map(|p| p.literal("utf8mb4")).collect();
    let expected = [
        "-5",
        "18446744073709551615",
        "4.2e1",
        "_utf8mb4 x'612762'",
        "NULL",
        "TIMESTAMP'2024-05-30 18:51:50'",
        "TIME'-26:03:04'",
    ];
    assert_eq!(literals, expected);
    // The next execution may leave the types out.
    let again = [&payload[..10], &[0b0111_1111, 0]].concat();
    assert_eq!(params::execute(&again, 7, false, &mut types, &[]).unwrap(), vec![Param::Null; 7]);
}

#[test]
fn first_words_tell_effects() {
    assert_eq!(effect(b"/* x */ select 1;"), Effect::None);
    assert_eq!(effect(b"select 1; set names latin1"), Effect::Everything);
    assert_eq!(effect(b" SET names latin1"), Effect::Settings);
    assert_eq!(effect(b"SET @@session.SQL_MODE = ''"), Effect::Reading);
    assert_eq!(effect(b"use shop"), Effect::Reading);
    assert_eq!(effect(b"/*!40101 SET x=1 */"), Effect::Everything);
    assert_eq!(effect(b"CREATE TEMPORARY TABLE t(a INT)"), Effect::TemporaryTables);
    assert!(names_schema(b"SELECT * FROM `Atone`.undo_log") && !names_schema(b"SELECT atone_xid()"));
    assert!(
        names_schema(b"SET @s = 'INSERT INTO atone.undo_log'") && names_schema(b"PREPARE s FROM 'USE atone'")
    );
    assert!(!names_schema(b"SELECT 'atone'"));
}
