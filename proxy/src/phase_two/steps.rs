//! The steps of an undo, in an order that keys let pass.

use super::restore::{Stop, Undo};
use crate::backend::{Entry, Reference};
use atone_undo_log::{
    capture::{Row, Table},
    record::UndoRecord,
    reverse::{Step, first_images},
};
use std::{collections::BTreeSet, sync::Arc};

/// How steps are taken: from the second on only where nothing else goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// As the server likes.
    Plain,
    /// A cascade may change rows of the record: they are restored after that.
    OwnMayChange,
    /// Rows that point at each other in a circle: foreign keys are checked when all is restored.
    Quiet,
}

impl Undo<'_> {
    /// Takes the steps in order. One that foreign or unique keys do not let pass yet, or that would change rows that point
    /// at its own, waits, with the later ones of its rows, for the others. When a round brings nothing the next is taken
    /// otherwise, and at last the undo is refused.
    pub(super) async fn take(
        &mut self,
        record: &UndoRecord,
        entries: &[Arc<Entry>],
        steps: &[Step<'_>],
    ) -> Result<(), Stop> {
        let mut pending: Vec<&Step<'_>> = steps.iter().collect();
        let mut how = How::Plain;
        while !pending.is_empty() {
            let (mut later, mut waiting, mut refusal) = (Vec::new(), BTreeSet::<usize>::new(), None);
            for step in &pending {
                if step.rows.iter().any(|row| waiting.contains(row)) {
                    waiting.extend(&step.rows);
                    later.push(*step);
                    continue;
                }
                let why = match self.cascade(record, entries, step, how).await? {
                    Some(why) => Some(Stop::Blocked(why)),
                    None => self.step(record, entries, step, how).await?,
                };
                let Some(why) = why else { continue };
                waiting.extend(&step.rows);
                later.push(*step);
                // What would change rows of others says more than the order of steps.
                if refusal.is_none() || matches!(why, Stop::Blocked(_)) {
                    refusal = Some(why);
                }
            }
            match refusal {
                Some(why) if later.len() == pending.len() => {
                    let quiet = later.iter().any(|step| entry_of(record, entries, step).1.quiet.is_some());
                    how = match (how, &why) {
                        (How::Plain, Stop::Blocked(_)) => How::OwnMayChange,
                        (How::Plain | How::OwnMayChange, _) if quiet => How::Quiet,
                        _ => return Err(why),
                    };
                }
                _ => how = How::Plain,
            }
            pending = later;
        }
        Ok(())
    }

    /// Takes a step; or says why it must wait.
    async fn step(
        &mut self,
        record: &UndoRecord,
        entries: &[Arc<Entry>],
        step: &Step<'_>,
        how: How,
    ) -> Result<Option<Stop>, Stop> {
        let (at, entry) = entry_of(record, entries, step);
        let quiet = entry.quiet.is_some() && (entry.fires || how == How::Quiet);
        match self.tx.take(step, quiet).await {
            Ok(()) => {
                if quiet {
                    self.unchecked.insert(at);
                }
                Ok(None)
            }
            Err(error) if error.may_pass_later() => {
                // InnoDB keeps a row that points at itself.
                let gone = self.tx.delete_pointing_at_itself(entry, step).await?;
                Ok((!gone).then_some(Stop::Failed(error)))
            }
            Err(error) => Err(Stop::Failed(error)),
        }
    }

    /// Deleting or moving a row that others have come to point at would delete or change theirs; says so. Where our own rows
    /// may change, only others count, if it is a move.
    async fn cascade(
        &mut self,
        record: &UndoRecord,
        entries: &[Arc<Entry>],
        step: &Step<'_>,
        how: How,
    ) -> Result<Option<String>, Stop> {
        let Some(touched) = step.rows.last().and_then(|row| record.rows.get(*row)) else { return Ok(None) };
        let entry = &entries[touched.table as usize];
        let (Some(from), Ok(table)) = (step.from, &entry.table) else { return Ok(None) };
        let differs =
            |to: &Row, column: &String| table.column(column).is_some_and(|at| from.0.get(at) != to.0.get(at));
        let fires = |r: &&Reference| match step.to {
            None => r.on_delete,
            Some(to) => r.on_update && r.columns.iter().any(|(_, mine)| differs(to, mine)),
        };
        for reference in entry.cascades.iter().filter(fires) {
            if !self.tx.has_child(entry, reference, from).await? {
                continue;
            }
            let child = |entry: &&Arc<Entry>| {
                let named = |t: &Table| (&t.schema, &t.name) == (&reference.child.0, &reference.child.1);
                entry.table.as_ref().is_ok_and(named)
            };
            if let (true, Some(at)) =
                (how != How::Plain && step.to.is_some(), entries.iter().position(|e| child(&e)))
            {
                let own = record.rows.iter().filter(|row| row.table as usize == at);
                let own: BTreeSet<&[u8]> = own.map(|row| &*row.canonical).collect();
                let children = self.tx.children(entry, reference, from, &entries[at]).await?;
                if children.is_some_and(|children| children.iter().all(|c| own.contains(&*c.key.bytes))) {
                    continue;
                }
            }
            return Ok(Some(format!(
                "{} row {} is to be deleted or changed, but rows of {}.{} have come to point at it",
                table.full_name(),
                touched.shown,
                reference.child.0,
                reference.child.1
            )));
        }
        Ok(None)
    }

    /// Where triggers kept still the server has not checked foreign keys either.
    pub(super) async fn check_references(
        &mut self,
        record: &UndoRecord,
        entries: &[Arc<Entry>],
    ) -> Result<(), Stop> {
        for (touched, first) in record.rows.iter().zip(first_images(record)) {
            let entry = &entries[touched.table as usize];
            let (Some(keys), Ok(table)) = (&entry.quiet, &entry.table) else { continue };
            if !self.unchecked.contains(&(touched.table as usize)) {
                continue;
            }
            let row = format!("{} row {}", table.full_name(), touched.shown);
            if let Some(first) = first
                && let Some(parent) = self.tx.missing_parent(entry, first).await?
            {
                return Err(Stop::Blocked(format!("{row} would point at a row of {parent} that is gone")));
            }
            let Some(after) = &touched.after else { continue };
            let value =
                |row: &Row, column: &String| table.column(column).and_then(|at| row.0.get(at).cloned());
            for reference in &keys.children {
                let stays = |(_, mine): &(String, String)| {
                    first.is_some_and(|first| value(first, mine) == value(after, mine))
                };
                if !reference.columns.iter().all(stays) && self.tx.has_child(entry, reference, after).await? {
                    let (schema, name) = &reference.child;
                    return Err(Stop::Blocked(format!(
                        "rows of {schema}.{name} have come to point at {row}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The table that a step writes, and its place in the record.
fn entry_of<'e>(record: &UndoRecord, entries: &'e [Arc<Entry>], step: &Step<'_>) -> (usize, &'e Entry) {
    let row = step.rows.last().and_then(|row| record.rows.get(*row));
    let at = row.map_or(0, |row| row.table as usize);
    (at, &entries[at])
}
