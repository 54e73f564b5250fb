//! Two different servers that proxies call by one name: they are never taken for one that has failed over.

use atone_tests::api::atone;
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::{Coordinator, Database, Kind, Proxy, Switch};
use atone_tests::{postgres, sql, wait};
use mysql_async::prelude::Queryable;

const SCHEMA: &str = "shop_two";
const KINDS: [Kind; 3] = [Kind::MySql, Kind::Maria, Kind::Pg18];
const MAKE: [&str; 2] =
    ["CREATE TABLE item (id INT PRIMARY KEY, n INT)", "INSERT INTO item VALUES (1, 10), (2, 20)"];

/// A session of either dialect.
enum Session {
    MySql(mysql_async::Conn),
    Postgres(tokio_postgres::Client),
}

impl Session {
    async fn open(kind: Kind, port: u16, user: (&str, &str)) -> Result<Self, String> {
        if Kind::POSTGRES.contains(&kind) {
            return postgres::sql::connect(port, user, None)
                .await
                .map(Self::Postgres)
                .map_err(|e| e.to_string());
        }
        let schema = (user == APP).then_some(SCHEMA);
        sql::connect(port, user, schema).await.map(Self::MySql).map_err(|e| e.to_string())
    }

    /// An application's, through a proxy that reaches its database.
    async fn app(kind: Kind, proxy: &Proxy) -> Self {
        let port = proxy.port(kind);
        wait::until("the proxy lets the application in", async || Self::open(kind, port, APP).await).await
    }

    /// The first value of the first row, or the error's sentence.
    async fn one(&mut self, text: &str) -> Result<String, String> {
        match self {
            Self::MySql(conn) => {
                let answer: Result<Option<String>, _> = conn.query_first(text).await;
                answer.map(Option::unwrap_or_default).map_err(|error| error.to_string())
            }
            Self::Postgres(client) => {
                let answer = client.simple_query(text).await;
                let rows = answer.map_err(|error| match error.as_db_error() {
                    Some(said) => said.message().to_owned(),
                    None => error.to_string(),
                })?;
                let value = rows.iter().find_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                });
                Ok(value.unwrap_or_default())
            }
        }
    }
}

/// A server with the table.
async fn server(kind: Kind) -> Database {
    let database = Database::start(kind).unwrap();
    let mut dba = Session::open(kind, database.port(), SERVICE).await.unwrap();
    if Kind::POSTGRES.contains(&kind) {
        for text in MAKE.into_iter().chain(["GRANT ALL ON item TO app"]) {
            dba.one(text).await.unwrap();
        }
    } else {
        dba.one(&format!("CREATE DATABASE {SCHEMA}")).await.unwrap();
        dba.one(&format!("USE {SCHEMA}")).await.unwrap();
        for text in MAKE {
            dba.one(text).await.unwrap();
        }
    }
    database
}

async fn number(database: &Database) -> String {
    let table =
        if Kind::POSTGRES.contains(&database.kind()) { "item".into() } else { format!("{SCHEMA}.item") };
    let mut dba = Session::open(database.kind(), database.port(), SERVICE).await.unwrap();
    dba.one(&format!("SELECT n FROM {table} WHERE id = 1")).await.unwrap()
}

fn proxy(coordinator: &Coordinator, kind: Kind, port: u16) -> Proxy {
    Proxy::start_at(Profile::Debug, Some(&coordinator.grpc()), &[(kind, port)], "").unwrap()
}

/// A branch, locally committed, of a new global transaction.
async fn branch(coordinator: &Coordinator, kind: Kind, proxy: &Proxy) -> String {
    let xid = coordinator.api().begin("two servers", 600_000).unwrap();
    let mut app = Session::app(kind, proxy).await;
    app.one(&format!("SELECT atone_join('{xid}')")).await.unwrap();
    app.one("UPDATE item SET n = n + 1 WHERE id = 1").await.unwrap();
    xid
}

#[tokio::test]
async fn another_server_of_the_name_is_refused_and_the_first_goes_on() {
    for kind in KINDS {
        let (first, second) = (server(kind).await, server(kind).await);
        let coordinator = Coordinator::start(Profile::Debug).unwrap();
        let one = proxy(&coordinator, kind, first.port());
        let xid = branch(&coordinator, kind, &one).await;
        let mut two = proxy(&coordinator, kind, second.port());
        let refused = Session::app(kind, &two).await.one("SELECT atone_begin()").await.unwrap_err();
        let places = [first.port(), second.port()].map(|port| format!("127.0.0.1:{port}"));
        for word in [kind.resource(), &places[0], &places[1], "these are two servers; give one another name"]
        {
            assert!(refused.contains(word), "{kind:?}: no {word} in: {refused}");
            assert!(two.log().contains(word), "{kind:?}: {word} is not in the proxy's log");
        }
        let (_, health) = two.http().get("/v1/health").unwrap();
        let trouble = health["coordinator_trouble"].as_str().unwrap_or_default();
        assert!(trouble.contains("these are two servers"), "{kind:?}: {health}");
        let committed = coordinator.api().commit(&xid).unwrap();
        assert_eq!(committed.0, 200, "{kind:?}: {committed:?}");
        assert_eq!((number(&first).await.as_str(), number(&second).await.as_str()), ("11", "10"), "{kind:?}");
    }
}

