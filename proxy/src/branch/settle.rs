//! The local commit of a branch, in the order that must hold: after images, Register applied, undo record in the
//! same local transaction, COMMIT, hint. The first two run side by side where every lock key is known before.

use super::{
    captured::{Branch, Change},
    images::{AfterImages, after_images, read_inserts},
    recording::record,
};
use crate::{
    backend::{Backend, BackendError, UNDO_LOG},
    phase_two::{Probe, resolve},
    session::{Answer, Backside, ServerError},
};
use atone_protocol::{BranchId, CallError, Client, LockKey, Register, Xid, failpoint};
use atone_undo_log::{
    capture::{Canonical, Captured, Row},
    record::UndoRecord,
    sql::hex,
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::{Duration, Instant},
};

/// How long a lost COMMIT is looked for before the client is told that it is in doubt.
const IN_DOUBT_LIMIT: Duration = Duration::from_secs(10);
/// A part of an undo record is never larger.
const PART_LIMIT: usize = 4 << 20;
/// What a reverse statement needs besides the values: names, at most.
const UNDO_OVERHEAD: usize = 256 << 10;
/// Canonical keys longer than this are locked by their hash.
const KEY_LIMIT: usize = 256;

/// How it went well.
#[derive(Debug)]
pub enum Settlement {
    /// Committed; the server's answer to the commit.
    Committed(Bytes),
    /// Committed, but the connection was lost before the answer came.
    CommittedUnheard,
}

/// How it did not.
#[derive(Debug)]
pub enum SettleError {
    /// The coordinator refused, or could not be asked.
    Call(Box<CallError>),
    /// The database refused something; it was rolled back.
    Database(ServerError),
    /// Inserted rows were not found again.
    NotFound(String, usize, usize),
    /// More than one branch may hold, or than one reverse statement may carry.
    TooLarge,
    /// A table got a trigger or a foreign key after it was planned for.
    Changed(String),
    /// The catalogue could not be asked.
    Backend(BackendError),
    /// The connection was lost before COMMIT was sent.
    Lost,
    /// The connection was lost and the branch surely did not commit.
    LostUncommitted,
    /// The connection was lost while committing; it is not known yet what happened.
    InDoubt,
    /// The application's connection is to a server that is not the primary any more; it was rolled back.
    Elsewhere,
    /// The proxy misunderstood something; it was rolled back.
    Malformed(&'static str),
}

impl From<io::Error> for SettleError {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

/// Everything a local commit needs.
pub struct Settler<'a> {
    /// The application's database connection.
    pub backside: &'a mut Backside,
    /// The proxy's own.
    pub backend: &'a Backend,
    /// The coordinator.
    pub coordinator: &'a Client,
    /// The server that it is connected to.
    pub primary: &'a str,
    /// The global transaction.
    pub xid: Xid,
    /// How long to queue for locks.
    pub lock_wait: Duration,
    /// The largest query the server takes.
    pub max_allowed_packet: usize,
}

impl Settler<'_> {
    /// Settles the branch; `commit` is the statement that commits locally. After an error the local transaction is
    /// rolled back, unless the connection was lost.
    pub async fn settle(&mut self, mut branch: Branch, commit: &str) -> Result<Settlement, SettleError> {
        if *self.backend.sight().primary != *self.primary {
            self.undo_locally().await;
            return Err(SettleError::Elsewhere);
        }
        let id = branch.id;
        let mut registered = false;
        let prepared = self.prepare(&mut branch, &mut registered).await;
        match prepared {
            Ok(record) => self.commit(id, &record, commit).await,
            Err(error) => {
                self.undo_locally().await;
                if registered {
                    self.report_failed(id);
                }
                Err(error)
            }
        }
    }

    async fn undo_locally(&mut self) {
        // If the connection is lost the server rolls back by itself.
        let _ = self.backside.ask_one("ROLLBACK AND NO CHAIN NO RELEASE").await;
    }

    /// In the background: if it is not heard, the guard insert decides the branch.
    fn report_failed(&self, id: BranchId) {
        let (coordinator, xid) = (self.coordinator.clone(), self.xid);
        crate::tasks::spawn("report a failed branch", async move {
            if let Err(error) = coordinator.failed(xid, id).await {
                tracing::debug!(%xid, branch = %id, %error, "a failed branch could not be reported");
            }
        });
    }

