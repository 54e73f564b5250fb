//! The leader's time: the wall clock, but never behind what the log has seen, and never standing still.
//!
//! A log that was once stamped by a clock a day ahead would otherwise keep every deadline from falling for that day.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, by the wall clock.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that only goes forward, at least as fast as time does.
pub struct Clock(Mutex<(u64, Instant)>);

impl Default for Clock {
    fn default() -> Self {
        Self(Mutex::new((0, Instant::now())))
    }
}

impl Clock {
    /// Milliseconds since 1970, or a little later than that.
    pub fn now(&self) -> u64 {
        self.at_least(wall_ms())
    }

    /// From here on it is `ms` at the earliest.
    pub fn at_least(&self, ms: u64) -> u64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = last.1.elapsed().as_millis() as u64;
        let passed = last.0.saturating_add(elapsed);
        if ms >= passed {
            *last = (ms, Instant::now());
        }
        ms.max(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let clock = Clock::default();
        let ahead = wall_ms() + 86_400_000;
        assert_eq!(clock.at_least(ahead), ahead);
        assert!(clock.now() >= ahead);
        assert!(clock.at_least(5) >= ahead);
    }
}
