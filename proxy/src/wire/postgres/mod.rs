//! PostgreSQL's protocol, version 3: messages as bytes, and whose turn it is. No I/O.
//!
//! Source: PostgreSQL's documentation, chapter "Frontend/Backend Protocol".

pub mod build;
pub mod message;
pub mod pending;
pub mod startup;
#[cfg(test)]
mod tests;

pub use message::{Bind, Fault, Parse, header};
pub use pending::Pending;
