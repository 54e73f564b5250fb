//! A history as text, a transaction a line: `T1 committed: append x 1, read x [1 2], plain y []`; what is left in the end
//! is `end: read x [1 2]`. What a failing test prints can be pasted into a test.

use super::model::{History, Key, Op, Outcome, Reading, Transaction};
use crate::{Context, Failure, Result};
use std::fmt;

const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Committed, "committed"),
    (Outcome::RolledBack, "rolled-back"),
    (Outcome::Blocked, "blocked"),
    (Outcome::Unknown, "unknown"),
];

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(OUTCOMES.iter().find(|(outcome, _)| outcome == self).map_or("", |(_, word)| word))
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, key, list) = match self {
            Self::Append(key, value) => return write!(f, "append {key} {value}"),
            Self::Read(Reading::Locking, key, list) => ("read", key, list),
            Self::Read(Reading::Checked, key, list) => ("checked", key, list),
            Self::Read(Reading::Plain, key, list) => ("plain", key, list),
        };
        let list: Vec<String> = list.iter().map(u64::to_string).collect();
        write!(f, "{word} {key} [{}]", list.join(" "))
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ops: Vec<String> = self.ops.iter().map(Op::to_string).collect();
        write!(f, "{} {}: {}", self.name, self.outcome, ops.join(", "))
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.transactions.iter().try_for_each(|one| writeln!(f, "{one}"))?;
        self.end.iter().try_for_each(|(key, list)| {
            writeln!(f, "end: {}", Op::Read(Reading::Locking, key.clone(), list.clone()))
        })
    }
}

impl std::str::FromStr for History {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self> {
        let mut history = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (head, ops) = line.split_once(':').or_fail(format!("no colon in '{line}'"))?;
            let ops = ops
                .split(',')
                .map(str::trim)
                .filter(|op| !op.is_empty())
                .map(op)
                .collect::<Result<Vec<_>>>()?;
            if head == "end" {
                for op in ops {
                    let Op::Read(_, key, list) = op else {
                        return Err(Failure::new(format!("no read: '{line}'")));
                    };
                    history.end.insert(key, list);
                }
                continue;
            }
            let (name, word) = head.split_once(' ').or_fail(format!("no outcome in '{line}'"))?;
            let outcome = OUTCOMES.iter().find(|(_, known)| *known == word);
            let outcome = outcome.or_fail(format!("no outcome is called '{word}'"))?.0;
            history.transactions.push(Transaction { name: name.to_owned(), ops, outcome });
        }
        Ok(history)
    }
}

fn op(text: &str) -> Result<Op> {
    let mut words = text.splitn(3, ' ');
    let [Some(verb), Some(key), Some(what)] = [words.next(), words.next(), words.next()] else {
        return Err(Failure::new(format!("'{text}' is no operation")));
    };
    let key = Key(key.to_owned());
    let list = || {
        let inner = what
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .or_fail(format!("no list in '{text}'"))?;
        inner.split_whitespace().map(|value| value.parse().or_fail(value)).collect::<Result<Vec<u64>>>()
    };
    Ok(match verb {
        "append" => Op::Append(key, what.parse().or_fail(text)?),
        "read" => Op::Read(Reading::Locking, key, list()?),
        "checked" => Op::Read(Reading::Checked, key, list()?),
        "plain" => Op::Read(Reading::Plain, key, list()?),
        other => return Err(Failure::new(format!("no operation is called '{other}'"))),
    })
}
