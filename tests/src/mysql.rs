//! What the tests say to MySQL and MariaDB packet by packet: `raw` speaks the protocol and hides nothing, `sign_in` gets
//! it past the greeting, `answer` knows where an answer ends, `command` builds what a client sends, and `script` plays
//! written sessions and records the answers.

pub mod answer;
pub mod command;
pub mod packet;
pub mod raw;
pub mod script;
mod sign_in;

pub use raw::Raw;
