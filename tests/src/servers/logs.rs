//! Shows the ends of the servers' logs when a test fails.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once};

const LINES: usize = 40;

/// Lines that have these are of every run, and would push out the ones that matter: clients that tests dropped, and what
/// comes of small logs.
const USUAL: [&str; 2] = ["Aborted connection", "innodb_redo_log_capacity"];

static LOGS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Shows this log too when a test panics.
pub(super) fn show_on_panic(log: &Path) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            show();
        }));
    });
    let mut logs = LOGS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !logs.iter().any(|known| known == log) {
        logs.push(log.to_owned());
    }
}

fn show() {
    let logs = LOGS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    for log in logs {
        let text = end_of(&log);
        if !text.is_empty() {
            eprintln!("--- end of {}\n{text}", log.display());
        }
    }
}

/// The last lines of a file, without the usual ones; empty if there is none.
pub(super) fn end_of(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> =
        text.lines().filter(|line| !USUAL.iter().any(|usual| line.contains(usual))).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
