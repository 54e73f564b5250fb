//! TLS on one leg, on both, on none: whoever may sign in directly may sign in through the proxy, with whole passwords too.

use atone_tests::install::run;
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::{Database, Kind, Maria, MySql, Proxy};
use atone_tests::{sql, world::World};
use mysql_async::{Conn, prelude::Queryable};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, crypto::ring};

/// MySQL makes itself a certificate.
fn certificate(of: &Database) -> (String, String) {
    let file = |name: &str| of.dir().join("data").join(name).display().to_string();
    (file("server-cert.pem"), file("server-key.pem"))
}

fn with_tls(of: &Database) -> String {
    let (certificate, key) = certificate(of);
    format!("[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n")
}

/// Forgets the accounts that the server remembers: the next client must send the whole password.
async fn forget_accounts(database: &Database) {
    let mut conn = sql::connect(database.port(), SERVICE, None).await.unwrap();
    conn.query_drop("FLUSH PRIVILEGES").await.unwrap();
}

/// A session of MySQL's command line: the cipher between the proxy and the database, or what it fails with.
fn cipher(client: &Database, port: u16, user: (&str, &str), more: &[&str]) -> Result<String, String> {
    let mut command = client.client();
    command.args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--batch", "--skip-column-names"]);
    command.args([format!("--port={port}"), format!("--user={}", user.0), format!("--password={}", user.1)]);
    command.args(more).args(["--execute", "SHOW SESSION STATUS LIKE 'Ssl_cipher'"]);
    let out = run(&mut command).map_err(|error| error.to_string())?;
    Ok(out.trim().trim_start_matches("Ssl_cipher").trim().to_owned())
}

const PLAIN: [&str; 2] = ["--ssl-mode=DISABLED", "--get-server-public-key"];
const TLS: [&str; 1] = ["--ssl-mode=REQUIRED"];

#[tokio::test]
async fn a_plain_client_before_a_database_with_tls() {
    let world = World::shared();
    let (orders, port) = (&world.orders, world.proxy.port(Kind::MySql));
    for _ in 0..2 {
        // Twice: with the whole password, then with what the server remembers.
        forget_accounts(orders).await;
        assert_ne!(cipher(orders, port, APP, &PLAIN).unwrap(), "", "the database's side is on TLS");
        assert_ne!(cipher(orders, port, APP, &PLAIN).unwrap(), "");
    }
    forget_accounts(orders).await;
    let wrong = cipher(orders, port, (APP.0, "wrong"), &PLAIN).unwrap_err();
    assert!(wrong.contains("ERROR 1045 (28000): Access denied for user 'app'"), "{wrong}");
    let empty = cipher(orders, port, (APP.0, ""), &PLAIN).unwrap_err();
    assert!(empty.contains("ERROR 1045 (28000): Access denied for user 'app'"), "{empty}");
}

#[tokio::test]
async fn a_client_that_has_the_databases_own_key_is_told_what_to_do() {
    let world = World::shared();
    let orders = &world.orders;
    forget_accounts(orders).await;
    // In the chroot the folder has another name: the key is asked from the server and put where the client sees it.
    let key = std::fs::read(orders.dir().join("data/public_key.pem")).unwrap();
    let name = format!("key-{}.pem", orders.port());
    let root = orders.dir().ancestors().find(|dir| dir.join("usr/sbin/mysqld").exists()).unwrap();
    std::fs::write(root.join("tmp").join(&name), key).unwrap();
    let flag = format!("--server-public-key-path=/tmp/{name}");
    let told = cipher(orders, world.proxy.port(Kind::MySql), APP, &["--ssl-mode=DISABLED", &flag]);
    std::fs::remove_file(root.join("tmp").join(&name)).unwrap();
    let told = told.unwrap_err();
    assert!(told.contains("atone: ") && told.contains("get-server-public-key"), "{told}");
}

#[tokio::test]
async fn a_user_changed_in_the_middle() {
    let world = World::shared();
    forget_accounts(&world.orders).await;
    let options = sql::options(world.proxy.port(Kind::MySql), SERVICE, None);
    let mut conn = Conn::new(options).await.unwrap();
    for user in [APP, SERVICE, APP] {
        forget_accounts(&world.orders).await;
        let change =
            mysql_async::ChangeUserOpts::new().with_user(Some(user.0.into())).with_pass(Some(user.1.into()));
        conn.change_user(change).await.unwrap();
        let who = sql::one(&mut conn, "SELECT CURRENT_USER()").await.unwrap().unwrap();
        assert_eq!(who, format!("{}@%", user.0));
    }
}

