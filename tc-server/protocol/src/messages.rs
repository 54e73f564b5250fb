//! What proxy and coordinator say to each other, as types of the domain. Their bytes are `convert`'s business.

use crate::{BranchId, Lineage, LockKey, Looked, Refusal, TxStatus, Xid};
use std::time::Duration;

/// A database behind a proxy, as the proxy sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The name in the proxy's configuration.
    pub name: String,
    /// Identity of the database primary; hints and reports of another primary are void. Empty: not known.
    pub primary: String,
    /// Which database it is, of all that may bear the name; told in a hello.
    pub lineage: Option<Lineage>,
    /// Where the proxy reaches it, for people; told in a hello.
    pub address: String,
}

/// Asks for a branch and its locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The transaction.
    pub xid: Xid,
    /// The attempt at a local transaction.
    pub branch: BranchId,
    /// Where it runs.
    pub resource: String,
    /// On which database of that name.
    pub lineage: Option<Lineage>,
    /// All it wrote.
    pub keys: Vec<LockKey>,
    /// What must stay as it is: others may hold these too, but nobody alone.
    pub shared: Vec<LockKey>,
    /// How long to queue for keys that others hold; the coordinator caps it.
    pub wait: Duration,
    /// The database's number of the connection that waits meanwhile; 0 when it is not known.
    pub session: u64,
}

/// Asks whether keys are free, and takes none. Whoever asks holds the rows' locks in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The asker's own transaction, whose locks do not count.
    pub xid: Option<Xid>,
    /// Where.
    pub resource: String,
    /// The keys.
    pub keys: Vec<LockKey>,
    /// Keys that others may hold together, but nobody alone.
    pub shared: Vec<LockKey>,
    /// Tables, as lock keys name them, of which no key may be held.
    pub tables: Vec<String>,
    /// No key of the resource may be held at all.
    pub everything: bool,
    /// How long to wait for keys that others hold; the coordinator caps it.
    pub wait: Duration,
    /// The database's number of the connection that waits meanwhile; 0 when it is not known.
    pub session: u64,
}

/// Asks whether a reader may have what he has read, outside the database's own notion of committed: whoever holds a key of
/// the tables now is waited for until he is decided, and what was undone since `since` must be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRead {
    /// The reader's own transaction, whose locks do not count.
    pub xid: Option<Xid>,
    /// Where.
    pub resource: String,
    /// Tables that were read, as lock keys name them.
    pub tables: Vec<String>,
    /// Any table of the resource may have been read.
    pub everything: bool,
    /// What was known before the read began; None: nothing.
    pub since: Option<UndoMark>,
    /// How long to wait for those who are not decided; the coordinator caps it.
    pub wait: Duration,
    /// The database's number of the connection that waits meanwhile; 0 when it is not known.
    pub session: u64,
    /// The reader holds row locks, behind which an undo may have to wait: he must not wait for one.
    pub holds_rows: bool,
}

/// How many undos a coordinator has seen the end of; of another run it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UndoMark {
    /// The coordinator's process.
    pub run: u64,
    /// Undos.
    pub count: u64,
}

/// A statement waits in its database for row locks of other connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Where.
    pub resource: String,
    /// The database's number of its connection.
    pub session: u64,
    /// The global transaction it is in.
    pub xid: Option<Xid>,
    /// The connections it waits for; none: it does not wait any more.
    pub by: Vec<u64>,
}

/// In which global transaction a connection is, for which others wait in its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Where.
    pub resource: String,
    /// The database's number of the connection.
    pub session: u64,
    /// The global transaction; None: none any more.
    pub xid: Option<Xid>,
}

/// What a proxy is asked about connections that wait in their database, or are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// In which global transactions are these? Answered by [`Bound`] of those that are in one.
    Whose {
        /// Where.
        resource: String,
        /// The database's numbers of the connections.
        sessions: Vec<u64>,
    },
    /// A statement is to be interrupted, if it still waits.
    Yield(Yield),
}

/// A statement that waits in its database is to yield.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yield {
    /// Where.
    pub resource: String,
    /// The global transaction it is in.
    pub xid: Xid,
    /// The database's numbers of its connection, of the one that this waits for, and so on.
    pub chain: Vec<u64>,
    /// Who waits for whom in a circle, for people, the one who yields first.
    pub circle: Vec<String>,
}

