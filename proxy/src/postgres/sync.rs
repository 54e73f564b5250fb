//! Sync, which ends an implicit local transaction; and ending one without the client having said so.

use super::{
    End, FAILED, Failure, IDLE, Session,
    counters::Question,
    pipeline::{Fate, Ran},
};
use crate::wire::postgres::{Bind, build, message::Message};

/// An error that the client is to meet with its next statement, since none is under way that could tell it.
pub(super) struct Due {
    /// As the server says it.
    pub frame: Vec<u8>,
    /// A Sync must not look like a success either.
    pub at_sync: bool,
}

impl Session {
    /// Is there an error that this message meets?
    pub(super) fn is_due(&mut self, message: &Message) -> bool {
        let Some(due) = &self.due else { return false };
        match message.tag {
            b'P' | b'D' | b'E' | b'Q' | b'F' => true,
            b'S' => due.at_sync,
            b'B' if !due.at_sync => {
                // What is missing is told first, and ends the local transaction as well.
                let known = |bind: Bind| self.statements.statement(&bind.statement).is_some();
                let met = self.statements.forgetful || Bind::read(message.body()).is_some_and(known);
                self.due = self.due.take().filter(|_| met);
                met
            }
            b'B' => true,
            _ => false,
        }
    }

    /// The client meets it.
    pub(super) async fn on_due(&mut self, tag: u8) -> Result<(), End> {
        self.send().await?;
        if let Some(due) = self.due.take().filter(|_| !self.skipping) {
            self.answer.extend(due.frame);
            self.skipping = true;
        }
        match tag {
            b'Q' | b'F' | b'S' => self.on_sync().await,
            _ => Ok(()),
        }
    }

    /// Sync, from the client or at the end of its Query: the implicit local transaction ends.
    pub(super) async fn on_sync(&mut self) -> Result<(), End> {
        if !self.skipping && !self.block && self.unaccounted() {
            self.check_counters().await?;
        }
        if !self.skipping && !self.block && self.expects_counts() {
            if self.only_read() && !self.guarding() {
                // Proven and ended in one go.
                self.ask_counters(Question::Proof);
                return self.sync().await;
            }
            // Outside a block some versions write a warning into their log.
            if !self.guarding() || self.may_defer().await {
                self.fire_deferred();
            }
            self.ask_counters(Question::Counts);
        }
        self.send().await?;
        let written = self.branch.as_ref().is_some_and(|b| !b.is_empty());
        if !self.skipping && !self.block && written {
            return self.settle_at_sync().await;
        }
        self.sync().await
    }

    /// Sends the Sync, and tells the client that we are ready.
    pub(super) async fn sync(&mut self) -> Result<(), End> {
        self.gather_end_of_block();
        if self.queried && !self.skipping {
            self.pipeline.query_nothing();
        }
        self.pipeline.sync(Fate::Drop);
        self.poisoned = false;
        let mut ran = self.pipeline.run(&mut self.database, &mut self.client, &mut self.answer).await?;
        let mut ready = ran.ready.take();
        if !self.skipping {
            self.absorb(ran).await?;
        }
        if std::mem::take(&mut self.poisoned) {
            self.pipeline.sync(Fate::Drop);
            let ran = self.pipeline.run(&mut self.database, &mut self.client, &mut Vec::new()).await?;
            ready = ran.ready;
        }
        if self.text_block && ready.is_some_and(|status| status != IDLE) {
            // A text that failed leaves nothing open.
            ready = self.ask_alone("ROLLBACK").await?.ready;
        }
        self.after_sync(ready);
        build::ready(&mut self.answer, self.status);
        self.querying = false;
        self.hand_over().await
    }

    pub(super) fn after_sync(&mut self, ready: Option<u8>) {
        self.status = ready.unwrap_or(self.status);
        self.block = self.status != IDLE;
        (self.skipping, self.unsynced, self.refused, self.text_block) = (false, false, false, false);
        (self.executed, self.queried) = (false, false);
        self.skip_locked.bound_unseen = false;
        self.writes.clear();
        if !self.block {
            self.branch = None;
            self.counters.forget();
            self.statements.end_of_transaction();
        }
    }

    /// The global transaction is being rolled back: an open local one is in its way.
    pub(super) async fn end_behind_back(&mut self) -> Result<(), End> {
        let Some(binding) = &mut self.membership.binding else { return Ok(()) };
        let xid = binding.xid;
        binding.heard();
        // The client has been told that it is ready, and may say anything.
        let queried = self.queried;
        self.abandon().await?;
        if !self.block && queried {
            self.due = Some(Due { frame: Failure::rolling_back(xid).message("ERROR"), at_sync: true });
        } else if !self.block {
            // The Sync that the client will send must not look like a success.
            self.answer.extend(Failure::rolling_back(xid).message("ERROR"));
            self.skipping = true;
        } else {
            // The client ends it itself: what it says until then fails, as after any error.
            self.ask_alone("BEGIN").await?;
            self.pipeline.poison();
            self.pipeline.sync(Fate::Drop);
            let ran = self.pipeline.run(&mut self.database, &mut self.client, &mut Vec::new()).await?;
            self.status = ran.ready.unwrap_or(FAILED);
            self.ended = Some(Failure::rolling_back(xid));
        }
        Ok(())
    }

    /// Rolls the local transaction back; an implicit one too, which a Sync alone would commit.
    pub(super) async fn abandon(&mut self) -> Result<(), End> {
        self.send().await?;
        (self.branch, self.text_block, self.executed, self.queried) = (None, false, false, false);
        self.writes.clear();
        self.counters.forget();
        self.pipeline.poison();
        self.pipeline.sync(Fate::Drop);
        self.poisoned = false;
        let ran = self.pipeline.run(&mut self.database, &mut self.client, &mut Vec::new()).await?;
        if ran.ready.is_some_and(|status| status != IDLE) {
            self.ask_alone("ROLLBACK").await?;
        }
        self.statements.end_of_transaction();
        Ok(())
    }

    /// A statement of ours, alone.
    pub(super) async fn ask_alone(&mut self, sql: &str) -> Result<Ran, End> {
        use Fate::{Drop, Keep};
        let name = self.own_name();
        let bind = Bind {
            portal: name.clone().into_bytes(),
            statement: name.clone().into_bytes(),
            formats: Vec::new(),
            values: Vec::new(),
            results: Vec::new(),
        };
        self.pipeline.parse(&name, sql, &[], Drop);
        self.pipeline.bind(&bind, Drop);
        self.pipeline.execute(&name, Keep);
        self.pipeline.close(b'S', &name);
        self.pipeline.sync(Drop);
        let ran = self.pipeline.run(&mut self.database, &mut self.client, &mut Vec::new()).await?;
        self.status = ran.ready.unwrap_or(self.status);
        Ok(ran)
    }
}
