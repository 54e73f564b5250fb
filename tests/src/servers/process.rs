//! One child process with its log file. Dropped means killed.

use super::{janitor, logs};
use crate::{Context, Failure, Result, wait};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running server.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it in a process group of its own, so that Ctrl-C at the terminal reaches only us; we tell it ourselves.
    /// All it prints goes to the file `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).or_fail(log.display())?;
        let twin = file.try_clone().or_fail(log.display())?;
        logs::show_on_panic(log);
        command.process_group(0).stdin(Stdio::null()).stdout(file).stderr(twin);
        let child = command.spawn().or_fail(format!("cannot start {name}"))?;
        janitor::group(child.id());
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` gives something; fails with the end of the log if the process ends first.
    pub fn until<T>(&mut self, what: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let deadline = wait::Deadline::new();
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            if let Some(status) = self.exit_status() {
                return Err(self.failure(&format!("ended ({status}) before {what}")));
            }
            if deadline.is_over() {
                return Err(self.failure(&format!("not {what} in {} s", wait::PATIENCE.as_secs())));
            }
            std::thread::sleep(wait::STEP);
        }
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::new(format!(
            "{} {what}; the end of {}:\n{}",
            self.name,
            self.log.display(),
            logs::end_of(&self.log)
        ))
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let deadline = wait::Deadline::new();
        while !deadline.is_over() {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            std::thread::sleep(wait::STEP);
        }
        Err(self.failure("still runs, though it should have ended"))
    }

    /// Kills it like a power cut would: no handler runs.
    pub fn kill9(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        janitor::ended(self.child.id());
    }

    /// Asks it to end and waits until it has.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.stop_by("TERM")
    }

    /// Asks it to end by this signal and waits until it has.
    pub fn stop_by(&mut self, signal: &str) -> Result<ExitStatus> {
        let pid = self.pid().to_string();
        crate::install::run(Command::new("sh").args(["-c", "kill -\"$1\" \"$0\"", &pid, signal]))?;
        self.wait_for_end()
    }

    /// Kills it together with its children at the same instant, and waits until all are gone. A server of many
    /// processes would else live on in its children for a while, and could not be started again.
    pub fn kill9_family(&mut self) {
        let pid = self.pid();
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children: Vec<&str> = children.split_whitespace().collect();
        // Fails for those that have ended already, which is well too.
        let _ = Command::new("sh")
            .args(["-c", "kill -9 \"$@\"", "kill", &pid.to_string()])
            .args(&children)
            .stderr(Stdio::null())
            .status();
        self.kill9();
        let deadline = wait::Deadline::new();
        let alive = |child: &&&str| {
            let status = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            !status.is_empty() && !status.contains(") Z ")
        };
        while children.iter().any(|child| alive(&child)) && !deadline.is_over() {
            std::thread::sleep(wait::STEP);
        }
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}
