//! Counts what statements came to, so that a test that tests nothing is found out.

use crate::session::Answer;
use crate::statement::Statement;
use std::collections::BTreeMap;
use std::fmt;

/// How often statements of one sort changed rows, changed none, were refused and failed.
#[derive(Clone, Copy, Default)]
struct Count {
    captured: usize,
    idle: usize,
    refused: usize,
    failed: usize,
}

/// All counts.
#[derive(Clone, Default)]
pub struct Tally {
    counts: BTreeMap<&'static str, Count>,
    why: BTreeMap<String, usize>,
    /// Cases that could not be committed, because something was refused at a local COMMIT.
    pub not_committed: usize,
}

impl Tally {
    /// Counts a statement that was run through the proxy.
    pub fn add(&mut self, statement: &Statement, answer: &Answer) {
        let count = self.counts.entry(statement.kind).or_default();
        match answer {
            Answer::Done(0, _) => count.idle += 1,
            Answer::Done(..) => count.captured += 1,
            Answer::Failed(code, _) => {
                count.failed += 1;
                *self.why.entry(format!("{} failed: {code}", statement.kind)).or_default() += 1;
            }
            Answer::Refused(why) => {
                count.refused += 1;
                *self.why.entry(format!("{}: {}", statement.kind, without_names(why))).or_default() += 1;
            }
        }
    }

    /// Adds another tally.
    pub fn join(&mut self, other: Self) {
        self.not_committed += other.not_committed;
        for (kind, count) in other.counts {
            let sum = self.counts.entry(kind).or_default();
            sum.captured += count.captured;
            sum.idle += count.idle;
            sum.refused += count.refused;
            sum.failed += count.failed;
        }
        for (why, count) in other.why {
            *self.why.entry(why).or_default() += count;
        }
    }

    /// Of the writes: how many changed rows, changed none, were refused, and failed.
    pub fn writes(&self) -> [usize; 4] {
        let writes = self.counts.iter().filter(|(kind, _)| !["control", "select"].contains(*kind));
        writes.fold([0; 4], |[captured, idle, refused, failed], (_, count)| {
            [captured + count.captured, idle + count.idle, refused + count.refused, failed + count.failed]
        })
    }
}

/// A sentence without the names of tables, so that those of one sort are counted together.
fn without_names(why: &str) -> String {
    let words = why.split(' ').map(|word| if word.contains("shop_p") { "…" } else { word });
    let text: Vec<&str> = words.collect();
    text.join(" ").chars().take(150).collect()
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:20} {:>8} {:>8} {:>8} {:>8}", "", "captured", "no row", "refused", "failed")?;
        for (kind, Count { captured, idle, refused, failed }) in &self.counts {
            writeln!(f, "{kind:20} {captured:8} {idle:8} {refused:8} {failed:8}")?;
        }
        let [captured, idle, refused, failed] = self.writes();
        writeln!(f, "{:20} {captured:8} {idle:8} {refused:8} {failed:8}", "all writes")?;
        writeln!(f, "{} cases could not be committed", self.not_committed)?;
        self.why.iter().try_for_each(|(why, count)| writeln!(f, "{count:5} {why}"))
    }
}
