//! The ways to a database: direct, relayed, proxied.

use crate::Extent;
use crate::cpu::Cpu;
use crate::report::Report;
use crate::rounds::{Clock, rounds};
use atone_tests::servers::process::Process;
use atone_tests::servers::scratch::Scratch;
use atone_tests::{Context, Result};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

/// Rows of the table that is written.
pub const ROWS: u32 = 1000;

/// Rows that a bulk read gives.
pub const BULK: u32 = 20_000;

/// The relay, as a process of its own.
pub struct Relay {
    process: Process,
    pub port: u16,
    _dir: Scratch,
}

impl Relay {
    /// Starts one before this port.
    pub fn start(target: u16) -> Result<Self> {
        let dir = Scratch::new("relay")?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).or_fail("a port")?.port();
        let mut command = Command::new(std::env::current_exe().or_fail("finding this program")?);
        command.arg("relay").args([port, target].map(|port| port.to_string()));
        let mut process = Process::start("relay", &mut command, &dir.join("log"))?;
        process.until("listening", || TcpStream::connect(("127.0.0.1", port)).ok())?;
        Ok(Self { process, port, _dir: dir })
    }
}

/// The ways to one database in the order direct, relay, proxy, and what watches over the last two.
pub struct Ways<C> {
    pub database: &'static str,
    pub connections: [C; 3],
    pub relay: Cpu,
    pub proxy: Cpu,
}

impl<C> Ways<C> {
    /// Opens a connection on each way; `ports` are the database's and the proxy's.
    pub async fn open(
        database: &'static str,
        [direct, proxied]: [u16; 2],
        relay: &Relay,
        proxy: u32,
        connect: impl AsyncFn(u16) -> Result<C>,
    ) -> Result<Self> {
        Ok(Self {
            database,
            connections: [connect(direct).await?, connect(relay.port).await?, connect(proxied).await?],
            relay: Cpu::of(relay.process.pid())?,
            proxy: Cpu::of(proxy)?,
        })
    }

    /// Measures one kind of work on all three, and tells the ratios.
    pub async fn compare(
        &mut self,
        work: &str,
        operations: u32,
        extent: Extent,
        report: &mut Report,
        run: impl AsyncFn(&mut C, u32) -> Result<()>,
    ) -> Result<()> {
        let name = format!("{}: {work}", self.database);
        let clocks = [(1, "relay", self.relay), (2, "proxy", self.proxy)];
        let clocks = clocks.map(|(way, what, cpu)| Clock { way, name: format!("{name}: {what}"), cpu });
        let connections = &mut self.connections;
        let times = rounds::<3>(extent, operations, clocks, report, async |way, id| {
            run(&mut connections[way], id).await.or_fail(&name)
        });
        for [direct, relay, proxy] in times.await? {
            report.ratio(&format!("{name}: relay / direct"), relay / direct);
            report.ratio(&format!("{name}: proxy / direct"), proxy / direct);
            report.ratio(&format!("{name}: proxy / relay"), proxy / relay);
        }
        Ok(())
    }
}
