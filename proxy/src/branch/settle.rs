//! The local commit of a branch, in the order that must hold: after images, Register applied, undo record in the
//! same local transaction, COMMIT, hint. The first two run side by side where every lock key is known before.

use super::{captured::Branch, images::AfterImages, locks::Locks, recording::record};
use crate::{
    backend::{Backend, BackendError},
    phase_two::{Probe, resolve},
    session::ServerError,
};
use atone_protocol::{BranchId, CallError, Client, Register, Xid, failpoint};
use atone_undo_log::{capture::Row, record::UndoRecord};
use bytes::Bytes;
use std::{
    io,
    pin::pin,
    time::{Duration, Instant},
};

/// How long a lost COMMIT is looked for before the client is told that it is in doubt.
const IN_DOUBT_LIMIT: Duration = Duration::from_secs(10);
/// A part of an undo record is never larger.
const PART_LIMIT: usize = 4 << 20;
/// The parts of one undo record.
const PARTS_LIMIT: usize = u16::MAX as usize;
/// Keys that the coordinator looks at in one check.
pub const CHECK_LIMIT: usize = 100_000;

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
    /// Rows of this table were changed in a way that cannot be captured, and why.
    Unsupported(String, String),
    /// The same, and nothing was asked of the local transaction yet that could have failed.
    Unsearchable(String, String),
    /// The catalogue could not be asked.
    Backend(BackendError),
    /// The connection, or the client, was lost before COMMIT was sent.
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

/// The application's local transaction, as its settlement needs it: what differs from database to database.
pub trait Local {
    /// Do the changes alone tell which locks to take, before any image is read?
    fn keys_are_known(&self, branch: &Branch) -> bool;

    /// Reads what the undo record needs: afterwards the changes tell how each row was before, and the images how it is.
    fn images(
        &mut self,
        branch: &mut Branch,
    ) -> impl Future<Output = Result<AfterImages, SettleError>> + Send;

    /// Bytes of a row that the undo could still write back in one statement.
    fn row_limit(&self) -> usize;

    /// Bytes of an undo record that fit into one row of the undo table.
    fn part_limit(&self) -> usize;

    /// Inserts the undo record and commits; if an insert fails the commit is not run. An error means that the
    /// connection was lost on the way.
    fn commit(&mut self, undo: &UndoRows<'_>) -> impl Future<Output = io::Result<Committing>> + Send;

    /// Waits until the application is gone.
    fn client_gone(&mut self) -> impl Future<Output = ()> + Send;

    /// Rolls back, if the connection still stands.
    fn undo_locally(&mut self) -> impl Future<Output = ()> + Send;
}

/// An undo record on its way into the undo table. The first part is the one a guard competes for: it goes last, together
/// with the commit.
pub struct UndoRows<'a> {
    /// The global transaction.
    pub xid: Xid,
    /// The branch.
    pub branch: BranchId,
    /// The record, cut.
    pub parts: Vec<&'a [u8]>,
}

/// What came of inserting and committing.
#[derive(Debug)]
pub enum Committing {
    /// Committed; the server's answer.
    Done(Bytes),
    /// Committed, but perhaps not for good: a synchronous replica was not waited for.
    Unsure(Bytes),
    /// Surely not committed.
    Refused(ServerError),
    /// The connection was lost before the commit was sent.
    LostBefore,
    /// Only the undo table can tell.
    Doubt,
}

/// Everything a local commit needs.
pub struct Settler<'a, L> {
    /// The application's local transaction.
    pub local: &'a mut L,
    /// The proxy's own side of the database.
    pub backend: &'a Backend,
    /// The coordinator.
    pub coordinator: &'a Client,
    /// The server that the application is connected to.
    pub primary: &'a str,
    /// The global transaction.
    pub xid: Xid,
    /// How long to queue for locks.
    pub lock_wait: Duration,
    /// The database's number of the application's connection.
    pub session: u64,
}