#[tokio::test]
async fn a_branch_is_not_asked_about_on_another_server_of_its_name() {
    for kind in KINDS {
        let (first, second) = (server(kind).await, server(kind).await);
        let coordinator = Coordinator::start(Profile::Debug).unwrap();
        let api = coordinator.api();
        let mut one = proxy(&coordinator, kind, first.port());
        let kept = branch(&coordinator, kind, &one).await;
        one.kill9();
        let mut two = proxy(&coordinator, kind, second.port());
        // It can be used, since nobody else is there.
        wait::until("the second server is served", async || {
            Session::app(kind, &two).await.one("SELECT atone_begin()").await
        })
        .await;
        let (code, answer) = api.commit(&kept).unwrap();
        let why = answer.to_string();
        assert!(
            code == 503 && why.contains("it ran on another server that was called"),
            "{kind:?}: {code} {why}"
        );
        assert_eq!(api.status(&kept).unwrap(), "active", "{kind:?}");
        two.kill9();
        one.restart().unwrap();
        let committed = wait::until("it is committed", async || match api.commit(&kept) {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        committed.await;
        assert_eq!(number(&first).await, "11", "{kind:?}");

        // The same with one that is rolled back: it waits, and a person is told why.
        let undone = branch(&coordinator, kind, &one).await;
        one.kill9();
        two.restart().unwrap();
        wait::until("the second server is served", async || {
            Session::app(kind, &two).await.one("SELECT atone_begin()").await
        })
        .await;
        let (code, answer) = api.rollback(&undone).unwrap();
        assert_eq!(code / 100, 2, "{kind:?}: {answer}");
        let (_, shown, _) = atone(&coordinator.url(), &["tx", "show", &undone]).unwrap();
        assert!(
            shown.contains("atone tx resolve --gone") && shown.contains("another name"),
            "{kind:?}: {shown}"
        );
        assert_eq!(api.status(&undone).unwrap(), "rolling_back", "{kind:?}");
        two.kill9();
        one.restart().unwrap();
        wait::until("it is rolled back", async || match api.status(&undone) {
            Ok(status) if status == "rolled_back" => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        assert_eq!((number(&first).await.as_str(), number(&second).await.as_str()), ("11", "10"), "{kind:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_another_does_not_take_the_place_of_one_that_runs() {
    for kind in KINDS {
        let (first, second) = (server(kind).await, server(kind).await);
        let coordinator = Coordinator::start(Profile::Debug).unwrap();
        let switch = Switch::to(first.port()).unwrap();
        let one = proxy(&coordinator, kind, switch.port());
        // It has been called so before, by others.
        let others = Coordinator::start(Profile::Debug).unwrap();
        drop(proxy(&others, kind, second.port()));
        let xid = branch(&coordinator, kind, &one).await;
        switch.fail_over(second.port());
        let why = wait::until("it is refused", async || {
            let (_, health) = one.http().get("/v1/health").unwrap();
            health["refused"][kind.resource()].as_str().map(str::to_owned).ok_or("it is not")
        })
        .await;
        assert!(why.contains("it is another server (identity "), "{kind:?}: {why}");
        switch.fail_over(first.port());
        wait::until("it is committed", async || match coordinator.api().commit(&xid) {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        assert_eq!((number(&first).await.as_str(), number(&second).await.as_str()), ("11", "10"), "{kind:?}");
    }
}

/// Two proxies meet a new server at once, and one that was prepared by a proxy of before, which gave it no identity.
#[tokio::test]
async fn a_server_gets_one_identity() {
    for kind in KINDS {
        let database = server(kind).await;
        let coordinator = Coordinator::start(Profile::Debug).unwrap();
        let start = || proxy(&coordinator, kind, database.port());
        let mut seen = Vec::new();
        for _ in 0..2 {
            let proxies = std::thread::scope(|scope| {
                let others = [scope.spawn(start), scope.spawn(start)];
                others.map(|other| other.join().unwrap())
            });
            for proxy in &proxies {
                let mut app = Session::app(kind, proxy).await;
                wait::until("both proxies are welcome", async || app_begins(kind, proxy).await).await;
                app.one("SELECT 1").await.unwrap();
            }
            drop(proxies);
            let mut dba = Session::open(kind, database.port(), SERVICE).await.unwrap();
            assert_eq!(dba.one("SELECT count(*) FROM atone.lineage").await.unwrap(), "1");
            seen.push(dba.one("SELECT lineage FROM atone.lineage").await.unwrap());
            dba.one("DROP TABLE atone.lineage").await.unwrap();
        }
        assert!(seen[0] != seen[1] && seen.iter().all(|seen| seen.len() == 16), "{seen:?}");
    }
}

async fn app_begins(kind: Kind, proxy: &Proxy) -> Result<String, String> {
    Session::app(kind, proxy).await.one("SELECT atone_begin()").await
}
