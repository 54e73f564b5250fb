//! What the server's counts are asked, and when; and statements of which nothing else tells what they wrote.

use super::{
    End, FAILED, Failure, Session,
    counters::{Counters, Counts, Question, Unseen},
    pipeline::{Ask, Fate},
    write::{NOT_KEPT, UNCOUNTED, protectable},
};
use crate::{branch::Branch, lock_wait, wire::postgres::Bind};
use atone_undo_log::{
    analyze::Unsupported,
    postgres::{Class, Counted},
};

use std::time::Duration;

impl Session {
    /// The local transaction has failed: the server refuses everything but its end.
    pub(super) fn failed(&self) -> bool {
        self.block && self.status == FAILED
    }

    /// Before the first statement of a local transaction that may change rows, the counters are asked.
    pub(super) fn begin_counting(&mut self) {
        if !self.counters.known() && !self.counting && !self.failed() {
            self.ask_counters(Question::Baseline);
        }
    }

    /// Asks the counters; [`Session::absorb`] hears the answer.
    pub(super) fn ask_counters(&mut self, question: Question) {
        let fate = if question == Question::Proof { Fate::Drop } else { Fate::Keep };
        self.ask_around(question, fate);
        self.counting = true;
    }

    /// Will there be something to compare when what was gathered has run?
    pub(super) fn expects_counts(&self) -> bool {
        !self.failed() && (self.counting || self.counters.known())
    }

    /// Something was run of which only the counts can tell, and they were not asked for before it: this must not be.
    pub(super) fn unaccounted(&self) -> bool {
        self.counters.relied_on() && !self.counting && !self.counters.known() && !self.failed()
    }

    /// Runs what was gathered and compares the counts.
    pub(super) async fn check_counters(&mut self) -> Result<(), End> {
        if self.unaccounted() {
            let failure = Failure::internal("what was written was not counted");
            return self.refuse(&failure).await;
        }
        if self.expects_counts() {
            self.ask_counters(Question::Counts);
        }
        self.send().await
    }

    /// Deferred triggers and constraints have their say before the counts are asked for the last time: what they do is
    /// part of the local transaction, and what they refuse is refused before anything is registered.
    pub(super) fn fire_deferred(&mut self) {
        let name = self.own_name();
        let bind = Bind {
            portal: name.clone().into_bytes(),
            statement: name.clone().into_bytes(),
            formats: Vec::new(),
            values: Vec::new(),
            results: Vec::new(),
        };
        self.pipeline.parse(&name, "SET CONSTRAINTS ALL IMMEDIATE", &[], Fate::Drop);
        self.pipeline.bind(&bind, Fate::Drop);
        self.pipeline.execute(&name, Fate::Commits);
        self.pipeline.close(b'S', &name);
    }

    /// How long the session queues for global locks.
    pub(super) fn lock_wait(&self) -> Duration {
        self.lock_wait.unwrap_or(self.resource.lock_wait)
    }

    /// The same, as it says now.
    pub(super) fn note_lock_wait(&mut self, rows: &[Vec<Option<Vec<u8>>>]) -> Result<(), String> {
        if !rows.is_empty() {
            self.lock_wait = lock_wait::read("atone.lock_wait", Counters::lock_wait(rows))?;
        }
        Ok(())
    }

    pub(super) async fn uncountable(&mut self) -> Result<(), End> {
        if self.guarding() {
            // What statements tell is checked; nothing is refused.
            self.counters.begin(Counts::new());
            return Ok(());
        }
        let what = Unsupported(UNCOUNTED.into());
        self.answer.extend(Failure::unsupported(&what).message("ERROR"));
        self.fail_locally().await
    }

    pub(super) async fn compare(&mut self, counts: Counts, last_complete: Option<usize>) -> Result<(), End> {
        for unseen in self.counters.check(counts) {
            if let Err(failure) = self.unseen(&unseen).await {
                self.answer.truncate(last_complete.unwrap_or(self.answer.len()));
                self.refused = true;
                self.answer.extend(failure.message("ERROR"));
                return self.fail_locally().await;
            }
        }
        Ok(())
    }

    /// Rows of this table were changed that no statement told of: they will be looked for at the end.
    pub(super) async fn unseen(&mut self, unseen: &Unseen) -> Result<(), Failure> {
        if self.guarding() {
            return self.guard_unseen(unseen).await;
        }
        let refused = |why: &str| Failure::unseen(&unseen.table, why);
        if unseen.counted < unseen.captured {
            let why = format!("{} rows were told of and {} counted", unseen.captured, unseen.counted);
            return Err(refused(&why));
        }
        let resource = self.resource.clone();
        let Some(backend) = resource.backend.postgres() else { return Ok(()) };
        let entry = backend.entry(unseen.oid).await.map_err(|e| Failure::backend(&e))?;
        let entry = entry.ok_or_else(|| refused(NOT_KEPT))?;
        protectable(&entry).map_err(|why| refused(&why))?;
        let branch = self.branch.get_or_insert_with(|| Branch::new(crate::ids::branch()));
        branch.written.insert(unseen.oid, entry.name.clone());
        branch.unseen.insert(entry.name.clone());
        branch.counted += usize::try_from(unseen.counted).unwrap_or(usize::MAX);
        self.few_enough(0)
    }

    /// Nothing but reads since the local transaction began, as far as words tell.
    pub(super) fn only_read(&self) -> bool {
        self.branch.is_none() && self.writes.is_empty() && !self.counters.relied_on()
    }

    /// A statement of which only the counts tell what it writes. `frame` executes it.
    pub(super) async fn counted(&mut self, how: &Counted, frame: &[u8]) -> Result<(), End> {
        if self.skipping {
            // What was asked about it first has met an error: the server passes over all up to the Sync.
            return Ok(());
        }
        let refused = match how {
            _ if self.guarding() => None,
            Counted::Plain | Counted::Copy => None,
            Counted::Procedure if self.block || self.text_block => None,
            Counted::Procedure => {
                Some("CALL or DO, which could commit by itself, outside BEGIN … COMMIT".to_owned())
            }
            // The protocol's statements can be executed in SQL too, and may be of any kind.
            Counted::Execute(name) => match self.statements.statement(name.as_bytes()) {
                None if self.statements.forgetful => {
                    Some("EXECUTE of a statement that may have been prepared too long ago".to_owned())
                }
                None => None,
                Some(prepared) => match prepared.class() {
                    Class::Read | Class::Write(_) | Class::Counted(Counted::Plain) => None,
                    _ => Some("EXECUTE of a statement other than a read or a plain write".to_owned()),
                },
            },
        };
        if let Some(what) = refused {
            return self.refuse(&Failure::unsupported(&Unsupported(what))).await;
        }
        if *how == Counted::Copy {
            // Whatever came before is done with before the client is asked for rows.
            self.send().await?;
            if self.skipping {
                return Ok(());
            }
        }
        let uncounted = match how {
            // It may end local transactions by itself.
            Counted::Procedure => !self.block && !self.text_block && !self.guard_is_up(),
            Counted::Execute(name) => self.statements.reads(name),
            Counted::Plain | Counted::Copy => false,
        };
        if !(uncounted && self.guarding()) {
            self.begin_counting();
            self.counters.rely();
        }
        self.pipeline.pass(frame, Ask::Execute);
        if *how == Counted::Copy {
            // What comes next from the client are the rows.
            self.send().await?;
        }
        Ok(())
    }
}