/// What a coordinator says unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToProxy {
    /// Phase two.
    Task(Task),
    /// About circles.
    Errand(Errand),
}

impl From<Task> for ToProxy {
    fn from(task: Task) -> Self {
        Self::Task(task)
    }
}

/// A request that is answered exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A transaction begins.
    Begin {
        /// Its name for ever, drawn by the asker.
        xid: Xid,
        /// What people call it.
        name: String,
        /// How long it may stay undecided.
        timeout: Duration,
    },
    /// A branch wants to commit locally.
    Register(Register),
    /// Are these keys free?
    Check(Check),
    /// May a reader have what he has read?
    CheckRead(CheckRead),
    /// A registered branch did not commit locally, and never will.
    Failed {
        /// The transaction.
        xid: Xid,
        /// The branch.
        branch: BranchId,
    },
    /// Decide to commit.
    Commit {
        /// The transaction.
        xid: Xid,
    },
    /// Decide to roll back.
    Rollback {
        /// The transaction.
        xid: Xid,
        /// Why, for people.
        reason: String,
        /// How long to wait for its branches before answering "rolling back".
        wait: Duration,
    },
    /// Where does it stand?
    StatusOf {
        /// The transaction.
        xid: Xid,
    },
}

/// Everything a proxy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromProxy {
    /// First of a stream.
    Hello {
        /// Version of the contract.
        version: u32,
        /// A name for logs.
        proxy: String,
        /// The databases it reaches.
        resources: Vec<Resource>,
    },
    /// To be answered under this id.
    Request(u64, Request),
    /// Hint: a branch is locally committed.
    Settled {
        /// The transaction.
        xid: Xid,
        /// The branch.
        branch: BranchId,
        /// Where it ran.
        resource: String,
        /// The primary it was committed on.
        primary: String,
    },
    /// A look at a database has found this primary.
    Sees(Resource),
    /// A statement waits in its database, or no more.
    Stuck(Stuck),
    /// In which global transaction a connection is that was asked about.
    Bound(Bound),
    /// Nobody waits for the answer to the request of this id any more.
    GiveUp(u64),
    /// How a task ended.
    Report {
        /// The task.
        task: TaskId,
        /// How it ended.
        outcome: TaskOutcome,
        /// The primary on which it was carried out; empty when it was not (`Retry`).
        primary: String,
    },
}

/// The coordinator's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A branch is registered under this sequence number.
    Registered(u64),
    /// Where the transaction stands, and why.
    Status(TxStatus, String),
    /// No.
    Refused(Refusal),
    /// Noted.
    Done,
    /// What was read is committed; or it may not be, and is to be read `again`.
    ReadChecked {
        /// For the next read.
        mark: UndoMark,
        /// Read again.
        again: bool,
    },
    /// Outcome unknown: ask again with the same ids.
    Unavailable(String),
    /// Ask this address instead; empty when nobody leads.
    NotLeader(String),
}

/// Names a task while it is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

/// What phase two asks of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskKind {
    /// Guard insert, then say whether the branch is locally committed.
    Resolve,
    /// Guard insert, then undo.
    RollBack,
    /// The transaction is committed: delete the undo record.
    Forget,
    /// As `RollBack`, but whatever stands in the rows now is replaced: a person has decided so.
    Restore,
    /// Guard insert, then mark the record undone and touch no row: a person has decided so.
    Keep,
    /// Tell the branch's rows to a person. Given once, and changes nothing.
    Look {
        /// The most rows to tell.
        rows: u32,
        /// Rows too that stand in nobody's way.
        all: bool,
    },
}

/// A piece of phase two; repeated until it is reported, so it must be idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// To report under.
    pub id: TaskId,
    /// The transaction.
    pub xid: Xid,
    /// The branch.
    pub branch: BranchId,
    /// Where it ran.
    pub resource: String,
    /// What to do.
    pub kind: TaskKind,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskOutcome {
    /// `RollBack`, `Restore`, `Keep` or `Forget` is done.
    Done,
    /// `Resolve`: the undo record is there, so the branch is locally committed.
    Committed,
    /// `Resolve`: it can never commit any more.
    Guarded,
    /// `RollBack` or `Restore`: a person is needed, and why.
    Blocked(String),
    /// Not now, and why.
    Retry(String),
    /// `Look`: what is there.
    Looked(Box<Looked>),
}
