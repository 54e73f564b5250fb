//! The leader's memory and what it drives: waiters for locks, hints, and the tasks of phase two.
//!
//! Nothing here is replicated and nothing here is true by itself: all of it is rebuilt from the state after a start.
//! Lock order, without exception: the state's, then `memory`'s; neither is ever held over an await.

mod checks;
mod commit;
mod deadlock;
mod drive;
mod errands;
mod jobs;
mod looks;
mod memory;
mod proxies;
mod reads;
mod requests;
mod resolve;
#[cfg(feature = "planted-bugs")]
mod stale;
mod turn;
mod waiters;

pub use memory::Waiting;
pub use proxies::SessionId;
pub use requests::Caller;
pub use resolve::Resolved;

use crate::clock::Clock;
use crate::raft::Node;
use crate::state::{Effects, State};
use memory::Memory;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Where applied effects wait for the driver. They coalesce, and there are never more than applied proposals.
#[derive(Default)]
pub struct Inbox {
    effects: Mutex<Effects>,
    wake: Notify,
}

impl Inbox {
    /// Takes note of effects; called as entries are applied, before anybody is answered.
    pub fn absorb(&self, effects: Effects) {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner).merge(effects);
        self.wake.notify_one();
    }

    fn take(&self) -> Effects {
        std::mem::take(&mut *self.effects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The leader.
pub struct Leader {
    node: Arc<Node>,
    inbox: Arc<Inbox>,
    memory: Mutex<Memory>,
    /// Reports wait to be proposed.
    reported: Notify,
    clock: Arc<Clock>,
    /// Names this run: counts of another cannot be compared with its own.
    run: u64,
}

impl Leader {
    /// A leader over a node that has applied its log; what was decided and not finished is taken up again.
    pub fn new(node: Arc<Node>, inbox: Arc<Inbox>, clock: Arc<Clock>) -> Arc<Self> {
        let memory = Mutex::new(Memory::default());
        let leader =
            Arc::new(Self { node, inbox, memory, reported: Notify::new(), clock, run: rand::random() });
        leader.with(|state, memory| {
            for (xid, _) in state.unfinished() {
                memory.refresh(state, xid);
            }
        });
        leader
    }

    /// The node, for reading.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// State and memory together, in the one order.
    fn with<T>(&self, act: impl FnOnce(&State, &mut Memory) -> T) -> T {
        self.node.read(|state| {
            let mut memory = self.memory();
            let done = act(state, &mut memory);
            memory.send_errands();
            done
        })
    }
}
