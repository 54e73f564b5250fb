//! What people did by force: one line of JSON when it is asked, durable before anything is proposed, and one with its
//! outcome. A file of this node, never replicated: it tells who came here, whatever the cluster made of it.

use crate::clock::wall_ms;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A file that would grow beyond this is put aside, and a new one begun.
const FILE_BYTES: u64 = 8 << 20;
/// Files put aside that are kept; older ones are deleted.
const FILES: u32 = 9;

/// What somebody wants to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Deed {
    pub action: String,
    pub xid: String,
    /// Empty: the whole transaction.
    pub branch: String,
    /// As they call themselves.
    pub who: String,
    pub why: String,
    /// From where.
    pub peer: String,
}

/// The log of one node.
pub(crate) struct Audit {
    path: PathBuf,
    most: u64,
    /// One writes at a time.
    turn: Mutex<()>,
}

/// A deed that is noted and under way. Dropped without an end, it says so.
pub(crate) struct UnderWay {
    audit: Arc<Audit>,
    line: Value,
    ended: bool,
}

impl Audit {
    /// In this directory; nothing is created until something is done.
    pub fn new(directory: &Path) -> Arc<Self> {
        Self::with_limit(directory, FILE_BYTES)
    }

    fn with_limit(directory: &Path, most: u64) -> Arc<Self> {
        Arc::new(Self { path: directory.join("audit.log"), most, turn: Mutex::default() })
    }

    /// Where it is, for sentences.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes durably what is about to be done.
    pub fn asked(self: &Arc<Self>, deed: &Deed) -> io::Result<UnderWay> {
        let id = format!("{:016x}", rand::random::<u64>());
        let line = json!({
            "id": id,
            "at": time(wall_ms()),
            "action": deed.action,
            "xid": deed.xid,
            "branch": deed.branch,
            "who": deed.who,
            "why": deed.why,
            "peer": deed.peer,
        });
        self.append(&line)?;
        Ok(UnderWay { audit: Arc::clone(self), line, ended: false })
    }

