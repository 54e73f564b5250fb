//! Reading the log's files at start: what they say, what is a torn tail, and what is damage.

use super::frame::{self, Damage};
use super::{Record, TypeConfig};
use openraft::{Entry, LogId, Vote};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Version 1 has no resolutions among its entries, version 2 no branch that says on which database of its resource's name it
/// ran; all else is the same.
const VERSION: u8 = 3;
const MAGIC: &[u8; 7] = b"ATONELG";
const HEAD: usize = 20;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Something that was durable is missing or changed.
    #[error(
        "the log {} is damaged at byte {at}: {what}; restore the data directory from another node or a backup",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Written by a newer Atone.
    #[error("the log {} has format version {version}, this Atone reads up to {VERSION}", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        version: u8,
    },
}

/// What the files said.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The latest vote.
    pub vote: Option<Vote<u64>>,
    /// Entries up to this one are in a snapshot.
    pub purged: Option<LogId<u64>>,
    /// The entries behind it, without a gap.
    pub entries: BTreeMap<u64, Entry<TypeConfig>>,
    /// Bytes read.
    pub bytes: u64,
}

/// A segment that is not written to any more.
#[derive(Debug)]
pub(super) struct Old {
    pub path: PathBuf,
    pub max_index: u64,
    /// It has the version that is written now.
    pub current: bool,
}

pub(super) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> LogError + '_ {
    move |source| LogError::Io { path: path.to_owned(), source }
}

pub(super) fn head(first: u64) -> [u8; HEAD] {
    head_of(VERSION, first)
}

fn head_of(version: u8, first: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[0] = version;
    head[1..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&first.to_le_bytes());
    let crc = crc32fast::hash(&head[..16]);
    head[16..].copy_from_slice(&crc.to_le_bytes());
    head
}

impl Recovered {
    fn add(&mut self, record: Record) -> Result<u64, &'static str> {
        match record {
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Append(entry) => {
                let index = entry.log_id.index;
                if let Some((last, _)) = self.entries.last_key_value()
                    && index != last + 1
                {
                    return Err("entries are missing");
                }
                self.entries.insert(index, entry);
                return Ok(index);
            }
            Record::Truncate(index) => drop(self.entries.split_off(&index)),
            Record::Purged(id) => {
                self.entries = self.entries.split_off(&(id.index + 1));
                self.purged = Some(id);
            }
        }
        Ok(0)
    }
}

/// What all segments of a directory say, each segment with its end, and the number of the next frame.
#[allow(clippy::type_complexity)]
pub(super) fn recover(directory: &Path) -> Result<(Recovered, Vec<(Old, u64)>, Option<u64>), LogError> {
    let mut recovered = Recovered::default();
    let mut old = Vec::new();
    let mut next = None;
    let files = list(directory)?;
    for (place, (first, path)) in files.iter().enumerate() {
        let newest = place + 1 == files.len();
        let damaged = |at, what| LogError::Damaged { path: path.clone(), at, what };
        if next.is_some_and(|next| next != *first) {
            return Err(damaged(0, "the segment before it is missing or cut"));
        }
        let bytes = fs::read(path).map_err(io_at(path))?;
        let version = bytes.first().copied().filter(|version| (1..=VERSION).contains(version));
        let read = version.is_some_and(|version| bytes.get(..HEAD) == Some(&head_of(version, *first)[..]));
        if !read {
            let body = bytes.get(HEAD..).unwrap_or_default();
            match bytes.first() {
                // Its creation was torn: no frame of it was ever acknowledged.
                _ if newest && frame::read(body, *first).is_ok_and(|f| f.end == 0) && !is_head(&bytes) => {
                    fs::remove_file(path).map_err(io_at(path))?;
                    continue;
                }
                Some(version) if !(1..=VERSION).contains(version) && is_head(&bytes) => {
                    return Err(LogError::Version { path: path.clone(), version: *version });
                }
                Some(_) | None => return Err(damaged(0, "its head is unreadable")),
            }
        }
        let frames = frame::read(&bytes[HEAD..], *first).map_err(|damage| match damage {
            Damage::Middle(at) => damaged((HEAD + at) as u64, "later writes are there, this one is not"),
            Damage::Unreadable(at) => damaged((HEAD + at) as u64, "a record of an unknown kind"),
        })?;
        if frames.torn && !newest {
            return Err(damaged((HEAD + frames.end) as u64, "it is cut, and a later segment exists"));
        }
        let end = (HEAD + frames.end) as u64;
        if frames.torn {
            tracing::warn!(path = %path.display(), end, "cut a torn write off the log; it was never answered");
        }
        let mut max_index = 0;
        for record in frames.records {
            max_index = max_index.max(recovered.add(record).map_err(|what| damaged(end, what))?);
        }
        recovered.bytes += end;
        next = Some(frames.next);
        let current = version == Some(VERSION);
        old.push((Old { path: path.clone(), max_index, current }, end));
    }
    if let (Some(purged), Some((first, _))) = (recovered.purged, recovered.entries.first_key_value())
        && *first > purged.index + 1
    {
        let what = "entries behind the snapshot are missing";
        return Err(LogError::Damaged { path: directory.to_owned(), at: 0, what });
    }
    Ok((recovered, old, next))
}

/// A head that is whole, whatever its version.
fn is_head(bytes: &[u8]) -> bool {
    bytes.len() >= HEAD
        && &bytes[1..8] == MAGIC
        && bytes[16..HEAD] == crc32fast::hash(&bytes[..16]).to_le_bytes()
}

fn list(directory: &Path) -> Result<Vec<(u64, PathBuf)>, LogError> {
    let mut files = Vec::new();
    for file in fs::read_dir(directory).map_err(io_at(directory))? {
        let path = file.map_err(io_at(directory))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        match stem {
            Some(first) if path.extension().is_some_and(|extension| extension == "log") => {
                files.push((first, path));
            }
            Some(_) | None => tracing::warn!(path = %path.display(), "not a segment of the log; left alone"),
        }
    }
    files.sort();
    Ok(files)
}
