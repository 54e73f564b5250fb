//! What the proxy's account must be able to see. A trigger, routine or foreign key that the catalogue hides from it
//! would be one whose writes nobody captures, so that the start fails instead.

use crate::backend::BackendError;
use mysql_async::{Conn, prelude::Queryable};

const NEEDED: [&str; 8] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "TRIGGER", "PROCESS", "SHOW VIEW", "CREATE"];

/// Fails when a privilege on everything (`*.*`) is missing.
pub(super) async fn check(conn: &mut Conn, name: &str) -> Result<(), BackendError> {
    let grants: Vec<String> =
        conn.query("SHOW GRANTS").await.map_err(|source| BackendError::database(name, source))?;
    let missing = missing(&grants);
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!(
        "the proxy's account lacks {0} on *.*, without which it cannot see or undo everything. Let a DBA run: \
         GRANT {0} ON *.* TO <the account in url>",
        missing.join(", ")
    );
    Err(BackendError::unfit(name, what))
}

fn missing(grants: &[String]) -> Vec<&'static str> {
    let global: Vec<String> = grants
        .iter()
        .filter_map(|g| g.strip_prefix("GRANT ")?.split_once(" ON *.* TO ").map(|(p, _)| p.to_uppercase()))
        .collect();
    let held = |p: &str| {
        global.iter().flat_map(|g| g.split(',')).any(|h| h.trim() == p || h.trim() == "ALL PRIVILEGES")
    };
    NEEDED.into_iter().filter(|p| !held(p)).collect()
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn what_is_missing_is_named() {
        let all = ["GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION".to_owned()];
        assert!(missing(&all).is_empty());
        let some = [
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, PROCESS, SHOW VIEW ON *.* TO `a`@`%`".to_owned(),
            "GRANT ALL PRIVILEGES ON `atone`.* TO `a`@`%`".to_owned(),
        ];
        assert_eq!(missing(&some), ["TRIGGER"]);
        assert_eq!(missing(&["GRANT USAGE ON *.* TO `a`@`%`".to_owned()]).len(), 8);
    }
}
