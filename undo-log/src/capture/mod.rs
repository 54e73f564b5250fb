//! How rows are read so that nothing of them is lost, and what their lock keys are.
//!
//! An image is read in the text protocol through expressions that turn every stored value into exact bytes,
//! whatever the session's time zone, character set or float format (see [`ColumnKind`]).

mod column;
mod key;
mod moves;
mod query;
pub(crate) use query::where_key;
mod table;

pub use column::ColumnKind;
pub use key::{Canonical, KeyValue, key_literal, key_of_number};
pub use moves::{Computed, KeyChange, NewPart};
pub use query::{
    computed, decode, generated_keys, hold_rows, image_of_inserts, image_of_rows, image_of_write, keys_of,
    keys_of_read, look_at_rows, on_captured_rows, read_of_captured_rows, widths_of_keys,
};
pub use table::{Captured, Column, Key, KeyPart, Parent, References, Row, Storage, Table, referenced_key};
