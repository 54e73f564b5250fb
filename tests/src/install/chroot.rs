//! Servers of a newer Debian, each in a folder of its own.
//!
//! Debian stable carries no MySQL and no PostgreSQL 18, and their packages would clash with its own. So a minimal Debian
//! unstable that holds the server and its client is built once with debootstrap, and its programs run by chroot.
//! Nothing is mounted.

use super::{apt, is_root, once, program, run, step};
use crate::{Context, Failure, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where data folders lie, inside the chroot.
const SERVERS: &str = "srv";

/// The Debian folder that a server lives in.
#[derive(Clone)]
pub struct Chroot(PathBuf);

impl Chroot {
    /// Finds or builds the folder of this name with these packages. Building takes a minute and needs root. `what` is
    /// the server's name for people.
    pub fn find(name: &str, what: &str, packages: &[&str]) -> Result<Self> {
        if !is_root() {
            let text = format!("{what} runs in a chroot, which only root may enter: run this as root");
            return Err(Failure::new(text));
        }
        once(name, |dir| build(dir, what, packages)).map(Self)
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.0).arg(program);
        command
    }

    /// A command that runs inside as another user.
    pub fn command_as(&self, user: u32, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={user}:{user}")).arg(&self.0).arg(program);
        command
    }

    /// The folder for servers' data as this process sees it.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.0.join(SERVERS).join(name)
    }

    /// The same folder as a program in the chroot sees it.
    pub fn inside(&self, name: &str) -> PathBuf {
        Path::new("/").join(SERVERS).join(name)
    }
}

fn build(dir: &Path, what: &str, packages: &[&str]) -> Result<()> {
    let debootstrap = program("debootstrap", &["debootstrap"])?;
    let mirror = apt::mirror()?;
    step(&format!("building a Debian folder with {what} (once, about a minute)"));
    let mut command = Command::new(debootstrap);
    command.args(["--variant=minbase", &format!("--include={}", packages.join(",")), "sid"]);
    run(command.arg(dir).arg(mirror).env("DEBIAN_FRONTEND", "noninteractive"))
        .or_fail("debootstrap could not build it (its log: debootstrap/debootstrap.log in the folder)")?;
    // The packages are installed; their archives only take space.
    run(Command::new("chroot").arg(dir).args(["apt-get", "clean"])).map(drop)
}
