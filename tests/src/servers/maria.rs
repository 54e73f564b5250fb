//! Starts a private MariaDB.

use super::database::{Client, Database, Durability, Kind, common_flags, copy, greets, users};
use super::ports;
use super::process::Process;
use super::scratch::Scratch;
use crate::install::{self, mariadb};
use crate::{Context, Result};
use std::path::Path;
use std::process::Command;

/// MariaDB of the distribution.
pub struct Maria;

impl Maria {
    /// Starts one with lazy commits.
    pub fn start() -> Result<Database> {
        Self::start_with(Durability::Lazy)
    }

    /// Starts one.
    pub fn start_with(durability: Durability) -> Result<Database> {
        Self::start_as(durability, &[])
    }

    /// Starts one with more flags and lazy commits.
    pub fn start_with_flags(flags: &[&str]) -> Result<Database> {
        Self::start_as(Durability::Lazy, flags)
    }

    fn start_as(durability: Durability, flags: &[&str]) -> Result<Database> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let programs = mariadb::programs()?;
        let template =
            mariadb::template(&version(&programs.server)?, |dir| make_users(&programs.server, dir))?;
        Self::start_from(&template.join("data"), durability, &flags)
    }

    /// Starts one on a copy of this data folder.
    pub(super) fn start_from(data: &Path, durability: Durability, flags: &[String]) -> Result<Database> {
        let flags = flags.to_vec();
        let programs = mariadb::programs()?;
        let dir = Scratch::new("mariadb")?;
        copy(data, &dir.join("data"))?;
        let (port, folder) = (ports::free(), dir.path().to_owned());
        let start = move || run(&programs.server, &folder, port, durability, &flags);
        let (process, client) = (start()?, Client::Maria(programs.client));
        Ok(Database { kind: Kind::Maria, port, process, dir, client, run: Box::new(start) })
    }
}

fn run(server: &Path, dir: &Path, port: u16, durability: Durability, more: &[String]) -> Result<Process> {
    let mut command = Command::new(server);
    command.args(common_flags(port, dir, durability)).arg("--innodb-log-file-size=8M").args(more);
    let mut process = Process::start("mariadbd", &mut command, &dir.join("log"))?;
    process.until("ready", || greets(port))?;
    Ok(process)
}

fn make_users(server: &Path, dir: &Path) -> Result<()> {
    let file = dir.join("users.sql");
    std::fs::write(&file, users()).or_fail(file.display())?;
    let flag = format!("--init-file={}", file.display());
    let mut process = run(server, dir, ports::free(), Durability::Full, &[flag])?;
    process.stop().map(drop)
}

/// `mariadbd  Ver 10.11.6-MariaDB-… for …`: another version gets another template.
fn version(server: &Path) -> Result<String> {
    let text = install::run(Command::new(server).args(["--no-defaults", "--version"]))?;
    let version = text.split_whitespace().skip_while(|word| *word != "Ver").nth(1);
    let version = version.or_fail(format!("mariadbd --version says {text}"))?;
    Ok(version.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect())
}
