//! A PostgreSQL for the play.

use super::outcome::Told;
use super::play::{self, Way};
use super::rows::Row;
use super::servers::Servers;
use atone_tests::postgres::{Raw, message, sql};
use atone_tests::servers::Kind;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::servers::postgres::SHOP;
use tokio_postgres::{Client, SimpleQueryMessage};

/// One of the two, and the room that is in use.
pub struct Server<'a> {
    servers: &'a Servers,
    kind: Kind,
    service: Client,
    rooms: u32,
}

impl<'a> Server<'a> {
    /// Connects the account that may do everything.
    pub async fn new(servers: &'a Servers, kind: Kind) -> Self {
        let service = sql::connect(servers.direct(kind), SERVICE, None).await;
        Self { servers, kind, service: service.expect("the service account is let in"), rooms: 0 }
    }

    fn schema(&self) -> String {
        format!("shop_{}", self.rooms)
    }

    /// An error without the names that are of this room only.
    fn told(&self, error: tokio_postgres::Error) -> Told {
        let (code, text) = match error.as_db_error() {
            Some(error) => (error.code().code().to_owned(), error.message().to_owned()),
            None => (String::new(), error.to_string()),
        };
        Told { code, text: self.plain(&text) }
    }

    /// A sentence without what is of this room and this server only.
    fn plain(&self, text: &str) -> String {
        let text = text.replace(&format!("{}.", self.schema()), "");
        let text = text.replace(&format!("'{}'", self.kind.resource()), "'…'");
        ["table number ", "pg_temp_"].into_iter().fold(text, |text, name| unnumbered(&text, name))
    }

    /// Where the application's tables are, and the types of the extensions.
    fn path(&self) -> String {
        format!("{},public", self.schema())
    }
}

/// A sentence in which the number behind this name is left out.
fn unnumbered(text: &str, name: &str) -> String {
    match text.split_once(name) {
        Some((head, tail)) => format!("{head}{name}…{}", tail.trim_start_matches(char::is_numeric)),
        None => text.to_owned(),
    }
}

/// What of the server's own might be changed; `{}` is the room.
const CATALOGUE: &str = "
    SELECT format('%s %s %s %s %s', relname, relkind, relpersistence, relrowsecurity, obj_description(oid)) FROM pg_class
        WHERE relnamespace = '{}'::regnamespace UNION ALL
    SELECT format('%s %s %s %s', attrelid::regclass, attname, atttypid::regtype, attnotnull) FROM pg_attribute
        WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = '{}'::regnamespace) UNION ALL
    SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = '{}'::regnamespace UNION ALL
    SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
        WHERE relnamespace = '{}'::regnamespace UNION ALL
    SELECT prosrc FROM pg_proc WHERE pronamespace = '{}'::regnamespace UNION ALL
    SELECT typname FROM pg_type WHERE typnamespace = '{}'::regnamespace UNION ALL
    SELECT rolname || rolsuper FROM pg_roles UNION ALL
    SELECT extname FROM pg_extension UNION ALL
    SELECT transaction || gid FROM pg_prepared_xacts UNION ALL
    SELECT oid || md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1";

impl play::Server for Server<'_> {
    type Session = Raw;

    async fn room(&mut self, tables: &str) -> Result<(), Told> {
        let old = self.schema();
        self.clean(&format!("DROP SCHEMA IF EXISTS {old} CASCADE")).await;
        self.rooms += 1;
        let schema = self.schema();
        let make = format!("CREATE SCHEMA {schema} AUTHORIZATION {}", APP.0);
        self.service.batch_execute(&make).await.map_err(|error| self.told(error))?;
        let owner = sql::connect(self.servers.direct(self.kind), APP, Some(&self.path())).await;
        let owner = owner.expect("the application is let in");
        let tables = tables.replace("{schema}", &schema);
        owner.batch_execute(&tables).await.map_err(|error| self.told(error))
    }

    async fn dump(&mut self) -> String {
        let schema = self.schema();
        let mut text = sql::dump(&self.service, &schema).await.expect("the room can be read");
        let catalogue = self.service.simple_query(&CATALOGUE.replace("{}", &schema)).await;
        for message in catalogue.expect("the server tells its catalogue") {
            if let SimpleQueryMessage::Row(row) = message {
                text += &format!("{}\n", row.get(0).unwrap_or("NULL"));
            }
        }
        text
    }

    async fn session(&mut self, row: &Row, way: Way) -> Raw {
        let port = match way {
            Way::Direct => self.servers.direct(self.kind),
            Way::Proxy => self.servers.proxied(self.kind),
        };
        let options = format!("-c search_path={}", self.path());
        let account = if row.by_admin { SERVICE } else { APP };
        Raw::connect(port, account, SHOP, &[("options", &options)]).await.expect("the account is let in")
    }

    async fn run(&mut self, session: &mut Raw, statement: &str) -> Result<Option<String>, Told> {
        let statement = statement.replace("{schema}", &self.schema());
        let (query, data) = match statement.split_once(" FROM STDIN\n") {
            Some((copy, data)) => (format!("{copy} FROM STDIN"), data),
            None => (statement.clone(), ""),
        };
        let answer = say(session, &query, data).await;
        answer.map_err(|(code, text)| Told { code, text: self.plain(&text) })
    }

    async fn clean(&mut self, statement: &str) {
        // There may be nothing to clean.
        let _ = self.service.batch_execute(statement).await;
    }
}

/// A simple query, and the data that the server then asks for; the first value that it answers, or its error.
async fn say(session: &mut Raw, query: &str, data: &str) -> Result<Option<String>, (String, String)> {
    let lost = |failure: atone_tests::Failure| (String::new(), failure.to_string());
    session.send(&message::message(b'Q', &message::texts(&[query]))).await.map_err(lost)?;
    let mut answer = Ok(None);
    loop {
        let message = session.receive().await.map_err(lost)?;
        match message.kind {
            b'Z' => return answer,
            b'E' => answer = Err((message.field('C'), message.field('M'))),
            b'D' if answer == Ok(None) => answer = Ok(message.texts().into_iter().next()),
            b'G' => {
                let data = [message::message(b'd', data.as_bytes()), message::message(b'c', b"")].concat();
                session.send(&data).await.map_err(lost)?;
            }
            _ => {}
        }
    }
}
