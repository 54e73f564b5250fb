//! Circles of waits with every part in a database: two global transactions, each with a row of one database that the other
//! wants in another. No database sees them, and nobody waits at the coordinator. One proxy serves all sessions, or two do.

use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::{Coordinator, Database, Durability, Kind, Proxy};
use atone_tests::{postgres, sql, wait};
use mysql_async::prelude::Queryable;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OnceCell};

const SCHEMA: &str = "shop_circles";
const KINDS: [Kind; 4] = [Kind::MySql, Kind::Maria, Kind::Pg15, Kind::Pg18];

/// The tests share a table.
static ALONE: Mutex<()> = Mutex::const_new(());

/// An error's number or SQLSTATE, and its sentence.
type Failed = (String, String);

/// A session of either dialect.
enum Session {
    MySql(Box<mysql_async::Conn>),
    Postgres(tokio_postgres::Client),
}

impl Session {
    async fn open(kind: Kind, port: u16, user: (&str, &str)) -> Self {
        if Kind::POSTGRES.contains(&kind) {
            return Self::Postgres(postgres::sql::connect(port, user, None).await.unwrap());
        }
        let schema = (user == APP).then_some(SCHEMA);
        Self::MySql(Box::new(sql::connect(port, user, schema).await.unwrap()))
    }

    /// The values of the first column, with commas between.
    async fn run(&mut self, text: &str) -> Result<String, Failed> {
        match self {
            Self::MySql(conn) => {
                let answer: Result<Vec<Option<String>>, _> = conn.query(text).await;
                match answer {
                    Ok(values) => Ok(values.into_iter().flatten().collect::<Vec<_>>().join(",")),
                    Err(mysql_async::Error::Server(error)) => Err((error.code.to_string(), error.message)),
                    Err(error) => Err((String::new(), error.to_string())),
                }
            }
            Self::Postgres(client) => match client.simple_query(text).await {
                Ok(messages) => Ok(messages
                    .iter()
                    .filter_map(|message| match message {
                        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                        _ => None,
                    })
                    .collect::<Vec<_>>()
                    .join(",")),
                Err(error) => Err(match error.as_db_error() {
                    Some(said) => (said.code().code().to_owned(), said.message().to_owned()),
                    None => (String::new(), error.to_string()),
                }),
            },
        }
    }

    async fn all(&mut self, texts: &[&str]) {
        for text in texts {
            self.run(text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        }
    }

    /// Cancels what the connection runs, as a client does.
    async fn cancel(&mut self, port: u16) -> Cancel {
        if let Self::Postgres(client) = self {
            return Cancel::Postgres(client.cancel_token());
        }
        let id = self.run("SELECT CONNECTION_ID()").await.unwrap();
        Cancel::MySql(Self::open(Kind::MySql, port, APP).await, id)
    }

    /// The session is as good as new, and nothing that was meant for another statement hits it.
    async fn is_usable(&mut self) {
        for _ in 0..3 {
            assert_eq!(self.run("SELECT 5").await, Ok("5".to_owned()));
        }
        let xid = self.run("SELECT atone_begin()").await.unwrap();
        self.all(&["UPDATE t SET v = v + 100 WHERE id = 9"]).await;
        assert_eq!(self.run("SELECT atone_commit()").await, Ok("committed".to_owned()), "{xid}");
    }
}

enum Cancel {
    MySql(Session, String),
    Postgres(tokio_postgres::CancelToken),
}

impl Cancel {
    async fn send(self) {
        match self {
            // Nobody may be there any more.
            Self::MySql(mut other, id) => drop(other.run(&format!("KILL QUERY {id}")).await),
            Self::Postgres(token) => token.cancel_query(tokio_postgres::NoTls).await.unwrap(),
        }
    }
}

struct Stage {
    databases: Vec<Database>,
    _coordinator: Coordinator,
    proxies: [Proxy; 2],
}

impl Stage {
    fn start() -> Self {
        let databases = std::thread::scope(|scope| {
            let start = KINDS.map(|kind| scope.spawn(move || Database::start_with(kind, Durability::Lazy)));
            start.into_iter().map(|one| one.join().unwrap().unwrap()).collect::<Vec<_>>()
        });
        let coordinator = Coordinator::start(Profile::Debug).unwrap();
        let all: Vec<_> = databases.iter().collect();
        let proxy = || Proxy::start(Profile::Debug, Some(&coordinator.grpc()), &all).unwrap();
        let proxies = [proxy(), proxy()];
        Self { databases, _coordinator: coordinator, proxies }
    }

