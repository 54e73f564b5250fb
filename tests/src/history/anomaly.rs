//! What may not be in a history, by name and in words.

use super::graph::{Graph, external};
use super::model::{History, Key, Op, Outcome, Transaction, Value};
use super::order::Orders;
use std::collections::BTreeMap;
use std::fmt;

/// The names. Adya's are G0 to G2, the others Elle's or our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Dirty write: a circle of writes.
    G0,
    /// Aborted read: what was rolled back was read under a lock or at read committed, or is there in the end.
    G1a,
    /// Intermediate read: what its writer had not finished was read in the same way.
    G1b,
    /// Circular information flow: a circle of writes and of reads of what was written.
    G1c,
    /// Read skew: a circle with one read of what was about to change.
    GSingle,
    /// A circle with several of them.
    G2,
    /// A write on top of another that was rolled back, or should have been.
    DirtyUpdate,
    /// Written by what had been read, though another had written meanwhile.
    LostUpdate,
    /// Committed, and gone.
    LostAppend,
    /// Two reads that cannot both be beginnings of one list.
    IncompatibleOrder,
    /// A value that is in a list twice.
    Duplicate,
    /// A value that nobody wrote.
    Unwritten,
    /// A read that does not agree with what its own transaction did and read before.
    Internal,
    /// A rollback that needs a person.
    Blocked,
    /// Money was made or lost.
    Money,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// Its name.
    pub kind: Kind,
    /// Its story.
    pub story: String,
    /// The transactions that it is about, as text.
    pub who: Vec<String>,
}

impl Anomaly {
    pub(super) fn new(kind: Kind, story: String, who: Option<&Transaction>) -> Self {
        Self { kind, story, who: who.into_iter().map(Transaction::to_string).collect() }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.story)?;
        self.who.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// All that is wrong with a history.
pub fn check(history: &History) -> Vec<Anomaly> {
    let orders = Orders::of(history);
    let mut anomalies = orders.malformed();
    anomalies.extend(blocked(history));
    anomalies.extend(orders.incompatible());
    anomalies.extend(orders.lost());
    anomalies.extend(dirty_updates(&orders));
    for (number, reader) in history.transactions.iter().enumerate() {
        anomalies.extend(dirty_reads(&orders, number));
        if reader.outcome == Outcome::Committed {
            anomalies.extend(internal(reader));
            anomalies.extend(lost_updates(&orders, number));
        }
    }
    anomalies.extend(dirty_end(&orders));
    anomalies.extend(Graph::of(&orders).anomalies());
    anomalies.sort_by_key(|anomaly| anomaly.kind);
    anomalies
}

fn blocked(history: &History) -> impl Iterator<Item = Anomaly> {
    let blocked = history.transactions.iter().filter(|t| t.outcome == Outcome::Blocked);
    blocked.map(|t| Anomaly::new(Kind::Blocked, format!("{} cannot be rolled back", t.name), Some(t)))
}

/// G1a and G1b. Of readers that were rolled back too: what they read may have been acted upon.
fn dirty_reads(orders: &Orders<'_>, reader: usize) -> Vec<Anomaly> {
    let this = orders.transaction(reader);
    let tell = |kind, story, writer: usize| {
        let mut anomaly = Anomaly::new(kind, story, Some(this));
        anomaly.who.push(orders.transaction(writer).to_string());
        anomaly
    };
    let mut anomalies = Vec::new();
    for (key, list) in this.decided() {
        for value in list {
            let Some(writer) = orders.writer(key, *value).filter(|writer| *writer != reader) else {
                continue;
            };
            if !orders.has_committed(writer) {
                let (name, other) = (&this.name, &orders.transaction(writer).name);
                let story = format!("{name} read {key} with {value} in it, of {other}, which did not commit");
                anomalies.push(tell(Kind::G1a, story, writer));
            }
        }
        let seen = &list[..external(orders, reader, key, list)];
        let Some(last) = seen.last() else { continue };
        let Some(writer) = orders.writer(key, *last).filter(|writer| orders.has_committed(*writer)) else {
            continue;
        };
        let other = orders.transaction(writer);
        if let Some(later) = other.appended(key).next_back().filter(|later| later != last) {
            let (name, by) = (&this.name, &other.name);
            let story =
                format!("{name} read {key} up to {last} of {by}, which appended {later} there afterwards");
            anomalies.push(tell(Kind::G1b, story, writer));
        }
    }
    anomalies
}

/// What was rolled back and is there in the end.
fn dirty_end(orders: &Orders<'_>) -> Vec<Anomaly> {
    let lists = orders.history.end.iter().flat_map(|(key, list)| list.iter().map(move |value| (key, *value)));
    let left = lists.filter_map(|(key, value)| {
        let writer = orders.writer(key, value).filter(|writer| !orders.has_committed(*writer))?;
        let who = orders.transaction(writer);
        let story =
            format!("{value}, which {} appended to {key}, is there in the end, and did not commit", who.name);
        Some(Anomaly::new(Kind::G1a, story, Some(who)))
    });
    left.collect()
}

/// Committed values right behind others that were rolled back.
fn dirty_updates(orders: &Orders<'_>) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for key in orders.keys() {
        for pair in orders.found(key).windows(2) {
            let [(under, Some(first)), (over, Some(second))] = pair else { continue };
            if !orders.has_committed(*first) && orders.has_committed(*second) {
                let (first, second) = (orders.transaction(*first), orders.transaction(*second));
                let (by, on) = (&second.name, &first.name);
                let story = format!("{by} appended {over} to {key} on {under} of {on}, which did not commit");
                let mut anomaly = Anomaly::new(Kind::DirtyUpdate, story, Some(second));
                anomaly.who.push(first.to_string());
                anomalies.push(anomaly);
            }
        }
    }
    anomalies
}

