//! TLS before PostgreSQL: on one leg, on both, on none, with each way to sign in.

use atone_tests::install::run;
use atone_tests::postgres::sql;
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::{Coordinator, Database, Kind, Postgres, Proxy};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Is the database's leg of a session on TLS; or what psql fails with.
fn leg(server: &Database, port: u16, user: (&str, &str), more: &str) -> Result<String, String> {
    let target = format!("host=127.0.0.1 port={port} user={} dbname=shop {more}", user.0);
    let mut psql = server.client();
    psql.env("PGPASSWORD", user.1).args(["-XqAt", &target]);
    psql.args(["-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"]);
    run(&mut psql).map(|out| out.trim().to_owned()).map_err(|error| error.to_string())
}

fn with_tls(server: &Database) -> String {
    let file = |name: &str| server.dir().join("data").join(name).display().to_string();
    format!("[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", file("server.crt"), file("server.key"))
}

#[tokio::test]
async fn each_leg_by_itself() {
    let coordinator = Coordinator::start(Profile::Debug).unwrap();
    for (on, expected) in [(true, "t"), (false, "f")] {
        let kind = Kind::Pg15;
        let settings: &[&str] = if on { &["ssl=on"] } else { &["ssl=off"] };
        let server = Postgres::start_with_settings(kind, settings).unwrap();
        let service = sql::connect(server.port(), SERVICE, None).await.unwrap();
        let md5 = "SET password_encryption = 'md5'; CREATE ROLE old_way LOGIN PASSWORD 'old'";
        service.batch_execute(md5).await.unwrap();
        let proxy =
            Proxy::start_with(Profile::Debug, Some(&coordinator.grpc()), &[&server], &with_tls(&server))
                .unwrap();
        let port = proxy.port(kind);
        for client in ["disable", "require"] {
            let more = format!("sslmode={client} channel_binding=disable");
            assert_eq!(leg(&server, port, APP, &more).unwrap(), expected, "server {on}, {more}");
            let wrong = leg(&server, port, (APP.0, "wrong"), &more).unwrap_err();
            assert!(wrong.contains("password authentication failed"), "server {on}, {more}: {wrong}");
        }
        // A client that could bind SCRAM to its TLS says so; the server may not hear of it on TLS.
        let could = leg(&server, port, APP, "sslmode=require channel_binding=prefer").unwrap();
        assert_eq!(could, "f", "server {on}: the database's leg is opened again without TLS");
        let must = leg(&server, port, APP, "sslmode=require channel_binding=require").unwrap_err();
        assert!(must.contains("channel binding"), "server {on}: {must}");
    }
}

/// A request for TLS is answered before anything behind it is read; TLS may also begin at once.
#[tokio::test]
async fn what_comes_before_tls() {
    let coordinator = Coordinator::start(Profile::Debug).unwrap();
    let server = Postgres::start_with_settings(Kind::Pg15, &["ssl=on"]).unwrap();
    let plain = Proxy::start(Profile::Debug, Some(&coordinator.grpc()), &[&server]).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", plain.port(Kind::Pg15))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = [0];
    // GSSAPI, then TLS: both are declined by a proxy without a certificate, and the session goes on.
    for request in [[0, 0, 0, 8, 4, 210, 22, 48], [0, 0, 0, 8, 4, 210, 22, 47]] {
        stream.write_all(&request).unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"N");
    }
    stream.write_all(b"\0\0\0\x1b\0\x03\0\0user\0app\0database\0shop\0\0").unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert!(matches!(&answer, b"R" | b"E"), "{answer:?}");

    let proxy =
        Proxy::start_with(Profile::Debug, Some(&coordinator.grpc()), &[&server], &with_tls(&server)).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port(Kind::Pg15))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // A startup packet sent in one piece with the request for TLS, in the clear, must not become part of the session.
    stream.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x1b\0\x03\0\0user\0app\0database\0shop\0\0").unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    let mut rest = Vec::new();
    // An alert, or nothing; in any case the end.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.first().is_none_or(|first| *first == 21), "{rest:?}");
}

#[tokio::test]
async fn tls_that_begins_at_once() {
    let coordinator = Coordinator::start(Profile::Debug).unwrap();
    let server = Postgres::start_with_settings(Kind::Pg18, &["ssl=on"]).unwrap();
    let proxy =
        Proxy::start_with(Profile::Debug, Some(&coordinator.grpc()), &[&server], &with_tls(&server)).unwrap();
    let more = "sslmode=require sslnegotiation=direct channel_binding=disable";
    assert_eq!(leg(&server, proxy.port(Kind::Pg18), APP, more).unwrap(), "t");
}
