//! Starts a private MySQL 9 in its chroot.

use super::database::{Client, Database, Durability, Kind, common_flags, copy, greets, users};
use super::ports;
use super::process::Process;
use super::scratch::{Scratch, unique};
use crate::install::{self, chroot::Chroot};
use crate::{Context, Result};
use std::path::Path;

/// MySQL 9.
pub struct MySql;

const TEMPLATE: &str = "template";

impl MySql {
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
        let chroot = install::mysql::chroot()?;
        Self::start_from(&template(&chroot)?.join("data"), durability, &flags)
    }

    /// Starts one on a copy of this data folder.
    pub(super) fn start_from(data: &Path, durability: Durability, flags: &[String]) -> Result<Database> {
        let flags = flags.to_vec();
        let chroot = install::mysql::chroot()?;
        let name = unique("server");
        let dir = Scratch::adopt(chroot.outside(&name));
        std::fs::create_dir_all(dir.path()).or_fail(dir.path().display())?;
        copy(data, &dir.join("data"))?;
        // Holds the server's identity: a copy makes its own.
        let identity = dir.join("data/auto.cnf");
        if identity.exists() {
            std::fs::remove_file(&identity).or_fail(identity.display())?;
        }
        let (port, inside) = (ports::free(), chroot.clone());
        let start = move || run(&inside, &name, port, durability, &flags);
        let (process, client) = (start()?, Client::MySql(chroot));
        Ok(Database { kind: Kind::MySql, port, process, dir, client, run: Box::new(start) })
    }
}

fn run(chroot: &Chroot, name: &str, port: u16, durability: Durability, more: &[String]) -> Result<Process> {
    let mut command = chroot.command("mysqld");
    command.args(common_flags(port, &chroot.inside(name), durability));
    command.args(["--secure-file-priv=NULL", "--mysqlx=OFF", "--innodb-redo-log-capacity=32M"]).args(more);
    let mut process = Process::start("mysqld", &mut command, &chroot.outside(name).join("log"))?;
    process.until("ready", || greets(port))?;
    Ok(process)
}

/// An initialised data folder with the users, made once.
fn template(chroot: &Chroot) -> Result<std::path::PathBuf> {
    // The folder is named by where it lies in the cache, and while unfinished it is `template.tmp` in the same place.
    install::once(&format!("mysql-9/srv/{TEMPLATE}"), |dir| {
        install::step("initialising a MySQL data folder");
        let name = format!("{TEMPLATE}.tmp");
        let data = format!("--datadir={}/data", chroot.inside(&name).display());
        let mut init = chroot.command("mysqld");
        install::run(init.args(["--no-defaults", "--initialize-insecure", "--user=root", &data]))?;
        make_users(chroot, &name, dir)?;
        // Holds the server's identity: each copy must make its own.
        let identity = dir.join("data/auto.cnf");
        std::fs::remove_file(&identity).or_fail(identity.display())
    })
}

fn make_users(chroot: &Chroot, name: &str, dir: &Path) -> Result<()> {
    let file = dir.join("users.sql");
    std::fs::write(&file, users()).or_fail(file.display())?;
    let flag = format!("--init-file={}/users.sql", chroot.inside(name).display());
    let mut process = run(chroot, name, ports::free(), Durability::Full, &[flag])?;
    process.stop().map(drop)
}
