//! A database fails over behind its address: commits may be lost, and nobody restarts the proxy.
//!
//! The new primary is a second server on a copy of the first one's data; a switch stands for the address.

use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::{Coordinator, Database, Kind, Proxy, Switch};
use atone_tests::{sql, wait};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

const SCHEMA: &str = "shop_failover";

/// One database of this kind behind a switch, one of the other kind, a coordinator and a proxy.
struct Scene {
    kind: Kind,
    switch: Switch,
    old: Database,
    other: Database,
    proxy: Proxy,
    coordinator: Coordinator,
}

impl Scene {
    async fn open(kind: Kind) -> Self {
        let other = if kind == Kind::Maria { Kind::MySql } else { Kind::Maria };
        let (old, other) = (Database::start(kind).unwrap(), Database::start(other).unwrap());
        for database in [&old, &other] {
            let mut conn = sql::connect(database.port(), SERVICE, None).await.unwrap();
            for statement in [
                format!("CREATE DATABASE {SCHEMA}"),
                format!("CREATE TABLE {SCHEMA}.item (id INT PRIMARY KEY, n INT)"),
                format!("INSERT INTO {SCHEMA}.item VALUES (1, 10), (2, 20)"),
            ] {
                conn.query_drop(statement).await.unwrap();
            }
        }
        let switch = Switch::to(old.port()).unwrap();
        let coordinator = Coordinator::start(Profile::Debug).unwrap();
        let databases = [(kind, switch.port()), (other.kind(), other.port())];
        let proxy = Proxy::start_at(Profile::Debug, Some(&coordinator.grpc()), &databases, "").unwrap();
        Self { kind, switch, old, other, proxy, coordinator }
    }

    /// An application's connection to the database behind the switch.
    async fn app(&self) -> Conn {
        let port = self.proxy.port(self.kind);
        wait::until("the database is back", async || sql::connect_app(port, SCHEMA).await).await
    }

    /// An application's connection to the other database.
    async fn app_other(&self) -> Conn {
        sql::connect_app(self.proxy.port(self.other.kind()), SCHEMA).await.unwrap()
    }

    /// Waits until the proxy knows that another server is there than this one.
    async fn seen(&self, before: &str) {
        wait::until("the proxy has seen the new primary", async || {
            let now = self.primary();
            if now == before { Err(now) } else { Ok(()) }
        })
        .await;
    }

    fn primary(&self) -> String {
        let (_, health) = self.proxy.http().get("/v1/health").unwrap();
        health["primaries"][self.kind.resource()].as_str().unwrap().to_owned()
    }
}

async fn numbers(database: &Database) -> Vec<i64> {
    let mut conn = sql::connect(database.port(), SERVICE, None).await.unwrap();
    conn.query(format!("SELECT n FROM {SCHEMA}.item ORDER BY id")).await.unwrap()
}

async fn add(conn: &mut Conn, id: u32) {
    conn.query_drop(format!("UPDATE item SET n = n + 1 WHERE id = {id}")).await.unwrap();
}

/// Begins, and changes row `id` in both databases.
async fn both(orders: &mut Conn, accounts: &mut Conn, id: u32) -> String {
    let xid = sql::begin(orders).await.unwrap();
    sql::join(accounts, &xid).await.unwrap();
    add(orders, id).await;
    add(accounts, id).await;
    xid
}

/// A whole transaction that commits and one that does not, on row 2.
async fn works(scene: &Scene, now: &Database) {
    let (before, before_other) = (numbers(now).await, numbers(&scene.other).await);
    let (mut one, mut two) = (scene.app().await, scene.app_other().await);
    both(&mut one, &mut two, 2).await;
    assert_eq!(sql::rollback(&mut one).await.unwrap(), "rolled_back");
    assert_eq!((numbers(now).await, numbers(&scene.other).await), (before.clone(), before_other.clone()));
    let (mut one, mut two) = (scene.app().await, scene.app_other().await);
    both(&mut one, &mut two, 2).await;
    assert_eq!(sql::commit(&mut one).await.unwrap(), "committed");
    assert_eq!(numbers(now).await, [before[0], before[1] + 1]);
    assert_eq!(numbers(&scene.other).await, [before_other[0], before_other[1] + 1]);
}

