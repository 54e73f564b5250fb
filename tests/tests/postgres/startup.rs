//! How a connection begins, in other ways than most clients begin it.

use crate::case::{TABLE, error_in, room};
use atone_tests::postgres::message::{Message, line, message};
use atone_tests::postgres::{PgRoom, Raw};
use atone_tests::servers::Kind;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::postgres::SHOP;

/// Directly, and through the proxy.
async fn both(room: &PgRoom<'_>, protocol: u32, user: (&str, &str), parameters: &[(&str, &str)]) -> [Raw; 2] {
    let ports = [room.world.database(room.kind).port(), room.world.proxy.port(room.kind)];
    let connect = |port| Raw::connect_by(protocol, port, user, SHOP, parameters);
    [connect(ports[0]).await.unwrap(), connect(ports[1]).await.unwrap()]
}

/// Everything but the secret, of which the length counts.
fn told(greeting: &[Message]) -> String {
    let keys: Vec<usize> = greeting.iter().filter(|m| m.kind == b'K').map(|m| m.body.len()).collect();
    let rest = greeting.iter().filter(|m| m.kind != b'K').map(|m| m.to_string()).collect::<Vec<_>>();
    format!("{keys:?} {}", rest.join("; "))
}

/// 3.2 brings longer keys; of a later version, and of options that nobody knows, the server says so.
#[tokio::test]
async fn versions_and_options_of_the_protocol() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "versions", TABLE).await;
        let options: [&[(&str, &str)]; 2] =
            [&[], &[("_pq_.test_protocol_negotiation", "x"), ("_pq_.other", "1")]];
        for (protocol, parameters) in
            [(0, 0), (2, 0), (2, 1), (9999, 0), (0, 1)].map(|(minor, at)| (3 << 16 | minor, options[at]))
        {
            let [direct, mut proxied] = both(&room, protocol, APP, parameters).await;
            let (left, right) = (told(&proxied.greeting), told(&direct.greeting));
            assert_eq!(left, right, "{kind:?}: version {protocol:x}, {parameters:?}");
            let negotiated = proxied.greeting.iter().any(|m| m.kind == b'v');
            let unknown = protocol != 3 << 16 && (kind == Kind::Pg15 || protocol & 0xffff > 2);
            assert_eq!(negotiated, unknown || !parameters.is_empty(), "{kind:?}: version {protocol:x}");
            // A key of any length finds its session, inside a global transaction too.
            let xid = proxied.one("SELECT atone_begin()").await.unwrap();
            proxied.send(&message(b'Q', b"SELECT pg_sleep(600)\0")).await.unwrap();
            let watcher = room.service().await.unwrap();
            atone_tests::wait::until("the statement sleeps", async || {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND wait_event = 'PgSleep'";
                match atone_tests::postgres::sql::one(&watcher, sql).await.unwrap().as_deref() {
                    Some("0") => Err("nobody sleeps"),
                    _ => Ok(()),
                }
            })
            .await;
            proxied.cancel().await.unwrap();
            assert_eq!(error_in(&proxied.until(b'Z').await.unwrap()).0, "57014", "{kind:?}: {protocol:x}");
            assert_eq!(proxied.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
            room.calm(&xid).await;
        }
    }
}

/// A connection of a standby or of logical decoding is only relayed.
#[tokio::test]
async fn replication_connections_are_relayed() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "standby", TABLE).await;
        let [mut direct, mut proxied] = both(&room, 3 << 16, SERVICE, &[("replication", "database")]).await;
        for statement in
            ["SHOW server_version", "CREATE_REPLICATION_SLOT x TEMPORARY PHYSICAL", "NONSENSE", "SELECT 1"]
        {
            let (left, right) =
                (proxied.query(statement).await.unwrap(), direct.query(statement).await.unwrap());
            // Both make a slot of one name, which is there once.
            if !statement.starts_with("CREATE") {
                assert_eq!(line(&left), line(&right), "{kind:?}: {statement}");
            }
        }
        let identified = proxied.query("IDENTIFY_SYSTEM").await.unwrap();
        assert!(identified.iter().any(|m| m.kind == b'D'), "{kind:?}: {identified:?}");
        let (state, sentence) = error_in(&proxied.query("SELECT atone_begin()").await.unwrap());
        assert!(
            state == "55000" && sentence.contains("a replication connection cannot enter"),
            "{kind:?}: {state} {sentence}"
        );
    }
}

/// Calls of functions by their number pass outside, and are refused inside.
#[tokio::test]
async fn function_calls() {
    // int4abs, one argument in text, the result in text.
    let call = [&1251_u32.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 2], b"-7", &[0, 0]].concat();
    for kind in Kind::POSTGRES {
        let room = room(kind, "calls", TABLE).await;
        let [mut direct, mut proxied] = both(&room, 3 << 16, APP, &[]).await;
        let mut answers = Vec::new();
        for raw in [&mut direct, &mut proxied] {
            raw.send(&message(b'F', &call)).await.unwrap();
            answers.push(line(&raw.until(b'Z').await.unwrap()));
        }
        assert!(answers[0].starts_with("V "), "{kind:?}: {answers:?}");
        assert_eq!(answers[0], answers[1], "{kind:?}");
        let xid = proxied.one("SELECT atone_begin()").await.unwrap();
        proxied.send(&message(b'F', &call)).await.unwrap();
        assert_eq!(error_in(&proxied.until(b'Z').await.unwrap()).0, "0A000", "{kind:?}");
        assert_eq!(proxied.one("SELECT atone_commit()").await.unwrap(), "committed", "{kind:?}");
        room.calm(&xid).await;
    }
}
