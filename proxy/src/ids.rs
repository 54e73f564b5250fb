//! Drawing names: the only place of the proxy that asks the clock and chance for them.

use atone_protocol::{BranchId, Lineage, Xid};
use std::time::{SystemTime, UNIX_EPOCH};

/// A new global transaction.
pub fn xid() -> Xid {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Xid::new(now.as_millis() as u64, rand::random())
}

/// The identity of a database that has none yet.
pub fn lineage() -> Lineage {
    loop {
        if let Some(lineage) = Lineage::new(rand::random()) {
            return lineage;
        }
    }
}

/// A new attempt at a local transaction.
pub fn branch() -> BranchId {
    BranchId::new(rand::random())
}