#[tokio::test]
async fn a_commit_that_the_failover_lost_is_not_reported() {
    for kind in Kind::ALL {
        for join_first in [true, false] {
            let mut scene = Scene::open(kind).await;
            let new = scene.old.twin().unwrap();
            let (mut app, mut other) = (scene.app().await, scene.app_other().await);
            let xid = both(&mut app, &mut other, 1).await;
            assert_eq!(
                (numbers(&scene.old).await, numbers(&scene.other).await),
                (vec![11, 20], vec![11, 20])
            );
            let before = scene.primary();
            scene.switch.fail_over(new.port());
            if join_first {
                // Whoever is on the new primary has told of it.
                sql::join(&mut scene.app().await, &xid).await.unwrap();
            } else {
                scene.seen(&before).await;
            }
            let refused = sql::error_of(&mut other, "SELECT atone_commit()").await;
            assert_eq!(refused.0, 1792, "{kind:?}: {refused:?}");
            assert!(refused.1.contains("never committed locally"), "{refused:?}");
            assert_eq!(scene.coordinator.api().status(&xid).unwrap(), "rolled_back", "{kind:?}");
            assert_eq!((numbers(&new).await, numbers(&scene.other).await), (vec![10, 20], vec![10, 20]));
            works(&scene, &new).await;
        }
    }
}

#[tokio::test]
async fn a_failover_without_loss_goes_on() {
    for kind in Kind::ALL {
        let mut scene = Scene::open(kind).await;
        let (mut app, mut other) = (scene.app().await, scene.app_other().await);
        let kept = both(&mut app, &mut other, 1).await;
        let new = scene.old.twin().unwrap();
        scene.switch.fail_over(new.port());
        assert_eq!(sql::commit(&mut other).await.unwrap(), "committed", "{kind:?}, {kept}");
        assert_eq!((numbers(&new).await, numbers(&scene.other).await), (vec![11, 20], vec![11, 20]));
        works(&scene, &new).await;
        // Undone on the new one, though it was done on the old one.
        let (mut app, mut other) = (scene.app().await, scene.app_other().await);
        let undone = both(&mut app, &mut other, 1).await;
        let mut new = new;
        let newer = new.twin().unwrap();
        scene.switch.fail_over(newer.port());
        assert_eq!(sql::rollback(&mut other).await.unwrap(), "rolled_back", "{kind:?}, {undone}");
        assert_eq!((numbers(&newer).await, numbers(&scene.other).await), (vec![11, 21], vec![11, 21]));
        works(&scene, &newer).await;
    }
}

