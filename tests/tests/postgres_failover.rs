//! A PostgreSQL fails over behind its address: commits may be lost, and nobody restarts the proxy.
//!
//! The new primary is a second server on a copy of the first one's data; a switch stands for the address.

use atone_tests::postgres::{Raw, message, sql};
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::postgres::SHOP;
use atone_tests::servers::{Coordinator, Database, Kind, Proxy, Switch};
use atone_tests::wait;
use tokio_postgres::Client;

/// One PostgreSQL behind a switch, one of the other version, a coordinator and a proxy.
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
        let other = if kind == Kind::Pg15 { Kind::Pg18 } else { Kind::Pg15 };
        let (old, other) = (Database::start(kind).unwrap(), Database::start(other).unwrap());
        for database in [&old, &other] {
            let client = sql::connect(database.port(), SERVICE, None).await.unwrap();
            client
                .batch_execute(
                    "CREATE TABLE item (id int PRIMARY KEY, n bigint); INSERT INTO item VALUES (1, 10), (2, 20);
                     GRANT ALL ON item TO app",
                )
                .await
                .unwrap();
        }
        let switch = Switch::to(old.port()).unwrap();
        let coordinator = Coordinator::start(Profile::Debug).unwrap();
        let databases = [(kind, switch.port()), (other.kind(), other.port())];
        let proxy = Proxy::start_at(Profile::Debug, Some(&coordinator.grpc()), &databases, "").unwrap();
        Self { kind, switch, old, other, proxy, coordinator }
    }

    /// An application's connection to the database behind the switch.
    async fn app(&self) -> Client {
        let port = self.proxy.port(self.kind);
        wait::until("the database is back", async || {
            sql::connect(port, APP, None).await.map_err(|e| e.to_string())
        })
        .await
    }

    /// An application's connection to the other database.
    async fn app_other(&self) -> Client {
        sql::connect(self.proxy.port(self.other.kind()), APP, None).await.unwrap()
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
    let client = sql::connect(database.port(), SERVICE, None).await.unwrap();
    let rows = client.query("SELECT n FROM item ORDER BY id", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Begins, and changes row `id` in both databases.
async fn both(one: &Client, two: &Client, id: i32) -> String {
    let xid = sql::begin(one).await.unwrap();
    sql::join(two, &xid).await.unwrap();
    for client in [one, two] {
        client.execute("UPDATE item SET n = n + 1 WHERE id = $1", &[&id]).await.unwrap();
    }
    xid
}

/// A whole transaction that commits and one that does not, on row 2.
async fn works(scene: &Scene, now: &Database) {
    let (before, before_other) = (numbers(now).await, numbers(&scene.other).await);
    let (one, two) = (scene.app().await, scene.app_other().await);
    both(&one, &two, 2).await;
    assert_eq!(sql::rollback(&one).await.unwrap(), "rolled_back");
    assert_eq!((numbers(now).await, numbers(&scene.other).await), (before.clone(), before_other.clone()));
    // Another session's end leaves this one bound.
    let (one, two) = (scene.app().await, scene.app_other().await);
    both(&one, &two, 2).await;
    assert_eq!(sql::commit(&one).await.unwrap(), "committed");
    assert_eq!(numbers(now).await, [before[0], before[1] + 1]);
    assert_eq!(numbers(&scene.other).await, [before_other[0], before_other[1] + 1]);
}

#[tokio::test]
async fn a_commit_that_the_failover_lost_is_not_reported() {
    for kind in Kind::POSTGRES {
        let mut scene = Scene::open(kind).await;
        let new = scene.old.twin().unwrap();
        let (app, other) = (scene.app().await, scene.app_other().await);
        let xid = both(&app, &other, 1).await;
        let before = scene.primary();
        scene.switch.fail_over(new.port());
        scene.seen(&before).await;
        let refused = sql::error_of(&other, "SELECT atone_commit()").await;
        let (_, body) = scene.coordinator.api().transaction(&xid).unwrap();
        assert_eq!(refused.0, "25006", "{kind:?}: {refused:?} {body}, {:?}", numbers(&new).await);
        assert!(refused.1.contains("never committed locally"), "{refused:?}");
        assert_eq!(scene.coordinator.api().status(&xid).unwrap(), "rolled_back", "{kind:?}");
        assert_eq!((numbers(&new).await, numbers(&scene.other).await), (vec![10, 20], vec![10, 20]));
        works(&scene, &new).await;
    }
}

#[tokio::test]
async fn a_failover_without_loss_goes_on() {
    for kind in Kind::POSTGRES {
        let mut scene = Scene::open(kind).await;
        let (app, other) = (scene.app().await, scene.app_other().await);
        let kept = both(&app, &other, 1).await;
        let mut new = scene.old.twin().unwrap();
        scene.switch.fail_over(new.port());
        assert_eq!(sql::commit(&other).await.unwrap(), "committed", "{kind:?}, {kept}");
        assert_eq!((numbers(&new).await, numbers(&scene.other).await), (vec![11, 20], vec![11, 20]));
        works(&scene, &new).await;
        // Undone on the new one, though it was done on the old one.
        let (app, other) = (scene.app().await, scene.app_other().await);
        let undone = both(&app, &other, 1).await;
        let newer = new.twin().unwrap();
        scene.switch.fail_over(newer.port());
        assert_eq!(sql::rollback(&other).await.unwrap(), "rolled_back", "{kind:?}, {undone}");
        assert_eq!((numbers(&newer).await, numbers(&scene.other).await), (vec![11, 21], vec![11, 21]));
        works(&scene, &newer).await;
    }
}

#[tokio::test]
async fn an_unrelated_server_behind_the_address_is_refused() {
    for kind in Kind::POSTGRES {
        let scene = Scene::open(kind).await;
        let stranger = Database::start(kind).unwrap();
        let (app, other) = (scene.app().await, scene.app_other().await);
        both(&app, &other, 1).await;
        let before = scene.primary();
        scene.switch.fail_over(stranger.port());
        scene.seen(&before).await;
        let (code, health) = scene.proxy.http().get("/v1/health").unwrap();
        let why = health["refused"][kind.resource()].as_str().unwrap();
        assert_eq!((code, health["status"].as_str()), (503, Some("a database is refused")), "{health}");
        assert!(why.contains("atone.resource"), "{why}");
        // What is outside of global transactions is between the application and whoever is there.
        let lost = scene.app().await;
        assert_eq!(sql::one(&lost, "SELECT 1").await.unwrap().as_deref(), Some("1"));
        let refused = sql::error_of(&lost, "SELECT atone_begin()").await;
        assert!(!refused.0.is_empty() && refused.1.contains(why), "{kind:?}: {refused:?}");
        let client = sql::connect(stranger.port(), SERVICE, None).await.unwrap();
        let made =
            sql::one(&client, "SELECT count(*) FROM pg_namespace WHERE nspname = 'atone'").await.unwrap();
        assert_eq!(made.as_deref(), Some("0"), "nothing is created on a stranger");
        scene.switch.fail_over(scene.old.port());
        assert_eq!(sql::commit(&other).await.unwrap(), "committed", "{kind:?}");
        assert_eq!((numbers(&scene.old).await, numbers(&scene.other).await), (vec![11, 20], vec![11, 20]));
        works(&scene, &scene.old).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_left_on_the_old_primary_commits_nothing_there() {
    for kind in Kind::POSTGRES {
        let mut scene = Scene::open(kind).await;
        let new = scene.old.twin().unwrap();
        let (app, late, other) = (scene.app().await, scene.app().await, scene.app_other().await);
        sql::begin(&late).await.unwrap();
        sql::rollback(&late).await.unwrap();
        let before = scene.primary();
        let xid = sql::begin(&app).await.unwrap();
        sql::join(&other, &xid).await.unwrap();
        other.batch_execute("UPDATE item SET n = n + 1 WHERE id = 1").await.unwrap();
        app.batch_execute("BEGIN").await.unwrap();
        app.batch_execute("UPDATE item SET n = n + 1 WHERE id = 1").await.unwrap();
        scene.switch.turn(new.port());
        scene.seen(&before).await;
        let refused = sql::error_of(&app, "COMMIT").await;
        assert!(!refused.0.is_empty() && refused.1.contains("not the primary"), "{kind:?}: {refused:?}");
        let refused = sql::error_of(&late, "SELECT atone_begin()").await;
        assert!(!refused.0.is_empty() && refused.1.contains("not the primary"), "{kind:?}: {refused:?}");
        assert_eq!(sql::rollback(&other).await.unwrap(), "rolled_back");
        assert_eq!(numbers(&scene.old).await, [10, 20], "{kind:?}");
        assert_eq!((numbers(&new).await, numbers(&scene.other).await), (vec![10, 20], vec![10, 20]));
        works(&scene, &new).await;
    }
}

/// From now on every COMMIT waits for a standby that does not exist: the server's own processes have heard of it.
async fn await_nobody(scene: &Scene, service: &Client) {
    service.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    service.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let other = sql::connect(scene.old.port(), SERVICE, None).await.unwrap();
    let writer = tokio::spawn(async move {
        // Until one waits and is cancelled.
        while other.batch_execute("UPDATE item SET n = n WHERE id = 2").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    cancel_a_wait(service, SERVICE.0).await;
    writer.abort();
}

/// Cancels whoever of this account waits for a standby.
async fn cancel_a_wait(service: &Client, account: &str) {
    let sql = format!(
        "SELECT count(pg_cancel_backend(pid))::text FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = '{account}'"
    );
    wait::until("a COMMIT waits for a standby", async || {
        match sql::one(service, &sql).await.unwrap().as_deref() {
            Some("1") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// A COMMIT whose wait for a standby was cancelled stands on this server, and may be lost with it: the client is told what the
/// server says, and the coordinator nothing until the proxy has seen it replicated.
#[tokio::test]
async fn a_commit_that_is_not_replicated_is_not_known_to_be_one() {
    for kind in Kind::POSTGRES {
        let scene = Scene::open(kind).await;
        let service = sql::connect(scene.old.port(), SERVICE, None).await.unwrap();
        let mut raw = Raw::connect(scene.proxy.port(kind), APP, SHOP, &[]).await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        await_nobody(&scene, &service).await;
        let update = message::texts(&["UPDATE item SET n = n + 1 WHERE id = 1"]);
        raw.send(&message::message(b'Q', &update)).await.unwrap();
        cancel_a_wait(&service, APP.0).await;
        let answer = raw.until(b'Z').await.unwrap();
        let told = message::line(&answer);
        let notice = answer.iter().find(|message| message.kind == b'N').expect("a warning");
        assert!(notice.field('M').contains("synchronous replication"), "{kind:?}: {told}");
        assert!(told.contains("C UPDATE 1"), "{kind:?}: {told}");
        assert_eq!(numbers(&scene.old).await, [11, 20], "{kind:?}: it stands");

        let api = scene.coordinator.api();
        let asked = {
            let xid = xid.clone();
            tokio::task::spawn_blocking(move || api.commit(&xid).unwrap()).await
        };
        let (code, body) = asked.unwrap();
        assert_ne!(code, 200, "{kind:?}: {body}");
        let api = scene.coordinator.api();
        assert_eq!(api.status(&xid).unwrap(), "active", "{kind:?}: {body}");

        service.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
        service.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        wait::until("the commit is known", async || {
            let (api, xid) = (scene.coordinator.api(), xid.clone());
            let asked = tokio::task::spawn_blocking(move || api.commit(&xid).unwrap()).await;
            match asked.unwrap() {
                (200, body) if body["status"] == "committed" => Ok(()),
                (_, body) => Err(body.to_string()),
            }
        })
        .await;
        assert_eq!(numbers(&scene.old).await, [11, 20], "{kind:?}");
    }
}
