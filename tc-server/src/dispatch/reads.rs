//! Readers who hold back what they have read until nobody who wrote those tables is undecided.
//!
//! Locks are taken before a local commit and freed by the decision to commit, or when the undo is done. So whatever a read saw
//! of an undecided transaction was locked then. Either it is locked still when the reader asks: whoever holds a key of the
//! tables at that moment is waited for, and nobody who comes later. Or it was freed in between: by a commit, and then what was
//! read is committed; or by an undo, which `State::undone` has counted since, and then it must be read again.

use super::Leader;
use super::deadlock::Reading;
use super::requests::MAX_LOCK_WAIT;
use super::turn::{Connection, Turn, Who, conflict};
use super::waiters::MAX_WAITERS;
use crate::state::{Decision, Key, Lock, State, Transaction};
use atone_protocol::messages::Answer;
use atone_protocol::{CheckRead, Refusal, TxStatus, UndoMark, Xid, failpoint};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;

/// Tables in one question.
const MAX_TABLES: usize = 10_000;

/// All readers who wait, by those they wait for.
#[derive(Debug, Default)]
pub(super) struct Readers {
    next: u64,
    by_xid: BTreeMap<Xid, BTreeMap<u64, Arc<Turn>>>,
    count: usize,
}

impl Readers {
    pub fn len(&self) -> usize {
        self.count
    }

    /// Something has happened to a transaction.
    pub fn tell(&self, xid: Xid) {
        self.by_xid.get(&xid).into_iter().flat_map(BTreeMap::values).for_each(|turn| turn.call());
    }

    fn join(&mut self, behind: &BTreeSet<Xid>, turn: &Arc<Turn>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.count += 1;
        for xid in behind {
            self.by_xid.entry(*xid).or_default().insert(id, Arc::clone(turn));
        }
        id
    }

    fn leave(&mut self, behind: &BTreeSet<Xid>, id: u64) {
        self.count -= 1;
        for xid in behind {
            if let Some(turns) = self.by_xid.get_mut(xid) {
                turns.remove(&id);
                if turns.is_empty() {
                    self.by_xid.remove(xid);
                }
            }
        }
    }
}

/// A reader who waits; given up with the asker.
struct Standing {
    leader: Arc<Leader>,
    id: u64,
    who: Option<Who>,
    turn: Arc<Turn>,
    /// All who were undecided when he asked.
    behind: BTreeSet<Xid>,
    /// The same, and his own transaction.
    heard: BTreeSet<Xid>,
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut memory = self.leader.memory();
        memory.readers.leave(&self.heard, self.id);
        if let Some(who) = &self.who {
            memory.waiters.graph.reader_waits_no_more(who, self.id);
        }
    }
}

/// The first key that a transaction holds alone of what was read, if it may still be undone.
fn obstacle<'t>(tx: &'t Transaction, check: &CheckRead) -> Option<&'t Key> {
    if matches!(tx.decision, Some(Decision::Commit)) {
        return None;
    }
    tx.branches.values().filter(|branch| branch.resource == check.resource).find_map(|branch| {
        match check.everything {
            true => branch.keys.first(),
            false => check.tables.iter().find_map(|table| branch.keys.first_of(table)),
        }
    })
}

/// All who hold keys of what was read, but the reader.
fn undecided(state: &State, check: &CheckRead) -> BTreeSet<Xid> {
    let open = state.active().chain(state.unfinished());
    let others = open.filter(|(xid, _)| Some(*xid) != check.xid);
    others.filter(|(_, tx)| obstacle(tx, check).is_some()).map(|(xid, _)| xid).collect()
}

/// The reader's own transaction is decided: what it read of itself may be undone.
fn over(state: &State, check: &CheckRead) -> Option<Answer> {
    let own = state.transaction(check.xid?).filter(|own| own.decision.is_some())?;
    let (status, reason) = (own.status(), own.reason().to_owned());
    Some(Answer::Refused(Refusal::Finished { status, reason }))
}

fn refusal(key: &Key, check: &CheckRead, xid: Xid, status: TxStatus) -> Refusal {
    conflict(&Lock { resource: check.resource.clone(), key: key.to_lock_key() }, xid, status)
}

