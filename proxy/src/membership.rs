//! A session's part in a global transaction: begin, join, leave, decide. The same for every protocol; how the client asks
//! and is answered is theirs.

use crate::{
    bindings::{Binding, Bindings},
    stuck::Statements,
};
use atone_protocol::{CallError, Client, Refusal, TxStatus, Xid};
use std::{sync::Arc, time::Duration};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a rollback is waited for before the answer is `rolling_back`.
const ROLLBACK_WAIT: Duration = Duration::from_secs(10);

/// Why not.
#[derive(Debug)]
pub enum Denied {
    /// It does not fit the session's state.
    Misuse(String),
    /// The coordinator said no, or nothing.
    Call(Xid, Box<CallError>),
}

/// What the client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// `atone_begin`
    Begin,
    /// `atone_join`, or a setting with an xid
    Join,
    /// `atone_leave`, or a setting without
    Leave,
    /// `atone_xid`
    Xid,
    /// `atone_commit`
    Commit,
    /// `atone_rollback`
    Rollback,
}

impl Wish {
    /// From the function's name and its first argument.
    pub fn of(function: &str, first: Option<&str>) -> Self {
        match function {
            "atone_begin" => Self::Begin,
            "atone_xid" => Self::Xid,
            "atone_join" => Self::Join,
            "set" if first.is_some_and(|x| !x.is_empty()) => Self::Join,
            "atone_leave" | "set" => Self::Leave,
            "atone_commit" => Self::Commit,
            _ => Self::Rollback,
        }
    }
}

/// The session's binding and whom to ask.
pub struct Membership {
    coordinator: Client,
    bindings: Arc<Bindings>,
    /// Where the session is known by the database's number of its connection.
    statements: (Arc<Statements>, u64),
    /// The global transaction that the session is in.
    pub binding: Option<Binding>,
}

impl Membership {
    /// In none.
    pub fn new(coordinator: Client, bindings: Arc<Bindings>, statements: (Arc<Statements>, u64)) -> Self {
        Self { coordinator, bindings, statements, binding: None }
    }

    fn bind(&mut self, xid: Xid) {
        let (statements, connection) = &self.statements;
        self.binding = Some(self.bindings.bind(xid, statements.enter(*connection, xid)));
    }

    /// The global transaction that the session is in.
    pub fn xid(&self) -> Option<Xid> {
        self.binding.as_ref().map(|b| b.xid)
    }

    /// Would entering be right now? The xid that the session is in already, if joining that one.
    pub fn may_enter(&self, wish: Wish, xid: Option<&str>) -> Result<Option<Xid>, Denied> {
        let Some(bound) = self.xid() else { return Ok(None) };
        if wish == Wish::Begin {
            let what =
                format!("this session is already in global transaction {bound}; SELECT atone_leave() first");
            return Err(Denied::Misuse(what));
        }
        let wanted = parse(xid)?;
        if wanted == bound {
            return Ok(Some(bound));
        }
        Err(Denied::Misuse(format!(
            "this session is in global transaction {bound} and cannot join {wanted}; SELECT atone_leave() first"
        )))
    }

    /// Begins one and binds the session.
    pub async fn begin(&mut self, name: Option<&str>, timeout: Option<&str>) -> Result<Xid, Denied> {
        let timeout = match timeout.map(str::parse::<u64>) {
            None => DEFAULT_TIMEOUT,
            Some(Ok(ms)) if ms > 0 && ms <= LONGEST_TIMEOUT.as_millis() as u64 => Duration::from_millis(ms),
            Some(_) => {
                return Err(Denied::Misuse("the timeout must be 1 to 600000 milliseconds".into()));
            }
        };
        let xid = crate::ids::xid();
        let begun = self.coordinator.begin(xid, name.unwrap_or_default(), timeout).await;
        begun.map_err(|e| Denied::Call(xid, Box::new(e)))?;
        self.bind(xid);
        Ok(xid)
    }

    /// Binds the session to one begun elsewhere. A finished or unknown xid is refused now; Register would refuse it again.
    pub async fn join(&mut self, xid: Option<&str>) -> Result<Xid, Denied> {
        let xid = parse(xid)?;
        let call = |error| Denied::Call(xid, Box::new(error));
        match self.coordinator.status(xid).await.map_err(call)? {
            Some((TxStatus::Active, _)) => {
                self.bind(xid);
                Ok(xid)
            }
            Some((status, reason)) => Err(call(CallError::Refused(Refusal::Finished { status, reason }))),
            None => Err(call(CallError::Refused(Refusal::Unknown))),
        }
    }

    /// Unbinds; the global transaction goes on.
    pub fn leave(&mut self, has_written: bool) -> Result<Option<Xid>, Denied> {
        if has_written {
            return Err(Denied::Misuse(WRITTEN.into()));
        }
        Ok(self.binding.take().map(|b| b.xid))
    }

    /// The one to decide: the one given, or the session's own; and whether it is its own.
    pub fn to_decide(&self, xid: Option<&str>) -> Result<(Xid, bool), Denied> {
        let bound = self.xid();
        match (xid, bound) {
            (Some(text), _) => parse(Some(text)).map(|xid| (xid, bound == Some(xid))),
            (None, Some(xid)) => Ok((xid, true)),
            (None, None) => {
                Err(Denied::Misuse("this session is in no global transaction; give the xid".into()))
            }
        }
    }

    /// Commits or rolls back all of it; the final status. The caller has ended its own local transaction.
    pub async fn decide(&mut self, xid: Xid, commit: bool) -> Result<TxStatus, Denied> {
        let answer = if commit {
            self.coordinator.commit(xid).await
        } else {
            self.coordinator.rollback(xid, "asked by the application", ROLLBACK_WAIT).await
        };
        // After any answer of the coordinator the session is free; only an unknown outcome may be asked for again.
        if self.xid() == Some(xid) && !matches!(answer, Err(CallError::Unavailable(_))) {
            self.binding = None;
        }
        answer.map_err(|e| Denied::Call(xid, Box::new(e)))
    }
}

/// What a session is told that would decide or leave with a local transaction open.
pub const WRITTEN: &str = "the local transaction has written; COMMIT or ROLLBACK it first";

fn parse(xid: Option<&str>) -> Result<Xid, Denied> {
    xid.unwrap_or_default().parse::<Xid>().map_err(|e| Denied::Misuse(e.to_string()))
}
