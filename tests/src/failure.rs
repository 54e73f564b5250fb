//! What goes wrong in the harness: a sentence for the person at the terminal, nothing to match on.

use std::fmt;

/// A sentence that says what was tried, what happened and, where it helps, what to do next.
pub struct Failure(String);

/// A result of the harness.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with this sentence.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tests unwrap: the sentence should come out as it is, with its line breaks.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Self {
        Self(format!("database: {error}"))
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        // The driver's own words leave out what the server said.
        let told = error.as_db_error().map(|error| format!("{} {}", error.code().code(), error.message()));
        Self(format!("database: {}", told.unwrap_or_else(|| error.to_string())))
    }
}

/// Puts "what was tried" in front of an error.
pub trait Context<T> {
    /// The value, or a failure that starts with what was tried.
    fn or_fail(self, tried: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn or_fail(self, tried: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{tried}: {error}")))
    }
}

impl<T> Context<T> for Option<T> {
    fn or_fail(self, tried: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Failure(tried.to_string()))
    }
}
