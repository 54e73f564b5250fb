//! The snapshot file: `version 3 | "ATONESN" | crc32 4 | length 8 | image`, replaced atomically. The checksum is that of version
//! and image; before version 3 that of the image alone.

use crate::state::{State, StateV1, StateV2};
use openraft::{BasicNode, SnapshotMeta};
use postcard::ser_flavors::Size;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Version 1 has no shared locks and no branch that a person has resolved, and stores the table of locks beside the
/// branches. In version 2 no branch says on which database of its resource's name it ran.
const VERSION: u8 = 3;
const MAGIC: &[u8; 7] = b"ATONESN";
const HEAD: usize = 20;

/// The state as of a log entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Image {
    /// Up to which entry, and who the members were.
    pub meta: SnapshotMeta<u64, BasicNode>,
    /// The state.
    pub state: State,
}

/// The same in an earlier version.
#[derive(Deserialize)]
struct Old<S> {
    meta: SnapshotMeta<u64, BasicNode>,
    state: S,
}

impl<S: Into<State>> From<Old<S>> for Image {
    fn from(Old { meta, state }: Old<S>) -> Self {
        Self { meta, state: state.into() }
    }
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Not what was written.
    #[error("the snapshot is damaged: {0}; restore the data directory from another node or a backup")]
    Damaged(&'static str),
    /// Written by a newer Atone.
    #[error("the snapshot has format version {0}, this Atone reads up to {VERSION}")]
    Version(u8),
}

impl Image {
    /// As bytes.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        // Measured before, since a buffer that grows would need twice as much.
        let size = postcard::serialize_with_flavor::<Self, Size, usize>(self, Size::default())?;
        let mut bytes = Vec::with_capacity(HEAD + size);
        bytes.resize(HEAD, 0);
        bytes[0] = VERSION;
        bytes[1..8].copy_from_slice(MAGIC);
        let mut bytes = postcard::to_extend(self, bytes)?;
        let length = ((bytes.len() - HEAD) as u64).to_le_bytes();
        let crc = checksum(VERSION, &bytes[HEAD..]).to_le_bytes();
        bytes[8..12].copy_from_slice(&crc);
        bytes[12..HEAD].copy_from_slice(&length);
        Ok(bytes)
    }

    /// From bytes; total.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let Some((head, body)) = bytes.split_at_checked(HEAD) else {
            return Err(SnapshotError::Damaged("it is cut in its head"));
        };
        if &head[1..8] != MAGIC {
            return Err(SnapshotError::Damaged("it is no snapshot"));
        }
        if !(1..=VERSION).contains(&head[0]) {
            return Err(SnapshotError::Version(head[0]));
        }
        if (body.len() as u64).to_le_bytes() != head[12..] {
            return Err(SnapshotError::Damaged("it is cut"));
        }
        if checksum(head[0], body).to_le_bytes() != head[8..12] {
            return Err(SnapshotError::Damaged("its checksum is wrong"));
        }
        let image = match head[0] {
            1 => postcard::from_bytes(body).map(|old: Old<StateV1>| old.into()),
            2 => postcard::from_bytes(body).map(|old: Old<StateV2>| old.into()),
            _ => postcard::from_bytes(body),
        };
        image.map_err(|_| SnapshotError::Damaged("it does not decode"))
    }
}

/// A version that became another would be read as that.
fn checksum(version: u8, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    if version >= 3 {
        crc.update(&[version]);
    }
    crc.update(body);
    crc.finalize()
}

fn path(directory: &Path) -> PathBuf {
    directory.join("snapshot")
}

/// Replaces the snapshot: after a crash at any point there is the old one or the new one, whole.
pub(super) fn store(directory: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = directory.join("snapshot.tmp");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path(directory))?;
    File::open(directory)?.sync_all()
}

/// The snapshot, if there is one.
pub(super) fn load(directory: &Path) -> Result<Option<Image>, SnapshotError> {
    let path = path(directory);
    match fs::read(&path) {
        Ok(bytes) => Image::decode(&bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SnapshotError::Io { path, source }),
    }
}
