//! openraft's view of the log: entries behind the snapshot are also in memory, as the writer makes them durable.

use super::frame::encode_record;
use super::recover::Recovered;
use super::writer::{Done, Job};
use super::{Record, TypeConfig};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{Entry, LogId, LogState, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

struct Memory {
    vote: Option<Vote<u64>>,
    purged: Option<LogId<u64>>,
    entries: BTreeMap<u64, Kept>,
}

/// An entry in its stored form, which is a fraction of its size in memory.
#[derive(Clone)]
struct Kept {
    id: LogId<u64>,
    record: Arc<[u8]>,
}

impl Kept {
    fn entry(&self) -> io::Result<Entry<TypeConfig>> {
        match postcard::from_bytes(&self.record) {
            Ok(Record::Append(entry)) => Ok(entry),
            Ok(_) | Err(_) => Err(io::Error::other("an entry of the log does not decode")),
        }
    }
}

/// Cheap to clone; all clones are one log.
#[derive(Clone)]
pub(super) struct LogStore {
    memory: Arc<Mutex<Memory>>,
    jobs: mpsc::Sender<Job>,
    /// Bytes written since the last snapshot was asked for.
    pub written: Arc<AtomicU64>,
}

type Result<T, E = StorageError<u64>> = std::result::Result<T, E>;

fn failed(error: io::Error) -> StorageError<u64> {
    StorageError::IO { source: StorageIOError::write_logs(openraft::AnyError::new(&error)) }
}

impl LogStore {
    pub(super) fn new(recovered: Recovered, jobs: mpsc::Sender<Job>) -> Result<Self, postcard::Error> {
        let Recovered { vote, purged, entries, bytes } = recovered;
        let kept = |(index, entry): (u64, Entry<TypeConfig>)| {
            let id = entry.log_id;
            let record = encode_record(&Record::Append(entry), Vec::new())?.into();
            Ok((index, Kept { id, record }))
        };
        let entries = entries.into_iter().map(kept).collect::<Result<_, postcard::Error>>()?;
        let memory = Arc::new(Mutex::new(Memory { vote, purged, entries }));
        Ok(Self { memory, jobs, written: Arc::new(AtomicU64::new(bytes)) })
    }

    /// Returns when all that was queued is durable and nothing will be written any more.
    pub(super) async fn close(&self) {
        let (done, stopped) = oneshot::channel();
        let stop = Job { records: Vec::new(), max_index: 0, vote: None, purge: None, done: Done::Stop(done) };
        if self.jobs.send(stop).await.is_ok() {
            let _ = stopped.await;
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn queue(&self, job: Job) -> io::Result<()> {
        self.written.fetch_add(job.records.len() as u64, Ordering::Relaxed);
        self.jobs.send(job).await.map_err(|_| io::Error::other("the log's writer has ended"))
    }

    async fn durable(&self, record: Record) -> Result<()> {
        let (job, durable) = Job::of(&record).map_err(failed)?;
        self.queue(job).await.map_err(failed)?;
        let ended = |_| io::Error::other("the log's writer has ended");
        durable.await.map_err(ended).and_then(|written| written).map_err(failed)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<TypeConfig>>> {
        let kept: Vec<Kept> = self.memory().entries.range(range).map(|(_, kept)| kept.clone()).collect();
        let entries = kept.iter().map(Kept::entry);
        let unreadable =
            |error| StorageError::IO { source: StorageIOError::read_logs(openraft::AnyError::new(&error)) };
        entries.collect::<io::Result<_>>().map_err(unreadable)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>> {
        let memory = self.memory();
        let last = memory.entries.last_key_value().map(|(_, kept)| kept.id);
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: last.or(memory.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<()> {
        self.durable(Record::Vote(*vote)).await?;
        self.memory().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>> {
        Ok(self.memory().vote)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<()>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (mut records, mut max_index) = (Vec::new(), 0);
        let mut read = BTreeMap::new();
        for entry in entries {
            let (id, begins) = (entry.log_id, records.len());
            records = encode_record(&Record::Append(entry), records)
                .map_err(|error| failed(io::Error::other(error)))?;
            read.insert(id.index, Kept { id, record: records[begins..].into() });
            max_index = max_index.max(id.index);
        }
        // Not `append`, which rebuilds the whole map.
        self.memory().entries.extend(read);
        let done = Done::Entries(callback);
        self.queue(Job { records, max_index, vote: None, purge: None, done }).await.map_err(failed)
    }

    async fn truncate(&mut self, from: LogId<u64>) -> Result<()> {
        drop(self.memory().entries.split_off(&from.index));
        self.durable(Record::Truncate(from.index)).await
    }

    async fn purge(&mut self, upto: LogId<u64>) -> Result<()> {
        {
            let mut memory = self.memory();
            memory.entries = memory.entries.split_off(&(upto.index + 1));
            memory.purged = Some(upto);
        }
        self.durable(Record::Purged(upto)).await
    }
}
