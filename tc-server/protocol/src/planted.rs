//! Bugs put in on purpose, so that the tests can show that their checker of histories finds such bugs.
//!
//! They are compiled in by the feature `planted-bugs` alone, which is refused in a release build; even then there is none
//! but the one that `ATONE_PLANTED_BUG` names when the process starts. Each makes its own window wide, so that a short
//! test falls into it.

use std::time::Duration;

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("planted-bugs is for debug builds, which tests run");

/// How wide a planted bug makes the window in which it does harm.
pub const WINDOW: Duration = Duration::from_millis(150);

/// The bugs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A local writer asks about global locks before its statement has locked the rows, and not at its end.
    CheckBeforeRowLock,
    /// Global locks are freed when a rollback is decided, not when it is done.
    ReleaseAtRollbackDecision,
    /// Whether a lock is free is answered from a copy of the table of locks that may be old.
    StaleLockRead,
}

/// Is this bug in this process?
#[cfg(not(feature = "planted-bugs"))]
pub const fn planted(_bug: Bug) -> bool {
    false
}

/// Is this bug in this process?
#[cfg(feature = "planted-bugs")]
pub fn planted(bug: Bug) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| match std::env::var("ATONE_PLANTED_BUG").unwrap_or_default().as_str() {
        "" => None,
        "check_before_row_lock" => Some(Bug::CheckBeforeRowLock),
        "release_at_rollback_decision" => Some(Bug::ReleaseAtRollbackDecision),
        "stale_lock_read" => Some(Bug::StaleLockRead),
        other => panic!("ATONE_PLANTED_BUG: there is no bug '{other}'"),
    }) == Some(bug)
}
