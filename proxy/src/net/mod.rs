//! Sockets: plain or TLS, with one reused buffer per direction.

mod packets;
mod stream;
pub mod tls;

pub use packets::{Packet, Packets};
pub use stream::Stream;
