//! The end of a guarded local transaction: the keys that are still to be read, the question to the coordinator, the COMMIT.

use super::touched::{Mark, Touched, described};
use crate::{
    backend::Reach,
    branch::{CHECK_LIMIT, Locks},
    session::{Answer, Command, End, Failure, Session},
    wire::{
        capability::{AUTOCOMMIT, IN_TRANS, IN_TRANS_READONLY},
        changes::{self, COMMIT_NAME, STATE_CHANGED},
        reply::OkPacket,
    },
};
use atone_protocol::{
    CallError, Check,
    planted::{Bug, WINDOW, planted},
};
use atone_undo_log::capture::{self, Captured};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What must be free.
#[derive(Debug, Clone, Default)]
pub(in crate::session) struct Wanted {
    pub locks: Locks,
    pub tables: BTreeSet<String>,
    pub everything: bool,
}

impl Wanted {
    /// A row that was written; did it come or go, or may it refer to others than before?
    fn row(&mut self, table: &str, row: &Captured, linked: bool) {
        self.locks.row(table, row);
        if linked {
            self.locks.references(table, row);
        }
    }

    pub fn reach(&mut self, reach: &Reach) {
        match reach {
            Reach::Tables(tables) => self.tables.extend(tables.iter().cloned()),
            Reach::Everything => self.everything = true,
        }
    }

    fn is_empty(&self) -> bool {
        self.locks.is_empty() && self.tables.is_empty() && !self.everything
    }
}

impl Session {
    /// Waits until nobody holds a global lock on what was written. Err: the local transaction must end.
    pub(in crate::session) async fn check(&mut self, touched: &Touched) -> Result<Result<(), Failure>, End> {
        let wanted = match self.wanted(touched).await? {
            Ok(wanted) => wanted,
            Err(failure) => return Ok(Err(failure)),
        };
        if planted(Bug::CheckBeforeRowLock) {
            return Ok(Ok(()));
        }
        let wait = self.lock_wait();
        Ok(self.await_free(wanted, wait).await)
    }

    /// A planted bug: what is asked before the statement runs, when its rows are not known yet.
    pub(super) async fn check_early(&mut self, table: &str) -> Result<(), Failure> {
        let wanted = Wanted { tables: BTreeSet::from([table.to_owned()]), ..Wanted::default() };
        let wait = self.lock_wait();
        self.await_free(wanted, wait).await?;
        tokio::time::sleep(WINDOW).await;
        Ok(())
    }

    /// Waits until all of this is free.
    pub(in crate::session) async fn await_free(
        &mut self,
        wanted: Wanted,
        wait: Duration,
    ) -> Result<(), Failure> {
        let checked = self.ask_free(wanted, wait).await?;
        checked.map_err(|error| self.not_free(&error))
    }

    /// What the client is told when the coordinator did not say that all is free.
    pub(in crate::session) fn not_free(&self, error: &CallError) -> Failure {
        match self.membership.xid() {
            Some(xid) => Failure::call(xid, error),
            None => Failure::guarded(error),
        }
    }

    /// The same, and what the coordinator said.
    pub(in crate::session) async fn ask_free(
        &mut self,
        mut wanted: Wanted,
        wait: Duration,
    ) -> Result<Result<(), CallError>, Failure> {
        if wanted.is_empty() {
            return Ok(Ok(()));
        }
        if wanted.locks.alone.len() + wanted.locks.shared.len() > CHECK_LIMIT {
            let Locks { alone, shared } = std::mem::take(&mut wanted.locks);
            wanted.tables.extend(alone.into_iter().chain(shared).map(|key| key.table));
        }
        let check = Check {
            xid: self.membership.xid(),
            resource: self.resource.backend.name().to_owned(),
            keys: wanted.locks.alone.into_iter().collect(),
            shared: wanted.locks.shared.into_iter().collect(),
            tables: wanted.tables.into_iter().collect(),
            everything: wanted.everything,
            wait,
            session: self.number,
        };
        let coordinator = self.resource.coordinator.clone();
        tokio::select! {
            checked = coordinator.check(check) => Ok(checked),
            () = self.client.gone() => Err(Failure::dead("its client has gone")),
        }
    }

