//! PostgreSQL 15 of the distribution, and PostgreSQL 18 in a Debian folder of its own.
//!
//! The packages are made to create no cluster, so that nothing runs that the tests did not start.

use super::chroot::Chroot;
use super::{apt, lock, remove_dir, step};
use crate::{Context, Failure, Result};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user that a server runs as when the tests run as root, which PostgreSQL refuses: `nobody`, whom every Debian has.
pub const NOBODY: u32 = 65_534;

/// Read by Debian's packages before they make a cluster.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/atone-tests.conf";

/// Where the programs of one version are.
#[derive(Clone)]
pub enum Programs {
    /// On this machine, in this folder.
    Here(PathBuf),
    /// In a Debian folder, where Debian puts them.
    There(Chroot, PathBuf),
}

impl Programs {
    /// A server's program, to be run as an unprivileged user.
    pub fn server(&self, name: &str) -> Command {
        match self {
            Self::Here(bin) => {
                let mut command = Command::new(bin.join(name));
                if super::is_root() {
                    command.uid(NOBODY).gid(NOBODY);
                }
                command
            }
            Self::There(chroot, bin) => chroot.command_as(NOBODY, &bin.join(name).display().to_string()),
        }
    }

    /// A client's program, to be run as whoever we are.
    pub fn client(&self, name: &str) -> Command {
        match self {
            Self::Here(bin) => Command::new(bin.join(name)),
            Self::There(chroot, bin) => chroot.command(&bin.join(name).display().to_string()),
        }
    }
}

/// Finds or installs PostgreSQL 15.
pub fn fifteen() -> Result<Programs> {
    let bin = bin(15);
    if !bin.join("postgres").is_file() {
        let _lock = lock("apt")?;
        if !bin.join("postgres").is_file() {
            install().or_fail("installing PostgreSQL 15")?;
        }
    }
    if !bin.join("postgres").is_file() {
        let text = format!("postgresql-15 was installed, but there is no postgres in {}", bin.display());
        return Err(Failure::new(text));
    }
    Ok(Programs::Here(bin))
}

/// Finds or builds PostgreSQL 18.
pub fn eighteen() -> Result<Programs> {
    let chroot = Chroot::find("postgres-18", "PostgreSQL 18", &["postgresql-18", "postgresql-client-18"])?;
    // The cluster that the package made for a service that never starts.
    let cluster = chroot.outside("../var/lib/postgresql/18");
    if cluster.exists() {
        step("removing the package's own cluster");
        remove_dir(&cluster)?;
    }
    Ok(Programs::There(chroot, bin(18)))
}

fn bin(version: u32) -> PathBuf {
    Path::new("/usr/lib/postgresql").join(version.to_string()).join("bin")
}

fn install() -> Result<()> {
    let file = Path::new(NO_CLUSTER);
    if super::is_root() {
        fs::create_dir_all(file.parent().or_fail("a folder")?).or_fail(NO_CLUSTER)?;
        fs::write(file, "create_main_cluster = false\n").or_fail(NO_CLUSTER)?;
    }
    let installed = apt::install(&["postgresql-15", "postgresql-client-15"]);
    // None there is well too: whoever is not root has been told what to install.
    let _ = fs::remove_file(file);
    installed
}