    async fn shared() -> &'static Self {
        static SHARED: OnceCell<Stage> = OnceCell::const_new();
        SHARED
            .get_or_init(async || {
                let stage = tokio::task::spawn_blocking(Self::start).await.unwrap();
                for kind in KINDS {
                    let mut dba = stage.direct(kind, SERVICE).await;
                    if !Kind::POSTGRES.contains(&kind) {
                        dba.all(&[&format!("CREATE DATABASE {SCHEMA}"), &format!("USE {SCHEMA}")]).await;
                    }
                }
                stage
            })
            .await
    }

    async fn direct(&self, kind: Kind, user: (&str, &str)) -> Session {
        let database = self.databases.iter().find(|database| database.kind() == kind).unwrap();
        Session::open(kind, database.port(), user).await
    }

    async fn app(&self, kind: Kind, proxy: usize) -> Session {
        Session::open(kind, self.proxies[proxy].port(kind), APP).await
    }
}

/// Two global transactions. The first has row 1 of the first database, the second row 2 of the second; and each has written row
/// 3 or 4 where it will wait.
struct Facing {
    kinds: [Kind; 2],
    xids: [String; 2],
    /// Of each transaction, its session with the row, and the one that is to wait.
    first: [Session; 2],
    second: [Session; 2],
}

const WANTS_1: &str = "UPDATE t SET v = v + 10 WHERE id = 1";
const WANTS_2: &str = "UPDATE t SET v = v + 10 WHERE id = 2";