    /// The keys; those that statements gave to rows are read now, of rows that they hold locked.
    async fn wanted(&mut self, touched: &Touched) -> Result<Result<Wanted, Failure>, End> {
        let mut wanted = Wanted::default();
        let mut queries: Vec<String> = Vec::new();
        let mut asked = Vec::new();
        for mark in touched.marks() {
            let (entry, more, expected) = match mark {
                Mark::Reach(reach) => {
                    wanted.reach(reach);
                    continue;
                }
                Mark::Keys(locks) => {
                    wanted.locks.extend(locks);
                    continue;
                }
                Mark::Rows { entry, rows, linked, again } => {
                    // Of those that are read again it is seen what they refer to now.
                    let gone = *linked && !*again;
                    rows.iter().for_each(|row| wanted.row(&entry.name, row, gone));
                    let (true, Some(table)) = (*again, described(entry)) else { continue };
                    let keys = capture::keys_of(table, rows);
                    let before: &[Captured] = if *linked { rows } else { &[] };
                    (entry, capture::image_of_rows(table, &keys), (0, *linked, before))
                }
                Mark::Inserted(entry, keys) => {
                    let Some(table) = described(entry) else { continue };
                    (entry, Some(capture::image_of_inserts(table, keys)), (keys.len(), true, &[][..]))
                }
            };
            // Where they cannot be asked for, all of the table is.
            match more {
                Some(more) if !wanted.tables.contains(&entry.name) => {
                    asked.push((entry, more.len(), expected));
                    queries.extend(more);
                }
                _ => {
                    wanted.tables.insert(entry.name.clone());
                }
            }
        }
        if queries.is_empty() {
            return Ok(Ok(wanted));
        }
        let mut answers = self.backside.ask(&queries).await?.into_iter();
        for (entry, count, (expected, linked, before)) in asked {
            let mut before: BTreeMap<&[u8], &Captured> =
                before.iter().map(|row| (row.key.bytes.as_slice(), row)).collect();
            let mut found = 0;
            for answer in answers.by_ref().take(count) {
                let rows = match answer {
                    Answer::Rows(rows) => rows,
                    Answer::Error(error) => {
                        return Ok(Err(Failure::database(
                            error.code,
                            &format!("the local transaction was rolled back: {}", error.message()),
                        )));
                    }
                    Answer::Ok(..) | Answer::TooMany => continue,
                };
                for row in rows {
                    let Some(row) = described(entry).and_then(|table| capture::decode(table, row)) else {
                        continue;
                    };
                    let was = before.remove(row.key.bytes.as_slice());
                    wanted.row(&entry.name, &row, false);
                    if linked {
                        wanted.locks.changed(&entry.name, was, Some(&row));
                    }
                    found += 1;
                }
            }
            before.values().for_each(|was| wanted.locks.references(&entry.name, was));
            // Stored in another way than it was given, or gone since: which rows these were is not known.
            if found < expected {
                wanted.tables.insert(entry.name.clone());
            }
        }
        Ok(Ok(wanted))
    }

    /// Reads all keys now. What cannot be read is asked for as a whole.
    pub(super) async fn resolve_keys(&mut self) -> Result<(), End> {
        let touched = std::mem::take(&mut self.touched);
        let wanted =
            self.wanted(&touched).await?.unwrap_or_else(|_| Wanted { everything: true, ..Wanted::default() });
        let reach = match wanted.everything {
            true => Reach::Everything,
            false => Reach::Tables(wanted.tables),
        };
        if !touched.is_clear() {
            self.touched.replace(vec![Mark::Keys(wanted.locks), Mark::Reach(reach)]);
        }
        Ok(())
    }

    /// A statement that commits what is open, or may. After `chain` nothing of it is left, even if another one is open.
    pub(super) async fn commits(
        &mut self,
        command: Command,
        chain: bool,
        xa: Option<String>,
    ) -> Result<(), End> {
        self.last_relayed = false;
        let touched = std::mem::take(&mut self.touched);
        if let Err(failure) = self.check(&touched).await? {
            match &xa {
                None => self.roll_back_locally().await?,
                Some(name) => {
                    if let Answer::Ok(ok, _) = self.backside.ask_one(&format!("XA ROLLBACK {name}")).await? {
                        self.status = ok.status;
                    }
                }
            }
            return self.fail(&failure).await;
        }
        let done = self.relay_free(command).await?;
        if !(chain && done) && xa.is_none() && self.status & IN_TRANS != 0 {
            self.touched = touched;
        }
        Ok(())
    }

    /// A statement that stood alone is committed if it may be; what the client is told of it then.
    pub(super) async fn commit_alone(
        &mut self,
        touched: &Touched,
        told: Option<(&OkPacket, &Bytes)>,
    ) -> Result<Result<Vec<u8>, Vec<u8>>, End> {
        if let Err(failure) = self.check(touched).await? {
            self.roll_back_locally().await?;
            return Ok(Err(failure.payload()));
        }
        Ok(match self.backside.ask_one("COMMIT AND NO CHAIN NO RELEASE").await? {
            Answer::Ok(commit, payload) => {
                self.status = outside(commit.status);
                Ok(told.map_or_else(Vec::new, |(ok, own)| combined(ok, own, Some(&payload))))
            }
            Answer::Error(error) => {
                self.roll_back_locally().await?;
                Err(error.payload.to_vec())
            }
            Answer::Rows(_) | Answer::TooMany => return Err(End::Done),
        })
    }
}

/// The status of a statement that our COMMIT followed.
pub(in crate::session) fn outside(status: u16) -> u16 {
    (status | AUTOCOMMIT) & !(IN_TRANS | IN_TRANS_READONLY | STATE_CHANGED)
}

/// The statement's own OK, as if it had committed by itself: the name that the COMMIT got goes with it.
pub(in crate::session) fn combined(ok: &OkPacket, own: &[u8], commit: Option<&[u8]>) -> Vec<u8> {
    let named = |payload: &[u8]| OkPacket::read(payload).map(|ok| changes::of(payload, &ok));
    let mut names = commit.and_then(named).unwrap_or_default();
    names.retain(|(kind, _)| *kind == COMMIT_NAME);
    changes::replaced(own, &OkPacket { status: outside(ok.status), ..ok.clone() }, &names)
}
