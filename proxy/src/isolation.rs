//! `atone.isolation`: may plain reads see what global transactions have committed locally and not decided yet? How that is told
//! apart is `dispatch/reads.rs` of the coordinator's business; how reads are held back, each protocol's.

use atone_protocol::{CallError, CheckRead, Client, UndoMark, failpoint};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Bytes of a result that are held back until it is known to be committed; more is refused.
pub const HOLD_LIMIT: usize = 64 << 20;
/// A local transaction, which cannot read again, does not begin with a mark older than this.
const FRESH: Duration = Duration::from_secs(1);
/// How often a read is done again that met undone rows.
pub const READS: usize = 5;

/// The setting's value: must what is read be committed? Not set or empty: no.
pub fn read(name: &str, text: Option<&str>) -> Result<bool, String> {
    let text = text.map(str::trim).unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "" | "read_uncommitted" => Ok(false),
        "read_committed" => Ok(true),
        _ => {
            Err(format!("{name} is '{text}'; set it to 'read_committed' or 'read_uncommitted', the default"))
        }
    }
}

/// The newest mark that the coordinator has told this proxy.
#[derive(Debug, Default)]
pub struct Marks(Mutex<Option<(UndoMark, Instant)>>);

impl Marks {
    /// What is known now: of a read that begins after this call it can be told whether an undo came in between.
    pub fn known(&self) -> Option<UndoMark> {
        self.told().map(|(mark, _)| mark)
    }

    fn told(&self) -> Option<(UndoMark, Instant)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The coordinator has told it. An older one that comes late does not matter: reads would only be done again.
    fn learn(&self, mark: UndoMark) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((mark, Instant::now()));
    }

    /// Asks for one, if none is known, or none that is fresh enough for a local transaction that `begins`. Without an answer
    /// the read will be refused, not this.
    pub async fn prepare(&self, coordinator: &Client, resource: &str, begins: bool) {
        if self.told().is_none_or(|(_, at)| begins && at.elapsed() > FRESH) {
            let nothing = CheckRead {
                xid: None,
                resource: resource.to_owned(),
                tables: Vec::new(),
                everything: false,
                since: None,
                wait: Duration::ZERO,
                session: 0,
                holds_rows: false,
            };
            let _ = self.check(coordinator, nothing).await;
        }
    }

    /// Asks whether what was read is committed; if not, it must be read again, with this mark.
    pub async fn check(&self, coordinator: &Client, check: CheckRead) -> Result<Option<UndoMark>, CallError> {
        failpoint::reach("proxy.before_check_read").await;
        let (mark, again) = coordinator.check_read(check).await?;
        self.learn(mark);
        Ok(again.then_some(mark))
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn there_are_two_levels() {
        for text in [None, Some(""), Some(" "), Some("read_uncommitted"), Some("READ_UNCOMMITTED")] {
            assert_eq!(read("x", text), Ok(false), "{text:?}");
        }
        assert_eq!(read("x", Some(" Read_Committed ")), Ok(true));
        for text in ["read committed", "serializable", "1", "on"] {
            let why = read("x", Some(text)).unwrap_err();
            assert!(why.contains(text) && why.contains("'read_committed' or 'read_uncommitted'"), "{why}");
        }
    }
}