/// Those of `behind` who are not decided yet. Err: the reader must not wait.
fn remaining(
    state: &State,
    check: &CheckRead,
    behind: &BTreeSet<Xid>,
    in_time: bool,
) -> Result<BTreeSet<Xid>, Box<Refusal>> {
    let mut left = BTreeSet::new();
    for xid in behind {
        let Some(tx) = state.transaction(*xid) else { continue };
        let Some(key) = obstacle(tx, check) else { continue };
        let waits = match tx.status() {
            TxStatus::Active => true,
            // Its undo may stand behind the reader's own row locks.
            TxStatus::RollingBack => !check.holds_rows,
            TxStatus::Blocked | TxStatus::Committed | TxStatus::RolledBack => false,
        };
        if !waits || !in_time {
            return Err(Box::new(refusal(key, check, *xid, tx.status())));
        }
        left.insert(*xid);
    }
    Ok(left)
}

impl Leader {
    fn mark(&self, state: &State) -> UndoMark {
        UndoMark { run: self.run, count: state.undone().count() }
    }

    /// What was read may not be there any more.
    fn undone_since(&self, state: &State, check: &CheckRead) -> bool {
        let tables = (!check.everything).then_some(check.tables.as_slice());
        let known = check.since.filter(|since| since.run == self.run);
        known.is_none_or(|since| state.undone().since(since.count, &check.resource, tables))
    }

    fn checked(&self, state: &State, check: &CheckRead) -> Answer {
        Answer::ReadChecked { mark: self.mark(state), again: self.undone_since(state, check) }
    }

    /// May a reader have what he has read? Asked of the leader's log.
    pub(super) async fn check_read(self: &Arc<Self>, check: CheckRead) -> Answer {
        if check.tables.len() > MAX_TABLES {
            let why = format!("{} tables in one check are over the most, {MAX_TABLES}", check.tables.len());
            return Answer::Refused(Refusal::Invalid(why));
        }
        let deadline = Instant::now() + check.wait.min(MAX_LOCK_WAIT);
        failpoint::reach("tc.before_check_read").await;
        if let Err(why) = self.node.linearize().await {
            return Answer::Unavailable(why);
        }
        let standing = match self.begin_to_wait(&check) {
            Ok(standing) => standing,
            Err(answer) => return *answer,
        };
        loop {
            let called = tokio::time::timeout_at(deadline, standing.turn.called()).await;
            if let Ok(Some(refusal)) = called {
                return Answer::Refused(refusal);
            }
            let answer = self.node.read(|state| {
                let left = remaining(state, &check, &standing.behind, called.is_ok());
                over(state, &check).or_else(|| match left {
                    Ok(left) if left.is_empty() => Some(self.checked(state, &check)),
                    Ok(_) => None,
                    Err(refusal) => Some(Answer::Refused(*refusal)),
                })
            });
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    /// Err: there is nobody to wait for, or no use in it.
    fn begin_to_wait(self: &Arc<Self>, check: &CheckRead) -> Result<Standing, Box<Answer>> {
        self.with(|state, memory| {
            if let Some(over) = over(state, check) {
                return Err(Box::new(over));
            }
            let answer = self.checked(state, check);
            // To be read again in any case: those who are undecided now may be decided by then.
            if matches!(answer, Answer::ReadChecked { again: true, .. }) {
                return Err(Box::new(answer));
            }
            let behind = undecided(state, check);
            let in_time = !check.wait.is_zero() && memory.readers.len() < MAX_WAITERS;
            let left = remaining(state, check, &behind, in_time);
            let behind = left.map_err(|refusal| Box::new(Answer::Refused(*refusal)))?;
            let first =
                behind.first().and_then(|xid| Some((*xid, obstacle(state.transaction(*xid)?, check)?)));
            let Some((holder, key)) = first else { return Err(Box::new(answer)) };
            let refusal = refusal(key, check, holder, TxStatus::Active);
            let turn = Arc::new(Turn::default());
            let heard: BTreeSet<Xid> = behind.iter().copied().chain(check.xid).collect();
            let id = memory.readers.join(&heard, &turn);
            let connection = Connection::new(&check.resource, check.session);
            let who = check.xid.map(Who::Global).or_else(|| connection.map(Who::Local));
            if let Some(who) = &who {
                let reading = Reading { behind: behind.clone(), refusal, turn: Arc::clone(&turn) };
                memory.waiters.graph.reader_waits(who.clone(), id, reading);
                memory.waiters.break_circles_of(who, state);
            }
            Ok(Standing { leader: Arc::clone(self), id, who, turn, behind, heard })
        })
    }
}
