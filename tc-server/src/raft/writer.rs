//! The one thread that writes the log: it gathers what has arrived, syncs once, and tells everybody.
//!
//! Votes, entries, truncations and purges go through its one queue, so that they are durable in the order they were
//! decided. After an error nothing is written any more and everything fails: the node stops.

use super::frame;
use super::segments::Segments;
use super::{Record, TypeConfig};
use openraft::storage::LogFlushed;
use openraft::{LogId, Vote};
use std::io;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; openraft itself has few under way.
const QUEUE: usize = 1024;
/// Bytes gathered into one frame, about.
const GATHER: usize = 4 << 20;

pub(super) enum Done {
    Entries(LogFlushed<TypeConfig>),
    Other(oneshot::Sender<io::Result<()>>),
    /// Nothing is written after this: somebody else may open the files.
    Stop(oneshot::Sender<()>),
}

pub(super) struct Job {
    /// Encoded.
    pub records: Vec<u8>,
    /// The largest index among them, 0 for none.
    pub max_index: u64,
    pub vote: Option<Vote<u64>>,
    pub purge: Option<LogId<u64>>,
    pub done: Done,
}

impl Job {
    pub(super) fn of(record: &Record) -> io::Result<(Self, oneshot::Receiver<io::Result<()>>)> {
        let records = frame::encode_record(record, Vec::new()).map_err(io::Error::other)?;
        let (done, durable) = oneshot::channel();
        let vote = if let Record::Vote(vote) = record { Some(*vote) } else { None };
        let purge = if let Record::Purged(id) = record { Some(*id) } else { None };
        Ok((Self { records, max_index: 0, vote, purge, done: Done::Other(done) }, durable))
    }
}

/// Starts the thread; it ends at a stop, or when every sender is gone.
pub(super) fn start(segments: Segments) -> io::Result<mpsc::Sender<Job>> {
    let (jobs, queue) = mpsc::channel(QUEUE);
    std::thread::Builder::new().name("atone-log".to_owned()).spawn(move || run(segments, queue))?;
    Ok(jobs)
}

fn run(mut segments: Segments, mut queue: mpsc::Receiver<Job>) {
    let mut broken: Option<(io::ErrorKind, String)> = None;
    while let Some(mut first) = queue.blocking_recv() {
        let mut records = std::mem::take(&mut first.records);
        let mut batch = vec![first];
        while records.len() < GATHER
            && let Ok(mut job) = queue.try_recv()
        {
            records.append(&mut job.records);
            batch.push(job);
        }
        if broken.is_none()
            && let Err(error) = write(&mut segments, &records, &batch)
        {
            tracing::error!("the log cannot be written, this node stops: {error}");
            broken = Some((error.kind(), error.to_string()));
        }
        let mut stopped = None;
        for job in batch {
            let result = match &broken {
                None => Ok(()),
                Some((kind, why)) => Err(io::Error::new(*kind, why.clone())),
            };
            match job.done {
                Done::Entries(flushed) => flushed.log_io_completed(result),
                Done::Other(done) => drop(done.send(result)),
                Done::Stop(done) => stopped = Some(done),
            }
        }
        if let Some(stopped) = stopped {
            drop(segments);
            let _ = stopped.send(());
            return;
        }
    }
}

fn write(segments: &mut Segments, records: &[u8], batch: &[Job]) -> io::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let max_index = batch.iter().map(|job| job.max_index).max().unwrap_or_default();
    segments.append(records, max_index)?;
    for job in batch {
        if let Some(vote) = job.vote {
            segments.note_vote(vote);
        }
        if let Some(purge) = job.purge {
            segments.purge(purge)?;
        }
    }
    Ok(())
}
