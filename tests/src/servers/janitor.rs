//! Ends what this process started, however this process ends.
//!
//! A shell reads from a pipe what there is to tidy. When this process dies, by whatever signal, the pipe closes and the
//! shell kills the process groups and removes the folders. Statics need it (Rust never drops them), and so does Ctrl-C.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

const SCRIPT: &str = r#"
trap "" INT TERM HUP
groups=" "
while read -r verb what; do
  case $verb in
    group) groups="$groups$what " ;;
    ended) case $groups in *" $what "*) groups="${groups%% $what *} ${groups#* $what }" ;; esac ;;
    dir) set -- "$@" "$what" ;;
  esac
done
for group in $groups; do kill -9 "-$group"; done
for dir; do
  for try in 1 2 3 4 5 6 7 8 9; do rm -rf "$dir" && break; sleep 0.1; done
done
"#;

fn shell() -> &'static Mutex<Child> {
    static SHELL: OnceLock<Mutex<Child>> = OnceLock::new();
    SHELL.get_or_init(|| {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "janitor"]).process_group(0);
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Mutex::new(shell.expect("sh runs"))
    })
}

fn tell(verb: &str, what: &str) {
    let mut shell = shell().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(pipe) = &mut shell.stdin {
        // A janitor that is gone can tidy nothing; the test itself is none the worse.
        let _ = writeln!(pipe, "{verb} {what}");
    }
}

/// A process group to kill.
pub(super) fn group(id: u32) {
    tell("group", &id.to_string());
}

/// A process group that has ended: its number may soon be somebody else's.
pub(super) fn ended(id: u32) {
    tell("ended", &id.to_string());
}

/// A folder to remove.
pub(super) fn dir(path: &std::path::Path) {
    tell("dir", &path.display().to_string());
}