/// A transaction that read a list and then appended to it, with somebody else's value in between.
fn lost_updates(orders: &Orders<'_>, number: usize) -> Vec<Anomaly> {
    let this = orders.transaction(number);
    let mut anomalies = Vec::new();
    for (at, key, list) in this.promised() {
        let Some(whole) = orders.committed.get(key) else { continue };
        let appended = this.ops[at..].iter().find_map(|op| match op {
            Op::Append(to, value) if to == key => Some(*value),
            Op::Append(..) | Op::Read(..) => None,
        });
        let Some(place) = appended.and_then(|value| whole.iter().position(|v| *v == value)) else { continue };
        let others = whole[..place].iter().filter(|value| !list.contains(value));
        let other = others
            .filter_map(|value| Some((*value, orders.writer(key, *value)?)))
            .find(|(_, w)| *w != number);
        if let (Some((value, writer)), Some(own)) = (other, appended) {
            let (name, other) = (&this.name, orders.transaction(writer));
            let by = &other.name;
            let story = format!("{name} read {key} without {value} of {by}, and appended {own} behind it");
            let mut anomaly = Anomaly::new(Kind::LostUpdate, story, Some(this));
            anomaly.who.push(other.to_string());
            anomalies.push(anomaly);
        }
    }
    anomalies
}

/// Within a transaction a list is what was read first, and then what it appended itself: its locks keep others out.
fn internal(this: &Transaction) -> Vec<Anomaly> {
    /// What is known of a list: its beginning, if it was read, and what was appended.
    type Known = (Option<Vec<Value>>, Vec<Value>);
    let mut known: BTreeMap<&Key, Known> = BTreeMap::new();
    let mut anomalies = Vec::new();
    for op in &this.ops {
        match op {
            Op::Append(key, value) => known.entry(key).or_default().1.push(*value),
            Op::Read(reading, key, list) if reading.is_promised() => {
                let (start, own) = known.entry(key).or_default();
                let fits = match &start {
                    Some(start) => [start.as_slice(), own].concat() == *list,
                    None => list.ends_with(own),
                };
                if !fits {
                    let before = start.as_ref().map_or_else(|| "…".to_owned(), |start| format!("{start:?}"));
                    let name = &this.name;
                    let story =
                        format!("{name} read {key} as {list:?}, which was {before} to it and then {own:?}");
                    anomalies.push(Anomaly::new(Kind::Internal, story, Some(this)));
                }
                (*start, *own) = (Some(list.clone()), Vec::new());
            }
            Op::Read(..) => {}
        }
    }
    anomalies
}
