//! MySQL 9, in a Debian folder of its own.

use super::chroot::Chroot;
use crate::Result;

/// Finds or builds the folder.
pub fn chroot() -> Result<Chroot> {
    Chroot::find("mysql-9", "MySQL 9", &["mysql-server-core", "mysql-client-core"])
}
