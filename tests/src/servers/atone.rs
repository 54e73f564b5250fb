//! Runs the product: a coordinator or a proxy, which can be killed and started again where it was.

use super::binaries::{Profile, binaries};
use super::database::{Database, Kind};
use super::ports;
use super::process::Process;
use super::scratch::Scratch;
use crate::api::Api;
use crate::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

/// A program of ours with its configuration, restartable.
struct Service {
    name: &'static str,
    program: PathBuf,
    /// The planted bug, if it was built with some.
    bug: &'static str,
    process: Option<Process>,
    dir: Scratch,
}

impl Service {
    fn start(
        name: &'static str,
        profile: Profile,
        program: PathBuf,
        config: &dyn Fn(&Scratch) -> String,
    ) -> Result<Self> {
        let bug = match profile {
            Profile::Planted(bug) => bug,
            Profile::Debug | Profile::Release => "",
        };
        let dir = Scratch::new(name)?;
        let file = dir.join("config.toml");
        std::fs::write(&file, config(&dir)).or_fail(file.display())?;
        let mut service = Self { name, program, bug, process: None, dir };
        service.restart("")?;
        Ok(service)
    }

    /// Kills what runs, and starts it anew with the same configuration and these failpoints.
    fn restart(&mut self, failpoints: &str) -> Result<()> {
        self.process = None;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.dir.join("config.toml"));
        command.env("ATONE_FAILPOINT", failpoints).env_remove("ATONE_SERVER");
        command.env("ATONE_PLANTED_BUG", self.bug);
        let log = self.dir.join("log");
        let ready = |log: &str| log.matches(&format!("{} ready", self.name)).count();
        let before = ready(&std::fs::read_to_string(&log).unwrap_or_default());
        let mut process = Process::start(self.name, &mut command, &log)?;
        let text = || std::fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        process.until("its ready line", || (ready(&text().ok()?) > before).then_some(()))?;
        self.process = Some(process);
        Ok(())
    }

    fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().or_fail(format!("{} was killed and not started again", self.name))
    }

    fn kill9(&mut self) {
        self.process = None;
    }
}

/// What the tests do with either program.
macro_rules! common {
    ($type:ty) => {
        impl $type {
            /// Kills it at once; its folder and ports stay its own.
            pub fn kill9(&mut self) {
                self.0.kill9();
            }

            /// Starts it again on the same ports and folder, without failpoints.
            pub fn restart(&mut self) -> Result<()> {
                self.0.restart("")
            }

            /// Starts it again with these failpoints (`name=abort@2;name=pause:500`).
            pub fn restart_with(&mut self, failpoints: &str) -> Result<()> {
                self.0.restart(failpoints)
            }

            /// Waits until it has ended by itself, as it does at a failpoint.
            pub fn wait_for_end(&mut self) -> Result<std::process::ExitStatus> {
                self.0.process()?.wait_for_end()
            }

            /// Whether it has ended by itself.
            pub fn has_ended(&mut self) -> bool {
                self.0.process().is_ok_and(|process| process.exit_status().is_some())
            }

            /// Asks it to end, and waits.
            pub fn stop(&mut self) -> Result<std::process::ExitStatus> {
                self.0.process()?.stop()
            }

            /// Its process number.
            pub fn pid(&mut self) -> Result<u32> {
                Ok(self.0.process()?.pid())
            }

            /// What it printed so far.
            pub fn log(&mut self) -> String {
                self.0.process().map(|process| process.log()).unwrap_or_default()
            }
        }
    };
}

/// A running `atone-tc`.
pub struct Coordinator(Service, u16, u16);

common!(Coordinator);

impl Coordinator {
    /// Starts one with an empty data folder.
    pub fn start(profile: Profile) -> Result<Self> {
        let (grpc, http) = (ports::free(), ports::free());
        let service = Service::start("atone-tc", profile, binaries(profile)?.coordinator, &|dir| {
            format!(
                "node_id = 1\nlisten = \"127.0.0.1:{grpc}\"\nhttp = \"127.0.0.1:{http}\"\ndata_dir = \"{}\"\n",
                dir.join("data").display()
            )
        })?;
        Ok(Self(service, grpc, http))
    }

    /// The address for proxies.
    pub fn grpc(&self) -> String {
        format!("127.0.0.1:{}", self.1)
    }

    /// Its HTTP API.
    pub fn api(&self) -> Api {
        Api::new(self.2)
    }

    /// The address of its HTTP API, as the command line takes it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.2)
    }
}

/// A running `atone-proxy`.
pub struct Proxy(Service, Listeners);

common!(Proxy);

/// The ports of a proxy.
#[derive(Clone, Debug)]
struct Listeners {
    databases: BTreeMap<Kind, u16>,
    http: u16,
    coordinator_http: u16,
}

impl Proxy {
    /// Starts one before these databases; without a coordinator's address it has one inside.
    pub fn start(profile: Profile, coordinator: Option<&str>, databases: &[&Database]) -> Result<Self> {
        Self::start_with(profile, coordinator, databases, "")
    }

    /// Starts one with more in its configuration file, at its end.
    pub fn start_with(
        profile: Profile,
        coordinator: Option<&str>,
        databases: &[&Database],
        more: &str,
    ) -> Result<Self> {
        let databases: Vec<_> = databases.iter().map(|d| (d.kind(), d.port())).collect();
        Self::start_at(profile, coordinator, &databases, more)
    }

    /// Starts one before databases of these kinds on these ports.
    pub fn start_at(
        profile: Profile,
        coordinator: Option<&str>,
        databases: &[(Kind, u16)],
        more: &str,
    ) -> Result<Self> {
        let listeners = Listeners {
            databases: databases.iter().map(|(kind, _)| (*kind, ports::free())).collect(),
            http: ports::free(),
            coordinator_http: ports::free(),
        };
        let program = binaries(profile)?.proxy;
        let service = Service::start("atone-proxy", profile, program, &|dir| {
            toml(dir, coordinator, databases, &listeners) + "\n" + more
        })?;
        Ok(Self(service, listeners))
    }

    /// The port that stands before this kind of database.
    pub fn port(&self, kind: Kind) -> u16 {
        self.1.databases[&kind]
    }

    /// Its own HTTP port: health and metrics.
    pub fn http(&self) -> Api {
        Api::new(self.1.http)
    }

    /// The API of the coordinator inside, if there is one.
    pub fn coordinator_api(&self) -> Api {
        Api::new(self.1.coordinator_http)
    }
}

fn toml(
    dir: &Scratch,
    coordinator: Option<&str>,
    databases: &[(Kind, u16)],
    listeners: &Listeners,
) -> String {
    let mut text = format!("data_dir = \"{}\"\n", dir.join("data").display());
    text += &format!("http = \"127.0.0.1:{}\"\n", listeners.http);
    text += &match coordinator {
        Some(address) => format!("coordinators = [\"{address}\"]\n"),
        None => format!("coordinator_http = \"127.0.0.1:{}\"\n", listeners.coordinator_http),
    };
    for (kind, port) in databases {
        let (name, url) = (kind.resource(), Database::url_at(*kind, *port));
        let port = listeners.databases[kind];
        let _ = write!(
            text,
            "\n[[database]]\nname = \"{name}\"\nlisten = \"127.0.0.1:{port}\"\nurl = \"{url}\"\n"
        );
    }
    text
}
