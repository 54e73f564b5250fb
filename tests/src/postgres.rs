//! What the tests say to PostgreSQL: `raw` speaks the protocol byte by byte and hides nothing, `script` plays written
//! sessions with it and records the answers, `sql` uses an ordinary driver, `world` is the set-up.

pub mod message;
pub mod raw;
pub mod script;
pub mod sql;
pub mod world;

pub use raw::Raw;
pub use world::{PgRoom, PgWorld};
