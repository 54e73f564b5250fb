//! The log's files: `log/<first frame>.log`, each zero-filled ahead of the frames, the newest one written to.
//!
//! A segment opens with `version 2 | "ATONELG" | first frame 8 | crc32 4`, then a frame that repeats vote and purge
//! point, so that older segments can go whole. At start a torn tail of the newest segment is cut; any other damage
//! stops the node, because what was answered might be missing.

use super::recover::{LogError, Old, Recovered, head, io_at, recover};
use super::{Record, frame};
use openraft::{LogId, Vote};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A new segment is begun past this size.
const SEGMENT: u64 = 64 << 20;
/// Zeros written ahead at once: appending into written space costs no metadata write per sync.
const AHEAD: u64 = 4 << 20;

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

impl Segments {
    /// Reads all segments of `directory`, cuts a torn tail, and is ready to append.
    pub fn open(directory: &Path) -> Result<(Self, Recovered), LogError> {
        fs::create_dir_all(directory).map_err(io_at(directory))?;
        let (recovered, mut old, next) = recover(directory)?;
        let (vote, purged) = (recovered.vote, recovered.purged);
        let mut outdated = false;
        let mut segments = match old.pop() {
            Some((last, end)) => {
                let old = old.into_iter().map(|(old, _)| old).collect();
                let file =
                    OpenOptions::new().read(true).write(true).open(&last.path).map_err(io_at(&last.path))?;
                // The tail must be zeros before anything is written behind the end.
                file.set_len(end).and_then(|()| file.sync_all()).map_err(io_at(&last.path))?;
                let (directory, path) = (directory.to_owned(), last.path);
                let (next, max_index) = (next.unwrap_or(1), last.max_index);
                outdated = !last.current;
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
        // An older Atone must not meet what it cannot read in a file that it thinks it can.
        if outdated {
            let path = segments.path.clone();
            segments.rotate().map_err(io_at(&path))?;
        }
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
        old.push(Old { path: self.path.clone(), max_index: self.max_index, current: true });
        *self = Self::create(&self.directory.clone(), old, self.next, self.vote, self.purged)?;
        Ok(())
    }
}
