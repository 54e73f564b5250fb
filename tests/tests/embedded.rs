//! The simplest installation: one proxy with the coordinator inside, one database, and a kill -9 of it all.

use atone_tests::servers::binaries::Profile;
use atone_tests::servers::{Database, Kind, Proxy, database::SERVICE};
use atone_tests::{sql, wait};
use mysql_async::prelude::Queryable;

#[tokio::test]
async fn a_proxy_with_its_own_coordinator() {
    for kind in Kind::ALL {
        let database = Database::start(kind).unwrap();
        let mut proxy = Proxy::start(Profile::Debug, None, &[&database]).unwrap();
        let mut service = sql::connect(database.port(), SERVICE, None).await.unwrap();
        service.query_drop("CREATE DATABASE shop").await.unwrap();
        service.query_drop("CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)").await.unwrap();
        service.query_drop("INSERT INTO shop.t VALUES (1, 10)").await.unwrap();
        let before = sql::dump(&mut service, "shop").await.unwrap();

        let mut conn = sql::connect_app(proxy.port(kind), "shop").await.unwrap();
        sql::begin(&mut conn).await.unwrap();
        conn.query_drop("UPDATE t SET v = 11").await.unwrap();
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back");
        assert_eq!(sql::dump(&mut service, "shop").await.unwrap(), before);

        // Proxy and coordinator die together with a branch committed locally; the restarted ones know and undo it.
        let xid = sql::one(&mut conn, "SELECT atone_begin('dies', 2000)").await.unwrap().unwrap();
        conn.query_drop("UPDATE t SET v = 12").await.unwrap();
        proxy.kill9();
        assert_ne!(sql::dump(&mut service, "shop").await.unwrap(), before);
        proxy.restart().unwrap();
        let api = proxy.coordinator_api();
        wait::until("the timeout has undone it", async || match api.status(&xid) {
            Ok(status) if status == "rolled_back" => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        assert_eq!(sql::dump(&mut service, "shop").await.unwrap(), before);
        assert!(api.locks("").unwrap().is_empty());
        assert!(proxy.stop().unwrap().success(), "SIGTERM ends it well");
    }
}
