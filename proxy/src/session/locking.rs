//! Reads that lock rows. Inside a global transaction they take their global locks too, FOR SHARE those that others may share;
//! outside they see to it that nobody holds them. Rows are given to the client only then: what it reads under a lock is never undone later.
//!
//! The keys are asked for first, under the same locks; what the read then returns is counted.

use super::{
    Answer, Command, Echo, End, Failure, Session, Settings,
    echo::NO_ROWS,
    guard::{LOCKED, Mark, Touched, Wanted, outside},
    relay,
    write::Execution,
};
use crate::{
    backend::{Entry, Reach},
    branch::{Branch, Change, NoPlan, Planner, lock_key},
    wire::{
        capability::{DEPRECATE_EOF, IN_TRANS_READONLY},
        command, packet,
        reply::OkPacket,
    },
};
use atone_undo_log::{
    analyze::{Locking, Locks, Unsupported, locks},
    capture::{self, Captured, Table},
};
use bytes::Bytes;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Flags of an execution that asks for a cursor.
const CURSORS: u8 = 7;

/// May a read lock rows?
pub(super) fn may_lock(text: &[u8]) -> bool {
    let follows = |rest: &[u8], words: &[&[u8]]| {
        let rest = rest.trim_ascii_start();
        words.iter().any(|word| rest.get(..word.len()).is_some_and(|r| r.eq_ignore_ascii_case(word)))
    };
    text.windows(4).enumerate().any(|(at, word)| {
        word[..3].eq_ignore_ascii_case(b"FOR")
            && follows(&text[at + 3..], &[b"UPDATE", b"SHARE", b"/*", b"--", b"#"])
            || word.eq_ignore_ascii_case(b"LOCK") && follows(&text[at + 4..], &[b"IN", b"/*", b"--", b"#"])
    })
}

/// What is to be locked.
pub(super) struct Read<'a> {
    text: &'a Bytes,
    command: &'a Command,
    pub locking: Locking,
    literals: Vec<String>,
    prepared: bool,
    /// Each of its tables; or those that are asked for as a whole.
    pub tables: Result<Vec<(Arc<Entry>, Table)>, Reach>,
    /// Those of which no row is ever locked globally.
    keyless: BTreeSet<String>,
}

/// What was locked.
pub(super) struct Taken {
    pub rows: Vec<(Arc<Entry>, Captured)>,
    /// Rows of the answer.
    count: u64,
    /// Too many to be told apart, or not to be told.
    pub whole: BTreeSet<String>,
}

/// Why nothing was.
pub(super) enum NotTaken {
    Server(super::ServerError),
    Unreadable(String),
    /// It was, and must not be.
    Refused(Failure),
}

impl Session {
    /// A locking read outside global transactions; gives it back where it is not sure what it locks.
    pub(super) async fn guarded_read(
        &mut self,
        text: &Bytes,
        command: Command,
        execution: Option<Execution>,
    ) -> Result<Option<Command>, End> {
        if self.tables_locked || self.tracked || self.status & IN_TRANS_READONLY != 0 {
            return Ok(Some(command));
        }
        let settings = self.settings().await?;
        let Ok(Some(read)) = self.read_of(text, &command, execution.as_ref(), &settings).await? else {
            return Ok(Some(command));
        };
        let alone = self.autocommits();
        if read.tables.is_err() {
            return match alone {
                true => self.run_unread(text, command).await.map(|()| None),
                false => Ok(Some(command)),
            };
        }
        let taken = match self.take_free(&read, alone, usize::MAX).await? {
            Ok(taken) => taken,
            Err(NotTaken::Server(error)) => return self.failed(error, alone).await.map(|()| None),
            Err(NotTaken::Refused(failure)) => {
                self.roll_back_locally().await?;
                self.touched.clear();
                return self.fail(&failure).await.map(|()| None);
            }
            Err(NotTaken::Unreadable(_)) => {
                if alone {
                    self.roll_back_locally().await?;
                }
                return Ok(Some(command));
            }
        };
        self.backside.found = None;
        let (relayed, end) = self.give(&read, &taken, alone).await?;
        let failed = relayed.outcome.error.is_some();
        let mut more = Touched::default();
        if !failed && read.differs(relayed.rows, &taken) {
            more.add(vec![Mark::Reach(Reach::Tables(read.names()))]);
        }
        if alone {
            self.backside.found = (!failed).then_some(relayed.rows.cast_signed());
            self.finish_relayed(&more, Vec::new(), end.sequence, &end.payload, failed).await?;
            return Ok(None);
        }
        self.end_read(&relayed, &more, &end).await.map(|()| None)
    }

