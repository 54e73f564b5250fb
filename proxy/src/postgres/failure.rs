//! What a PostgreSQL client is told when we say no: the only place where a reason becomes an ErrorResponse.

use crate::{wire::postgres::build, yielding};
use atone_protocol::{CallError, Refusal, TxStatus, Xid};
use atone_undo_log::analyze::Unsupported;

/// An error for the client: its SQLSTATE and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    state: &'static str,
    sentence: String,
}

/// feature_not_supported
const UNSUPPORTED: &str = "0A000";
/// object_not_in_prerequisite_state
const MISUSE: &str = "55000";
/// lock_not_available
const LOCKED: &str = "55P03";
/// deadlock_detected
const DEADLOCK: &str = "40P01";
/// serialization_failure
const AGAIN: &str = "40001";
/// read_only_sql_transaction: a finished global transaction takes no more writes
const FINISHED: &str = "25006";
/// connection_failure
const UNREACHABLE: &str = "08006";
/// transaction_resolution_unknown
const IN_DOUBT: &str = "08007";

impl Failure {
    pub(super) fn new(state: &'static str, sentence: impl Into<String>) -> Self {
        Self { state, sentence: format!("atone: {}", sentence.into()) }
    }

    /// The ErrorResponse; FATAL ends the session.
    pub fn message(&self, severity: &str) -> Vec<u8> {
        let mut out = Vec::new();
        build::error(&mut out, severity, self.state, &self.sentence);
        out
    }

    /// For logs.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// The same, and why nothing better could be done.
    pub fn because(self, why: &str) -> Self {
        Self { sentence: format!("{}. {why}", self.sentence), ..self }
    }

    /// The statement cannot be protected.
    pub fn unsupported(what: &Unsupported) -> Self {
        Self::new(
            UNSUPPORTED,
            format!("{what} is not supported inside a global transaction; nothing was done"),
        )
    }

    /// The table cannot be protected.
    pub fn table(table: &str, why: &str) -> Self {
        Self::new(UNSUPPORTED, format!("table {table} cannot be written inside a global transaction: {why}"))
    }

    /// Too much for one local transaction.
    pub fn too_large(what: &str) -> Self {
        Self::new("54000", format!("{what}. Split the local transaction"))
    }

    /// Rows were changed that no statement told of, and that cannot be found or undone.
    pub fn unseen(table: &str, why: &str) -> Self {
        Self::new(
            UNSUPPORTED,
            format!(
                "rows of {table} were changed behind the statements, by a trigger, cascade, rule or function, or in a \
                 statement that does not tell which; they cannot be undone: {why}. The local transaction is rolled back"
            ),
        )
    }

    /// Rows were changed by a statement that only reads.
    pub fn unseen_by_read(table: &str) -> Self {
        Self::new(
            UNSUPPORTED,
            format!(
                "rows of {table} were changed by a function that a read called, which is not captured and could not be \
                 undone. The local transaction is rolled back"
            ),
        )
    }

    /// The request does not fit the session's state.
    pub fn misuse(what: impl Into<String>) -> Self {
        Self::new(MISUSE, what)
    }

    /// The local transaction was ended, because its global one is being rolled back.
    pub fn rolling_back(xid: Xid) -> Self {
        let refusal =
            Refusal::Finished { status: TxStatus::RollingBack, reason: "the local transaction too".into() };
        Self::refused(xid, &refusal)
    }

    /// Something of ours or the database's went wrong; the local transaction is rolled back.
    pub fn internal(what: &str) -> Self {
        Self::new("XX000", format!("{what}; the local transaction is rolled back"))
    }

    /// The proxy's own connection to the database fails.
    pub fn backend(error: &crate::backend::BackendError) -> Self {
        Self::new(UNREACHABLE, error.to_string())
    }

    /// A statement waited in a circle and was interrupted.
    pub fn deadlock(circle: &[String]) -> Self {
        Self::new(DEADLOCK, yielding::sentence(circle))
    }