    /// After images and Register; at the same time where the keys are known before.
    async fn prepare(
        &mut self,
        branch: &mut Branch,
        registered: &mut bool,
    ) -> Result<UndoRecord, SettleError> {
        let keys_known = branch.unread(None).is_empty()
            && (0..branch.tables.len()).all(|t| branch.description(t).is_some_and(|t| t.uniques.is_empty()));
        if keys_known {
            let keys = self.keys(branch, &BTreeMap::new());
            failpoint::reach("proxy.before_register").await;
            *registered = true;
            let register = self.coordinator.register(self.request(branch.id, keys));
            let same = self.backend.changed(&branch.tables);
            let (answer, after, same) =
                tokio::join!(register, after_images(self.backside, branch, AfterImages::new()), same);
            answer.map_err(|e| refused(e, registered))?;
            failpoint::reach("proxy.after_register").await;
            unchanged(same)?;
            return record(branch, &after?);
        }
        let fresh = read_inserts(self.backside, branch, None).await?;
        let after = after_images(self.backside, branch, fresh).await?;
        let keys = self.keys(branch, &after);
        failpoint::reach("proxy.before_register").await;
        *registered = true;
        let register = self.coordinator.register(self.request(branch.id, keys));
        let (answer, same) = tokio::join!(register, self.backend.changed(&branch.tables));
        answer.map_err(|e| refused(e, registered))?;
        failpoint::reach("proxy.after_register").await;
        unchanged(same)?;
        record(branch, &after)
    }

    fn request(&self, branch: BranchId, keys: Vec<LockKey>) -> Register {
        Register { xid: self.xid, branch, resource: self.backend.name.clone(), keys, wait: self.lock_wait }
    }

    /// The locks: keys of rows, and values of unique keys before and after.
    fn keys(&self, branch: &Branch, after: &AfterImages) -> Vec<LockKey> {
        let mut keys = BTreeSet::new();
        let mut add = |table: usize, row: &Captured| {
            let name = branch.tables[table].name.clone();
            for key in std::iter::once(&row.key).chain(&row.uniques) {
                keys.insert(lock_key(&name, key));
            }
        };
        for change in &branch.changes {
            match change {
                Change::Updated(table, row) | Change::Deleted(table, row) => add(*table, row),
                Change::Moved(table, from, to) => {
                    add(*table, from);
                    add(*table, to);
                }
                Change::Resolved(table, rows) => rows.iter().for_each(|row| add(*table, row)),
                Change::Inserted(..) => {}
            }
        }
        after.iter().for_each(|((table, _), row)| add(*table, row));
        keys.into_iter().collect()
    }

    async fn commit(
        &mut self,
        id: BranchId,
        record: &UndoRecord,
        commit: &str,
    ) -> Result<Settlement, SettleError> {
        // The undo writes a row back in one statement, its bytes in hexadecimal.
        let largest =
            record.changes.iter().filter_map(|c| c.before.as_ref()).map(Row::size).max().unwrap_or(0);
        if largest.saturating_mul(2).saturating_add(UNDO_OVERHEAD) > self.max_allowed_packet {
            self.undo_locally().await;
            self.report_failed(id);
            return Err(SettleError::TooLarge);
        }
        let bytes = record.encode();
        let largest = (self.max_allowed_packet.saturating_sub(4096) / 2).clamp(1024, PART_LIMIT);
        let parts: Vec<&[u8]> = bytes.chunks(largest).collect();
        if parts.len() > usize::from(u16::MAX) {
            self.undo_locally().await;
            self.report_failed(id);
            return Err(SettleError::TooLarge);
        }
        let insert = |(at, part): (usize, &&[u8])| {
            format!(
                "INSERT INTO {UNDO_LOG} (xid, branch_id, part, parts, status, record) VALUES ('{}', {}, {at}, {}, 'NORMAL', {})",
                self.xid,
                id.as_u64(),
                parts.len(),
                hex(part)
            )
        };
        let mut inserts: Vec<String> = parts.iter().enumerate().map(insert).collect();
        // The first part is the one a guard competes for: it goes last, together with the commit.
        let first = inserts.remove(0);
        failpoint::reach("proxy.before_local_commit").await;
        for rest in inserts {
            match self.backside.ask_one(&rest).await {
                Ok(Answer::Ok(..)) => {}
                Ok(Answer::Error(error)) => return Err(self.refused_by_database(id, error).await),
                Ok(Answer::Rows(_) | Answer::TooMany) => return Err(self.refused_by_nobody(id).await),
                Err(_) => {
                    self.report_failed(id);
                    return Err(SettleError::Lost);
                }
            }
        }
        let together = format!("{first}; {commit}");
        let answers = self.backside.run_together(&together).await;
        failpoint::reach("proxy.after_local_commit").await;
        match answers.as_deref() {
            // The insert failed, so that the commit was not run.
            Ok([Answer::Error(error)]) => {
                let error = error.clone();
                Err(self.refused_by_database(id, error).await)
            }
            Ok([Answer::Ok(..), Answer::Ok(_, payload)]) => {
                self.hint(id, self.primary);
                Ok(Settlement::Committed(payload.clone()))
            }
            // An error as the answer to COMMIT is rare and says little: the database itself is asked.
            Ok([Answer::Ok(..), Answer::Error(_)]) => {
                self.undo_locally().await;
                self.find_out(id).await
            }
            Ok(_) | Err(_) => self.find_out(id).await,
        }
    }

