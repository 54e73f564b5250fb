//! What a server must be, and what the proxy's account must be able to do there. A transaction or trigger that is hidden
//! from it would be one that nobody reckons with, so that the start fails instead.

use super::BackendError;
use tokio_postgres::Client;

/// Roles that together see and undo everything, and end zombies.
const NEEDED: [&str; 4] = ["pg_read_all_data", "pg_write_all_data", "pg_read_all_stats", "pg_signal_backend"];
/// The oldest version.
const OLDEST: i32 = 150_000;

/// Fails when something is missing.
pub(super) async fn check(client: &Client, name: &str) -> Result<(), BackendError> {
    let database = |error| BackendError::database(name, error);
    let about = "SELECT current_setting('server_version_num')::int4, current_setting('server_version'), \
        pg_is_in_recovery(), current_setting('track_counts')::bool AND current_setting('track_activities')::bool, \
        current_user::text, current_setting('server_encoding')";
    let row = client.query_typed_one(about, &[]).await.map_err(database)?;
    let get = |at: usize| row.try_get::<_, String>(at);
    let (version, user, encoding) =
        (get(1).map_err(database)?, get(4).map_err(database)?, get(5).map_err(database)?);
    let on = |at: usize| row.try_get::<_, bool>(at).map_err(database);
    if row.try_get::<_, i32>(0).map_err(database)? < OLDEST {
        let what = format!("it is PostgreSQL {version}; version 15 or newer is needed");
        return Err(BackendError::unfit(name, what));
    }
    if on(2)? {
        return Err(BackendError::unfit(
            name,
            "it is in recovery, as a standby is that has not been promoted",
        ));
    }
    if !on(3)? {
        let what = "track_counts or track_activities is off, so that writes of triggers and open transactions cannot \
            be seen. Let a DBA set both on";
        return Err(BackendError::unfit(name, what));
    }
    if encoding == "SQL_ASCII" {
        let what = "its encoding is SQL_ASCII, in which text is not sure to come back as it was stored";
        return Err(BackendError::unfit(name, what));
    }
    let roles = "SELECT role FROM unnest($1::text[]) WITH ORDINALITY AS needed(role, at) \
        WHERE NOT pg_has_role(current_user, role, 'USAGE') ORDER BY at";
    let needed: Vec<&str> = NEEDED.to_vec();
    let rows = client
        .query_typed(roles, &[(&needed, tokio_postgres::types::Type::TEXT_ARRAY)])
        .await
        .map_err(database)?;
    let missing: Vec<String> =
        rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>().map_err(database)?;
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!(
        "the proxy's account {user} is not a member of {0}, without which it cannot see or undo everything. Let a DBA \
         run: GRANT {0} TO {1}",
        missing.join(", "),
        atone_undo_log::postgres::quote(&user)
    );
    Err(BackendError::unfit(name, what))
}
