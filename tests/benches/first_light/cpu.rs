//! CPU time of a process: its own and the kernel's for it.

use atone_tests::{Context, Result, install};
use std::process::Command;

/// A clock of CPU time.
#[derive(Clone, Copy)]
pub struct Cpu {
    pid: u32,
    ticks_per_second: f64,
}

impl Cpu {
    /// The clock of this process.
    pub fn of(pid: u32) -> Result<Self> {
        let ticks = install::run(Command::new("getconf").arg("CLK_TCK"))?;
        Ok(Self { pid, ticks_per_second: ticks.trim().parse().or_fail("getconf CLK_TCK")? })
    }

    /// Seconds used so far.
    pub fn seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.pid);
        let text = std::fs::read_to_string(&path).or_fail(&path)?;
        // The name in parentheses may hold spaces; utime and stime are the 12th and 13th fields behind it.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let ticks = ticks(11).zip(ticks(12)).or_fail(format!("{path} has not the form of proc(5)"))?;
        Ok((ticks.0 + ticks.1) / self.ticks_per_second)
    }
}
