//! One message of the client after the other: inside a global transaction, and wherever the client speaks to us.
//!
//! Messages are gathered until the client waits for answers (Sync, Flush, Query), and then run in one go, together with our
//! questions. The server's implicit local transaction ends at the Sync; a branch is settled exactly there, or where the
//! client's COMMIT stands.

use super::{
    End, Failure, IDLE, OPEN, Session, failure, first_words,
    pipeline::{Ask, Fate},
    rolling_back,
    statements::Prepared,
    write::Asked,
};
use crate::wire::postgres::{
    Bind, Parse, build,
    message::{HEADER, Message, Reader, command_tag, parameter},
};
use atone_undo_log::{
    analyze::Unsupported,
    postgres::{Class, Counted},
};
use std::{collections::VecDeque, sync::Arc};
use tokio_util::sync::CancellationToken;

/// A read whose locks cannot be told.
const UNCLEAR: &str = "a read that locks rows (FOR UPDATE, FOR SHARE) of other things than plain tables in its own FROM, or by several \
    such clauses,";
/// A message inside a global transaction may not be larger.
pub(super) const MESSAGE_LIMIT: usize = 64 << 20;
/// Messages gathered are run when they are so many bytes, though the client goes on.
const GATHER_LIMIT: usize = 4 << 20;

impl Session {
    /// Serves the client message by message until it is in no global transaction and between local ones.
    pub(super) async fn attend(&mut self, stop: &CancellationToken) -> Result<(), End> {
        loop {
            let message = self.next_message(stop).await?;
            let Some(message) = message else { continue };
            let ends = matches!(message.tag, b'S' | b'Q' | b'F');
            match self.membership.xid() {
                Some(xid) => self.on_message_inside(xid, message).await?,
                None => self.on_message(message).await?,
            }
            let between =
                self.pipeline.is_empty() && !self.guard_is_up() && !self.skipping && self.due.is_none();
            if ends && between && self.membership.binding.is_none() {
                return Ok(());
            }
        }
    }

