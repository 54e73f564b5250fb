//! Free loopback ports, outside the range the system hands to outgoing connections: a server that is killed and started
//! again must find its port still free.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// A port nobody listens on now.
pub(super) fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id().wrapping_mul(61) % u32::from(COUNT)) as u16;
    loop {
        let port = FIRST + (start + NEXT.fetch_add(1, Relaxed) % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