impl Facing {
    /// `proxies` serve the sessions of the first, and of the second.
    async fn new(stage: &Stage, kinds: [Kind; 2], proxies: [usize; 4], alone: bool) -> Self {
        for kind in kinds {
            let mut dba = stage.direct(kind, SERVICE).await;
            if !Kind::POSTGRES.contains(&kind) {
                dba.all(&[&format!("USE {SCHEMA}")]).await;
            }
            dba.all(&[
                "DROP TABLE IF EXISTS t",
                "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
                "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4), (9, 9)",
            ])
            .await;
            if Kind::POSTGRES.contains(&kind) {
                dba.all(&["GRANT ALL ON t TO app"]).await;
            }
        }
        let mut first = [stage.app(kinds[0], proxies[0]).await, stage.app(kinds[1], proxies[1]).await];
        let mut second = [stage.app(kinds[1], proxies[2]).await, stage.app(kinds[0], proxies[3]).await];
        let mut xids = Vec::new();
        for sessions in [&mut first, &mut second] {
            let xid = sessions[0].run("SELECT atone_begin()").await.unwrap();
            sessions[1].all(&[&format!("SELECT atone_join('{xid}')")]).await;
            xids.push(xid);
            // Of two that begin in one millisecond nobody knows which is the younger.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        first[0].all(&["BEGIN", WANTS_1]).await;
        second[0].all(&["BEGIN", WANTS_2]).await;
        if !alone {
            first[1].all(&["BEGIN", "UPDATE t SET v = 30 WHERE id = 3"]).await;
            second[1].all(&["BEGIN", "UPDATE t SET v = 40 WHERE id = 4"]).await;
        }
        Self { kinds, xids: xids.try_into().unwrap(), first, second }
    }

    /// Both want what the other has; the second's error and how long it took, and the rest of the first.
    async fn meet(
        mut self,
        alone: bool,
    ) -> (Result<String, Failed>, Duration, tokio::task::JoinHandle<Result<(), Failed>>, [Session; 2]) {
        let [mut one, mut other] = self.first;
        let waits = tokio::spawn(async move {
            other.run(WANTS_2).await?;
            for session in [&mut one, &mut other] {
                if !alone {
                    session.run("COMMIT").await?;
                }
            }
            if alone {
                one.run("COMMIT").await?;
            }
            let status = one.run("SELECT atone_commit()").await?;
            assert_eq!(status, "committed");
            Ok(())
        });
        let begun = Instant::now();
        let answer = self.second[1].run(WANTS_1).await;
        (answer, begun.elapsed(), waits, self.second)
    }
}

fn is_deadlock(kind: Kind, code: &str) -> bool {
    code == if Kind::POSTGRES.contains(&kind) { "40P01" } else { "1213" }
}

async fn values(stage: &Stage, kind: Kind) -> String {
    let mut dba = stage.direct(kind, SERVICE).await;
    if !Kind::POSTGRES.contains(&kind) {
        dba.all(&[&format!("USE {SCHEMA}")]).await;
    }
    dba.run("SELECT v FROM t ORDER BY id").await.unwrap()
}

/// Of a circle the younger is told, and all it did is undone; the elder goes on.
async fn resolved(stage: &Stage, kinds: [Kind; 2], proxies: [usize; 4], alone: bool) {
    let place = format!("{kinds:?} through {proxies:?}, alone {alone}");
    let facing = Facing::new(stage, kinds, proxies, alone).await;
    let (xids, [first, second]) = (facing.xids.clone(), facing.kinds);
    let (answer, took, waits, [mut one, mut other]) = facing.meet(alone).await;
    println!("{place}: {took:?}");
    let (code, message) = answer.expect_err(&place);
    assert!(is_deadlock(first, &code), "{place}: {code} {message}");
    let circle = format!("deadlock: {0} waits for {1} waits for {0};", xids[1], xids[0]);
    assert!(message.contains(&circle), "{place}: {message}");
    if !alone {
        // It is over until the client ends it.
        let (code, message) = other.run("UPDATE t SET v = 0 WHERE id = 4").await.expect_err(&place);
        assert!(["1213", "25P02"].contains(&code.as_str()), "{place}: {code} {message}");
        other.all(&["ROLLBACK"]).await;
    }
    one.all(&["ROLLBACK"]).await;
    let status = wait::until("the loser is undone", async || {
        match one.run(&format!("SELECT atone_rollback('{}')", xids[1])).await {
            Ok(status) if status == "rolled_back" => Ok(status),
            answer => Err(answer),
        }
    })
    .await;
    assert_eq!(status, "rolled_back");
    waits.await.unwrap().unwrap_or_else(|error| panic!("{place}: {error:?}"));
    // The database's own row 3 belongs to the first where it waited.
    let third = if alone { "3" } else { "30" };
    assert_eq!(values(stage, first).await, "11,2,3,4,9", "{place}");
    assert_eq!(values(stage, second).await, format!("1,12,{third},4,9"), "{place}");
    other.all(&["SELECT atone_leave()"]).await;
    other.is_usable().await;
    one.is_usable().await;
}

const ONE_PROXY: [usize; 4] = [0, 0, 0, 0];
const ONE_EACH: [usize; 4] = [0, 0, 1, 1];
const CROSSED: [usize; 4] = [0, 1, 0, 1];

#[tokio::test]
async fn the_younger_of_two_that_wait_in_two_databases_yields() {
    let _alone = ALONE.lock().await;
    let stage = Stage::shared().await;
    for (kinds, proxies, alone) in [
        ([Kind::MySql, Kind::Maria], ONE_PROXY, false),
        ([Kind::Maria, Kind::MySql], ONE_EACH, false),
        ([Kind::Maria, Kind::MySql], CROSSED, true),
        ([Kind::MySql, Kind::Maria], CROSSED, true),
        ([Kind::Pg15, Kind::Pg18], ONE_PROXY, false),
        ([Kind::Pg18, Kind::Pg15], CROSSED, false),
        ([Kind::Pg18, Kind::Pg15], ONE_EACH, true),
        ([Kind::MySql, Kind::Pg15], ONE_EACH, false),
        ([Kind::Pg18, Kind::MySql], CROSSED, false),
        ([Kind::Pg15, Kind::Maria], ONE_PROXY, true),
    ] {
        resolved(stage, kinds, proxies, alone).await;
    }
}

/// Between the two stands a session in no global transaction, which waits for the elder's row and has one that the younger wants.
#[tokio::test]
async fn a_session_in_no_global_transaction_may_stand_between_them() {
    let _alone = ALONE.lock().await;
    let stage = Stage::shared().await;
    for kinds in [[Kind::MySql, Kind::Pg15], [Kind::Maria, Kind::Pg18], [Kind::Pg18, Kind::MySql]] {
        let Facing { first, second, xids, .. } = Facing::new(stage, kinds, CROSSED, false).await;
        let ([mut holds, mut elder], [mut one, mut other]) = (first, second);
        let mut local = stage.app(kinds[0], 0).await;
        local.all(&["BEGIN", "UPDATE t SET v = 90 WHERE id = 9"]).await;
        let between = tokio::spawn(async move { (local.run(WANTS_1).await.is_ok(), local) });
        let waits = tokio::spawn(async move { (elder.run(WANTS_2).await, elder) });
        let begun = Instant::now();
        let (code, message) = other.run("UPDATE t SET v = 91 WHERE id = 9").await.unwrap_err();
        println!("{kinds:?}: {:?}", begun.elapsed());
        assert!(is_deadlock(kinds[0], &code), "{kinds:?}: {code} {message}");
        let [by, from] =
            [format!("deadlock: {} waits for connection ", xids[1]), format!(" waits for {}", xids[0])];
        assert!(message.contains(&by) && message.contains(&from), "{kinds:?}: {message}");
        other.all(&["ROLLBACK", "SELECT atone_rollback()"]).await;
        one.all(&["ROLLBACK"]).await;
        let (went_on, mut elder) = waits.await.unwrap();
        went_on.unwrap();
        elder.all(&["COMMIT"]).await;
        holds.all(&["COMMIT"]).await;
        assert_eq!(holds.run("SELECT atone_commit()").await, Ok("committed".to_owned()));
        let (went_on, mut local) = between.await.unwrap();
        assert!(went_on, "{kinds:?}");
        local.all(&["ROLLBACK"]).await;
        assert_eq!(values(stage, kinds[0]).await, "11,2,3,4,9", "{kinds:?}");
        other.is_usable().await;
    }
}

/// A client cancels the very statement that is about to yield: it is told the one or the other, and nothing later is hit.
#[tokio::test]
async fn a_client_that_cancels_at_the_same_time_hits_nothing_else() {
    let _alone = ALONE.lock().await;
    let stage = Stage::shared().await;
    let mut told = Vec::new();
    for kinds in [[Kind::MySql, Kind::Pg18], [Kind::Maria, Kind::MySql], [Kind::Pg15, Kind::Maria]] {
        for after in [20, 50, 70, 110, 150] {
            let place = format!("{kinds:?} after {after} ms");
            let mut facing = Facing::new(stage, kinds, ONE_EACH, false).await;
            let cancel = facing.second[1].cancel(stage.proxies[1].port(kinds[0])).await;
            let cancelling = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                cancel.send().await;
            });
            let (answer, _, waits, [mut one, mut other]) = facing.meet(false).await;
            let (code, message) = answer.expect_err(&place);
            let cancelled = if Kind::POSTGRES.contains(&kinds[0]) { "57014" } else { "1317" };
            assert!(code == cancelled || is_deadlock(kinds[0], &code), "{place}: {code} {message}");
            told.push(code);
            cancelling.await.unwrap();
            for session in [&mut other, &mut one] {
                session.all(&["ROLLBACK", "SELECT atone_rollback()"]).await;
            }
            waits.await.unwrap().unwrap_or_else(|error| panic!("{place}: {error:?}"));
            other.is_usable().await;
            one.is_usable().await;
        }
    }
    println!("{told:?}");
}

