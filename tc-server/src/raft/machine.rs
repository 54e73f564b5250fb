//! openraft's view of the state: it applies commands, and makes and installs snapshots.

use super::snapshot::{self, Image};
use super::{Applied, TypeConfig};
use crate::state::State;
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot,
    SnapshotMeta, StorageError, StorageIOError, StoredMembership,
};
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

type Result<T, E = StorageError<u64>> = std::result::Result<T, E>;
type Membership = StoredMembership<u64, BasicNode>;

/// Holds the state; readers share it through the lock.
pub(super) struct Machine {
    state: Arc<RwLock<State>>,
    applied: Option<LogId<u64>>,
    membership: Membership,
    directory: PathBuf,
}

/// A snapshot to be: the state as it was when the builder was made.
pub(super) struct Builder {
    image: Image,
    directory: PathBuf,
}

fn failed(error: impl std::error::Error + 'static) -> StorageError<u64> {
    StorageError::IO { source: StorageIOError::write_snapshot(None, AnyError::new(&error)) }
}

impl Machine {
    /// Begins with `image`, or with nothing.
    pub(super) fn new(image: Option<Image>, directory: PathBuf) -> (Self, Arc<RwLock<State>>) {
        let (meta, state) = image.map(|image| (image.meta, image.state)).unwrap_or_default();
        let state = Arc::new(RwLock::new(state));
        let (applied, membership) = (meta.last_log_id, meta.last_membership);
        (Self { state: Arc::clone(&state), applied, membership, directory }, state)
    }

    fn image(&self) -> Image {
        let id =
            self.applied.map_or_else(|| "empty".to_owned(), |id| format!("{}-{}", id.leader_id, id.index));
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id: id,
        };
        Image { meta, state: self.state.read().unwrap_or_else(PoisonError::into_inner).image() }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, Membership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut replies = Vec::new();
        for entry in entries {
            self.applied = Some(entry.log_id);
            replies.push(match entry.payload {
                EntryPayload::Blank => Applied::default(),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Applied::default()
                }
                EntryPayload::Normal(command) => {
                    let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                    Applied(command.entries.into_iter().map(|entry| state.apply(command.at, entry)).collect())
                }
            });
        }
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { image: self.image(), directory: self.directory.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<()> {
        let bytes = snapshot.into_inner();
        let image = Image::decode(&bytes).map_err(failed)?;
        snapshot::store(&self.directory, &bytes).map_err(failed)?;
        (self.applied, self.membership) = (meta.last_log_id, meta.last_membership.clone());
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = image.state;
        next.succeed(&state);
        *state = next;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>> {
        let Some(image) = snapshot::load(&self.directory).map_err(failed)? else { return Ok(None) };
        let bytes = image.encode().map_err(failed)?;
        Ok(Some(Snapshot { meta: image.meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>> {
        let (image, directory) = (std::mem::take(&mut self.image), self.directory.clone());
        let built = tokio::task::spawn_blocking(move || {
            let bytes = image.encode().map_err(std::io::Error::other)?;
            snapshot::store(&directory, &bytes)?;
            tracing::info!(bytes = bytes.len(), "stored a snapshot");
            std::io::Result::Ok((image.meta, bytes))
        });
        let (meta, bytes) = built.await.map_err(failed)?.map_err(failed)?;
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}