#[tokio::test]
async fn an_unrelated_server_behind_the_address_is_refused() {
    for kind in Kind::ALL {
        let mut scene = Scene::open(kind).await;
        let stranger = Database::start(kind).unwrap();
        let (mut app, mut other) = (scene.app().await, scene.app_other().await);
        both(&mut app, &mut other, 1).await;
        let before = scene.primary();
        scene.switch.fail_over(stranger.port());
        scene.seen(&before).await;
        let (code, health) = scene.proxy.http().get("/v1/health").unwrap();
        let why = health["refused"][kind.resource()].as_str().unwrap();
        assert_eq!((code, health["status"].as_str()), (503, Some("a database is refused")), "{health}");
        assert!(why.contains("atone.resource"), "{why}");
        assert!(scene.proxy.log().contains(why), "the log says it too");
        // What is outside of global transactions is between the application and whoever is there.
        let mut lost = sql::connect(scene.proxy.port(kind), APP, None).await.unwrap();
        assert_eq!(sql::one(&mut lost, "SELECT 1").await.unwrap().as_deref(), Some("1"));
        let read = sql::one(&mut lost, "SELECT COUNT(*) > 0 FROM information_schema.tables").await.unwrap();
        assert_eq!(read.as_deref(), Some("1"), "{kind:?}");
        let refused = sql::error_of(&mut lost, "SELECT atone_begin()").await;
        assert_eq!(refused.0, 1105, "{kind:?}: {refused:?}");
        assert!(refused.1.contains(why), "{refused:?}");
        let mut conn = sql::connect(stranger.port(), SERVICE, None).await.unwrap();
        let made: Option<u64> = conn
            .query_first("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'atone'")
            .await
            .unwrap();
        assert_eq!(made, Some(0), "nothing is created on a stranger");
        scene.switch.fail_over(scene.old.port());
        assert_eq!(sql::commit(&mut other).await.unwrap(), "committed", "{kind:?}");
        assert_eq!((numbers(&scene.old).await, numbers(&scene.other).await), (vec![11, 20], vec![11, 20]));
        works(&scene, &scene.old).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_left_on_the_old_primary_commits_nothing_there() {
    for kind in Kind::ALL {
        let mut scene = Scene::open(kind).await;
        let new = scene.old.twin().unwrap();
        let (mut app, mut late, mut other) = (scene.app().await, scene.app().await, scene.app_other().await);
        sql::begin(&mut late).await.unwrap();
        sql::rollback(&mut late).await.unwrap();
        let before = scene.primary();
        let xid = sql::begin(&mut app).await.unwrap();
        sql::join(&mut other, &xid).await.unwrap();
        add(&mut other, 1).await;
        app.query_drop("BEGIN").await.unwrap();
        add(&mut app, 1).await;
        scene.switch.turn(new.port());
        scene.seen(&before).await;
        let refused = sql::error_of(&mut app, "COMMIT").await;
        assert_eq!(refused.0, 1213, "{kind:?}: {refused:?}");
        assert!(refused.1.contains("not the primary any more"), "{refused:?}");
        let refused = sql::error_of(&mut late, "SELECT atone_begin()").await;
        assert!(refused.1.contains("not the primary any more"), "{refused:?}");
        assert_eq!(numbers(&scene.old).await, [10, 20]);
        // The local transaction can be tried again on the new one.
        let mut app = scene.app().await;
        sql::join(&mut app, &xid).await.unwrap();
        add(&mut app, 1).await;
        assert_eq!(sql::commit(&mut other).await.unwrap(), "committed", "{kind:?}");
        assert_eq!((numbers(&new).await, numbers(&scene.other).await), (vec![11, 20], vec![11, 20]));
        works(&scene, &new).await;
    }
}

#[tokio::test]
async fn a_replica_is_not_used_before_it_is_promoted() {
    for kind in Kind::ALL {
        let mut scene = Scene::open(kind).await;
        let (mut app, mut other) = (scene.app().await, scene.app_other().await);
        let xid = both(&mut app, &mut other, 1).await;
        let new = scene.old.twin().unwrap();
        let mut dba = sql::connect(new.port(), SERVICE, None).await.unwrap();
        dba.query_drop("SET GLOBAL read_only = 1").await.unwrap();
        scene.switch.fail_over(new.port());
        let refused = || {
            let (_, health) = scene.proxy.http().get("/v1/health").unwrap();
            health["refused"][kind.resource()].as_str().map(str::to_owned)
        };
        let why = wait::until("it is refused", async || refused().ok_or("it is not")).await;
        assert!(why.contains("read-only"), "{why}");
        let records: Option<String> =
            dba.query_first("SELECT GROUP_CONCAT(status) FROM atone.undo_log").await.unwrap();
        assert_eq!(records.as_deref(), Some("NORMAL"), "nothing was written to it");
        dba.query_drop("SET GLOBAL read_only = 0").await.unwrap();
        assert_eq!(sql::commit(&mut other).await.unwrap(), "committed", "{kind:?}, {xid}");
        wait::until("it is used", async || refused().map_or(Ok(()), Err)).await;
        works(&scene, &new).await;
    }
}
