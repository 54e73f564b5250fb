//! MariaDB of the distribution: its server and client programs, without its system service.
//!
//! Only the `-core` packages are installed. They hold the programs and no service, so nothing starts by itself.

use super::{find, once, program, run, step};
use crate::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs.
pub struct Programs {
    /// `mariadbd`.
    pub server: PathBuf,
    /// `mariadb`, the command line.
    pub client: PathBuf,
}

/// Finds or installs them.
pub fn programs() -> Result<Programs> {
    let server = program("mariadbd", &["mariadb-server-core", "mariadb-client-core"])?;
    let client = program("mariadb", &["mariadb-client-core"])?;
    Ok(Programs { server, client })
}

/// An initialised data folder to copy from, without any user but the empty root. `finish` may add to it before it is
/// kept; it gets the folder.
pub fn template(version: &str, finish: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    once(&format!("mariadb-template-{version}"), |dir| {
        step("initialising a MariaDB data folder");
        let mut init = Command::new(find("mariadb-install-db").or_fail("mariadb-install-db is missing")?);
        init.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        init.args(["--user=root", "--innodb-log-file-size=8M"]);
        init.arg(format!("--datadir={}", dir.join("data").display()));
        run(&mut init)?;
        finish(dir)
    })
}
