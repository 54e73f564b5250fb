//! What a MySQL client is told when we say no: the only place where a reason becomes an error packet.

use crate::{backend::BackendError, wire::packet, yielding};
use atone_protocol::{CallError, Refusal, TxStatus, Xid};
use atone_undo_log::analyze::Unsupported;

/// An error for the client: its number, its state, a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: u16,
    state: &'static str,
    message: String,
}

impl Failure {
    fn new(code: u16, state: &'static str, message: impl Into<String>) -> Self {
        Self { code, state, message: format!("atone: {}", message.into()) }
    }

    /// The same, and why nothing better could be done.
    pub fn because(self, why: &str) -> Self {
        Self { message: format!("{}. {why}", self.message), ..self }
    }

    /// The ERR payload.
    pub fn payload(&self) -> Vec<u8> {
        packet::error(self.code, self.state, &self.message)
    }

    /// Its number.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// For logs.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The statement cannot be protected.
    pub fn unsupported(what: &Unsupported) -> Self {
        Self::new(
            1235,
            "42000",
            format!("{what} is not supported inside a global transaction; nothing was done"),
        )
    }

    /// The table cannot be protected.
    pub fn table(table: &str, why: &str) -> Self {
        Self::new(
            1235,
            "42000",
            format!("table {table} cannot be written inside a global transaction: {why}"),
        )
    }

    /// The table is not there.
    pub fn no_table(table: &str) -> Self {
        let what = "is not known to the proxy's account, or is a temporary table, which cannot be undone";
        Self::new(1235, "42000", format!("table {table} {what}"))
    }

    /// Too much for one local transaction.
    pub fn too_large(what: &str) -> Self {
        Self::new(1235, "42000", format!("{what}. Split the local transaction"))
    }

    /// The undo table is ours alone.
    pub fn private() -> Self {
        Self::new(1142, "42000", "the schema atone is kept by the proxy and cannot be reached through it")
    }

    /// A password would travel unencrypted.
    pub fn bare_wire() -> Self {
        let what = "the client and the database are not both on TLS, and this way to sign in cannot be carried from one \
            to the other without a password on a bare wire. Use TLS on both sides or on none, or the account's usual plugin";
        Self::new(1045, "28000", what)
    }

    /// A password was encrypted with a key that we do not have.
    pub fn foreign_key() -> Self {
        let what = "the client encrypted the password with another public key than the proxy's. Let the client ask \
            for the key (get-server-public-key, allowPublicKeyRetrieval), or use TLS";
        Self::new(1045, "28000", what)
    }

    /// The request does not fit the session's state.
    pub fn misuse(what: impl Into<String>) -> Self {
        Self::new(1568, "25001", what)
    }

    /// The rows changed between capture and write.
    pub fn moved(table: &str, captured: u64, written: u64) -> Self {
        let text = format!(
            "{written} rows of {table} were written but {captured} were captured: another session changed what the \
             statement matches. The local transaction was rolled back; try it again"
        );
        Self::new(1213, "40001", text)
    }

    /// Rows were written that could not be read before.
    pub fn unread(table: &str, why: &str) -> Self {
        let text = format!(
            "the rows of {table} that the statement changes could not be read before ({why}). The local transaction was rolled back"
        );
        Self::new(1235, "42000", text)
    }

    /// Inserted rows cannot be found by what the statement gave as their key.
    pub fn not_found_again(table: &str, inserted: usize, found: usize) -> Self {
        let text = format!(
            "{inserted} rows were inserted into {table} but only {found} are found by the keys in the statement. \
             Give keys as the column stores them. The local transaction was rolled back"
        );
        Self::new(1235, "42000", text)
    }

    /// Rows whose key was assigned cannot be found by what the statement assigned.
    pub fn not_at_its_key(table: &str, moved: usize, found: usize) -> Self {
        let text = format!(
            "{moved} rows of {table} were given new keys but {found} of them are found by what the statement assigns. \
             Assign keys as the column stores them. The local transaction was rolled back"
        );
        Self::new(1235, "42000", text)
    }

    /// Generated keys cannot be told from those of other rows.
    pub fn numbers_in_doubt(table: &str) -> Self {
        let text = format!(
            "the INSERT into {table} mixes given and generated keys, and the generated ones cannot be told from those \
             of rows that came meanwhile. The local transaction was rolled back; try it again, or give all keys or none"
        );
        Self::new(1213, "40001", text)
    }

    /// The local transaction ended behind the client's back.
    pub fn dead(why: &str) -> Self {
        Self::new(
            1213,
            "40001",
            format!("the local transaction was rolled back ({why}); end it with ROLLBACK and try it again"),
        )
    }

    /// The local transaction was ended, because its global one is being rolled back.
    pub fn rolling_back(xid: Xid) -> Self {
        Self::refused(
            xid,
            &Refusal::Finished { status: TxStatus::RollingBack, reason: "the local transaction too".into() },
        )
    }