/// What the statement waits for ends when it is about to yield: it runs or it yields, and nothing later is hit.
#[tokio::test]
async fn a_statement_that_may_go_on_at_the_same_time_runs_or_yields() {
    let _alone = ALONE.lock().await;
    let stage = Stage::shared().await;
    let mut told = Vec::new();
    for kinds in [[Kind::MySql, Kind::Pg18], [Kind::Maria, Kind::MySql], [Kind::Pg15, Kind::Maria]] {
        for after in [40, 45, 50, 55, 60, 80, 120, 160] {
            let place = format!("{kinds:?} after {after} ms");
            let Facing { first, second, .. } = Facing::new(stage, kinds, ONE_EACH, false).await;
            let ([mut holds, mut waits], [mut one, mut other]) = (first, second);
            let waiting = tokio::spawn(async move { (waits.run(WANTS_2).await, waits) });
            let ends = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                (holds.run("ROLLBACK").await, holds)
            });
            let answer = other.run(WANTS_1).await;
            match &answer {
                Ok(_) => other.all(&["UPDATE t SET v = 41 WHERE id = 4", "COMMIT"]).await,
                Err((code, message)) => {
                    assert!(is_deadlock(kinds[0], code), "{place}: {code} {message}");
                    other.all(&["ROLLBACK"]).await;
                }
            }
            told.push(answer.is_ok());
            one.all(&["COMMIT"]).await;
            assert_eq!(one.run("SELECT atone_commit()").await, Ok("committed".to_owned()), "{place}");
            let expected = if answer.is_ok() { "11,2,3,41,9" } else { "1,2,3,4,9" };
            assert_eq!(values(stage, kinds[0]).await, expected, "{place}");
            let (ended, mut holds) = ends.await.unwrap();
            ended.unwrap();
            let (_, mut waits) = waiting.await.unwrap();
            waits.all(&["ROLLBACK", "SELECT atone_rollback()"]).await;
            holds.all(&["SELECT atone_leave()"]).await;
            other.all(&["SELECT atone_leave()"]).await;
            other.is_usable().await;
        }
    }
    println!("{told:?}");
}