    /// Appends a line and waits until it is on the disk. What was not written whole is taken back.
    fn append(&self, line: &Value) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!("{line}\n");
        let open = || OpenOptions::new().create(true).read(true).append(true).open(&self.path);
        let mut file = open()?;
        let mut length = file.metadata()?.len();
        if length > 0 && length + text.len() as u64 > self.most {
            self.rotate()?;
            (file, length) = (open()?, 0);
        }
        // A crash may have left half a line behind.
        let mut end = [b'\n'];
        if length > 0 {
            file.seek(SeekFrom::Start(length - 1))?;
            file.read_exact(&mut end)?;
        }
        let separator: &[u8] = if end == *b"\n" { b"" } else { b"\n" };
        let written = file.write_all(&[separator, text.as_bytes()].concat()).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _ = file.set_len(length);
            return Err(error);
        }
        if length == 0 { sync_directory(&self.path) } else { Ok(()) }
    }

    /// `audit.log` becomes `audit.log.1`, that `audit.log.2`, and so on; the last one goes.
    fn rotate(&self) -> io::Result<()> {
        for number in (0..FILES).rev() {
            match fs::rename(self.file(number), self.file(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        sync_directory(&self.path)
    }

    /// The newest is 0.
    fn file(&self, number: u32) -> PathBuf {
        let name = if number == 0 { "audit.log".to_owned() } else { format!("audit.log.{number}") };
        self.path.with_file_name(name)
    }

    /// The latest deeds first, each with its outcome; perhaps only those about one transaction.
    pub fn latest(&self, xid: Option<&str>, limit: usize) -> io::Result<Vec<Value>> {
        let mut ends: BTreeMap<String, Value> = BTreeMap::new();
        let mut deeds = Vec::new();
        for number in 0..=FILES {
            let text = match fs::read(self.file(number)) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            for mut line in lines.filter(|line| xid.is_none_or(|xid| line["xid"] == xid)) {
                let id = line["id"].as_str().unwrap_or_default().to_owned();
                if line["outcome"].is_string() {
                    ends.insert(id, line);
                    continue;
                }
                let end = ends.remove(&id);
                let of_end = |field: &str| end.as_ref().map_or(Value::Null, |end| end[field].clone());
                (line["outcome"], line["ended_at"]) = (of_end("outcome"), of_end("ended_at"));
                deeds.push(line);
                if deeds.len() == limit {
                    return Ok(deeds);
                }
            }
        }
        Ok(deeds)
    }
}

impl UnderWay {
    /// Notes how it ended. The deed is done already: a line that cannot be written is only told to the log.
    pub fn ended(mut self, outcome: &str) {
        self.note(outcome);
    }

    fn note(&mut self, outcome: &str) {
        self.ended = true;
        self.line["outcome"] = json!(outcome);
        self.line["ended_at"] = json!(time(wall_ms()));
        if let Err(error) = self.audit.append(&self.line) {
            tracing::error!(path = %self.audit.path.display(), %error, "not in the audit log: {}", self.line);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.ended {
            self.note("asked, but whoever asked did not wait for the outcome");
        }
    }
}

fn sync_directory(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn time(at: u64) -> String {
    let at = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map(|at| format!("{at:.3}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(number: u32) -> Deed {
        let why = "x".repeat(100);
        Deed { action: "rollback".into(), xid: format!("X{number}"), why, ..Deed::default() }
    }

    #[test]
    fn deeds_are_read_back_with_their_outcomes_latest_first() {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::new(directory.path());
        assert!(audit.latest(None, 10).unwrap().is_empty());
        let first = audit.asked(&deed(1)).unwrap();
        audit.asked(&deed(2)).unwrap().ended("rolled_back");
        std::mem::forget(audit.asked(&deed(3)).unwrap());
        first.ended("blocked");
        drop(audit.asked(&deed(1)).unwrap());
        let told = |xid, limit| {
            let deeds = audit.latest(xid, limit).unwrap();
            deeds.iter().map(|d| format!("{} {}", d["xid"], d["outcome"])).collect::<Vec<_>>()
        };
        let all = told(None, 10);
        assert!(all[0].contains("did not wait"), "{all:?}");
        assert_eq!(all[1..], ["\"X3\" null", "\"X2\" \"rolled_back\"", "\"X1\" \"blocked\""]);
        assert_eq!(told(None, 2).len(), 2);
        assert_eq!(told(Some("X2"), 10), ["\"X2\" \"rolled_back\""]);
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::with_limit(directory.path(), 1_000);
        for number in 0..100 {
            audit.asked(&deed(number)).unwrap().ended("done");
        }
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|f| f.unwrap()).collect();
        assert_eq!(files.len(), FILES as usize + 1);
        assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 1_000));
        let deeds = audit.latest(None, 1_000).unwrap();
        assert_eq!(deeds[0]["xid"], "X99");
        assert!(deeds.len() > 10 && deeds.len() < 100, "{}", deeds.len());
        assert!(deeds.windows(2).all(|two| two[0]["at"].as_str() >= two[1]["at"].as_str()));
    }

    #[test]
    fn half_a_line_of_a_crash_hides_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::new(directory.path());
        audit.asked(&deed(1)).unwrap().ended("done");
        let mut file = OpenOptions::new().append(true).open(audit.path()).unwrap();
        file.write_all(b"{\"id\":\"12").unwrap();
        audit.asked(&deed(2)).unwrap().ended("done");
        let deeds = audit.latest(None, 10).unwrap();
        assert_eq!(deeds.len(), 2);
        assert!(deeds.iter().all(|deed| deed["outcome"] == "done"), "{deeds:?}");
    }

    #[test]
    fn what_cannot_be_noted_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::new(directory.path());
        fs::create_dir(audit.path()).unwrap();
        assert!(audit.asked(&deed(1)).is_err());
    }
}