#[tokio::test]
async fn a_client_on_tls_before_a_database_without() {
    let world = World::shared();
    let bare = MySql::start_with_flags(&["--tls-version="]).unwrap();
    // Another server under the name that the world's has: not at its coordinator.
    let proxy = Proxy::start_with(Profile::Debug, None, &[&bare], &with_tls(&world.orders)).unwrap();
    let port = proxy.port(Kind::MySql);
    for more in [&TLS[..], &PLAIN] {
        forget_accounts(&bare).await;
        assert_eq!(cipher(&bare, port, APP, more).unwrap(), "", "{more:?}: the database's side is bare");
        assert_eq!(cipher(&bare, port, APP, more).unwrap(), "", "{more:?}");
    }
    forget_accounts(&bare).await;
    let wrong = cipher(&bare, port, (APP.0, "wrong"), &TLS).unwrap_err();
    assert!(wrong.contains("ERROR 1045 (28000): Access denied for user 'app'"), "{wrong}");
    // A client that sends the password in clear text unasked: it must not travel on.
    let clear = ["--ssl-mode=REQUIRED", "--enable-cleartext-plugin", "--default-auth=mysql_clear_password"];
    let told = cipher(&bare, port, APP, &clear).unwrap_err();
    assert!(told.contains("bare wire"), "{told}");
}

#[tokio::test]
async fn sha256_passwords() {
    let world = World::shared();
    let mut conn = sql::connect(world.orders.port(), SERVICE, None).await.unwrap();
    let make = "CREATE USER IF NOT EXISTS old_way@'%' IDENTIFIED WITH sha256_password BY 'old-password'";
    conn.query_drop(make).await.unwrap();
    let user = ("old_way", "old-password");
    let proxy = Proxy::start_with(
        Profile::Debug,
        Some(&world.coordinator.grpc()),
        &[&world.orders],
        &with_tls(&world.orders),
    )
    .unwrap();
    for more in [&TLS[..], &PLAIN] {
        assert_ne!(cipher(&world.orders, proxy.port(Kind::MySql), user, more).unwrap(), "", "{more:?}");
        let wrong = cipher(&world.orders, proxy.port(Kind::MySql), ("old_way", "wrong"), more).unwrap_err();
        assert!(wrong.contains("ERROR 1045 (28000): Access denied for user 'old_way'"), "{more:?}: {wrong}");
    }
    let bare = MySql::start_with_flags(&["--tls-version="]).unwrap();
    let mut conn = sql::connect(bare.port(), SERVICE, None).await.unwrap();
    conn.query_drop(make).await.unwrap();
    let proxy = Proxy::start_with(Profile::Debug, None, &[&bare], &with_tls(&world.orders)).unwrap();
    for more in [&TLS[..], &PLAIN] {
        assert_eq!(cipher(&bare, proxy.port(Kind::MySql), user, more).unwrap(), "", "{more:?}");
    }
}

#[tokio::test]
async fn mariadb_with_tls() {
    let world = World::shared();
    let (certificate, key) = certificate(&world.orders);
    let flags = [format!("--ssl-cert={certificate}"), format!("--ssl-key={key}")];
    let maria = Maria::start_with_flags(&[&flags[0], &flags[1]]).unwrap();
    let proxy = Proxy::start(Profile::Debug, None, &[&maria]).unwrap();
    let mut conn = sql::connect(proxy.port(Kind::Maria), APP, None).await.unwrap();
    let row: Option<(String, String)> =
        conn.query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await.unwrap();
    assert_ne!(row.unwrap().1, "", "the database's side is on TLS");
}

/// The request for TLS and the handshake's first message may arrive in one piece.
#[tokio::test]
async fn a_client_that_does_not_pause_before_the_handshake() {
    let world = World::shared();
    let tls = with_tls(&world.orders);
    let proxy =
        Proxy::start_with(Profile::Debug, Some(&world.coordinator.grpc()), &[&world.orders], &tls).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut hello).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port(Kind::MySql))).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let mut header = [0; 4];
    stream.read_exact(&mut header).unwrap();
    let mut greeting = vec![0; usize::from(header[0]) | usize::from(header[1]) << 8];
    stream.read_exact(&mut greeting).unwrap();
    // CLIENT_PROTOCOL_41, CLIENT_SSL, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH; the largest packet; utf8mb4.
    let mut request = vec![32, 0, 0, 1];
    request.extend((1_u32 << 9 | 1 << 11 | 1 << 15 | 1 << 19).to_le_bytes());
    request.extend((1_u32 << 24).to_le_bytes());
    request.push(45);
    request.extend([0; 23]);
    request.extend(hello);
    stream.write_all(&request).unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).expect("the proxy goes on with the handshake");
    assert_eq!(answer[0], 22, "a handshake record");
}
