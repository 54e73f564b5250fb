//! Application accounts may insert into the undo table, because the undo record must be part of their own local
//! transaction, and may do nothing else with it.

use dashmap::DashSet;
use mysql_async::{Conn, prelude::Queryable};

/// Accounts known to have the privilege.
#[derive(Default)]
pub(super) struct Grants(DashSet<String>);

impl Grants {
    pub(super) fn known(&self, account: &str) -> bool {
        self.0.contains(account)
    }

    /// Another server may know other privileges.
    pub(super) fn forget(&self) {
        self.0.clear();
    }

    /// `account` is what CURRENT_USER() says: `user@host`.
    pub(super) async fn give(&self, conn: &mut Conn, account: &str) -> Result<(), String> {
        let (user, host) =
            account.rsplit_once('@').ok_or_else(|| format!("'{account}' is not an account"))?;
        let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
        let grant = format!("GRANT INSERT ON atone.undo_log TO {}@{}", quote(user), quote(host));
        conn.query_drop(&grant).await.map_err(|error| {
            format!("the proxy's account may not let {account} insert undo records ({error}). Let a DBA run: {grant}")
        })?;
        self.0.insert(account.to_owned());
        Ok(())
    }
}
