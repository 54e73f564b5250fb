//! A planted bug (`atone_protocol::planted`): whether locks are free is answered from a copy of the state that may be old.

use super::requests::obstacle;
use crate::state::State;
use atone_protocol::{
    Check,
    planted::{Bug, WINDOW, planted},
};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

static COPY: Mutex<Option<(Instant, State)>> = Mutex::new(None);

/// Was all of this free when the copy was made?
pub(super) fn was_free(state: &State, check: &Check) -> bool {
    if !planted(Bug::StaleLockRead) {
        return false;
    }
    let mut copy = COPY.lock().unwrap_or_else(PoisonError::into_inner);
    if copy.as_ref().is_none_or(|(at, _)| at.elapsed() > 3 * WINDOW) {
        *copy = Some((Instant::now(), state.clone()));
    }
    copy.as_ref().is_some_and(|(_, old)| obstacle(old, check).is_none())
}
