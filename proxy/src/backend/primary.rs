//! Which server is the primary now: the one that the newest look found behind the configured address.
//!
//! A branch is committed on one server, and after a failover another may stand behind the same address, with or
//! without that commit. So a server has an identity, every connection of ours belongs to exactly one, and what was
//! learnt or done on one is never taken for true of another. Nothing here decides what follows from that, nor how a
//! server is asked.

use super::BackendError;
use atone_protocol::Client;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Semaphore;

/// What a look found.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Who is there.
    pub primary: Arc<str>,
    /// Why it cannot be the primary of this resource.
    pub refused: Option<String>,
}

/// Who the primary is, and our connections to it.
pub(super) struct Primary<P> {
    now: Mutex<(Sight, P)>,
    /// One look at a time: the one that ends last is the newest.
    turn: Semaphore,
    /// Who is told of another primary before anybody here goes by it.
    coordinator: OnceLock<Client>,
}

impl<P: Clone> Primary<P> {
    /// As a connection at the start found it.
    pub(super) fn new(primary: Arc<str>, pools: P) -> Self {
        Self {
            now: Mutex::new((Sight { primary, refused: None }, pools)),
            turn: Semaphore::new(1),
            coordinator: OnceLock::new(),
        }
    }

    /// Another primary is told to this coordinator.
    pub(super) fn announce_to(&self, coordinator: Client) {
        // Set once, at the start.
        let _ = self.coordinator.set(coordinator);
    }

    fn now(&self) -> MutexGuard<'_, (Sight, P)> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the newest look found.
    pub(super) fn sight(&self) -> Sight {
        self.now().0.clone()
    }

    /// The connections, whoever they are to.
    pub(super) fn connections(&self) -> P {
        self.now().1.clone()
    }

    /// Connections to the primary, and who that is.
    fn pools(&self, name: &str) -> Result<(P, Arc<str>), BackendError> {
        let now = self.now();
        match &now.0.refused {
            Some(what) => Err(BackendError::unfit(name, what)),
            None => Ok((now.1.clone(), now.0.primary.clone())),
        }
    }
}

/// A server of some dialect, behind one address.
pub(super) trait Server: Sync {
    /// The connections of the service account to one server.
    type Pools: Clone + Send + 'static;

    /// The resource's name.
    fn name(&self) -> &str;

    /// Who it is now, and our connections to it.
    fn primary(&self) -> &Primary<Self::Pools>;

    /// Asks who is behind the address: on a new connection, since old ones stay where they are.
    fn visit(&self, before: &Sight) -> impl Future<Output = Result<Sight, BackendError>> + Send;

    /// None yet, to this server.
    fn pools(&self, primary: &Arc<str>) -> Self::Pools;

    /// Closes them. Connections in use are closed by their users.
    fn disconnect(pools: Self::Pools) -> impl Future<Output = ()> + Send + 'static;

    /// It is another: what was learnt from the old one is void.
    fn forget(&self);

    /// Looks who is behind the address. `unless` is asked once it is our turn: somebody else's look may have served.
    fn look(
        &self,
        unless: impl Fn(&Sight) -> bool + Send + Sync,
    ) -> impl Future<Output = Result<Sight, BackendError>> + Send {
        async move {
            let (name, primary) = (self.name(), self.primary());
            let Ok(_turn) = primary.turn.acquire().await else { return Ok(primary.sight()) };
            let before = primary.sight();
            if unless(&before) {
                return Ok(before);
            }
            let sight = self.visit(&before).await?;
            if sight.refused.is_some() && sight.refused != before.refused {
                tracing::error!(
                    resource = name, server = %sight.primary, why = sight.refused,
                    "the server behind the address is not the primary of this resource and is not used"
                );
            }
            if sight.primary == before.primary {
                primary.now().0 = sight.clone();
                return Ok(sight);
            }
            if sight.refused.is_none() {
                tracing::warn!(resource = name, old = %before.primary, new = %sight.primary, "the primary has changed");
            }
            if let Some(coordinator) = primary.coordinator.get() {
                // A commit that somebody asks for because he knows of the new primary comes behind this.
                coordinator.sees(name, &sight.primary);
            }
            let pools = self.pools(&sight.primary);
            let (_, old) = std::mem::replace(&mut *primary.now(), (sight.clone(), pools));
            self.forget();
            // Whatever was done on the old connections is void or was true before.
            crate::tasks::spawn("connections to an old primary", Self::disconnect(old));
            Ok(sight)
        }
    }

    /// A connection to the primary, and who that is; when it reaches another server we look once.
    fn connect<C: Send, F: Future<Output = Result<C, BackendError>> + Send>(
        &self,
        get: impl Fn(Self::Pools) -> F + Send + Sync,
    ) -> impl Future<Output = Result<(C, Arc<str>), BackendError>> + Send {
        async move {
            let (pools, primary) = self.primary().pools(self.name())?;
            match get(pools).await {
                Err(BackendError::Elsewhere(_)) => {}
                Err(error) => return Err(error),
                Ok(conn) => return Ok((conn, primary)),
            }
            self.look(|sight| sight.primary != primary).await?;
            let (pools, primary) = self.primary().pools(self.name())?;
            Ok((get(pools).await?, primary))
        }
    }
}