    /// The client's next message; None when something else happened, which has been seen to.
    async fn next_message(&mut self, stop: &CancellationToken) -> Result<Option<Message>, End> {
        if !self.answer.is_empty() && self.client.arrived().is_empty() {
            self.hand_over().await?;
        }
        let open = self.block || self.branch.is_some();
        let quiet = !open && self.pipeline.is_empty() && !self.skipping;
        tokio::select! {
            biased;
            message = self.client.message(MESSAGE_LIMIT) => match message {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(End::Done),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    let told = failure::protocol(&error.to_string());
                    self.answer.extend(told.message("FATAL"));
                    Err(End::Done)
                }
                Err(error) => Err(error.into()),
            },
            more = self.database.fill() => {
                if !more? {
                    let said = self.database.arrived().len();
                    self.database.pass_on(said, &mut self.client).await?;
                    return Err(End::Done);
                }
                self.unasked().await?;
                Ok(None)
            }
            () = stop.cancelled(), if quiet => Err(End::Done),
            () = rolling_back(self.membership.binding.as_ref()), if open => {
                self.end_behind_back().await?;
                Ok(None)
            }
        }
    }

    /// What the server says unasked: notices, notifications, settings; or that it is closing.
    async fn unasked(&mut self) -> Result<(), End> {
        while let Some(head) = crate::wire::postgres::header(self.database.arrived()) {
            let (tag, length) = head.map_err(super::invalid)?;
            if self.database.arrived().len() < length {
                break;
            }
            let frame = self.database.take(length);
            if tag == b'S' {
                let reported = parameter(&frame[HEADER..]);
                self.reported(reported);
            }
            self.client.write(&frame).await?;
        }
        Ok(())
    }

    /// Gives the client what waits for it.
    pub(super) async fn hand_over(&mut self) -> Result<(), End> {
        self.complete = None;
        if !self.answer.is_empty() {
            let answer = std::mem::take(&mut self.answer);
            self.client.write(&answer).await?;
        }
        Ok(())
    }

    pub(super) async fn on_message(&mut self, message: Message) -> Result<(), End> {
        if self.pipeline.size() > GATHER_LIMIT {
            self.send().await?;
        }
        if self.skipping && !matches!(message.tag, b'S' | b'X') {
            return Ok(());
        }
        if self.is_due(&message) {
            return self.on_due(message.tag).await;
        }
        if std::mem::take(&mut self.statements.lost) {
            self.counters.forget_statement();
            self.statements.forget_own();
        }
        if self.attend_to_isolation(&message).await? {
            return Ok(());
        }
        self.queried &= !matches!(message.tag, b'P' | b'B' | b'D' | b'E' | b'Q' | b'F');
        match message.tag {
            b'P' => self.on_parse(&message).await,
            b'B' => {
                let Some(bind) = Bind::read(message.body()) else { return self.malformed().await };
                self.statements.bind(bind, self.resource.marks.known());
                self.pipeline.pass(&message.frame, Ask::Bind);
                Ok(())
            }
            b'D' => {
                let ask = if message.body().first() == Some(&b'S') {
                    Ask::DescribeStatement
                } else {
                    Ask::DescribePortal
                };
                self.pipeline.pass(&message.frame, ask);
                Ok(())
            }
            b'C' => {
                let mut reader = Reader(message.body());
                let (Some(kind), Some(name)) = (reader.byte(), reader.text()) else {
                    return self.malformed().await;
                };
                self.statements.close(kind, name);
                self.pipeline.pass(&message.frame, Ask::Close);
                Ok(())
            }
            b'E' => {
                let mut reader = Reader(message.body());
                let (Some(portal), Some(most)) = (reader.text(), reader.int()) else {
                    return self.malformed().await;
                };
                let portal = portal.to_vec();
                self.on_execute(&portal, most, &message).await
            }
            b'H' => {
                self.send().await?;
                self.hand_over().await
            }
            b'S' => self.on_sync().await,
            b'Q' => self.on_query(&message).await,
            b'X' => {
                self.database.write(&message.frame).await?;
                Err(End::Done)
            }
            // Rows of a COPY that failed: the server ignores them too.
            b'd' | b'c' | b'f' => Ok(()),
            // In a pipeline behind a write it would end the local transaction.
            b'F' if self.wants_committed().await? => {
                self.refuse(&super::checked::uncheckable("a function called by itself")).await?;
                self.on_sync().await
            }
            b'F' if !self.captures() || self.guarding() && (self.block || !self.guard_is_up()) => {
                self.relay(&message).await
            }
            tag => {
                let what = Unsupported(format!("message '{}' of the protocol", tag.escape_ascii()));
                self.refuse(&Failure::unsupported(&what)).await?;
                if tag == b'F' { self.on_sync().await } else { Ok(()) }
            }
        }
    }

    async fn malformed(&mut self) -> Result<(), End> {
        self.answer.extend(failure::protocol("a malformed message").message("FATAL"));
        Err(End::Done)
    }

    async fn on_parse(&mut self, message: &Message) -> Result<(), End> {
        let Some(parse) = Parse::read(message.body()) else { return self.malformed().await };
        let name = String::from_utf8_lossy(&parse.name).into_owned();
        let prepared = self.statements.prepare(parse);
        let given = prepared.as_deref().map_or(&[][..], |p| &p.types);
        match prepared.as_deref().map(Prepared::class) {
            Some(Class::Control(control)) if control.function != "set" => {
                let (text, types) = super::control::stand_in(control, given);
                self.pipeline.parse(&name, &text, &types, Fate::Pass);
            }
            Some(Class::Unsupported(what)) if what.0.contains("atone") => {
                let failure = Failure::unsupported(&what.clone());
                return self.refuse(&failure).await;
            }
            _ => self.pipeline.pass(&message.frame, Ask::Parse),
        }
        Ok(())
    }

    async fn on_execute(&mut self, portal: &[u8], most: i32, message: &Message) -> Result<(), End> {
        let bound = self.membership.binding.is_some();
        self.note_first();
        self.executed |= !self.block;
        let found =
            self.statements.portal(portal).map(|p| (p.prepared.clone(), p.bind.clone(), p.done.is_some()));
        let Some((prepared, bind, done)) = found else {
            self.unsynced = true;
            if bound && self.statements.forgetful {
                // The server knows it or does not; what it does cannot be told here.
                let what = Unsupported("a portal whose statement the proxy has not seen".into());
                return self.refuse(&Failure::unsupported(&what)).await;
            }
            if self.captures() {
                // A cursor that was declared in SQL, a read or a plain write that was prepared there, or nothing.
                self.begin_counting();
                self.counters.rely();
            }
            if self.reads.watched && !self.failed() {
                return self.checked_cursor(&message.frame).await;
            }
            self.pipeline.pass(&message.frame, Ask::Execute);
            return Ok(());
        };
        if matches!(prepared.class(), Class::Control(_)) {
            return self.execute_control(&prepared, &bind).await;
        }
        self.unsynced = true;
        if self.is_checked(&prepared) {
            return self.checked_portal(portal, &prepared, &bind, &message.frame).await;
        }
        if !self.captures() {
            self.pipeline.pass(&message.frame, Ask::Execute);
            if matches!(prepared.class(), Class::Counted(Counted::Copy)) {
                // What comes next from the client are the rows.
                self.send().await?;
            }
            return Ok(());
        }
        if let Class::Write(write) = prepared.class() {
            if !bound && !self.plain_target(&prepared.text[write.table.clone()]).await? {
                return self.counted(&Counted::Plain, &message.frame).await;
            }
            return self.run_portal(portal, &prepared, &bind, (most, done)).await;
        }
        if let Class::Locking(Some(locking)) = prepared.class()
            && (bound || self.plain_targets(&prepared.text, locking).await?)
        {
            return self.run_portal(portal, &prepared, &bind, (most, done)).await;
        }
        self.statement(&prepared, &message.frame).await
    }

    /// A write, or a read that locks rows, whose rows are captured; or more of its rows.
    async fn run_portal(
        &mut self,
        portal: &[u8],
        prepared: &Arc<Prepared>,
        bind: &Bind,
        (most, done): (i32, bool),
    ) -> Result<(), End> {
        if self.skipping {
            return Ok(());
        }
        let most = usize::try_from(most).unwrap_or(0);
        if done {
            return self.go_on(portal, most).await;
        }
        if let Some(portal) = self.statements.portal(portal) {
            portal.done = Some(VecDeque::new());
        }
        self.write(prepared, bind, Asked::Execute { most }).await
    }

    /// More rows of a write that has run.
    async fn go_on(&mut self, portal: &[u8], most: usize) -> Result<(), End> {
        self.send().await?;
        let Some(rest) = self.statements.portal(portal).and_then(|p| p.done.as_mut()) else { return Ok(()) };
        // The last message says that it is complete.
        let rows = rest.len().saturating_sub(1);
        let now = if most == 0 || rows < most { rest.len() } else { most };
        for (given, frame) in rest.drain(..now).enumerate() {
            if frame.first() == Some(&b'C') {
                // The tag counts the rows of this Execute.
                let tag = command_tag(frame.get(HEADER..).unwrap_or_default());
                let verb = tag.rsplit_once(' ').map_or(tag, |(verb, _)| verb);
                build::complete(&mut self.answer, &format!("{verb} {given}"));
                return Ok(());
            }
            self.answer.extend(frame);
        }
        build::suspended(&mut self.answer);
        Ok(())
    }

    /// A statement inside a global transaction that is neither a write nor ours. `frame` executes it.
    pub(super) async fn statement(&mut self, prepared: &Arc<Prepared>, frame: &[u8]) -> Result<(), End> {
        if self.skipping {
            return Ok(());
        }
        let ends = matches!(prepared.class(), Class::Rollback { .. } | Class::Commit { .. });
        if let (Some(why), false) = (self.ended.clone(), ends) {
            return self.refuse(&why).await;
        }
        match prepared.class() {
            Class::Empty => self.pipeline.pass(frame, Ask::Execute),
            Class::Read => {
                if !self.guarding() {
                    self.begin_counting();
                }
                self.pipeline.pass(frame, Ask::Execute);
            }
            // Outside, rows that cannot be told are not looked at, but for what functions write.
            Class::Locking(how) if self.guarding() => match how {
                Some(locking) if !locking.calls => self.pipeline.pass(frame, Ask::Execute),
                None if !prepared.text.contains('(') => self.pipeline.pass(frame, Ask::Execute),
                Some(_) | None => return self.counted(&Counted::Plain, frame).await,
            },
            Class::Locking(_) => {
                return self.refuse(&Failure::unsupported(&Unsupported(UNCLEAR.into()))).await;
            }
            Class::Session => {
                self.targets.forget();
                self.pipeline.pass(frame, Ask::Execute);
                if prepared.text.to_ascii_uppercase().contains("DEALLOCATE") {
                    self.send().await?;
                    self.counters.forget_statement();
                    self.statements.forget_own();
                }
            }
            Class::ResetAll => {
                // The server forgets the counts at the beginning with its other settings.
                self.check_counters().await?;
                if self.skipping {
                    return Ok(());
                }
                self.pipeline.pass(frame, Ask::Execute);
                self.send().await?;
                self.counters.forget();
                // What the session was given back for ends its binding; the global transaction goes on.
                if !self.skipping && !self.block && self.branch.is_none() {
                    self.membership.binding = None;
                }
            }
            Class::DiscardAll => {
                self.pipeline.pass(frame, Ask::Execute);
                self.send().await?;
                if !self.skipping {
                    // A reset of the session ends its binding; the global transaction goes on.
                    self.counters.forget_statement();
                    self.statements.clear();
                    self.membership.binding = None;
                }
            }
            Class::Begin => {
                if std::mem::take(&mut self.text_block) {
                    self.pipeline.give(frame, Ask::Execute, Fate::Silently);
                } else {
                    self.pipeline.pass(frame, Ask::Execute);
                }
                self.block = true;
            }
            Class::Commit { chain } => return self.commit(frame, *chain).await,
            Class::Rollback { chain } => {
                self.send().await?;
                if self.skipping {
                    return Ok(());
                }
                (self.branch, self.ended) = (None, None);
                self.counters.forget();
                self.pipeline.pass(frame, Ask::Execute);
                self.ended_well(*chain);
            }
            Class::Savepoint(name) => {
                // What came before can be told apart from what comes after only now.
                self.check_counters().await?;
                if self.skipping {
                    return Ok(());
                }
                self.pipeline.pass(frame, Ask::Execute);
                if let Some(branch) = &mut self.branch {
                    branch.savepoint_nested(name.clone());
                }
            }
            Class::RollbackTo(name) => {
                self.pipeline.pass(frame, Ask::Execute);
                self.send().await?;
                if !self.skipping {
                    self.ended_well(true);
                    self.counters.forget();
                    if let Some(branch) = &mut self.branch {
                        branch.rollback_to_nested(name);
                    }
                }
            }
            Class::Release(name) => {
                self.check_counters().await?;
                if self.skipping {
                    return Ok(());
                }
                self.pipeline.pass(frame, Ask::Execute);
                if let Some(branch) = &mut self.branch {
                    branch.release_nested(name);
                }
            }
            Class::Counted(how) => return self.counted(how, frame).await,
            Class::Unsupported(_)
                if self.guarding()
                    && (self.guard_is_up() || self.block)
                    && first_words::prepares_transaction(&prepared.text) =>
            {
                return self.commit(frame, false).await;
            }
            Class::Unsupported(_) if self.guarding() => self.unread(&prepared.text, frame),
            Class::Unsupported(what) => return self.refuse(&Failure::unsupported(what)).await,
            // One that cannot be captured, outside a global transaction; others are seen to by the callers.
            Class::Write(_) => return self.counted(&Counted::Plain, frame).await,
            Class::Control(_) => {}
        }
        Ok(())
    }

    /// A local transaction has ended, or gone back to a savepoint: one that had failed has not any more, though no
    /// ReadyForQuery has said so yet. Is one open now?
    pub(super) fn ended_well(&mut self, open: bool) {
        self.block = open;
        self.status = if open { OPEN } else { IDLE };
    }

    /// Tells the client no, and makes its local transaction fail as any error would.
    pub(super) async fn refuse(&mut self, failure: &Failure) -> Result<(), End> {
        self.send().await?;
        if self.skipping {
            // An error came first.
            return Ok(());
        }
        tracing::debug!(resource = %self.resource.backend.name(), message = failure.sentence(), "refused");
        self.answer.extend(failure.message("ERROR"));
        self.fail_locally().await
    }

    /// Makes the server's local transaction fail; the rest up to the Sync is skipped.
    pub(super) async fn fail_locally(&mut self) -> Result<(), End> {
        self.pipeline.poison();
        let ran = self.pipeline.run(&mut self.database, &mut self.client, &mut Vec::new()).await?;
        (self.skipping, self.poisoned) = (true, true);
        self.writes.clear();
        debug_assert!(ran.error.is_some());
        Ok(())
    }

    /// Sends what was gathered and sees to the answers. Errors end in `skipping`.
    pub(super) async fn send(&mut self) -> Result<(), End> {
        if self.pipeline.is_empty() {
            return Ok(());
        }
        let ran = self.pipeline.run(&mut self.database, &mut self.client, &mut self.answer).await?;
        self.absorb(ran).await
    }
}