    /// A database error on the way, as the database said it.
    pub fn database(code: u16, message: &str) -> Self {
        Self::new(code, "HY000", message)
    }

    /// The proxy's own connection to the database fails.
    pub fn backend(error: &BackendError) -> Self {
        Self::new(1105, "HY000", error.to_string())
    }

    /// The connection is to a server that another has replaced.
    pub fn elsewhere() -> Self {
        let text = "this connection is to a server that is not the primary any more, so that nothing was committed on it; \
            connect again and try again";
        Self::new(1213, "40001", text)
    }

    /// A statement waited in a circle and was interrupted.
    pub fn deadlock(circle: &[String]) -> Self {
        Self::new(1213, "40001", yielding::sentence(circle))
    }

    /// The branch may or may not be committed.
    pub fn in_doubt(xid: Xid) -> Self {
        let text = format!(
            "the database was lost while it committed a branch of global transaction {xid}; whether it did is being \
             found out. Ask with SELECT atone_commit('{xid}') or atone tx show {xid}"
        );
        Self::new(1105, "HY000", text)
    }

    /// The database was lost, and the branch surely did not commit.
    pub fn lost(xid: Xid) -> Self {
        let text = format!("the database was lost and the local transaction of {xid} was rolled back");
        Self::new(1213, "40001", text)
    }

    /// The coordinator did not do what was asked.
    pub fn call(xid: Xid, error: &CallError) -> Self {
        match error {
            CallError::Unavailable(why) => Self::new(
                1105,
                "HY000",
                format!("global transaction {xid}: {why}. The outcome is unknown yet; ask again"),
            ),
            CallError::Refused(refusal) => Self::refused(xid, refusal),
        }
    }

    /// A local transaction outside any global one met global locks, or nobody could be asked about them.
    pub fn guarded(error: &CallError) -> Self {
        match error {
            CallError::Unavailable(why) => Self::new(
                1105,
                "HY000",
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
            CallError::Unavailable(why) => {
                let text = format!("whether what was read is committed could not be asked: {why}");
                Self::new(1105, "HY000", text)
            }
            CallError::Refused(refusal @ Refusal::Conflict { deadlock, holder_status, .. }) => {
                let hopeless = !deadlock.is_empty()
                    || matches!(holder_status, TxStatus::RollingBack | TxStatus::Blocked);
                let tail = "and what was read may be undone (@atone_isolation = 'read_committed'); try the local \
                    transaction again";
                if hopeless {
                    Self::new(1213, "40001", format!("{refusal}, {tail}"))
                } else {
                    Self::new(1205, "HY000", format!("lock wait timeout: {refusal}, {tail}"))
                }
            }
            CallError::Refused(refusal) => Self::refused(xid.unwrap_or(Xid::from_u128(0)), refusal),
        }
    }

    /// What was read is gone, and cannot be read again.
    pub fn undone(alone: bool) -> Self {
        let why = if alone { "too often" } else { "and cannot be read again within this local transaction" };
        let text = format!(
            "what was read was undone meanwhile by the rollback of a global transaction, or was one part of several that it \
             has committed, {why} (@atone_isolation = 'read_committed'); try the local transaction again"
        );
        Self::new(1213, "40001", text)
    }

    /// A result is larger than what is held back.
    pub fn too_much_held() -> Self {
        let text = format!(
            "the result is over {} MiB, more than is held back until it is known to be committed. Read it in parts, or with \
             SET @atone_isolation = 'read_uncommitted'",
            crate::isolation::HOLD_LIMIT >> 20
        );
        Self::new(1105, "HY000", text)
    }

    /// What cannot be checked is refused.
    pub fn uncheckable(what: &str) -> Self {
        let text = format!(
            "{what} cannot be checked under @atone_isolation = 'read_committed'; nothing was done. Use SET @atone_isolation \
             = 'read_uncommitted'"
        );
        Self::new(1235, "42000", text)
    }

    /// A setting of ours has no such value.
    pub fn wrong_value(why: &str) -> Self {
        Self::new(1231, "42000", why)
    }

    fn refused(xid: Xid, refusal: &Refusal) -> Self {
        let text = format!("global transaction {xid}: {refusal}");
        match refusal {
            Refusal::Unknown | Refusal::Finished { .. } | Refusal::RollbackOnly { .. } => {
                Self::new(1792, "25006", text)
            }
            Refusal::Conflict { deadlock, holder_status, .. } => {
                let hopeless = !deadlock.is_empty()
                    || matches!(holder_status, TxStatus::RollingBack | TxStatus::Blocked);
                let tail = "the local transaction was rolled back; try it again";
                if hopeless {
                    Self::new(1213, "40001", format!("{refusal}; {tail}"))
                } else {
                    Self::new(1205, "HY000", format!("lock wait timeout: {refusal}; {tail}"))
                }
            }
            Refusal::Invalid(_) => Self::new(1105, "HY000", text),
        }
    }
}
