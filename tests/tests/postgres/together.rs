//! One global transaction over several services and several databases, of both protocols.

use crate::case::{TABLE, error_of};
use atone_tests::postgres::{PgWorld, Raw};
use atone_tests::servers::Kind;
use atone_tests::servers::database::SERVICE;
use atone_tests::sql;
use mysql_async::prelude::Queryable;

const MYSQL: &str = "CREATE TABLE t (id INT PRIMARY KEY, v INT, s TEXT); INSERT INTO t VALUES (1, 10, 'one')";

#[tokio::test]
async fn two_services_on_two_connections() {
    for kind in Kind::POSTGRES {
        let room = PgWorld::shared().room(kind, "together_two", TABLE).await;
        let before = room.dump().await;
        for end in ["rollback", "commit"] {
            let mut raws = [room.raw(true).await.unwrap(), room.raw(true).await.unwrap()];
            let xid = raws[0].one("SELECT atone_begin('two services')").await.unwrap();
            raws[1].one(&format!("SELECT atone_join('{xid}')")).await.unwrap();
            for (service, statement) in [
                (0, "UPDATE t SET v = 1 WHERE id = 1"),
                (1, "UPDATE t SET v = 2 WHERE id = 2"),
                (0, "UPDATE t SET s = 'both' WHERE id IN (1, 2)"),
                (1, "DELETE FROM t WHERE id = 3"),
                (0, "INSERT INTO t VALUES (3, 3)"),
            ] {
                assert_eq!(
                    error_of(&mut raws[service], statement).await,
                    Default::default(),
                    "{kind:?}: {statement}"
                );
            }
            let right = room.dump().await;
            let status = raws[1].one(&format!("SELECT atone_{end}()")).await.unwrap();
            let wanted = if end == "commit" { ("committed", &right) } else { ("rolled_back", &before) };
            assert_eq!((status.as_str(), &room.dump().await), wanted, "{kind:?}");
            room.calm(&xid).await;
        }
    }
}

/// Writes in MySQL and in both PostgreSQLs, and ends it from one of them.
async fn span(ends_in: usize, end: &str) {
    let world = PgWorld::shared();
    let name = format!("together_{ends_in}_{end}");
    let schema = format!("shop_{name}");
    let mut service = sql::connect(world.orders.port(), SERVICE, None).await.unwrap();
    for statement in [
        &format!("DROP DATABASE IF EXISTS {schema}"),
        &format!("CREATE DATABASE {schema}"),
        &format!("USE {schema}"),
    ] {
        service.query_drop(statement).await.unwrap();
    }
    for statement in MYSQL.split("; ") {
        service.query_drop(statement).await.unwrap();
    }
    let ledger = world.room(Kind::Pg15, &name, TABLE).await;
    let archive = world.room(Kind::Pg18, &name, TABLE).await;
    let dump = async || {
        let mut conn = sql::connect(world.orders.port(), SERVICE, None).await.unwrap();
        let mysql = sql::dump(&mut conn, &schema).await.unwrap();
        [mysql, ledger.dump().await, archive.dump().await].join("---\n")
    };
    let before = dump().await;
    let mut mysql = sql::connect_app(world.proxy.port(Kind::MySql), &schema).await.unwrap();
    let mut raws: [Raw; 2] = [ledger.raw(true).await.unwrap(), archive.raw(true).await.unwrap()];
    let xid = sql::begin(&mut mysql).await.unwrap();
    for raw in &mut raws {
        raw.one(&format!("SELECT atone_join('{xid}')")).await.unwrap();
    }
    mysql.query_drop("UPDATE t SET v = v - 1 WHERE id = 1").await.unwrap();
    for raw in &mut raws {
        assert_eq!(error_of(raw, "UPDATE t SET v = v + 1 WHERE id = 1").await, Default::default());
        assert_eq!(error_of(raw, "BEGIN").await, Default::default());
        assert_eq!(error_of(raw, "INSERT INTO t VALUES (9, 9)").await, Default::default());
        assert_eq!(error_of(raw, "COMMIT").await, Default::default());
    }
    mysql.query_drop("INSERT INTO t VALUES (9, 9, NULL)").await.unwrap();
    let right = dump().await;
    let call = format!("SELECT atone_{end}()");
    let status = match ends_in {
        0 => sql::one(&mut mysql, &call).await.unwrap().unwrap(),
        at => raws[at - 1].one(&call).await.unwrap(),
    };
    let wanted = if end == "commit" { ("committed", &right) } else { ("rolled_back", &before) };
    assert_eq!((status.as_str(), &dump().await), wanted, "{name}");
    ledger.calm(&xid).await;
    archive.calm(&xid).await;
    let (_, body) = world.api().transaction(&xid).unwrap();
    let resources: std::collections::BTreeSet<&str> = body["branches"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|branch| branch["resource"].as_str())
        .collect();
    assert_eq!(resources.into_iter().collect::<Vec<_>>(), ["archive", "ledger", "orders"], "{body}");
}

#[tokio::test]
async fn mysql_and_postgresql_roll_back_together() {
    for ends_in in 0..3 {
        span(ends_in, "rollback").await;
    }
}

#[tokio::test]
async fn mysql_and_postgresql_commit_together() {
    for ends_in in 0..3 {
        span(ends_in, "commit").await;
    }
}
