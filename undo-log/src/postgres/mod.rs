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
pub mod search;
mod table;
#[cfg(test)]
mod tests;

pub use analyze::{Class, Counted, Verb, Write, classify, classify_either_way, prepared_names, split};
pub use binary::{record, record_values};
pub use form::Form;
pub use lexer::{tokens, word_bytes};
pub(crate) use table::target;
pub use table::{Field, Layout, before_images, quote};
