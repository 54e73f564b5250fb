//! Why a database could not be asked.

use super::{mysql, postgres};

/// The database could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// It answered with an error, or not at all.
    #[error("database '{name}': {source}")]
    Database {
        /// The resource.
        name: String,
        /// What it said.
        source: Cause,
    },
    /// No connection in time.
    #[error("database '{0}' did not answer within 5 s")]
    Timeout(String),
    /// A new connection reached another server than the one it was for.
    #[error("database '{0}': another server is behind the address now")]
    Elsewhere(String),
    /// It is not as it must be.
    #[error("database '{name}': {what}")]
    Unfit {
        /// The resource.
        name: String,
        /// What is wrong, and the mend.
        what: String,
    },
}

/// What the client library said.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// Of MySQL.
    #[error(transparent)]
    MySql(#[from] mysql_async::Error),
    /// Of PostgreSQL; its own text does not name the reason.
    #[error("{0}{reason}", reason = std::error::Error::source(.0).map(|e| format!(": {e}")).unwrap_or_default())]
    Postgres(#[from] tokio_postgres::Error),
}

impl BackendError {
    /// Of the database of this name.
    pub(super) fn database(name: &str, source: impl Into<Cause>) -> Self {
        Self::Database { name: name.to_owned(), source: source.into() }
    }

    /// The data is in the way: another try will not mend it. What the database said.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Database { source: Cause::MySql(mysql_async::Error::Server(error)), .. } => {
                mysql::DATA_ERRORS
                    .contains(&error.code)
                    .then(|| format!("{} ({})", error.message, error.code))
            }
            Self::Database { source: Cause::Postgres(error), .. } => {
                error.as_db_error().and_then(postgres::refusal)
            }
            _ => None,
        }
    }

    /// Keys that are taken, rows that are pointed at or to: another order of steps may mend it.
    pub fn may_pass_later(&self) -> bool {
        match self {
            Self::Database { source: Cause::MySql(mysql_async::Error::Server(error)), .. } => {
                mysql::ORDER_ERRORS.contains(&error.code)
            }
            Self::Database { source: Cause::Postgres(error), .. } => {
                error.code().is_some_and(|code| postgres::ORDER_ERRORS.contains(&code.code()))
            }
            _ => false,
        }
    }

    /// Of a database that is not as it must be.
    pub(super) fn unfit(name: &str, what: impl Into<String>) -> Self {
        Self::Unfit { name: name.to_owned(), what: what.into() }
    }
}
