//! Rows that are locked for a moment, so that a read with SKIP LOCKED passes over them: to the database it is as if those who hold
//! them globally had them locked.
//!
//! Nothing is ever true because of it: what the read then returns is asked about as always. So it may end at any moment, and
//! does after a while, whatever became of the read: an undo of these rows waits behind it.

use super::{Backend, BackendError, Entry, Tx};
use atone_undo_log::capture::Table;
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep_until, timeout_at};

/// No row is held longer.
const LONGEST: Duration = Duration::from_secs(2);

/// Rows held by the service account. Dropped without an end they are let go of too.
pub struct Hold {
    tx: Option<Tx>,
    until: Instant,
}

impl Hold {
    /// Of none yet. The time runs from here.
    pub async fn begin(backend: &Backend) -> Result<Self, BackendError> {
        let until = Instant::now() + LONGEST;
        let begun = timeout_at(until, backend.begin_holding()).await;
        let tx = begun.unwrap_or_else(|_| Err(BackendError::Timeout(backend.name().to_owned())))?;
        Ok(Self { tx: Some(tx), until })
    }

    /// Takes rows by key, too, those that nobody has locked: nothing is waited for. `table` describes their keys at least; `weak`
    /// is a read FOR KEY SHARE, in whose way they are to stand. False: it took too long, and nothing is held any more.
    pub async fn take(
        &mut self,
        (entry, table): (&Entry, &Table),
        keys: &[Vec<Vec<u8>>],
        weak: bool,
    ) -> Result<bool, BackendError> {
        let Some(tx) = &mut self.tx else { return Ok(false) };
        let taken = timeout_at(self.until, tx.hold((entry, table), keys, weak)).await;
        if !matches!(taken, Ok(Ok(()))) {
            self.tx = None;
        }
        taken.map_or(Ok(false), |taken| taken.map(|()| true))
    }

    /// Runs something while they are held, if any are. It may take longer than they are held.
    pub async fn during<T>(hold: &mut Option<Self>, run: impl Future<Output = T>) -> T {
        let mut run = pin!(run);
        if let Some(hold) = hold.as_mut().filter(|hold| hold.tx.is_some()) {
            tokio::select! {
                biased;
                done = &mut run => return done,
                () = sleep_until(hold.until) => hold.tx = None,
            }
        }
        run.await
    }

    /// Lets go of them.
    pub async fn end(self) {
        if let Some(tx) = self.tx {
            // A connection that is lost, or not heard of in time, is rolled back by the server.
            let _ = timeout_at(self.until, tx.rollback()).await;
        }
    }
}
