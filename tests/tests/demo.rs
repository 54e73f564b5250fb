//! `cargo demo` runs through, and `--keep` prints commands that work.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const DEMO: &str = env!("CARGO_BIN_EXE_demo");

#[test]
fn it_runs_through() {
    let output = Command::new(DEMO).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{told}");
    for wanted in [
        "the order is committed",
        "the order is rolled_back",
        "kill -9",
        "atone locks list",
        "all three databases are as they were, byte for byte",
        "no lock is left",
    ] {
        assert!(text.contains(wanted), "the demo shows no '{wanted}':\n{text}");
    }
}

/// Ends the demo, and by its janitor all that it started.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_it_leaves_running_can_be_tried_by_hand() {
    let child = Command::new(DEMO).arg("--keep").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut kept = Kept(child);
    let lines =
        BufReader::new(kept.0.stdout.take().unwrap()).lines().map(|line| line.unwrap().trim().to_owned());
    // Three of the vendors' command lines, two of the DBA's; the demo goes on after them, so the end is not waited for.
    let commands =
        lines.filter(|line| line.ends_with("shop") || line.ends_with(" list") && !line.starts_with('$'));
    let commands: Vec<String> = commands.take(5).collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in commands {
        let sql = "echo 'SELECT atone_begin(); SELECT atone_rollback();'";
        let (input, wanted) = if command.ends_with("shop") { (sql, "rolled_back") } else { ("true", "") };
        let output = Command::new("sh").args(["-c", &format!("{input} | {command}")]).output().unwrap();
        let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains(wanted), "{command}: {out}{told}");
    }
}

#[test]
fn a_word_it_does_not_know_is_a_usage_error() {
    assert_eq!(Command::new(DEMO).arg("--nonsense").output().unwrap().status.code(), Some(2));
}
