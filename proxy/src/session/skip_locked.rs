//! SELECT … SKIP LOCKED passes over rows that only a global transaction holds, too: their branch is committed locally, so that the
//! database does not know. The row locks just taken are let go of, the proxy's own account locks the rows in question for
//! a moment, and the rows are asked for again. It is the database that passes over them then, so that LIMIT and ORDER BY mean
//! what they should; and what comes now is asked about as before.
//!
//! InnoDB keeps row locks after ROLLBACK TO SAVEPOINT. They are let go of with the local transaction, which can be only where the
//! read is all of it. To keep them would keep the undo of those who hold the rows waiting for as long as the client likes.

use super::{
    Answer, Command, End, Failure, Session,
    locking::{NotTaken, Read, Taken, wanted},
};
use crate::{
    backend::Hold,
    branch::{Encounters, lock_key},
    wire::{
        capability::{AUTOCOMMIT, IN_TRANS},
        command, packet, scan,
    },
};
use atone_protocol::{CallError, LockKey, Refusal};
use atone_undo_log::capture::{self, Captured};
use std::{collections::BTreeMap, time::Duration};

/// So many rows that others hold are looked for among those of one answer.
const MET_AT_ONCE: usize = 64;

/// Statements that open a local transaction, and do nothing besides.
const OPENS: [&str; 5] = [
    "BEGIN",
    "BEGIN WORK",
    "START TRANSACTION",
    "START TRANSACTION READ WRITE",
    "START TRANSACTION READ ONLY",
];

/// How the local transaction was opened, as long as nothing else was said in it.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// The last command opened it by these words.
    last: Option<&'static str>,
    /// So did the one before that which is under way.
    by: Option<&'static str>,
    /// One was open when the last command came.
    in_one: bool,
    /// How the next one is to be was said for that one alone, perhaps.
    characterized: bool,
    /// A savepoint may have been set: without autocommit the server does not call that an open local transaction.
    saved: bool,
}

impl Opened {
    /// A command comes that is not looked at.
    pub fn forget(&mut self) {
        (self.last, self.by, self.characterized) = (None, None, true);
    }
}

/// How row locks are let go of.
enum LetGo {
    /// By a ROLLBACK; what comes next opens a local transaction by itself.
    RollBack,
    /// And by opening another by these words.
    Reopen(&'static str),
}

/// Rows that others hold globally.
struct Met {
    rows: Vec<usize>,
    /// What the client is told if they cannot be passed over.
    failure: Failure,
}

impl Session {
    /// Before each command.
    pub(super) fn note_command(&mut self, command: &Command) {
        if command.code() == command::PING {
            return;
        }
        let in_one = self.status & IN_TRANS != 0;
        let ended = std::mem::replace(&mut self.opened.in_one, in_one) && !in_one;
        self.opened.characterized &= !ended;
        self.opened.saved &= !ended;
        self.opened.by = self.opened.last.take();
        if let Some(text) = self.text_of(command) {
            self.opened.characterized |= characterizes(&text);
            self.opened.saved |= text.windows(9).any(|w| w.eq_ignore_ascii_case(b"SAVEPOINT"));
        }
    }

    /// A command was passed on, and was done.
    pub(super) fn note_opened(&mut self, command: &Command) {
        if command.code() == command::QUERY && self.status & IN_TRANS != 0 {
            self.opened.last = self.text_of(command).and_then(|text| opens(&text));
        }
    }

    /// Locks the rows of such a read that nobody else holds, neither in the database nor globally.
    pub(super) async fn skip_locked(
        &mut self,
        read: &Read<'_>,
        alone: bool,
        most: usize,
    ) -> Result<Result<Taken, NotTaken>, End> {
        let how = self.how_to_let_go(alone).await?;
        let mut hold = None;
        let taken = self.take_others(read, (alone, most), &how, &mut hold).await;
        if let Some(hold) = hold {
            hold.end().await;
        }
        taken
    }

