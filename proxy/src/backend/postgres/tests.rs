//! The catalogue, the undo table and the checks at the start, on a real server. Run with
//! `ATONE_TEST_POSTGRES=postgres://superuser@host:port/postgres cargo test -p atone-proxy --features server-tests`.

use super::Postgres;
use crate::backend::{BackendError, Entry};
use crate::config::{Account, Dialect};
use std::sync::Arc;
use tokio_postgres::{Client, Config, NoTls, config::Host};

/// A database of its own with a service account that can do what it must and no more; dropped by the next test of this name.
pub(crate) struct Scratch {
    pub account: Account,
    pub client: Client,
}

impl Scratch {
    pub async fn new(name: &str) -> Self {
        let url = std::env::var("ATONE_TEST_POSTGRES").expect("ATONE_TEST_POSTGRES names a server");
        let mut config: Config = url.parse().expect("a url");
        let server = client(&config).await;
        let database = format!("atone_test_{name}");
        server.batch_execute(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await.unwrap();
        server.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        let user = format!("atone_service_{name}");
        server
            .batch_execute(&format!(
                "DROP ROLE IF EXISTS {user}; CREATE ROLE {user} LOGIN PASSWORD 'atone'; \
                 GRANT pg_read_all_data, pg_write_all_data, pg_read_all_stats, pg_signal_backend TO {user}; \
                 GRANT CREATE ON DATABASE {database} TO {user}"
            ))
            .await
            .unwrap();
        config.dbname(&database);
        let [Host::Tcp(host)] = config.get_hosts() else { panic!("a host name") };
        let account = Account {
            dialect: Dialect::Postgres,
            database,
            host: host.clone(),
            port: config.get_ports().first().copied().unwrap_or(5432),
            user,
            password: "atone".into(),
        };
        Self { client: client(&config).await, account }
    }

    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// Another connection of this user to the database.
    pub async fn another(&self, user: &str) -> Client {
        let mut config = Config::new();
        config.host(&self.account.host).port(self.account.port).dbname(&self.account.database);
        config.user(user).password("atone");
        client(&config).await
    }

    pub async fn oid(&self, table: &str) -> u32 {
        let query = format!("SELECT '{table}'::regclass::oid");
        self.client.query_one(&query, &[]).await.unwrap().get(0)
    }
}

async fn client(config: &Config) -> Client {
    let (client, driver) = config.connect(NoTls).await.expect("a server");
    crate::tasks::spawn("test", async move {
        let _ = driver.await;
    });
    client
}

async fn entry(scratch: &Scratch, postgres: &Postgres, table: &str) -> Arc<Entry> {
    postgres.entry(scratch.oid(table).await).await.unwrap().expect("a table")
}

/// Key, then other unique keys; or why not.
fn keys(entry: &Entry) -> Result<String, String> {
    let table = entry.table.as_ref().map_err(Clone::clone)?;
    let names = std::iter::once(&table.key).chain(&table.uniques).map(|key| {
        let columns: Vec<&str> = key.parts.iter().map(|p| table.columns[p.column].name.as_str()).collect();
        format!("{}({})", key.name, columns.join(","))
    });
    Ok(names.collect::<Vec<_>>().join(" "))
}

const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN amount AS numeric(9, 2);
    CREATE TABLE plain (id int PRIMARY KEY, v text, at timestamptz, m mood, a amount, twice int GENERATED ALWAYS AS (id * 2) STORED);
    CREATE UNIQUE INDEX plain_v ON plain (v) WHERE v <> ''; CREATE UNIQUE INDEX plain_lower ON plain (lower(v));
    CREATE TABLE \"Odd Name\" (\"Id\" bigint GENERATED ALWAYS AS IDENTITY UNIQUE, code char(5) NOT NULL UNIQUE);
    CREATE TABLE later (id int UNIQUE DEFERRABLE NOT NULL);
    CREATE TABLE nameless (v int);
    CREATE COLLATION ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE insensitive (id text COLLATE ignore_case PRIMARY KEY);
    CREATE TABLE span (id interval PRIMARY KEY); CREATE TABLE m (id mood PRIMARY KEY); CREATE TABLE n (id amount PRIMARY KEY);
    CREATE TABLE num (id numeric, d double precision, PRIMARY KEY (id, d));
    CREATE TABLE root (id int, region text, v int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
    CREATE TABLE north (v int UNIQUE, id int NOT NULL, region text NOT NULL); ALTER TABLE root ATTACH PARTITION north FOR VALUES IN ('n');
    CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
    CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY); CREATE TEMP TABLE temporary (id int PRIMARY KEY);
    CREATE VIEW seen AS SELECT * FROM plain; CREATE TABLE secret (id int PRIMARY KEY); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
    CREATE TABLE ruled (id int PRIMARY KEY); CREATE RULE nothing AS ON DELETE TO ruled DO INSTEAD NOTHING;
    CREATE TABLE acl (id int PRIMARY KEY, a aclitem); CREATE TABLE acls (id int PRIMARY KEY, a aclitem[]);
    CREATE TABLE dependent (p int REFERENCES plain ON DELETE CASCADE, q int REFERENCES plain ON UPDATE SET NULL, r int REFERENCES plain);
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER t BEFORE INSERT ON dependent FOR EACH ROW EXECUTE FUNCTION f();";

#[tokio::test]
async fn tables_are_described_or_refused_with_the_reason() {
    let scratch = Scratch::new("catalogue").await;
    scratch.run(TABLES).await;
    let postgres = Postgres::open("shop", &scratch.account).await.unwrap();
    for (table, expected) in [
        ("plain", Ok("plain_pkey(id) plain_v(v)")),
        ("\"Odd Name\"", Ok("Odd Name_Id_key(Id) Odd Name_code_key(code)")),
        ("m", Ok("m_pkey(id)")),
        ("num", Ok("num_pkey(id,d)")),
        ("root", Ok("root_pkey(region,id) north_v_key(v)")),
        ("north", Ok("root_pkey(region,id) north_v_key(v)")),
        ("parent", Ok("parent_pkey(id)")),
        ("child", Err("no primary key")),
        ("later", Err("no primary key")),
        ("nameless", Err("no primary key")),
        ("insensitive", Err("equal without being the same")),
        ("span", Ok("span_pkey(id)")),
        ("n", Ok("n_pkey(id)")),
        ("unlogged", Err("unlogged")),
        ("seen", Err("a view")),
        ("secret", Err("row level security")),
        ("ruled", Err("rules")),
        ("acl", Err("column a has type aclitem")),
        ("acls", Err("column a has type _aclitem")),
        ("atone.undo_log", Err("belongs to the proxy")),
        ("pg_catalog.pg_class", Err("belongs to the database server")),
    ] {
        let entry = entry(&scratch, &postgres, table).await;
        match (keys(&entry), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{table}"),
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{table}: {why}"),
            (found, expected) => panic!("{table}: {found:?}, expected {expected:?}"),
        }
        assert_eq!(entry.table.is_ok(), entry.layout.is_some(), "{table}");
    }
    assert!(postgres.entry(scratch.oid("temporary").await).await.unwrap().is_none());
    assert!(postgres.entry(1).await.unwrap().is_none());

    let plain = entry(&scratch, &postgres, "plain").await;
    let kinds: Vec<String> =
        plain.table.as_ref().unwrap().columns.iter().map(|c| format!("{:?}", c.kind)).collect();
    assert_eq!(kinds[4], r#"Postgres("\"public\".\"amount\"")"#);
    assert_eq!(plain.layout.as_ref().unwrap().fields[5].column, None);
    let rules: Vec<_> =
        plain.cascades.iter().map(|r| (r.columns[0].0.as_str(), r.on_delete, r.on_update)).collect();
    assert_eq!(rules, [("p", true, false), ("q", false, true)]);
    let north = entry(&scratch, &postgres, "north").await;
    assert_eq!((north.name.as_str(), north.layout.as_ref().unwrap().partitioned), ("public.root", false));
    assert!(entry(&scratch, &postgres, "root").await.layout.as_ref().unwrap().partitioned);
    assert_eq!(entry(&scratch, &postgres, "dependent").await.triggers, ["t"]);

    let tables = [plain, north];
    assert_eq!(postgres.changed(&tables).await.unwrap(), None);
    scratch.run("CREATE TRIGGER late AFTER DELETE ON plain EXECUTE FUNCTION f()").await;
    assert_eq!(postgres.changed(&tables).await.unwrap().as_deref(), Some("public.plain"));
}

#[tokio::test]
async fn the_start_creates_once_and_names_what_is_wrong() {
    let scratch = Scratch::new("start").await;
    let open = |name| Postgres::open(name, &scratch.account);
    let create = format!("CREATE ON DATABASE {}", scratch.account.database);
    scratch.run(&format!("REVOKE {create} FROM {}", scratch.account.user)).await;
    let Err(BackendError::Unfit { what, .. }) = open("shop").await else { panic!() };
    assert!(what.contains("cannot be created (permission denied"), "{what}");
    scratch.run(&format!("GRANT {create} TO {}", scratch.account.user)).await;
    let (one, two) = tokio::join!(open("shop"), open("shop"));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.primary.sight().primary, two.primary.sight().primary);
    let Err(BackendError::Unfit { what, .. }) = open("other").await else { panic!() };
    assert!(what.contains("already known as 'shop'"), "{what}");

    scratch.run("DROP ROLE IF EXISTS atone_weak; CREATE ROLE atone_weak LOGIN PASSWORD 'atone'; GRANT pg_read_all_data TO atone_weak").await;
    let account = Account { user: "atone_weak".into(), ..scratch.account.clone() };
    let Err(BackendError::Unfit { what, .. }) = Postgres::open("shop", &account).await else { panic!() };
    assert!(
        what.contains("GRANT pg_write_all_data, pg_read_all_stats, pg_signal_backend TO \"atone_weak\""),
        "{what}"
    );

    // An application may insert an undo record, learn where it is, and nothing else.
    let application = scratch.another("atone_weak").await;
    let identity: String = application.query_one(one.identity(), &[]).await.unwrap().get(0);
    assert_eq!(*identity, *one.primary.sight().primary);
    let insert = "INSERT INTO atone.undo_log VALUES ('x', 1, 0, 1, 'NORMAL', '')";
    application.batch_execute(insert).await.unwrap();
    assert!(application.batch_execute("DELETE FROM atone.undo_log").await.is_err());
    assert!(application.batch_execute("INSERT INTO atone.resource VALUES (1, 'x')").await.is_err());

    scratch.run("GRANT SELECT ON atone.undo_log TO PUBLIC").await;
    let Err(BackendError::Unfit { what, .. }) = open("shop").await else { panic!() };
    assert!(what.contains("REVOKE ALL"), "{what}");
    scratch.run("REVOKE SELECT ON atone.undo_log FROM PUBLIC; ALTER TABLE atone.undo_log ADD x int").await;
    let Err(BackendError::Unfit { what, .. }) = open("shop").await else { panic!() };
    assert!(what.contains("other columns"), "{what}");
}
