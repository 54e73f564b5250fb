//! Reading is total; what we build is read back.

use super::{
    build,
    message::{Bind, Fault, HEADER, Parse, header, row},
    pending::Pending,
    startup::{First, misses_channel_binding, read, without_channel_binding},
};
use proptest::prelude::*;

fn body(out: &[u8]) -> &[u8] {
    assert_eq!(header(out), Some(Ok((out[0], out.len()))));
    &out[HEADER..]
}

#[test]
fn errors_can_be_read_back() {
    let mut out = Vec::new();
    build::error(&mut out, "ERROR", "0A000", "atone: no\0pe");
    let fault = Fault::read(body(&out));
    assert_eq!((fault.state.as_str(), fault.message.as_str()), ("0A000", "atone: nope"));
}

#[test]
fn lengths_that_cannot_be_are_errors() {
    assert_eq!(header(b"Q\0\0\0"), None);
    assert!(header(b"Q\0\0\0\x03").is_some_and(|h| h.is_err()));
    assert!(header(b"Q\xff\xff\xff\xff").is_some_and(|h| h.is_err()));
}

#[test]
fn startup_packets() {
    let packet = b"\0\0\0\x1a\0\x03\0\0user\0me\0database\0\0\0";
    let Some(First::Session(startup)) = read(packet) else { panic!("a session") };
    assert_eq!(startup.get("user"), Some("me"));
    assert_eq!(read(&super::startup::TLS_REQUEST), Some(First::Tls));
    assert_eq!(read(b"\0\0\0\x08\0\x02\0\0"), None);
    let offered = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    assert_eq!(without_channel_binding(offered).unwrap(), b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    assert!(misses_channel_binding(b"SCRAM-SHA-256\0\0\0\0\x05y,,n="));
    assert!(!misses_channel_binding(b"SCRAM-SHA-256\0\0\0\0\x05n,,n="));
}

/// `client` and `server` in the order in which the proxy sees them: upper case names of the client's messages stand
/// behind `>`, the server's behind `<`.
fn pending(script: &str) -> Pending {
    let mut pending = Pending::default();
    for word in script.split_whitespace() {
        let tag = word.as_bytes()[1];
        if word.starts_with('>') { pending.sent(tag) } else { pending.answered(tag) }
    }
    pending
}

#[test]
fn everything_is_answered_in_the_end() {
    for script in [
        ">Q <T <D <C <Z",
        ">Q <E <Z",
        ">P >B >D >E >S <1 <2 <T <D <C <Z",
        ">P >B >E >P >B >E >S <1 <2 <E <Z",
        ">P >D >S <1 <t <n <Z",
        // COPY FROM: simple; extended with the Sync before, between and behind the rows.
        ">Q <G >d >c <C <Z",
        ">Q >d >c <G <C <Z",
        ">P >B >E >S <1 <2 <G >d >c >S <C <Z",
        ">P >B >E >S >d >c >S <1 <2 <G <C <Z",
        ">P >B >E <1 <2 <G >d >S >c >S <C <Z",
        ">P >B >E >S <1 <2 <G >f >S <E <Z",
        ">P >B >E >C >S <1 <2 <s <3 <Z",
        ">F <V <Z",
    ] {
        assert!(pending(script).is_empty(), "{script}: {:?}", pending(script));
    }
    for script in [">Q <T", ">P >B >E >S <1 <2 <C", ">P >S >Q <1 <Z", ">P >B >E >S <1 <2 <G >c >S <C"] {
        assert!(!pending(script).is_empty(), "{script}");
    }
}

#[test]
fn integers_are_read_in_either_format() {
    let value = |bytes: &[u8], formats: &[u16]| {
        let bind = Bind {
            portal: Vec::new(),
            statement: Vec::new(),
            formats: formats.to_vec(),
            values: vec![None, Some(bytes.to_vec())],
            results: Vec::new(),
        };
        (bind.integer(0), bind.integer(1))
    };
    let number = |text: &str| (None, Some(text.to_owned()));
    assert_eq!(value(b"30000", &[]), number("30000"));
    assert_eq!(value(b"30000", &[0]), number("30000"));
    assert_eq!(value(&30_000_i16.to_be_bytes(), &[1]), number("30000"));
    assert_eq!(value(&(-5_i32).to_be_bytes(), &[0, 1]), number("-5"));
    assert_eq!(value(&600_000_i64.to_be_bytes(), &[1, 1]), number("600000"));
    assert_eq!(value(&[1, 2, 3], &[1]), (None, None));
}

proptest! {
    #[test]
    fn reading_is_total(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (header(&bytes), Parse::read(&bytes), Bind::read(&bytes), Fault::read(&bytes), row(&bytes));
        let _ = (read(&bytes), without_channel_binding(&bytes), misses_channel_binding(&bytes));
    }

    #[test]
    fn what_is_built_is_read_back(
        portal in "[a-z]{0,5}", statement in "[a-z]{0,5}", formats in prop::collection::vec(0..2_u16, 0..3),
        values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 0..4),
        types in prop::collection::vec(any::<u32>(), 0..4),
    ) {
        let bind = Bind {
            portal: portal.into_bytes(), statement: statement.clone().into_bytes(), formats: formats.clone(), values, results: formats,
        };
        let mut out = Vec::new();
        build::bind(&mut out, &bind);
        prop_assert_eq!(Bind::read(body(&out)), Some(bind));
        let mut out = Vec::new();
        build::parse(&mut out, &statement, "SELECT 1", &types);
        let parse = Parse { name: statement.into_bytes(), text: b"SELECT 1".to_vec(), types };
        prop_assert_eq!(Parse::read(body(&out)), Some(parse));
    }

    #[test]
    fn pending_never_panics(script in prop::collection::vec(any::<(bool, u8)>(), 0..60)) {
        let mut pending = Pending::default();
        for (ours, tag) in script {
            if ours { pending.sent(tag) } else { pending.answered(tag) }
        }
    }
}
