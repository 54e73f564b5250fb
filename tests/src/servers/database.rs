//! A private database server of any kind, with the users that the tests know.

use super::postgres::SHOP;
use super::process::Process;
use super::scratch::Scratch;
use crate::{Result, install};
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The proxy's own account, which the tests also use to set up.
pub const SERVICE: (&str, &str) = ("service", "secret");

/// The application's account: all rights on schemas whose names start with `shop`, none elsewhere.
pub const APP: (&str, &str) = ("app", "app-password");

/// The kinds of server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Kind {
    /// MariaDB of the distribution.
    Maria,
    /// MySQL 9.
    MySql,
    /// PostgreSQL of the distribution.
    Pg15,
    /// The newest PostgreSQL.
    Pg18,
}

impl Kind {
    /// Those that speak MySQL's protocol, in the order in which the tests go through them.
    pub const ALL: [Self; 2] = [Self::MySql, Self::Maria];

    /// Those that speak PostgreSQL's.
    pub const POSTGRES: [Self; 2] = [Self::Pg15, Self::Pg18];

    /// The resource name that the tests' proxies give it: the order database is MySQL, the account database MariaDB.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Maria => "accounts",
            Self::MySql => "orders",
            Self::Pg15 => "ledger",
            Self::Pg18 => "archive",
        }
    }
}

/// Whether commits are flushed to disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Commits survive the end of the server's process, not of the machine: enough for all but tests that kill it.
    Lazy,
    /// Commits are on disk when they are answered.
    Full,
}

/// A running server; killed when dropped.
pub struct Database {
    pub(super) kind: Kind,
    pub(super) port: u16,
    pub(super) process: Process,
    // Dropped after the process, as fields are in order: the folder must not go first.
    pub(super) dir: Scratch,
    pub(super) client: Client,
    pub(super) run: Box<Run>,
}

/// Starts the server's process on the folder and port that it has.
pub(super) type Run = dyn Fn() -> Result<Process> + Send + Sync;

/// How its command line client is run.
pub(super) enum Client {
    Maria(std::path::PathBuf),
    MySql(install::chroot::Chroot),
    Postgres(install::postgres::Programs),
}

impl Database {
    /// A server of this kind with lazy commits.
    pub fn start(kind: Kind) -> Result<Self> {
        Self::start_with(kind, Durability::Lazy)
    }

    /// A server of this kind.
    pub fn start_with(kind: Kind, durability: Durability) -> Result<Self> {
        match kind {
            Kind::Maria => super::Maria::start_with(durability),
            Kind::MySql => super::MySql::start_with(durability),
            Kind::Pg15 | Kind::Pg18 => super::Postgres::start_with(kind, durability),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Kills it like a power cut would; `restart` brings it back with what was on disk.
    pub fn kill9(&mut self) {
        match self.kind {
            Kind::Maria | Kind::MySql => self.process.kill9(),
            Kind::Pg15 | Kind::Pg18 => self.process.kill9_family(),
        }
    }

    /// Asks it to end, and waits until it has, whoever is connected.
    fn stop(&mut self) -> Result<()> {
        match self.kind {
            Kind::Maria | Kind::MySql => self.process.stop().map(drop),
            // SIGTERM would wait for the clients to leave.
            Kind::Pg15 | Kind::Pg18 => self.process.stop_by("INT").map(drop),
        }
    }

    /// Starts it again on the same port and folder.
    pub fn restart(&mut self) -> Result<()> {
        self.kill9();
        self.process = (self.run)()?;
        Ok(())
    }

    /// Another server, with the data that this one has now; this one is started anew for it. What is committed here
    /// from now on is not there, as after a failover that lost it.
    pub fn twin(&mut self) -> Result<Self> {
        self.stop()?;
        let data = self.dir.join("data");
        let twin = match self.kind {
            Kind::Maria => super::Maria::start_from(&data, Durability::Lazy, &[]),
            Kind::MySql => super::MySql::start_from(&data, Durability::Lazy, &[]),
            kind @ (Kind::Pg15 | Kind::Pg18) => {
                super::Postgres::start_from(kind, &data, Durability::Lazy, &[])
            }
        };
        self.process = (self.run)()?;
        twin
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The address that a proxy's configuration needs, with the service account.
    pub fn url(&self) -> String {
        Self::url_at(self.kind, self.port)
    }

    /// The same for a server that is reached by another port.
    pub fn url_at(kind: Kind, port: u16) -> String {
        let (user, password) = SERVICE;
        match kind {
            Kind::Maria | Kind::MySql => format!("mysql://{user}:{password}@127.0.0.1:{port}"),
            Kind::Pg15 | Kind::Pg18 => format!("postgres://{user}:{password}@127.0.0.1:{port}/{SHOP}"),
        }
    }

    /// The vendor's command line client, without arguments yet.
    pub fn client(&self) -> Command {
        match &self.client {
            Client::Maria(path) => Command::new(path),
            Client::MySql(chroot) => chroot.command("mysql"),
            Client::Postgres(programs) => programs.client("psql"),
        }
    }

    /// Another of the vendor's client programs (`pgbench`); only PostgreSQL's are in a folder that is known.
    pub fn program(&self, name: &str) -> Command {
        match &self.client {
            Client::Postgres(programs) => programs.client(name),
            Client::Maria(_) | Client::MySql(_) => panic!("{name} is no program of {:?}", self.kind),
        }
    }
}

/// Flags that both kinds understand.
pub(super) fn common_flags(port: u16, dir: &Path, durability: Durability) -> Vec<String> {
    let flush = match durability {
        Durability::Lazy => 0,
        Durability::Full => 1,
    };
    let dir = dir.display();
    let own = [
        "--no-defaults".to_owned(),
        format!("--datadir={dir}/data"),
        // Servers that share /tmp now and then meet there.
        format!("--tmpdir={dir}"),
        format!("--socket={dir}/socket"),
        format!("--pid-file={dir}/pid"),
        format!("--port={port}"),
        format!("--innodb-flush-log-at-trx-commit={flush}"),
    ];
    let same = [
        "--user=root",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--character-set-server=utf8mb4",
        "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=10",
        "--max-allowed-packet=64M",
        "--max-connections=400",
        "--local-infile=ON",
    ];
    own.into_iter().chain(same.map(str::to_owned)).collect()
}

/// Statements, one a line, that make the users.
pub(super) fn users() -> String {
    let (service, secret) = SERVICE;
    let (app, password) = APP;
    format!(
        "CREATE USER {service}@'%' IDENTIFIED BY '{secret}';\n\
         GRANT ALL PRIVILEGES ON *.* TO {service}@'%' WITH GRANT OPTION;\n\
         CREATE USER {app}@'%' IDENTIFIED BY '{password}';\n\
         GRANT ALL PRIVILEGES ON `shop%`.* TO {app}@'%';\n"
    )
}

/// Whether a server speaks on this port: it greets first.
pub(super) fn greets(port: u16) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.read_exact(&mut [0; 5]).ok()
}

/// Copies a prepared data folder.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    install::run(Command::new("cp").args(["-a", "--sparse=always", "--reflink=auto"]).arg(from).arg(to))
        .map(drop)
}
