//! Each leg has TLS when its own ends can: psql, with and without it, through a proxy that has a certificate, to servers
//! with and without one.

use atone_tests::install::run;
use atone_tests::postgres::{Raw, sql};
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::postgres::SHOP;
use atone_tests::servers::{Database, Kind, Postgres, Proxy};

/// What one psql prints: whether its server thinks the connection encrypted, and a global transaction.
fn session(database: &Database, port: u16, more: &str) -> atone_tests::Result<String> {
    let account =
        format!("host=127.0.0.1 port={port} user={} password={} dbname={SHOP} {more}", APP.0, APP.1);
    let mut command = database.client();
    command.args([
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        &account,
    ]);
    for statement in [
        "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        "SELECT length(atone_xid) FROM (SELECT NULL AS atone_xid) x",
        "SELECT atone_begin('tls')",
        "UPDATE t SET v = v + 1",
        "SELECT atone_rollback()",
        "SELECT v FROM t",
    ] {
        command.args(["-c", statement]);
    }
    let out = run(&mut command)?;
    Ok(out.lines().filter(|line| line.len() != 26).collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn either_leg_with_and_without() {
    for kind in Kind::POSTGRES {
        for encrypted in [false, true] {
            let setting = if encrypted { "ssl=on" } else { "ssl=off" };
            let database = Postgres::start_with_settings(kind, &[setting]).unwrap();
            let service = sql::connect(database.port(), SERVICE, None).await.unwrap();
            service
                .batch_execute("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1); GRANT ALL ON t TO app")
                .await
                .unwrap();
            let data = database.dir().join("data");
            let tls = format!(
                "[tls]\ncertificate = \"{0}/server.crt\"\nkey = \"{0}/server.key\"\n",
                data.display()
            );
            let proxy = Proxy::start_with(Profile::Debug, None, &[&database], &tls).unwrap();
            let port = proxy.port(kind);
            for more in [
                "sslmode=disable",
                "sslmode=prefer",
                "sslmode=require channel_binding=disable",
                "sslmode=require",
                "sslmode=disable gssencmode=disable",
            ] {
                let told = session(&database, port, more);
                // A client on TLS that could bind SCRAM to it tells so, which a server on TLS would take for an attack.
                let bare = more.contains("sslmode=prefer") || more == "sslmode=require";
                let expected = if encrypted && !bare { "t  rolled_back 1" } else { "f  rolled_back 1" };
                assert_eq!(told.unwrap(), expected, "{kind:?}, server {setting}, client {more}");
            }
            if kind == Kind::Pg18 {
                // TLS from the first byte is new in 17; a proxy that has it not says so by closing.
                let told = session(&database, port, "sslmode=require sslnegotiation=direct");
                assert!(told.as_ref().map_or(true, |told| told.contains("rolled_back")), "{told:?}");
            }
            let strict = session(&database, port, "sslmode=require channel_binding=require");
            // The server cannot see the client's certificate through us: a clear refusal, never a hang.
            assert!(strict.is_err(), "{kind:?}: {strict:?}");
            let wrong = Raw::connect(port, (APP.0, "wrong"), SHOP, &[]).await.err().expect("no way in");
            assert!(wrong.to_string().contains("28P01"), "{kind:?}: {wrong}");
        }
    }
}

#[tokio::test]
async fn without_a_certificate_the_proxy_declines() {
    for kind in Kind::POSTGRES {
        let database = Postgres::start_with_settings(kind, &["ssl=on"]).unwrap();
        let service = sql::connect(database.port(), SERVICE, None).await.unwrap();
        service
            .batch_execute("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1); GRANT ALL ON t TO app")
            .await
            .unwrap();
        let proxy = Proxy::start(Profile::Debug, None, &[&database]).unwrap();
        let told = session(&database, proxy.port(kind), "sslmode=prefer").unwrap();
        assert_eq!(told, "t  rolled_back 1", "{kind:?}");
        let refused = session(&database, proxy.port(kind), "sslmode=require").unwrap_err().to_string();
        assert!(refused.contains("SSL"), "{kind:?}: {refused}");
    }
}

/// What else an account may sign in with: MD5 (gone some day), a password as it is, and none.
#[tokio::test]
async fn other_ways_to_sign_in() {
    for kind in Kind::POSTGRES {
        for method in ["md5", "trust", "password"] {
            let mut database = Postgres::start_with_settings(kind, &["ssl=off"]).unwrap();
            let service = sql::connect(database.port(), SERVICE, None).await.unwrap();
            let encryption = if method == "md5" { "md5" } else { "scram-sha-256" };
            service
                .batch_execute(&format!(
                    "SET password_encryption = '{encryption}'; ALTER ROLE app PASSWORD '{}';
                     CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1); GRANT ALL ON t TO app",
                    APP.1
                ))
                .await
                .unwrap();
            let file = database.dir().join("data/pg_hba.conf");
            let rules =
                format!("host all app 127.0.0.1/32 {method}\nhost all all 127.0.0.1/32 scram-sha-256\n");
            std::fs::write(&file, rules).unwrap();
            database.restart().unwrap();
            let data = database.dir().join("data");
            let tls = format!(
                "[tls]\ncertificate = \"{0}/server.crt\"\nkey = \"{0}/server.key\"\n",
                data.display()
            );
            let proxy = Proxy::start_with(Profile::Debug, None, &[&database], &tls).unwrap();
            // Both legs are as bare as the client chose.
            let app = sql::connect(proxy.port(kind), APP, None).await.unwrap();
            assert_eq!(
                sql::one(&app, "SELECT current_user").await.unwrap().unwrap(),
                "app",
                "{kind:?}, {method}"
            );
            // A password that the client entrusted to TLS does not go on without.
            let told =
                session(&database, proxy.port(kind), "sslmode=require").map_err(|error| error.to_string());
            match method {
                "password" => {
                    let refused = told.unwrap_err();
                    assert!(refused.contains("atone: ") && refused.contains("TLS"), "{kind:?}: {refused}");
                }
                _ => assert!(told.unwrap().ends_with("rolled_back 1"), "{kind:?}, {method}"),
            }
        }
    }
}