impl<L: Local> Settler<'_, L> {
    /// Settles the branch. After an error the local transaction is rolled back, unless the connection was lost.
    pub async fn settle(&mut self, mut branch: Branch) -> Result<Settlement, SettleError> {
        if *self.backend.sight().primary != *self.primary {
            self.local.undo_locally().await;
            return Err(SettleError::Elsewhere);
        }
        let id = branch.id;
        let mut registered = false;
        match self.prepare(&mut branch, &mut registered).await {
            Ok(record) => self.commit(id, &record).await,
            Err(error) => {
                self.local.undo_locally().await;
                if registered {
                    self.report_failed(id);
                }
                Err(error)
            }
        }
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

    /// Images and Register; at the same time where the keys are known before.
    async fn prepare(
        &mut self,
        branch: &mut Branch,
        registered: &mut bool,
    ) -> Result<UndoRecord, SettleError> {
        let early = self.local.keys_are_known(branch);
        let read = if early { None } else { Some(self.local.images(branch).await?) };
        let locks = Locks::of(branch, read.as_ref());
        failpoint::reach("proxy.before_register").await;
        *registered = true;
        let tables = branch.tables.clone();
        let mut register = pin!(self.coordinator.register(self.request(branch.id, locks)));
        let same = self.backend.changed(&tables);
        let images = async {
            match read {
                Some(read) => Ok(read),
                None => self.local.images(branch).await,
            }
        };
        let mut answered = None;
        let (after, same) = {
            let mut looks = pin!(async { tokio::join!(images, same) });
            loop {
                tokio::select! {
                    answer = &mut register, if answered.is_none() => answered = Some(answer),
                    looks = &mut looks => break looks,
                }
            }
        };
        let answer = match answered {
            Some(answer) => answer,
            // It waits for locks. A client that goes leaves the queue.
            None => tokio::select! {
                answer = &mut register => answer,
                () = self.local.client_gone() => return Err(SettleError::Lost),
            },
        };
        answer.map_err(|e| refused(e, registered))?;
        failpoint::reach("proxy.after_register").await;
        unchanged(same)?;
        record(branch, &after?)
    }

    fn request(&self, branch: BranchId, locks: Locks) -> Register {
        Register {
            xid: self.xid,
            branch,
            resource: self.backend.name().to_owned(),
            lineage: Some(self.backend.lineage()),
            keys: locks.alone.into_iter().collect(),
            shared: locks.shared.into_iter().collect(),
            wait: self.lock_wait,
            session: self.session,
        }
    }

    async fn commit(&mut self, id: BranchId, record: &UndoRecord) -> Result<Settlement, SettleError> {
        let largest =
            record.changes.iter().filter_map(|c| c.before.as_ref()).map(Row::size).max().unwrap_or(0);
        let bytes = record.encode();
        let parts: Vec<&[u8]> = bytes.chunks(self.local.part_limit().clamp(1024, PART_LIMIT)).collect();
        if largest > self.local.row_limit() || parts.len() > PARTS_LIMIT {
            self.local.undo_locally().await;
            self.report_failed(id);
            return Err(SettleError::TooLarge);
        }
        failpoint::reach("proxy.before_local_commit").await;
        let committing = self.local.commit(&UndoRows { xid: self.xid, branch: id, parts }).await;
        failpoint::reach("proxy.after_local_commit").await;
        match committing {
            Ok(Committing::Done(answer)) => {
                self.hint(id, self.primary);
                Ok(Settlement::Committed(answer))
            }
            Ok(Committing::Unsure(answer)) => Ok(Settlement::Committed(answer)),
            Ok(Committing::Refused(error)) => {
                self.local.undo_locally().await;
                self.report_failed(id);
                Err(SettleError::Database(error))
            }
            Ok(Committing::LostBefore) => {
                self.report_failed(id);
                Err(SettleError::Lost)
            }
            Ok(Committing::Doubt) | Err(_) => self.find_out(id).await,
        }
    }

    /// True of the server that acknowledged the COMMIT, and of no other.
    fn hint(&self, id: BranchId, primary: &str) {
        self.coordinator.settled(self.xid, id, self.backend.name(), primary);
    }

    /// COMMIT was sent and its answer lost: only the guard insert can tell, and it decides if nothing else has.
    async fn find_out(&mut self, id: BranchId) -> Result<Settlement, SettleError> {
        let (xid, asked) = (self.xid, Instant::now());
        tracing::warn!(%xid, branch = %id, resource = self.backend.name(), "the answer to a local COMMIT was lost; finding out");
        while asked.elapsed() < IN_DOUBT_LIMIT {
            // It may have been a failover, after which the old server must not be asked, even if it answers.
            let resolved = async {
                let sight = self.backend.look().await?;
                self.coordinator.sees(self.backend.name(), &sight.primary);
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