    /// True of the server that acknowledged the COMMIT, and of no other.
    fn hint(&self, id: BranchId, primary: &str) {
        self.coordinator.settled(self.xid, id, &self.backend.name, primary);
    }

    async fn refused_by_database(&mut self, id: BranchId, error: ServerError) -> SettleError {
        self.undo_locally().await;
        self.report_failed(id);
        SettleError::Database(error)
    }

    async fn refused_by_nobody(&mut self, id: BranchId) -> SettleError {
        self.undo_locally().await;
        self.report_failed(id);
        SettleError::Malformed("the server answered an INSERT with rows")
    }

    /// COMMIT was sent and its answer lost: only the guard insert can tell, and it decides if nothing else has.
    async fn find_out(&mut self, id: BranchId) -> Result<Settlement, SettleError> {
        let (xid, asked) = (self.xid, Instant::now());
        tracing::warn!(%xid, branch = %id, resource = %self.backend.name, "the answer to a local COMMIT was lost; finding out");
        while asked.elapsed() < IN_DOUBT_LIMIT {
            // It may have been a failover, after which the old server must not be asked, even if it answers.
            let resolved = async {
                let sight = self.backend.look().await?;
                self.coordinator.sees(&self.backend.name, &sight.primary);
                resolve(self.backend, xid, id).await
            };
            match tokio::time::timeout(IN_DOUBT_LIMIT, resolved).await {
                Ok(Ok((Probe::Committed, primary))) => {
                    self.hint(id, &primary);
                    return Ok(Settlement::CommittedUnheard);
                }
                Ok(Ok((Probe::Guarded | Probe::Undone, primary))) => {
                    // On another server than it ran on it is only lost: the coordinator asks there once more.
                    if *primary == *self.primary {
                        self.report_failed(id);
                    }
                    return Err(SettleError::LostUncommitted);
                }
                Ok(Err(error)) => {
                    tracing::debug!(%xid, branch = %id, %error, "still finding out");
                    tokio::time::sleep(crate::phase_two::PAUSE).await;
                }
                Err(_) => break,
            }
        }
        Err(SettleError::InDoubt)
    }
}

fn unchanged(found: Result<Option<String>, BackendError>) -> Result<(), SettleError> {
    match found {
        Ok(None) => Ok(()),
        Ok(Some(table)) => Err(SettleError::Changed(table)),
        Err(error) => Err(SettleError::Backend(error)),
    }
}

/// A refusal is an answer: nothing was registered. Otherwise it may have been.
fn refused(error: CallError, registered: &mut bool) -> SettleError {
    *registered = matches!(error, CallError::Unavailable(_));
    SettleError::Call(Box::new(error))
}

fn lock_key(table: &str, key: &Canonical) -> LockKey {
    let mut bytes = key.bytes.clone();
    if bytes.len() > KEY_LIMIT {
        use sha2::Digest;
        bytes = sha2::Sha256::digest(&bytes).to_vec();
    }
    LockKey { table: table.to_owned(), index: key.index.clone(), key: bytes, shown: key.shown.clone() }
}
