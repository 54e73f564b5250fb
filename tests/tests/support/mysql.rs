//! A MySQL or MariaDB for the play.

use super::outcome::Told;
use super::play::{self, Way};
use super::rows::Row;
use super::servers::Servers;
use atone_tests::servers::Kind;
use atone_tests::servers::database::{APP, SERVICE};
use atone_tests::sql;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row as Answer};

/// One of the two, and the room that is in use.
pub struct Server<'a> {
    servers: &'a Servers,
    kind: Kind,
    service: Conn,
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
    fn told(&self, error: mysql_async::Error) -> Told {
        let (code, text) = match error {
            mysql_async::Error::Server(error) => (error.code.to_string(), error.message),
            other => (String::new(), other.to_string()),
        };
        let schema = self.schema();
        Told { code, text: text.replace(&format!("`{schema}`."), "").replace(&format!("{schema}."), "") }
    }

    async fn lines(&mut self, query: &str) -> String {
        let rows: Vec<Answer> = self.service.query(query).await.expect("the server tells its catalogue");
        let lines = rows.into_iter().map(|row| {
            let values = row.unwrap().into_iter().map(|value| value.as_sql(true));
            values.collect::<Vec<_>>().join(" ") + "\n"
        });
        lines.collect()
    }
}

/// What of the server's own might be changed; `{}` is the room.
const CATALOGUE: [&str; 7] = [
    "SELECT table_name, table_type, engine FROM information_schema.tables WHERE table_schema = '{}' ORDER BY 1",
    "SELECT table_name, column_name, column_type, column_default, extra FROM information_schema.columns \
     WHERE table_schema = '{}' ORDER BY 1, ordinal_position",
    "SELECT table_name, index_name, column_name FROM information_schema.statistics WHERE table_schema = '{}' ORDER BY 1, 2, seq_in_index",
    "SELECT trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = '{}' ORDER BY 1",
    "SELECT routine_name FROM information_schema.routines WHERE routine_schema = '{}' ORDER BY 1",
    "SELECT event_name FROM information_schema.events WHERE event_schema = '{}' ORDER BY 1",
    "SELECT user, host FROM mysql.user ORDER BY 1, 2",
];

impl play::Server for Server<'_> {
    type Session = Conn;

    async fn room(&mut self, tables: &str) -> Result<(), Told> {
        // What a play left there must not hold the next one up; it is not in the next room anyway.
        let old = self.schema();
        self.clean(&format!("DROP DATABASE IF EXISTS {old}")).await;
        self.rooms += 1;
        let schema = self.schema();
        let statements = [format!("CREATE DATABASE {schema}"), format!("USE {schema}")];
        let tables = tables.split(";\n").map(str::trim).filter(|statement| !statement.is_empty());
        let tables = tables.map(|statement| statement.trim_end_matches(';').to_owned());
        for statement in statements.into_iter().chain(tables) {
            self.service.query_drop(statement).await.map_err(|error| self.told(error))?;
        }
        Ok(())
    }

    async fn dump(&mut self) -> String {
        let schema = self.schema();
        let mut text = sql::dump(&mut self.service, &schema).await.expect("the room can be read");
        for query in CATALOGUE {
            text += &self.lines(&query.replace("{}", &schema)).await;
        }
        text + &self.lines("SELECT @@GLOBAL.sort_buffer_size").await
    }

    async fn session(&mut self, row: &Row, way: Way) -> Conn {
        let port = match way {
            Way::Direct => self.servers.direct(self.kind),
            Way::Proxy => self.servers.proxied(self.kind),
        };
        let account = if row.by_admin { SERVICE } else { APP };
        sql::connect(port, account, Some(&self.schema())).await.expect("the account is let in")
    }

    async fn run(&mut self, session: &mut Conn, statement: &str) -> Result<Option<String>, Told> {
        let statement = statement.replace("{schema}", &self.schema());
        let rows: Result<Vec<Answer>, _> = session.query(statement).await;
        let mut rows = rows.map_err(|error| self.told(error))?;
        Ok(rows.first_mut().and_then(|row| row.take_opt::<String, _>(0)).and_then(Result::ok))
    }

    async fn clean(&mut self, statement: &str) {
        // There may be nothing to clean.
        let _ = self.service.query_drop(statement).await;
    }
}
