//! Waiting for what will become true. Nothing in the tests sleeps for a guessed time, and nothing asserts how long a
//! thing took; a condition that does not come within `PATIENCE` is a failure that names it.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long a condition may take. Generous: machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look.
pub const STEP: Duration = Duration::from_millis(25);

/// An end of patience.
pub struct Deadline(Instant);

impl Deadline {
    /// `PATIENCE` from now.
    #[expect(clippy::new_without_default, reason = "a deadline has no default, it starts now")]
    pub fn new() -> Self {
        Self(Instant::now() + PATIENCE)
    }

    /// Whether it has passed.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.0
    }
}

/// Asks `look` until it answers `Ok`, and gives that answer; panics with the last `Err` when patience ends.
pub async fn until<T, E: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Deadline::new();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(error) => assert!(!deadline.is_over(), "waited in vain until {what}; last seen: {error:?}"),
        }
        tokio::time::sleep(STEP).await;
    }
}
