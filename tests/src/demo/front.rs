//! Runs the shop front as a process of its own, and prints what it and its services say while they say it.

use super::stage;
use super::stalls::Stalls;
use crate::{Context, Failure, Result};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What a customer wants.
pub(super) struct Order<'a> {
    pub customer: &'a str,
    pub item: &'a str,
    pub count: u32,
    pub timeout_ms: u32,
}

/// The line by which the front says that it waits, when all databases have changed and one service is still to be called.
pub(super) const HALF_WAY: &str = "half-way";

/// The words before the final status.
pub(super) const ENDED: &str = "the order is ";

/// A running shop front.
pub(super) struct Front {
    child: Child,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Front {
    /// Starts it. It waits half-way until told to go on.
    pub fn start(stalls: &Stalls, order: &Order<'_>) -> Result<Self> {
        let program = std::env::current_exe().or_fail("finding this program")?;
        let mut command = Command::new(program);
        command.arg("shop-front");
        command.args(stalls.ports().map(|port| port.to_string()));
        command.args([order.customer, order.item, &order.count.to_string(), &order.timeout_ms.to_string()]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .or_fail("starting the shop front")?;
        let stdin = child.stdin.take().or_fail("the shop front has no stdin")?;
        let lines = BufReader::new(child.stdout.take().or_fail("the shop front has no stdout")?);
        Ok(Self { child, stdin, lines })
    }

    /// The next line of any of the programs: who says what. `None` at their end.
    fn next(&mut self) -> Result<Option<(String, String)>> {
        let mut line = String::new();
        self.lines.read_line(&mut line).or_fail("listening to the shop front")?;
        let words = line.trim_end().split_once(": ");
        Ok(words.map(|(who, what)| (who.to_owned(), what.to_owned())))
    }

    /// Prints what is said until the front waits; gives the xid that it began.
    pub fn until_half_way(&mut self) -> Result<String> {
        let mut xid = None;
        while let Some((who, what)) = self.next()? {
            if what == HALF_WAY {
                return xid.or_fail("the shop front told no xid");
            }
            xid = xid.or_else(|| what.strip_prefix("begins ").map(str::to_owned));
            stage::says(&who, &what);
        }
        Err(Failure::new("the shop front ended before it was half-way"))
    }

    /// Lets it go on.
    pub fn go_on(&mut self) -> Result<()> {
        writeln!(self.stdin, "go on").or_fail("telling the shop front to go on")
    }

    /// Prints what is said until the end, which must be this status.
    pub fn must_end(mut self, wanted: &str) -> Result<()> {
        let mut status = String::new();
        while let Some((who, what)) = self.next()? {
            if let Some(ended) = what.strip_prefix(ENDED) {
                ended.clone_into(&mut status);
            }
            stage::says(&who, &what);
        }
        let exit = self.child.wait().or_fail("waiting for the shop front")?;
        if status == wanted && exit.success() {
            return Ok(());
        }
        Err(Failure::new(format!("the order should be {wanted}, but is '{status}' ({exit})")))
    }

    /// Kills it.
    pub fn kill9(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.kill9();
    }
}
