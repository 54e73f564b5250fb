//! The schema `atone` in each database: created when missing, checked when there. On a server that takes another's place
//! it must be there, since it came from that other.

use super::BackendError;
use crate::backend::lineage;
use atone_protocol::Lineage;
use tokio_postgres::{Client, Error, error::SqlState, types::Type};

/// Applications insert their undo records themselves, in their own local transactions, and may do nothing else. A row's
/// number is made by the proxy: a sequence would show in the application's lastval(). Records are compressed already.
const CREATE: &str = "CREATE SCHEMA IF NOT EXISTS atone; \
    CREATE TABLE IF NOT EXISTS atone.undo_log ( \
        xid text COLLATE \"C\" NOT NULL, \
        branch_id bigint NOT NULL, \
        part smallint NOT NULL, \
        parts smallint NOT NULL, \
        status text COLLATE \"C\" NOT NULL CHECK (status IN ('NORMAL', 'GUARD', 'UNDONE')), \
        record bytea NOT NULL, \
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(), \
        PRIMARY KEY (xid, branch_id, part)); \
    ALTER TABLE atone.undo_log ALTER COLUMN record SET STORAGE EXTERNAL; \
    COMMENT ON TABLE atone.undo_log IS \
        'Before and after images of global transactions. Kept by atone-proxy; do not touch.'; \
    CREATE TABLE IF NOT EXISTS atone.resource ( \
        one int PRIMARY KEY CHECK (one = 1), \
        name text COLLATE \"C\" NOT NULL); \
    COMMENT ON TABLE atone.resource IS 'The one name under which proxies know this database.'; \
    REVOKE ALL ON SCHEMA atone FROM PUBLIC; \
    GRANT USAGE ON SCHEMA atone TO PUBLIC; \
    REVOKE ALL ON atone.undo_log, atone.resource FROM PUBLIC; \
    GRANT INSERT ON atone.undo_log TO PUBLIC;";

/// Installations of before have everything else.
const LINEAGE: &str = "CREATE TABLE IF NOT EXISTS atone.lineage ( \
        one int PRIMARY KEY CHECK (one = 1), \
        lineage text COLLATE \"C\" NOT NULL); \
    COMMENT ON TABLE atone.lineage IS \
        'By which proxies tell this database, and all that is made from it, from others of its name.'; \
    REVOKE ALL ON atone.lineage FROM PUBLIC;";

/// Two proxies that start at once create one after the other: `IF NOT EXISTS` alone may fail then.
const TURN: &str = "BEGIN; SET LOCAL lock_timeout = '30s'; SELECT pg_advisory_xact_lock(7091809148316530000)";

/// `name type` of each column, in order.
const EXPECTED: &str = "xid text, branch_id bigint, part smallint, parts smallint, status text, record bytea, \
    created_at timestamp with time zone";

/// What applications may do, and what they may not.
const PRIVILEGES: &str = "SELECT has_schema_privilege('public', 'atone', 'USAGE') \
    AND has_table_privilege('public', 'atone.undo_log', 'INSERT'), \
    has_table_privilege('public', 'atone.undo_log', 'SELECT, UPDATE, DELETE, TRUNCATE') \
    OR has_table_privilege('public', 'atone.resource', 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') \
    OR coalesce(has_table_privilege('public', to_regclass('atone.lineage'), 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'), false) \
    OR has_schema_privilege('public', 'atone', 'CREATE')";

/// Creates or checks everything, on a connection that is of no use after an error, and records the resource's name; which
/// database it is.
pub(super) async fn prepare(client: &Client, name: &str) -> Result<Lineage, BackendError> {
    let database = |error| BackendError::database(name, error);
    if !is_there(client).await.map_err(database)? {
        create(client).await.map_err(|error| match error.as_db_error() {
            Some(said) if *said.code() == SqlState::INSUFFICIENT_PRIVILEGE => {
                let what = format!(
                    "the schema atone cannot be created ({}). Let a DBA run: GRANT CREATE ON DATABASE <the database in \
                     url> TO <the account in url>",
                    said.message()
                );
                BackendError::unfit(name, what)
            }
            _ => database(error),
        })?;
    }
    // Two names for one database would split its lock space.
    let insert = "INSERT INTO atone.resource (one, name) VALUES (1, $1::text) ON CONFLICT DO NOTHING";
    client.execute_typed(insert, &[(&name, Type::TEXT)]).await.map_err(database)?;
    check(client, name).await?;
    let mut told = said(client).await.map_err(database)?;
    if told.is_none() {
        draw(client).await.map_err(|error| match error.as_db_error() {
            Some(said) if *said.code() == SqlState::INSUFFICIENT_PRIVILEGE => {
                let what = format!(
                    "the table atone.lineage cannot be created ({}). Let its owner run: GRANT USAGE, CREATE ON SCHEMA atone \
                     TO <the account in url>",
                    said.message()
                );
                BackendError::unfit(name, what)
            }
            _ => database(error),
        })?;
        told = said(client).await.map_err(database)?;
    }
    lineage::read(name, told.as_deref())
}

