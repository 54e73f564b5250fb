//! What a statement writes, how its rows are captured, recorded and reversed. Pure: bytes in, bytes out.
//!
//! The rooms, in the order a statement walks through them:
//! `sql` (lexer and literals) → `analyze` (what does it do?) → `capture` (how are its rows read?) → `record`
//! (the undo record) → `reverse` (is the row as we left it, and what puts it back?); `words` tells its values to people.
//!
//! There is no I/O, clock, randomness or async in this crate, and no transaction: it knows rows only.

pub mod analyze;
pub mod capture;
pub mod postgres;
pub mod record;
pub mod reverse;
pub mod sql;
pub mod words;
