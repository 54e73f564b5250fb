//! The log's files: `log/<first frame>.log`, each zero-filled ahead of the frames, the newest one written to.
//!
//! A segment opens with `version 1 | "ATONELG" | first frame 8 | crc32 4`, then a frame that repeats vote and purge
//! point, so that older segments can go whole. At start a torn tail of the newest segment is cut; any other damage
//! stops the node, because what was answered might be missing.

use super::frame::{self, Damage};
use super::{Record, TypeConfig};
use openraft::{Entry, LogId, Vote};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const VERSION: u8 = 1;
const MAGIC: &[u8; 7] = b"ATONELG";
const HEAD: usize = 20;
/// A new segment is begun past this size.
const SEGMENT: u64 = 64 << 20;
/// Zeros written ahead at once: appending into written space costs no metadata write per sync.
const AHEAD: u64 = 4 << 20;

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
    #[error("the log {} has format version {version}, this Atone reads {VERSION}", path.display())]
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

struct Old {
    path: PathBuf,
    max_index: u64,
}

/// The open log. Only the writer's thread has it.
#[derive(Debug)]
pub struct Segments {
    directory: PathBuf,
    old: Vec<Old>,
    path: PathBuf,
    file: File,
    end: u64,
    allocated: u64,
    next: u64,
    /// The largest index in the open segment.
    max_index: u64,
    /// To repeat at the head of a new segment.
    vote: Option<Vote<u64>>,
    purged: Option<LogId<u64>>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Old {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} up to {}", self.path.display(), self.max_index)
    }
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> LogError + '_ {
    move |source| LogError::Io { path: path.to_owned(), source }
}

fn head(first: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[0] = VERSION;
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

impl Segments {
    /// Reads all segments of `directory`, cuts a torn tail, and is ready to append.
    pub fn open(directory: &Path) -> Result<(Self, Recovered), LogError> {
        fs::create_dir_all(directory).map_err(io_at(directory))?;
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
            if bytes.get(..HEAD) != Some(&head(*first)[..]) {
                let body = bytes.get(HEAD..).unwrap_or_default();
                match bytes.first() {
                    // Its creation was torn: no frame of it was ever acknowledged.
                    _ if newest
                        && frame::read(body, *first).is_ok_and(|f| f.end == 0)
                        && !is_head(&bytes) =>
                    {
                        fs::remove_file(path).map_err(io_at(path))?;
                        continue;
                    }
                    Some(version) if *version != VERSION && is_head(&bytes) => {
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
            old.push((Old { path: path.clone(), max_index }, end));
        }
        if let (Some(purged), Some((first, _))) = (recovered.purged, recovered.entries.first_key_value())
            && *first > purged.index + 1
        {
            let what = "entries behind the snapshot are missing";
            return Err(LogError::Damaged { path: directory.to_owned(), at: 0, what });
        }
        let (vote, purged) = (recovered.vote, recovered.purged);
        let segments = match old.pop() {
            Some((last, end)) => {
                let old = old.into_iter().map(|(old, _)| old).collect();
                let file =
                    OpenOptions::new().read(true).write(true).open(&last.path).map_err(io_at(&last.path))?;
                // The tail must be zeros before anything is written behind the end.
                file.set_len(end).and_then(|()| file.sync_all()).map_err(io_at(&last.path))?;
                let (directory, path) = (directory.to_owned(), last.path);
                let (next, max_index) = (next.unwrap_or(1), last.max_index);
                let buffer = Vec::new();
                Self {
                    directory,
                    old,
                    path,
                    file,
                    end,
                    allocated: end,
                    next,
                    max_index,
                    vote,
                    purged,
                    buffer,
                }
            }
            None => Self::create(directory, Vec::new(), 1, vote, purged).map_err(io_at(directory))?,
        };
        Ok((segments, recovered))
    }

    fn create(
        directory: &Path,
        old: Vec<Old>,
        first: u64,
        vote: Option<Vote<u64>>,
        purged: Option<LogId<u64>>,
    ) -> io::Result<Self> {
        let path = directory.join(format!("{first:020}.log"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        let mut records = Vec::new();
        for record in vote.map(Record::Vote).into_iter().chain(purged.map(Record::Purged)) {
            records = frame::encode_record(&record, records).map_err(io::Error::other)?;
        }
        let mut bytes = head(first).to_vec();
        frame::encode(first, &records, &mut bytes);
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        File::open(directory)?.sync_all()?;
        let (directory, end, buffer) = (directory.to_owned(), bytes.len() as u64, Vec::new());
        Ok(Self {
            directory,
            old,
            path,
            file,
            end,
            allocated: end,
            next: first + 1,
            max_index: 0,
            vote,
            purged,
            buffer,
        })
    }

    /// Makes one frame of encoded records durable. `max_index` is the largest index among them, 0 for none.
    pub fn append(&mut self, records: &[u8], max_index: u64) -> io::Result<()> {
        if self.end > SEGMENT {
            self.rotate()?;
        }
        self.buffer.clear();
        frame::encode(self.next, records, &mut self.buffer);
        let end = self.end + self.buffer.len() as u64;
        if end > self.allocated {
            self.allocated = end + AHEAD;
            self.buffer.resize((self.allocated - self.end) as usize, 0);
        }
        self.file.write_all_at(&self.buffer, self.end)?;
        self.file.sync_data()?;
        self.buffer.shrink_to(AHEAD as usize);
        (self.end, self.next) = (end, self.next + 1);
        self.max_index = self.max_index.max(max_index);
        Ok(())
    }

    /// The vote to repeat at the head of the next segment.
    pub fn note_vote(&mut self, vote: Vote<u64>) {
        self.vote = Some(vote);
    }

    /// After the purge point is durable: segments wholly before it go.
    pub fn purge(&mut self, upto: LogId<u64>) -> io::Result<()> {
        self.purged = Some(upto);
        let gone = self.old.iter().take_while(|old| old.max_index <= upto.index).count();
        for old in self.old.drain(..gone) {
            fs::remove_file(&old.path)?;
        }
        if gone > 0 { File::open(&self.directory)?.sync_all() } else { Ok(()) }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.sync_all()?;
        let mut old = std::mem::take(&mut self.old);
        old.push(Old { path: self.path.clone(), max_index: self.max_index });
        *self = Self::create(&self.directory.clone(), old, self.next, self.vote, self.purged)?;
        Ok(())
    }
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