    async fn take_others(
        &mut self,
        read: &Read<'_>,
        (alone, most): (bool, usize),
        how: &Result<LetGo, &str>,
        hold: &mut Option<Hold>,
    ) -> Result<Result<Taken, NotTaken>, End> {
        let mut encounters = Encounters::default();
        loop {
            let (taken, met) = match Hold::during(hold, self.take_and_ask(read, alone, most)).await? {
                Ok((taken, None)) => return Ok(Ok(taken)),
                Ok((taken, Some(met))) => (taken, met),
                Err(not) => return Ok(Err(not)),
            };
            let key = |at: &usize| lock_key(&taken.rows[*at].0.name, &taken.rows[*at].1.key);
            let few = encounters.with(met.rows.iter().map(key));
            let again = match how {
                Err(why) => Err((*why).to_owned()),
                Ok(_) if few.is_err() => few,
                Ok(how) => match Hold::during(hold, self.let_go(how)).await? {
                    Ok(()) => self.hold_rows(read, &taken, &met, hold).await,
                    Err(why) => Err(why),
                },
            };
            if let Err(why) = again {
                return Ok(Err(NotTaken::Refused(met.failure.because(&why))));
            }
        }
    }

    async fn take_and_ask(
        &mut self,
        read: &Read<'_>,
        alone: bool,
        most: usize,
    ) -> Result<Result<(Taken, Option<Met>), NotTaken>, End> {
        let taken = match self.take_few(read, alone, most).await? {
            Ok(taken) => taken,
            Err(not) => return Ok(Err(not)),
        };
        let met = self.meets(read, &taken).await;
        Ok(met.map(|met| (taken, met)).map_err(NotTaken::Refused))
    }

    /// Asked before the read, which may open a local transaction. Err: why they cannot be let go of.
    async fn how_to_let_go(&mut self, alone: bool) -> Result<Result<LetGo, &'static str>, End> {
        const NOT_ALL: &str = "SKIP LOCKED cannot pass over it, since the local transaction has done more than this read, and InnoDB \
            lets go of row locks at its end alone. Let the read be its first statement, behind a plain BEGIN, or run it in \
            autocommit";
        if self.opened.characterized || self.tracked {
            return Ok(Err(
                "SKIP LOCKED cannot pass over it after SET TRANSACTION for the next local transaction alone, nor with \
                 session_track_transaction_info; SET SESSION TRANSACTION is no hindrance",
            ));
        }
        if alone {
            return Ok(Ok(LetGo::RollBack));
        }
        let nothing = self.branch.is_none() && self.touched.is_clear() && self.dead.is_none();
        if self.status & IN_TRANS != 0 {
            return Ok(self.opened.by.filter(|_| nothing).map(LetGo::Reopen).ok_or(NOT_ALL));
        }
        // Without autocommit. An error would not have told that something is open.
        let ping = packet::frames(&[command::PING], 0).0;
        let Answer::Ok(ok, _) = self.backside.run_raw(&ping).await? else { return Err(End::Done) };
        let none = ok.status & (IN_TRANS | AUTOCOMMIT) == 0 && !self.opened.saved;
        Ok(if none && nothing { Ok(LetGo::RollBack) } else { Err(NOT_ALL) })
    }

    async fn let_go(&mut self, how: &LetGo) -> Result<Result<(), String>, End> {
        let mut statements = vec!["ROLLBACK AND NO CHAIN NO RELEASE"];
        if let LetGo::Reopen(by) = how {
            statements.push(by);
        }
        for answer in self.backside.ask(&statements).await? {
            match answer {
                Answer::Ok(ok, _) => self.status = ok.status,
                Answer::Error(error) => {
                    return Ok(Err(format!("It could not be let go of: {}", error.message())));
                }
                Answer::Rows(_) | Answer::TooMany => return Err(End::Done),
            }
        }
        Ok(Ok(()))
    }

