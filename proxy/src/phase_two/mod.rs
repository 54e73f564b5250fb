//! After the decision: delete undo records, or write the rows back. Any proxy that reaches the database can do it,
//! on its own connections, any number of times.

mod forget;
mod guard;
mod look;
mod restore;
mod runner;
mod steps;
mod sweep;
#[cfg(all(test, feature = "server-tests"))]
mod tests;
mod under_way;

pub use guard::{Probe, resolve};
pub use runner::Runner;

/// How long to wait before asking a database again that did not answer.
pub(crate) const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);