    /// The branch may or may not be committed.
    pub fn in_doubt(xid: Xid) -> Self {
        let text = format!(
            "the database was lost while it committed a branch of global transaction {xid}; whether it did is being \
             found out. Ask with SELECT atone_commit('{xid}') or atone tx show {xid}"
        );
        Self::new(IN_DOUBT, text)
    }

    /// The session is on a server that is not the primary any more.
    pub fn elsewhere() -> Self {
        let what =
            "this connection is to a server that is not the primary of its resource any more; connect again";
        Self::new("57P01", what)
    }

    /// The database was lost, and the branch surely did not commit.
    pub fn lost(xid: Xid) -> Self {
        Self::new(AGAIN, format!("the database was lost and the local transaction of {xid} was rolled back"))
    }

    /// The coordinator did not do what was asked.
    pub fn call(xid: Xid, error: &CallError) -> Self {
        match error {
            CallError::Unavailable(why) => Self::new(
                UNREACHABLE,
                format!("global transaction {xid}: {why}. The outcome is unknown yet; ask again"),
            ),
            CallError::Refused(refusal) => Self::refused(xid, refusal),
        }
    }

    /// A local transaction outside any global one met global locks, or nobody could be asked about them.
    pub fn guarded(error: &CallError) -> Self {
        match error {
            CallError::Unavailable(why) => Self::new(
                UNREACHABLE,
                format!(
                    "whether a global transaction holds the rows written could not be asked: {why}. The local transaction \
                     was rolled back"
                ),
            ),
            CallError::Refused(refusal) => Self::refused(Xid::from_u128(0), refusal),
        }
    }

    /// A read that must be of decided data only met what is not decided, or nobody could be asked.
    pub fn read(xid: Option<Xid>, error: &CallError) -> Self {
        match error {
            CallError::Unavailable(why) => Self::new(
                UNREACHABLE,
                format!("whether what was read is committed could not be asked: {why}"),
            ),
            CallError::Refused(refusal @ Refusal::Conflict { deadlock, holder_status, .. }) => {
                let tail =
                    "and what was read may be undone (atone.isolation = 'read_committed'); try it again";
                if !deadlock.is_empty() {
                    Self::new(DEADLOCK, format!("{refusal}, {tail}"))
                } else if matches!(holder_status, TxStatus::RollingBack | TxStatus::Blocked) {
                    Self::new(AGAIN, format!("{refusal}, {tail}"))
                } else {
                    Self::new(LOCKED, format!("lock wait timeout: {refusal}, {tail}"))
                }
            }
            CallError::Refused(refusal) => Self::refused(xid.unwrap_or(Xid::from_u128(0)), refusal),
        }
    }

    fn refused(xid: Xid, refusal: &Refusal) -> Self {
        let text = format!("global transaction {xid}: {refusal}");
        match refusal {
            Refusal::Unknown | Refusal::Finished { .. } | Refusal::RollbackOnly { .. } => {
                Self::new(FINISHED, text)
            }
            Refusal::Conflict { deadlock, holder_status, .. } => {
                let tail = "the local transaction was rolled back; try it again";
                if !deadlock.is_empty() {
                    Self::new(DEADLOCK, format!("{refusal}; {tail}"))
                } else if matches!(holder_status, TxStatus::RollingBack | TxStatus::Blocked) {
                    Self::new(AGAIN, format!("{refusal}; {tail}"))
                } else {
                    Self::new(LOCKED, format!("lock wait timeout: {refusal}; {tail}"))
                }
            }
            Refusal::Invalid(_) => Self::new("XX000", text),
        }
    }
}

/// The database cannot be reached.
pub fn absent(why: &str) -> Failure {
    Failure::new(UNREACHABLE, format!("the database cannot be reached: {why}"))
}

/// A password would travel unencrypted.
pub fn bare_wire() -> Failure {
    let what = "the database has no TLS and asks for the password itself, which would travel over a bare wire. Give the \
        database a certificate, or the account scram-sha-256";
    Failure::new("28000", what)
}

/// The bytes are not of the protocol.
pub fn protocol(what: &str) -> Failure {
    Failure::new("08P01", what)
}
