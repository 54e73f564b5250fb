//! What a history is about, in numbers.

use crate::lists::Shape;
use atone_tests::history::{History, Key, Op, Outcome, Reading, Transaction};
use std::collections::BTreeSet;
use std::fmt;

/// What a history is about; without enough of each it would say nothing.
pub struct Tally {
    committed: usize,
    /// Of these, those that wrote or read in both databases.
    spanning: usize,
    /// Of those that had appended.
    rolled_back: usize,
    local: usize,
    unknown: usize,
    appends: usize,
    locking_reads: usize,
}

impl Tally {
    pub fn of(history: &History) -> Self {
        let ended = |global: bool, outcome| {
            let all = history.transactions.iter().filter(move |t| t.outcome == outcome && !t.ops.is_empty());
            all.filter(move |t| t.name.starts_with("global-") == global)
        };
        let committed = history.transactions.iter().filter(|t| t.outcome == Outcome::Committed);
        let ops: Vec<&Op> = committed.flat_map(|t| &t.ops).collect();
        let reads = |op: &&&Op| matches!(op, Op::Read(Reading::Locking, _, list) if !list.is_empty());
        Self {
            committed: ended(true, Outcome::Committed).count(),
            spanning: ended(true, Outcome::Committed).filter(|t| spans(t)).count(),
            rolled_back: ended(true, Outcome::RolledBack).filter(|t| t.ops.iter().any(appends)).count(),
            local: ended(false, Outcome::Committed).count(),
            unknown: ended(false, Outcome::Unknown).count(),
            appends: ops.iter().filter(|op| appends(op)).count(),
            locking_reads: ops.iter().filter(reads).count(),
        }
    }

    /// At least these parts of all transactions.
    pub fn must_mean_something(&self, shape: Shape) {
        let all = shape.clients as usize * shape.each as usize;
        for (what, count, least) in [
            ("global transactions committed", self.committed, all / 20),
            ("of them in both databases", self.spanning, all / 40),
            ("global transactions were rolled back", self.rolled_back, all / 40),
            ("local transactions committed", self.local, all / 20),
            ("values were appended", self.appends, all / 8),
            ("locking reads saw values", self.locking_reads, all / 16),
        ] {
            assert!(count >= least, "only {count} {what}, of {all} transactions: this says too little");
        }
    }
}

fn appends(op: &Op) -> bool {
    matches!(op, Op::Append(..))
}

/// Names of lists start with their database's.
fn spans(transaction: &Transaction) -> bool {
    let database = |op: &Op| {
        let (Op::Append(Key(name), _) | Op::Read(_, Key(name), _)) = op;
        name.split_once('.').map(|(database, _)| database.to_owned())
    };
    transaction.ops.iter().map(database).collect::<BTreeSet<_>>().len() > 1
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { committed, spanning, rolled_back, local, unknown, appends, locking_reads } = self;
        write!(
            f,
            "{committed} global ones committed, {spanning} in both databases, {rolled_back} were rolled back; "
        )?;
        write!(
            f,
            "{local} local ones committed, {unknown} may have; {appends} appends, {locking_reads} locking reads"
        )
    }
}
