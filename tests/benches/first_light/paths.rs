//! The ways to the databases: direct, relayed, proxied.

use crate::cpu::Cpu;
use atone_tests::servers::binaries::Profile;
use atone_tests::servers::database::SERVICE;
use atone_tests::servers::process::Process;
use atone_tests::servers::scratch::Scratch;
use atone_tests::servers::{Durability, Kind};
use atone_tests::world::World;
use atone_tests::{Context, Result, sql};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

/// The schema that is worked on.
const SCHEMA: &str = "shop";

/// Rows of the table.
pub const ROWS: u32 = 1000;

/// A way to a database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    Direct,
    Relay,
    Proxy,
}

impl Path {
    pub const ALL: [Self; 3] = [Self::Direct, Self::Relay, Self::Proxy];
}

/// All servers, and the relay.
pub struct Paths {
    world: World,
    relay: Process,
    relay_port: u16,
    _dir: Scratch,
}

impl Paths {
    /// Starts them.
    pub async fn start() -> Result<Self> {
        let world = World::start(Profile::Release, Durability::Full)?;
        for kind in Kind::ALL {
            fill(world.database(kind).port()).await?;
        }
        let dir = Scratch::new("relay")?;
        let relay_port =
            TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).or_fail("a port")?.port();
        let mut command = Command::new(std::env::current_exe().or_fail("finding this program")?);
        command.arg("relay").args([relay_port, world.accounts.port()].map(|port| port.to_string()));
        let mut relay = Process::start("relay", &mut command, &dir.join("log"))?;
        relay.until("listening", || TcpStream::connect(("127.0.0.1", relay_port)).ok())?;
        Ok(Self { world, relay, relay_port, _dir: dir })
    }

    /// Whether the databases flush each commit to disk, as in life. Where they do not, the disk hides no cost of a path.
    pub async fn flush_commits(&self, each: bool) -> Result<()> {
        for kind in Kind::ALL {
            let mut conn = sql::connect(self.world.database(kind).port(), SERVICE, None).await?;
            conn.query_drop(format!("SET GLOBAL innodb_flush_log_at_trx_commit = {}", u8::from(each)))
                .await?;
        }
        Ok(())
    }

    /// A connection to MariaDB, on which local work is measured.
    pub async fn connect(&self, path: Path) -> Result<Conn> {
        let port = match path {
            Path::Direct => self.world.accounts.port(),
            Path::Relay => self.relay_port,
            Path::Proxy => self.world.proxy.port(Kind::Maria),
        };
        sql::connect_app(port, SCHEMA).await
    }

    /// Connections to both databases, for global work.
    pub async fn connect_both(&self, path: Path) -> Result<[Conn; 2]> {
        let port = |kind| match path {
            Path::Direct | Path::Relay => self.world.database(kind).port(),
            Path::Proxy => self.world.proxy.port(kind),
        };
        let [first, second] = Kind::ALL.map(port);
        Ok([sql::connect_app(first, SCHEMA).await?, sql::connect_app(second, SCHEMA).await?])
    }

    /// The CPU clock of what stands in the way; nothing does on the direct one.
    pub fn cpu(&mut self, path: Path) -> Result<Option<Cpu>> {
        match path {
            Path::Direct => Ok(None),
            Path::Relay => Cpu::of(self.relay.pid()).map(Some),
            Path::Proxy => Cpu::of(self.world.proxy.pid()?).map(Some),
        }
    }

    /// The CPU clock of the coordinator.
    pub fn coordinator_cpu(&mut self) -> Result<Cpu> {
        Cpu::of(self.world.coordinator.pid()?)
    }
}

async fn fill(port: u16) -> Result<()> {
    let mut conn = sql::connect(port, SERVICE, None).await?;
    conn.query_drop(format!("CREATE DATABASE {SCHEMA}")).await?;
    conn.query_drop(format!("CREATE TABLE {SCHEMA}.t (id INT PRIMARY KEY, v INT, s VARCHAR(100))")).await?;
    let rows: Vec<String> = (0..ROWS).map(|id| format!("({id}, 0, REPEAT('x', 100))")).collect();
    Ok(conn.query_drop(format!("INSERT INTO {SCHEMA}.t VALUES {}", rows.join(","))).await?)
}
