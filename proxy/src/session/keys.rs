//! Writes whose keys are not in their text: an UPDATE that assigns key columns, an INSERT that computes its keys or
//! mixes given and generated ones. The rows are looked for right after the statement; what does not add up is rolled
//! back.

use super::{
    Answer, Echo, Failure, Session,
    write::{End2, Stopped, stopped_by_settle},
};
use crate::{
    branch::{self, Key, Plan},
    wire::reply::OkPacket,
};
use atone_undo_log::capture::{self, Captured, Computed, KeyChange, Table};
use std::collections::BTreeSet;

/// An UPDATE of keys, ready to run.
pub(super) struct Moving<'p> {
    change: &'p KeyChange,
    /// Where the rows will be.
    wanted: Vec<Vec<String>>,
    /// Other rows are there; the statement should fail.
    occupied: bool,
}

impl Session {
    /// What an UPDATE of keys will do; None when every row surely keeps its key.
    pub(super) async fn moving<'p>(
        &mut self,
        table: &Table,
        plan: &'p Plan,
        captured: &[Captured],
        computed: &[Computed],
    ) -> Result<Option<Moving<'p>>, End2> {
        let Some(change) = &plan.key_change else { return Ok(None) };
        let mut rows = captured.iter().zip(computed);
        if rows.clone().all(|(row, computed)| change.keeps(table, &row.row, computed)) {
            return Ok(None);
        }
        let wanted: Option<Vec<_>> = rows.try_fold(Vec::new(), |mut all, (row, computed)| {
            all.push(change.wanted(table, &row.row, computed)?);
            Some(all)
        });
        let Some(wanted) = wanted.map(distinct) else {
            let why = "the statement assigns its key a NULL or a value that is not of the column's type";
            return Err(Stopped::Failure(Failure::table(&plan.entry.name, why)).into());
        };
        let mut occupied = false;
        if !change.plain {
            let there = branch::read_keys(&mut self.backside, table, &wanted).await;
            let ours: BTreeSet<&[u8]> = captured.iter().map(|c| c.key.bytes.as_slice()).collect();
            occupied =
                there.map_err(stopped_by_settle)?.iter().any(|row| !ours.contains(row.key.bytes.as_slice()));
        }
        Ok(Some(Moving { change, wanted, occupied }))
    }

    /// Are there rows already where an INSERT is to put the rows whose keys it computes? Then it should fail.
    pub(super) async fn occupied(&mut self, table: &Table, plan: &Plan, keys: &[Key]) -> Result<bool, End2> {
        if plan.asked.is_empty() {
            return Ok(false);
        }
        let known: Vec<Vec<String>> = keys.iter().filter_map(|key| key.iter().cloned().collect()).collect();
        let there = branch::read_keys(&mut self.backside, table, &distinct(known)).await;
        Ok(!there.map_err(stopped_by_settle)?.is_empty())
    }

    /// The rows of an UPDATE of keys, found again. Any doubt ends the local transaction.
    pub(super) async fn moved(
        &mut self,
        table: &Table,
        moving: Moving<'_>,
        captured: Vec<Captured>,
        computed: &[Computed],
    ) -> Result<Vec<(Captured, Captured)>, End2> {
        let name = table.full_name();
        let expected = captured.len();
        let found = self.found(table, &moving.wanted).await?;
        let doubt = Failure::not_at_its_key(&name, expected, if moving.occupied { 0 } else { found.len() });
        if moving.occupied || found.len() != expected {
            return Err(Stopped::Dead(doubt).into());
        }
        let pairs = moving.change.pair(table, captured, computed, found);
        pairs.ok_or_else(|| Stopped::Dead(doubt).into())
    }

    /// The rows at these keys, each once, after the statement that should have put them there.
    async fn found(&mut self, table: &Table, keys: &[Vec<String>]) -> Result<Vec<Captured>, End2> {
        let found = branch::read_keys(&mut self.backside, table, keys).await.map_err(surely_dead)?;
        let mut seen = BTreeSet::new();
        Ok(found.into_iter().filter(|row| seen.insert(row.key.bytes.clone())).collect())
    }

    /// The rows of an INSERT whose keys it computed: if one was computed wrongly, a later statement must not make it
    /// look right.
    pub(super) async fn inserted_there(
        &mut self,
        table: &Table,
        keys: &[Vec<String>],
        occupied: bool,
    ) -> Result<Vec<Captured>, End2> {
        let found = self.found(table, keys).await?;
        if occupied || found.len() != keys.len() {
            let found = if occupied { 0 } else { found.len() };
            let failure = Failure::not_found_again(&table.full_name(), keys.len(), found);
            return Err(Stopped::Dead(failure).into());
        }
        Ok(found)
    }

    /// The keys of inserted rows with the numbers that the server generated. `step` is their distance.
    pub(super) async fn numbered(
        &mut self,
        table: &Table,
        keys: Vec<Key>,
        ok: &OkPacket,
        step: u64,
    ) -> Result<Vec<Vec<String>>, End2> {
        let (first, count) = (ok.last_insert_id, branch::generated(&keys));
        let doubt = || Stopped::Dead(Failure::numbers_in_doubt(&table.full_name()));
        if !branch::mixes(&keys) {
            let number = |at: u64| first.saturating_add(step.saturating_mul(at)).to_string();
            return branch::numbered(keys, (0..).map(number)).ok_or_else(|| doubt().into());
        }
        // Numbers ascend from the first. If there are as many others from there on as were generated, it is these.
        let column = table.auto_increment.ok_or_else(doubt)?;
        let given: Vec<String> = keys.iter().flatten().flatten().cloned().collect();
        let query = capture::generated_keys(table, column, first, &given, count);
        let numbers: Option<Vec<String>> = match self.backside.ask_one(&query).await? {
            Answer::Rows(rows) if rows.len() == count && first > 0 => rows
                .into_iter()
                .map(|row| table.columns[column].kind.literal(row.first()?.as_deref()?))
                .collect(),
            Answer::Rows(_) | Answer::Ok(..) | Answer::Error(_) | Answer::TooMany => None,
        };
        let keys = branch::numbered(keys, numbers.ok_or_else(doubt)?.into_iter());
        keys.ok_or_else(|| doubt().into())
    }

    /// Must something be read right after the statement? Then what it leaves behind is kept first.
    pub(super) async fn keep_echo(&mut self, needed: bool, ok: &OkPacket) -> Result<Option<Echo>, End2> {
        Ok(if needed {
            Some(Echo::keep(&mut self.backside, ok.affected.cast_signed(), ok.warnings > 0).await?)
        } else {
            None
        })
    }
}

