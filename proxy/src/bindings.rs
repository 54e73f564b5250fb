//! Which sessions of this proxy are bound to which global transaction, so that a rollback finds their open local
//! transactions: an idle one would hold row locks in the way of the undo for as long as its client likes.

use crate::stuck;
use atone_protocol::Xid;
use dashmap::DashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// All bindings of a proxy.
#[derive(Default)]
pub struct Bindings(DashMap<Xid, (usize, CancellationToken)>);

/// A session's binding; dropping it unbinds.
pub struct Binding {
    /// The global transaction.
    pub xid: Xid,
    rolling_back: CancellationToken,
    all: Arc<Bindings>,
    _member: stuck::Membership,
}

impl Bindings {
    /// Binds a session.
    pub fn bind(self: &Arc<Self>, xid: Xid, member: stuck::Membership) -> Binding {
        let mut bound = self.0.entry(xid).or_default();
        bound.0 += 1;
        Binding { xid, rolling_back: bound.1.clone(), all: self.clone(), _member: member }
    }

    /// The transaction is being rolled back: whoever is bound to it ends its local transaction.
    pub fn roll_back(&self, xid: Xid) {
        if let Some(bound) = self.0.get(&xid) {
            bound.1.cancel();
        }
    }
}

impl Binding {
    /// Waits until the transaction is being rolled back. Only once: the session has heard it then.
    pub async fn rolled_back(&self) {
        self.rolling_back.cancelled().await;
    }

    /// The session has heard that the transaction is being rolled back.
    pub fn heard(&mut self) {
        self.rolling_back = CancellationToken::new();
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        if let Some(mut bound) = self.all.0.get_mut(&self.xid) {
            bound.0 -= 1;
        }
        self.all.0.remove_if(&self.xid, |_, bound| bound.0 == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use atone_protocol::{Client, ClientOptions};

    #[test]
    fn nothing_is_kept_of_what_is_unbound() {
        let all = Arc::new(Bindings::default());
        let (client, ..) = Client::new(ClientOptions {
            coordinators: Vec::new(),
            proxy: String::new(),
            resources: Vec::new(),
        });
        let statements = Arc::new(stuck::Statements::new("orders", client));
        let xid = Xid::from_u128(1);
        let bind = |connection| all.bind(xid, statements.enter(connection, xid));
        let (one, two) = (bind(10), bind(20));
        all.roll_back(Xid::from_u128(2));
        assert!(!one.rolling_back.is_cancelled());
        all.roll_back(Xid::from_u128(1));
        assert!(one.rolling_back.is_cancelled() && two.rolling_back.is_cancelled());
        drop(one);
        assert_eq!(all.0.len(), 1);
        drop(two);
        assert!(all.0.is_empty());
    }
}