    /// The end of a read in a local transaction that goes on.
    async fn end_read(
        &mut self,
        relayed: &relay::Relayed,
        more: &Touched,
        end: &crate::net::Packet,
    ) -> Result<(), End> {
        if let Some(status) = relayed.outcome.status {
            self.status = status;
        }
        if let Err(failure) = self.check(more).await? {
            self.roll_back_locally().await?;
            self.touched.clear();
            return Ok(self.client.send(&failure.payload(), end.sequence).await?);
        }
        self.backside.tracked.read();
        self.tell_end(&end.payload, end.sequence).await?;
        match relayed.outcome.error {
            Some(code) => self.check_local_transaction(code).await,
            None => Ok(()),
        }
    }

    /// A locking read inside a global transaction.
    pub(super) async fn bound_read(
        &mut self,
        text: &Bytes,
        command: Command,
        execution: Execution,
        settings: &Settings,
    ) -> Result<(), End> {
        let alone = self.autocommits();
        let read = match self.read_of(text, &command, Some(&execution), settings).await? {
            Ok(Some(read)) => read,
            // Of a temporary table.
            Ok(None) => return self.relay(command).await.map(drop),
            Err(what) => return self.fail(&Failure::unsupported(&what)).await,
        };
        if let Err(reach) = &read.tables {
            let reached = match reach {
                Reach::Tables(tables) => tables.iter().all(|table| read.keyless.contains(table)),
                Reach::Everything => false,
            };
            if !reached {
                let what = "a locking read of a view, or of tables with keys and tables without,";
                return self.fail(&Failure::unsupported(&Unsupported(what.into()))).await;
            }
            // None of their rows can be locked; but somebody may hold what was locked before.
            let mut wanted = Wanted::default();
            wanted.reach(reach);
            return match self.await_free(wanted, self.lock_wait()).await {
                Ok(()) => self.relay(command).await.map(drop),
                Err(failure) => self.stop_read(failure, alone).await,
            };
        }
        let most = self.resource.max_rows.saturating_sub(self.branch.as_ref().map_or(0, Branch::rows));
        let taken = match self.take_free(&read, alone, most).await? {
            Ok(taken) => taken,
            Err(NotTaken::Server(error)) => return self.failed(error, alone).await,
            Err(NotTaken::Refused(failure)) => return self.stop_read(failure, alone).await,
            Err(NotTaken::Unreadable(why)) => {
                if alone {
                    self.roll_back_locally().await?;
                }
                let what = format!("a locking read whose rows cannot be asked for first ({why})");
                return self.fail(&Failure::unsupported(&Unsupported(what))).await;
            }
        };
        // Where nothing can be written there is no branch: its undo record could not be.
        let kept = if self.status & IN_TRANS_READONLY == 0 { taken.rows.as_slice() } else { &[] };
        for (entry, row) in kept {
            let branch = self.branch.get_or_insert_with(|| Branch::new(crate::ids::branch()));
            let (table, key, shared) = (branch.table(entry), row.key.clone(), !read.locking.exclusive);
            branch.changes.push(Change::Locked { table, key, shared });
        }
        if alone {
            self.client.hold();
        }
        self.backside.found = None;
        let given = self.give(&read, &taken, alone).await;
        let held = if alone { self.client.release() } else { Vec::new() };
        let (relayed, end) = given?;
        if relayed.outcome.error.is_none() && read.differs(relayed.rows, &taken) {
            let failure = Failure::moved(&read.first(), taken.count, relayed.rows);
            if !alone {
                // Its rows are out: an error ends them.
                self.roll_back_locally().await?;
                self.dead = Some(failure.clone());
                return Ok(self.client.send(&failure.payload(), end.sequence).await?);
            }
            return self.stop_read(failure, alone).await;
        }
        if !alone {
            return self.end_read(&relayed, &Touched::default(), &end).await;
        }
        self.end_bound_alone(relayed.outcome.error.is_some(), held, end).await
    }

