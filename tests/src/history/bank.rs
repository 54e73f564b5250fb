//! A bank's history: transfers, and counts of all its money. Whatever is rolled back, none is made or lost.

use super::anomaly::{Anomaly, Kind};
use super::model::Outcome;
use std::collections::BTreeMap;

/// Balances by account.
pub type Balances = BTreeMap<String, i64>;

/// Money on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The transaction.
    pub name: String,
    /// What it adds to which accounts; together nothing.
    pub moves: Vec<(String, i64)>,
    /// Its end.
    pub outcome: Outcome,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bank {
    /// In the beginning.
    pub opening: Balances,
    /// In no order.
    pub transfers: Vec<Transfer>,
    /// Who read all accounts under a lock, and what was in them.
    pub audits: Vec<(String, Balances)>,
    /// In the end.
    pub closing: Balances,
}

impl Bank {
    /// All that is wrong with it.
    pub fn check(&self) -> Vec<Anomaly> {
        let total = |balances: &Balances| balances.values().sum::<i64>();
        let right = total(&self.opening);
        let mut wrong = Vec::new();
        for (name, seen) in self.audits.iter().chain([&("the end".to_owned(), self.closing.clone())]) {
            if total(seen) != right {
                wrong
                    .push((Kind::Money, format!("{name} counted {} and not {right}: {seen:?}", total(seen))));
            }
        }
        let blocked = self.transfers.iter().filter(|t| t.outcome == Outcome::Blocked);
        wrong.extend(blocked.map(|t| (Kind::Blocked, format!("{} cannot be rolled back", t.name))));
        if self.transfers.iter().all(|transfer| transfer.outcome != Outcome::Unknown) {
            let mut expected = self.opening.clone();
            let committed = self.transfers.iter().filter(|transfer| transfer.outcome == Outcome::Committed);
            for (account, amount) in committed.flat_map(|transfer| &transfer.moves) {
                *expected.entry(account.clone()).or_default() += amount;
            }
            for (account, balance) in &expected {
                let found = self.closing.get(account);
                if found != Some(balance) {
                    let story = format!("{account} should hold {balance} in the end, and holds {found:?}");
                    wrong.push((Kind::Money, story));
                }
            }
        }
        wrong.into_iter().map(|(kind, story)| Anomaly::new(kind, story, None)).collect()
    }
}
