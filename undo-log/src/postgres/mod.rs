//! PostgreSQL: reading its text, its tables and rows in the server's binary form, and the statements that put them back.
//!
//! The capture differs from MySQL's. Every write is given a RETURNING clause that tells which table it meant and each
//! row in binary form; what a row was before the local transaction is read from outside, where the server still shows
//! it. So our reading of a statement finds one place in the text, and the server itself confirms the rest.

pub mod analyze;
mod binary;
mod control;
mod form;
mod functions;
mod lexer;
mod locking;
mod prepare;
pub mod search;
mod table;
#[cfg(test)]
mod tests;

pub use analyze::{Class, Counted, Verb, Write, classify, classify_either_way, split};
pub use binary::{record, record_values};
pub use form::Form;
pub use lexer::{tokens, word_bytes};
pub use locking::Locking;
pub use prepare::{prepared_names, prepares_read};
pub(crate) use table::target;
pub use table::{FOLD, Field, Folds, Layout, before_images, equals, hold_rows, quote};