    /// A locking read that is its own local transaction: its locks are registered before its rows are given.
    async fn end_bound_alone(
        &mut self,
        failed: bool,
        held: Vec<u8>,
        end: crate::net::Packet,
    ) -> Result<(), End> {
        let deprecate_eof = self.backside.capabilities & DEPRECATE_EOF != 0;
        let warned =
            failed || !deprecate_eof || OkPacket::read(&end.payload).is_none_or(|ok| ok.warnings > 0);
        let echo = Echo::keep(&mut self.backside, NO_ROWS, warned).await?;
        let branch = self.branch.take().filter(|branch| !branch.changes.is_empty() && !failed);
        let mut lost = false;
        match branch {
            None => self.roll_back_locally().await?,
            Some(branch) => match self.settle(branch, "COMMIT AND NO CHAIN NO RELEASE").await? {
                Ok(answer) => lost = answer.is_none(),
                Err((failure, lost)) => {
                    self.fail(&failure).await?;
                    return if lost { Err(End::Done) } else { Ok(()) };
                }
            },
        }
        self.status = outside(self.status);
        self.echo = Some(echo.outside(deprecate_eof));
        let mut told = end.payload.to_vec();
        let status_at = match OkPacket::read(&told) {
            _ if failed => None,
            _ if told.len() < 9 && told.first() == Some(&0xfe) && told.len() == 5 => Some(3),
            ok => ok.map(|ok| ok.status_at),
        };
        if let Some(status) = status_at.and_then(|at| told.get_mut(at..at + 2)) {
            let said = outside(u16::from_le_bytes([status[0], status[1]]));
            status.copy_from_slice(&said.to_le_bytes());
        }
        self.client.write(&held).await?;
        self.tell_end(&told, end.sequence).await?;
        if lost { Err(End::Done) } else { Ok(()) }
    }

    async fn stop_read(&mut self, failure: Failure, alone: bool) -> Result<(), End> {
        self.roll_back_locally().await?;
        self.dead = (!alone).then(|| failure.clone());
        self.fail(&failure).await
    }

