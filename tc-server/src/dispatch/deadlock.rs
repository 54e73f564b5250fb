//! Circles in the wait-for graph. An edge appears only when somebody queues, so that is when they are looked for.

use super::waiters::{Holder, Waiters};
use atone_protocol::Xid;
use std::collections::BTreeSet;

impl Waiters {
    /// The youngest transaction of a circle through `xid`, if there is one.
    pub(super) fn youngest_in_circle(&self, xid: Xid, holder: Holder<'_>) -> Option<Xid> {
        let mut seen = BTreeSet::new();
        let mut path: Vec<(Xid, Vec<Xid>)> = vec![(xid, self.waits_for(xid, holder).into_iter().collect())];
        while let Some((_, next)) = path.last_mut() {
            match next.pop() {
                Some(back) if back == xid => return path.iter().map(|(who, _)| *who).max(),
                Some(who) if seen.insert(who) => {
                    path.push((who, self.waits_for(who, holder).into_iter().collect()));
                }
                Some(_) => {}
                None => drop(path.pop()),
            }
        }
        None
    }
}