fn distinct(keys: Vec<Vec<String>>) -> Vec<Vec<String>> {
    keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The keys of an INSERT's rows, with what the server was asked for.
pub(super) fn told_keys(plan: &Plan, table: &Table, told: Vec<Answer>) -> Result<Vec<Key>, End2> {
    let refused = |why: &str| Stopped::Failure(Failure::table(&plan.entry.name, why));
    let mut values = Vec::new();
    for answer in told {
        match answer {
            Answer::Rows(rows) => values.extend(rows.into_iter().next().unwrap_or_default()),
            Answer::Error(error) => {
                let why = format!(
                    "the INSERT computes its key in a way that cannot be asked for before ({}); give a plain value",
                    error.message()
                );
                return Err(refused(&why).into());
            }
            Answer::Ok(..) | Answer::TooMany => return Err(refused("its key's value is too large").into()),
        }
    }
    Ok(branch::resolve(plan, table, &values).map_err(|why| refused(&why))?)
}

/// The statement has run: an error after it must not leave its rows behind uncaptured.
fn surely_dead(error: branch::SettleError) -> End2 {
    match stopped_by_settle(error) {
        End2::Stopped(Stopped::Server(error)) => Stopped::Dead(Failure::dead(&error.message())).into(),
        End2::Stopped(Stopped::Failure(failure)) => Stopped::Dead(failure).into(),
        other => other,
    }
}
