//! What was done, and what came of it.

use std::collections::BTreeMap;

/// A list's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub String);

/// What is appended to a list; each only once in a history.
pub type Value = u64;

/// How something was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Under a lock: SELECT … FOR UPDATE or FOR SHARE.
    Locking,
    /// Without, by a session that wants to see only what is decided.
    Checked,
    /// Without.
    Plain,
}

impl Reading {
    /// May it see committed data only, which stays so until the reader has ended?
    pub fn is_promised(self) -> bool {
        match self {
            Self::Locking => true,
            Self::Checked | Self::Plain => false,
        }
    }

    /// May it see committed data only?
    pub fn is_of_decided(self) -> bool {
        match self {
            Self::Locking | Self::Checked => true,
            Self::Plain => false,
        }
    }
}

/// What a transaction did, and was answered to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// It appended.
    Append(Key, Value),
    /// It read this.
    Read(Reading, Key, Vec<Value>),
}

/// What came of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is for good.
    Committed,
    /// It is as if it had never been.
    RolledBack,
    /// It should be rolled back, and cannot be.
    Blocked,
    /// Nobody was told.
    Unknown,
}

/// A transaction, global or local.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// A word.
    pub name: String,
    /// In order.
    pub ops: Vec<Op>,
    /// Its end.
    pub outcome: Outcome,
}

impl Transaction {
    /// What it appended to this list, in order.
    pub fn appended<'a>(&'a self, to: &'a Key) -> impl DoubleEndedIterator<Item = Value> + 'a {
        self.ops.iter().filter_map(move |op| match op {
            Op::Append(key, value) if key == to => Some(*value),
            Op::Append(..) | Op::Read(..) => None,
        })
    }

    /// What it read and may act upon, though others may have written since.
    pub fn decided(&self) -> impl Iterator<Item = (&Key, &[Value])> {
        self.ops.iter().filter_map(|op| match op {
            Op::Read(reading, key, list) if reading.is_of_decided() => Some((key, list.as_slice())),
            Op::Append(..) | Op::Read(..) => None,
        })
    }

    /// What it read and was promised, each with its place among the operations.
    pub fn promised(&self) -> impl Iterator<Item = (usize, &Key, &[Value])> {
        self.ops.iter().enumerate().filter_map(|(at, op)| match op {
            Op::Read(reading, key, list) if reading.is_promised() => Some((at, key, list.as_slice())),
            Op::Append(..) | Op::Read(..) => None,
        })
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// In no order.
    pub transactions: Vec<Transaction>,
    /// What the lists were when all had ended.
    pub end: BTreeMap<Key, Vec<Value>>,
}