/// Of two proxies that come at once one draws it.
async fn draw(client: &Client) -> Result<(), Error> {
    client.batch_execute(TURN).await?;
    client.batch_execute(LINEAGE).await?;
    let insert = "INSERT INTO atone.lineage (one, lineage) VALUES (1, $1::text) ON CONFLICT DO NOTHING";
    client.execute_typed(insert, &[(&crate::ids::lineage().to_string(), Type::TEXT)]).await?;
    client.batch_execute("COMMIT").await
}

/// Checks that all is there, in a database that takes the place of the one that is known.
pub(super) async fn check_place(client: &Client, name: &str, ours: Lineage) -> Result<(), BackendError> {
    check(client, name).await?;
    let told = said(client).await.map_err(|error| BackendError::database(name, error))?;
    lineage::same(name, ours, told.as_deref())
}

/// Which database it says it is; None when it does not.
async fn said(client: &Client) -> Result<Option<String>, Error> {
    let there = "SELECT to_regclass('atone.lineage') IS NOT NULL";
    if !client.query_typed_one(there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let row = client.query_typed_opt("SELECT lineage FROM atone.lineage WHERE one = 1", &[]).await?;
    row.map(|row| row.try_get(0)).transpose()
}

async fn create(client: &Client) -> Result<(), Error> {
    client.batch_execute(TURN).await?;
    if !is_there(client).await? {
        client.batch_execute(CREATE).await?;
    }
    client.batch_execute("COMMIT").await
}

async fn is_there(client: &Client) -> Result<bool, Error> {
    let there = "SELECT to_regclass('atone.resource') IS NOT NULL";
    client.query_typed_one(there, &[]).await?.try_get(0)
}

/// Checks that all is there, and under this resource's name.
async fn check(client: &Client, name: &str) -> Result<(), BackendError> {
    let database = |error| BackendError::database(name, error);
    let unfit = |what: String| BackendError::unfit(name, what);
    if !is_there(client).await.map_err(database)? {
        let what = "it has no table atone.resource, so that it was not made from the database that was here before. \
            If it is to be a resource of its own, give it a name and an address of its own";
        return Err(unfit(what.into()));
    }
    let columns = "SELECT coalesce(string_agg(format('%s %s', attname, format_type(atttypid, atttypmod)), ', ' \
        ORDER BY attnum), '') FROM pg_attribute \
        WHERE attrelid = to_regclass('atone.undo_log') AND attnum > 0 AND NOT attisdropped";
    let row = client.query_typed_one(columns, &[]).await.map_err(database)?;
    let found: String = row.try_get(0).map_err(database)?;
    if found != EXPECTED {
        return Err(unfit(format!(
            "the table atone.undo_log has other columns than this version needs ({found}). When no transaction is open, \
             drop the schema atone and start again"
        )));
    }
    let row = client.query_typed_one(PRIVILEGES, &[]).await.map_err(database)?;
    let (enough, too_many): (bool, bool) =
        (row.try_get(0).map_err(database)?, row.try_get(1).map_err(database)?);
    if !enough || too_many {
        let what = "applications must be able to insert into atone.undo_log, and to do nothing else in the schema atone. \
            Let its owner run: REVOKE ALL ON SCHEMA atone FROM PUBLIC; REVOKE ALL ON ALL TABLES IN SCHEMA atone FROM \
            PUBLIC; GRANT USAGE ON SCHEMA atone TO PUBLIC; GRANT INSERT ON atone.undo_log TO PUBLIC";
        return Err(unfit(what.into()));
    }
    let known = client
        .query_typed_opt("SELECT name FROM atone.resource WHERE one = 1", &[])
        .await
        .map_err(database)?;
    match known.map(|row| row.try_get::<_, String>(0)).transpose().map_err(database)? {
        Some(known) if known == name => Ok(()),
        Some(known) => Err(unfit(format!(
            "this database is already known as '{known}', and one database must have one name everywhere. \
             Set database.name = \"{known}\""
        ))),
        None => Err(unfit("atone.resource is empty, so that nobody can tell which resource this is".into())),
    }
}
