//! What does a statement do? From text to [`Class`], and for a write to [`Write`].
//!
//! Two readers must agree on every name before a write is protected: our own walk over the tokens, which also
//! finds the byte positions from which text is later spliced, and sqlparser. Meaning is never taken from either
//! reader's rendering: conditions and values travel as the original bytes.

mod classify;
mod computed;
mod control;
mod defining;
mod functions;
mod locking;
mod names;
mod second_reader;
mod write;
mod wrong;

pub use classify::{Class, Completion, classify, split};
pub use computed::{assigns_itself, refuse_unaskable, refuse_uncomputable};
pub use control::{Argument, Control};
pub use defining::{Taken, taken};
pub use functions::{Names, names_in};
pub use locking::{Locked, Locking, Locks, locks};
pub use names::TableName;
pub use write::{Row, Rows, Value, ValueKind, Verb, Write, analyze_write};
pub use wrong::may_be_wrong;

/// The statement cannot be protected inside a global transaction; the sentence says what about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

impl Unsupported {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}
