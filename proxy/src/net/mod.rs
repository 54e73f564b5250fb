//! Sockets: plain or TLS, with one reused buffer per direction.

mod duplex;
mod packets;
pub mod password_key;
mod stream;
pub mod tls;

pub use duplex::{Event, duplex};
pub use packets::{Packet, Packets};
pub use stream::Stream;
