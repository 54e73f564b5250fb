//! In which order the values of each list came. What is left in the end tells it; where that is not known, the longest
//! read does.

use super::anomaly::{Anomaly, Kind};
use super::model::{History, Key, Op, Outcome, Transaction, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The lists of a history, and who wrote what.
pub(super) struct Orders<'a> {
    pub history: &'a History,
    /// By list and value: the number of the transaction.
    writers: BTreeMap<(&'a Key, Value), usize>,
    /// As they were found.
    found: BTreeMap<&'a Key, &'a [Value]>,
    /// Without what was rolled back.
    pub committed: BTreeMap<&'a Key, Vec<Value>>,
}

impl<'a> Orders<'a> {
    pub fn of(history: &'a History) -> Self {
        let mut writers = BTreeMap::new();
        let mut found: BTreeMap<&Key, &[Value]> = BTreeMap::new();
        for (number, transaction) in history.transactions.iter().enumerate() {
            for op in &transaction.ops {
                if let Op::Append(key, value) = op {
                    let before = writers.insert((key, *value), number);
                    assert!(before.is_none(), "{value} is appended to {key} twice, which tells nothing");
                }
            }
            for (_, key, list) in transaction.promised() {
                let longest = found.entry(key).or_default();
                if list.len() > longest.len() {
                    *longest = list;
                }
            }
        }
        found.extend(history.end.iter().map(|(key, list)| (key, list.as_slice())));
        let mut orders = Self { history, writers, found, committed: BTreeMap::new() };
        let committed = |key: &'a Key, list: &[Value]| {
            let list = list.iter().copied().filter(|value| orders.is_committed(key, *value));
            (key, list.collect::<Vec<_>>())
        };
        orders.committed = orders.found.iter().map(|(key, list)| committed(key, list)).collect();
        orders
    }

    /// Who appended this.
    pub fn writer(&self, key: &'a Key, value: Value) -> Option<usize> {
        self.writers.get(&(key, value)).copied()
    }

    pub fn transaction(&self, number: usize) -> &'a Transaction {
        &self.history.transactions[number]
    }

    /// A transaction of which nobody knows has committed if something of it is there.
    pub fn has_committed(&self, number: usize) -> bool {
        let transaction = self.transaction(number);
        match transaction.outcome {
            Outcome::Committed => true,
            Outcome::RolledBack | Outcome::Blocked => false,
            Outcome::Unknown => transaction.ops.iter().any(|op| match op {
                Op::Append(key, value) => self.found.get(key).is_some_and(|list| list.contains(value)),
                Op::Read(..) => false,
            }),
        }
    }

    fn is_committed(&self, key: &'a Key, value: Value) -> bool {
        self.writer(key, value).is_some_and(|writer| self.has_committed(writer))
    }

    /// Everything that was read, by whom if not by the end.
    fn reads(&self) -> impl Iterator<Item = (Option<&'a Transaction>, bool, &'a Key, &'a [Value])> {
        let end = self.history.end.iter().map(|(key, list)| (None, true, key, list.as_slice()));
        let all = self.history.transactions.iter().flat_map(|transaction| {
            transaction.ops.iter().filter_map(move |op| match op {
                Op::Read(reading, key, list) => {
                    Some((Some(transaction), reading.is_promised(), key, list.as_slice()))
                }
                Op::Append(..) => None,
            })
        });
        all.chain(end)
    }

    /// What cannot be in any list, whoever reads it how.
    pub fn malformed(&self) -> Vec<Anomaly> {
        let mut anomalies = Vec::new();
        for (who, _, key, list) in self.reads() {
            let name = who.map_or("the end", |transaction| &transaction.name);
            let mut seen = BTreeSet::new();
            for value in list {
                if self.writer(key, *value).is_none() {
                    let story = format!("{name} read {key} with {value} in it, which nobody appended");
                    anomalies.push(Anomaly::new(Kind::Unwritten, story, who));
                }
                if !seen.insert(value) {
                    let story = format!("{name} read {key} with {value} in it twice");
                    anomalies.push(Anomaly::new(Kind::Duplicate, story, who));
                }
            }
        }
        anomalies
    }

    /// Reads that do not fit together: without what was rolled back, each must be a beginning of the whole.
    pub fn incompatible(&self) -> Vec<Anomaly> {
        let promised = self.reads().filter(|(_, promised, ..)| *promised);
        let wrong = promised.filter_map(|(who, _, key, list)| {
            let whole = self.committed.get(key)?;
            let read: Vec<Value> =
                list.iter().copied().filter(|value| self.is_committed(key, *value)).collect();
            // What a transaction read of its own is its own matter until it commits.
            let fits = whole.starts_with(&read) || who.is_some_and(|t| t.outcome != Outcome::Committed);
            let name = who.map_or("the end", |transaction| &transaction.name);
            let story = || format!("{name} read {key} as {read:?}, which is no beginning of {whole:?}");
            (!fits).then(|| Anomaly::new(Kind::IncompatibleOrder, story(), who))
        });
        wrong.collect()
    }

    /// What was committed and is not there in the end.
    pub fn lost(&self) -> Vec<Anomaly> {
        let committed = self.history.transactions.iter().filter(|t| t.outcome == Outcome::Committed);
        let appends =
            committed.flat_map(|transaction| transaction.ops.iter().map(move |op| (transaction, op)));
        let lost = appends.filter_map(|(transaction, op)| {
            let Op::Append(key, value) = op else { return None };
            let end = self.history.end.get(key)?;
            let name = &transaction.name;
            let story =
                || format!("{name} appended {value} to {key} and committed, and in the end it is not there");
            (!end.contains(value)).then(|| Anomaly::new(Kind::LostAppend, story(), Some(transaction)))
        });
        lost.collect()
    }

    /// Values of a list as found, each with its writer.
    pub fn found(&self, key: &'a Key) -> Vec<(Value, Option<usize>)> {
        let list = self.found.get(key).copied().unwrap_or_default();
        list.iter().map(|value| (*value, self.writer(key, *value))).collect()
    }

    pub fn keys(&self) -> impl Iterator<Item = &'a Key> {
        self.found.keys().copied()
    }
}