    /// What the text says of its locks. None: it concerns no table that is known. Err: it is not sure.
    async fn read_of<'a>(
        &mut self,
        text: &'a Bytes,
        command: &'a Command,
        execution: Option<&Execution>,
        settings: &Settings,
    ) -> Result<Result<Option<Read<'a>>, Unsupported>, End> {
        let unclear = || Unsupported("a locking read of which it is not sure which rows it locks".into());
        let prepared = !matches!(execution, Some(Execution::Text));
        let cursor = command.code() == command::STMT_EXECUTE
            && command.payload.get(5).is_none_or(|flags| flags & CURSORS != 0);
        let stale = prepared && !self.reads_as_prepared(&command.payload);
        let readable = settings.unreadable.is_none() && settings.readable(text) && !cursor && !stale;
        let (Locks::Of(locking), true) = (locks(text, settings.mode), readable) else {
            return Ok(Err(unclear()));
        };
        let params = match execution {
            Some(Execution::Prepared(params)) => params.as_slice(),
            Some(Execution::Text) => &[],
            None => return Ok(Err(unclear())),
        };
        // Run again it may find others, unless it is told which.
        let again = locking.skips || locking.limit.is_some() && !locking.single;
        if params.len() != locking.params.len() || again && (prepared || !locking.single || !locking.plain) {
            return Ok(Err(unclear()));
        }
        let literals = params.iter().map(|p| p.literal(&settings.charset)).collect();
        let mysql = self.mysql.clone();
        let planner = Planner { mysql: &mysql, settings, only_keys: None };
        let (mut tables, mut keyless) = (Ok(Vec::new()), BTreeSet::new());
        for locked in &locking.tables {
            match planner.keyed(&locked.name).await {
                Ok((entry, Ok(table))) => {
                    if let Ok(tables) = &mut tables {
                        tables.push((entry, table));
                    }
                }
                Ok((entry, Err(_))) => {
                    keyless.insert(entry.name.clone());
                    tables = Err(self.reach_of(text, command).await?);
                }
                Err(NoPlan::NoTable(_)) if locking.single => return Ok(Ok(None)),
                Err(_) => return Ok(Err(unclear())),
            }
        }
        Ok(Ok(Some(Read { text, command, locking, literals, prepared, tables, keyless })))
    }

    /// Locks the rows, and waits until nobody else holds them globally.
    async fn take_free(
        &mut self,
        read: &Read<'_>,
        alone: bool,
        most: usize,
    ) -> Result<Result<Taken, NotTaken>, End> {
        if read.locking.skips {
            return Box::pin(self.skip_locked(read, alone, most)).await;
        }
        Ok(match self.take_few(read, alone, most).await? {
            Ok(taken) => {
                let free = self.await_free(wanted(read, &taken), read.patience(self.lock_wait())).await;
                free.map(|()| taken).map_err(NotTaken::Refused)
            }
            not => not,
        })
    }

    /// Locks so many rows at most, if each must be told.
    pub(super) async fn take_few(
        &mut self,
        read: &Read<'_>,
        alone: bool,
        most: usize,
    ) -> Result<Result<Taken, NotTaken>, End> {
        let taken = self.take(read, alone).await?;
        let few = |taken: &Taken| most == usize::MAX || taken.whole.is_empty() && taken.rows.len() <= most;
        Ok(match taken {
            Ok(taken) if !few(&taken) => {
                let most = self.resource.max_rows;
                let what = format!("the read would lock over {most} rows (max_rows)");
                Err(NotTaken::Refused(Failure::too_large(&what)))
            }
            taken => taken,
        })
    }

    /// Locks the rows and reads their keys, in a local transaction of its own if the read stands alone.
    async fn take(&mut self, read: &Read<'_>, alone: bool) -> Result<Result<Taken, NotTaken>, End> {
        let empty = Vec::new();
        let tables = read.tables.as_ref().unwrap_or(&empty);
        let described: Vec<&Table> = tables.iter().map(|(_, table)| table).collect();
        let Ok(sql) = std::str::from_utf8(read.text) else {
            return Ok(Err(NotTaken::Unreadable("it is not UTF-8".into())));
        };
        let mut queries = vec![capture::keys_of_read(&described, sql, &read.locking, &read.literals)];
        if alone {
            queries.insert(0, "BEGIN".into());
        }
        let mut answers = self.backside.ask(&queries).await?;
        let keys = answers.pop();
        match answers.pop() {
            Some(Answer::Error(error)) => return Ok(Err(NotTaken::Server(error))),
            Some(Answer::Ok(ok, _)) => self.status = ok.status,
            _ => {}
        }
        let mut taken = Taken { rows: Vec::new(), count: 0, whole: BTreeSet::new() };
        let rows = match keys {
            Some(Answer::Rows(rows)) => rows,
            Some(Answer::Error(error)) if LOCKED.contains(&error.code) => {
                return Ok(Err(NotTaken::Server(error)));
            }
            Some(Answer::Error(error)) => return Ok(Err(NotTaken::Unreadable(error.message()))),
            Some(Answer::TooMany) => {
                taken.whole = read.names();
                taken.count = u64::MAX;
                return Ok(Ok(taken));
            }
            Some(Answer::Ok(..)) | None => return Err(End::Done),
        };
        taken.count = rows.len() as u64;
        for mut row in rows {
            for (entry, table) in tables {
                let behind = row.split_off(capture::widths_of_keys(table).min(row.len()));
                let own = std::mem::replace(&mut row, behind);
                // An outer join found none.
                if own.iter().all(Option::is_none) {
                    continue;
                }
                match capture::decode(table, own) {
                    Some(captured) => taken.rows.push((entry.clone(), captured)),
                    None => drop(taken.whole.insert(entry.name.clone())),
                }
            }
        }
        Ok(Ok(taken))
    }

    /// Runs the read itself, on the rows that were locked where it might find others.
    async fn give(
        &mut self,
        read: &Read<'_>,
        taken: &Taken,
        alone: bool,
    ) -> Result<(relay::Relayed, crate::net::Packet), End> {
        let mut command = read.command.clone();
        let limited = read.locking.limit.is_some() || read.locking.skips;
        let table = read.tables.as_ref().ok().and_then(|tables| tables.first());
        if let (true, false, true, Some((_, table))) = (limited, read.prepared, read.locking.single, table) {
            let rows: Vec<Captured> = taken.rows.iter().map(|(_, row)| row.clone()).collect();
            let sql = std::str::from_utf8(read.text).unwrap_or_default();
            if let (Some(sql), true) =
                (capture::read_of_captured_rows(table, sql, &read.locking, &rows), taken.whole.is_empty())
            {
                let head = &command.payload[..command.payload.len() - read.text.len()];
                let payload = [head, sql.as_bytes()].concat();
                command = Command { frames: packet::frames(&payload, 0).0.into(), payload: payload.into() };
            }
        }
        relay::relay_but_end(&mut self.client, &mut self.backside, &command, alone).await
    }
}

impl Read<'_> {
    fn names(&self) -> BTreeSet<String> {
        self.tables.iter().flatten().map(|(entry, _)| entry.name.clone()).collect()
    }

    fn first(&self) -> String {
        self.names().into_iter().next().unwrap_or_default()
    }

    fn patience(&self, wait: Duration) -> Duration {
        if self.locking.waits { wait } else { Duration::ZERO }
    }

    /// Did it return other rows than were locked?
    fn differs(&self, rows: u64, taken: &Taken) -> bool {
        self.locking.plain && rows != taken.count
    }
}

pub(super) fn wanted(read: &Read<'_>, taken: &Taken) -> Wanted {
    let keys = taken.rows.iter().map(|(entry, row)| lock_key(&entry.name, &row.key)).collect();
    let mut wanted = Wanted { tables: taken.whole.clone(), ..Wanted::default() };
    *(match read.locking.exclusive {
        true => &mut wanted.locks.alone,
        false => &mut wanted.locks.shared,
    }) = keys;
    wanted
}
