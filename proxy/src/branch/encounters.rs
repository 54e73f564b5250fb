//! Rows that a read with SKIP LOCKED meets although others hold them: how often it may, until it is told so.

use atone_protocol::LockKey;
use std::collections::BTreeMap;

/// A read is run so many times at most.
const RUNS: usize = 256;
/// Nor does it meet the same row more often. Somebody may have had it locked just when we tried to; or has it locked in a way that
/// lets the read have it, and not us: the same local transaction, or one that shares it.
const OF_ONE: usize = 16;

/// The rows met so far.
#[derive(Debug, Default)]
pub struct Encounters {
    runs: usize,
    rows: BTreeMap<LockKey, usize>,
}

impl Encounters {
    /// A run met these. Err: that was once too often, and why.
    pub fn with(&mut self, keys: impl IntoIterator<Item = LockKey>) -> Result<(), String> {
        self.runs += 1;
        if self.runs >= RUNS {
            return Err(format!("SKIP LOCKED met such rows {RUNS} times in a row"));
        }
        for key in keys {
            let times = self.rows.entry(key).or_default();
            *times += 1;
            if *times > OF_ONE {
                let why = "SKIP LOCKED cannot pass over it: a local transaction has it locked in a way that does not keep \
                    the read from it, this one itself or one that shares it";
                return Err(why.to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(shown: usize) -> LockKey {
        let key = shown.to_string().into_bytes();
        LockKey { table: "s.t".into(), index: "PRIMARY".into(), key, shown: shown.to_string() }
    }

    #[test]
    fn other_rows_may_be_met_for_long_and_one_row_a_few_times() {
        let mut other = Encounters::default();
        assert_eq!((0..).find(|n| other.with([key(*n)]).is_err()), Some(RUNS - 1));
        let mut same = Encounters::default();
        assert_eq!((0..).find(|n| same.with([key(*n), key(1000)]).is_err()), Some(OF_ONE));
    }
}