    /// Which of the rows somebody else holds. None: all are free.
    async fn meets(&mut self, read: &Read<'_>, taken: &Taken) -> Result<Option<Met>, Failure> {
        let key = |at: usize| lock_key(&taken.rows[at].0.name, &taken.rows[at].1.key);
        let mut rows_of: BTreeMap<LockKey, usize> = (0..taken.rows.len()).map(|at| (key(at), at)).collect();
        let mut wanted = wanted(read, taken);
        let (mut rows, mut first) = (Vec::new(), None);
        while rows.len() < MET_AT_ONCE {
            let Err(error) = self.ask_free(wanted.clone(), Duration::ZERO).await? else { break };
            let failure = self.not_free(&error);
            let CallError::Refused(Refusal::Conflict { key, .. }) = &error else { return Err(failure) };
            let Some(at) = rows_of.remove(key) else {
                return Err(
                    failure.because("Its rows cannot be told one by one, for SKIP LOCKED to pass over")
                );
            };
            wanted.locks.alone.remove(key);
            wanted.locks.shared.remove(key);
            rows.push(at);
            first.get_or_insert(failure);
        }
        Ok(first.map(|failure| Met { rows, failure }))
    }

    /// Our own account locks these rows, those that nobody else has locked.
    async fn hold_rows(
        &mut self,
        read: &Read<'_>,
        taken: &Taken,
        met: &Met,
        hold: &mut Option<Hold>,
    ) -> Result<(), String> {
        let failed = |error| format!("SKIP LOCKED could not pass over it: {error}");
        let held = match hold {
            Some(held) => held,
            None => hold.insert(Hold::begin(&self.resource.backend).await.map_err(failed)?),
        };
        for (entry, table) in read.tables.iter().flatten() {
            let own = met.rows.iter().map(|at| &taken.rows[*at]).filter(|(of, _)| of.name == entry.name);
            let rows: Vec<&Captured> = own.map(|(_, row)| row).collect();
            let keys = capture::keys_of(table, rows);
            if !keys.is_empty() && !held.take((entry, table), &keys, false).await.map_err(failed)? {
                return Err("SKIP LOCKED met other such rows for too long".to_owned());
            }
        }
        Ok(())
    }
}

/// The words by which a statement opens a local transaction.
fn opens(text: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(text).ok()?.trim().trim_end_matches(';');
    let words: Vec<String> = text.split_ascii_whitespace().map(str::to_ascii_uppercase).collect();
    let words = words.join(" ");
    OPENS.into_iter().find(|opens| *opens == words)
}

/// May it say how the next local transaction is to be, and only that one?
fn characterizes(text: &[u8]) -> bool {
    let says = |word: &[u8]| text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
    if !says(b"TRANSACTION") && !says(b"TX_") {
        return false;
    }
    let comment = says(b"/*") || says(b"--") || says(b"#");
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let set = words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"SET"));
    let scope = words.next().unwrap_or_default();
    let of_session = scope.eq_ignore_ascii_case(b"SESSION") || scope.eq_ignore_ascii_case(b"GLOBAL");
    let starts = scan::first_word(text).eq_ignore_ascii_case(b"SET") || comment && says(b"SET");
    let more = comment || says(b",");
    starts && (more || !set || !of_session)
}

#[cfg(test)]
mod tests {
    use super::{characterizes, opens};

    #[test]
    fn only_a_plain_begin_can_be_done_again() {
        assert_eq!(opens(b" begin ;"), Some("BEGIN"));
        assert_eq!(opens(b"START  TRANSACTION\nREAD ONLY"), Some("START TRANSACTION READ ONLY"));
        for other in [
            &b"BEGIN; UPDATE t SET v = 1"[..],
            b"START TRANSACTION WITH CONSISTENT SNAPSHOT",
            b"BEGIN NOT ATOMIC UPDATE t SET v = 1; END",
            b"/* a */ BEGIN",
            b"SET autocommit = 0",
        ] {
            assert_eq!(opens(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn what_is_said_of_the_next_local_transaction_is_noticed() {
        for text in [
            &b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"[..],
            b"set @@transaction_isolation = 'SERIALIZABLE'",
            b"SET SESSION sql_mode = '', @@tx_isolation = 'SERIALIZABLE'",
            b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE /* not the session's */",
            b"-- x\nSET TRANSACTION READ ONLY",
            b"/*! SET TRANSACTION READ ONLY */",
        ] {
            assert!(characterizes(text), "{}", text.escape_ascii());
        }
        for text in [
            &b"SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"[..],
            b"SET autocommit = 0",
            b"SELECT @@tx_isolation",
        ] {
            assert!(!characterizes(text), "{}", text.escape_ascii());
        }
    }
}
