//! What a history is about, in numbers.

use crate::lists::Shape;
use atone_tests::history::{History, Op, Outcome, Reading};

/// What a history is about; without enough of each it would say nothing.
pub struct Tally {
    pub committed: usize,
    pub rolled_back: usize,
    pub local: usize,
    pub unknown: usize,
    pub appends: usize,
    pub locking_reads: usize,
}

impl Tally {
    pub fn of(history: &History) -> Self {
        let ended = |global: bool, outcome| {
            let all = history.transactions.iter().filter(|t| t.outcome == outcome && !t.ops.is_empty());
            all.filter(|t| t.name.starts_with("global-") == global).count()
        };
        let committed = history.transactions.iter().filter(|t| t.outcome == Outcome::Committed);
        let ops: Vec<&Op> = committed.flat_map(|t| &t.ops).collect();
        let reads = |op: &&&Op| matches!(op, Op::Read(Reading::Locking, _, list) if !list.is_empty());
        Self {
            committed: ended(true, Outcome::Committed),
            rolled_back: ended(true, Outcome::RolledBack),
            local: ended(false, Outcome::Committed),
            unknown: ended(false, Outcome::Unknown),
            appends: ops.iter().filter(|op| matches!(op, Op::Append(..))).count(),
            locking_reads: ops.iter().filter(reads).count(),
        }
    }

    /// At least these parts of all transactions.
    pub fn must_mean_something(&self, shape: Shape) {
        let all = shape.clients as usize * shape.each as usize;
        for (what, count, least) in [
            ("global transactions committed", self.committed, all / 20),
            ("global transactions were rolled back", self.rolled_back, all / 40),
            ("local transactions committed", self.local, all / 20),
            ("values were appended", self.appends, all / 8),
            ("locking reads saw values", self.locking_reads, all / 16),
        ] {
            assert!(count >= least, "only {count} {what}, of {all} transactions: this says too little");
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { committed, rolled_back, local, unknown, appends, locking_reads } = self;
        write!(
            f,
            "{committed} global ones committed, {rolled_back} were rolled back, {local} local ones committed, {unknown} may \
             have, \
             with {appends} appends and {locking_reads} locking reads"
        )
    }
}
