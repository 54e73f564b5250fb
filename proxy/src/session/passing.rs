//! Passing a client's commands on, and what the answers say of its local transaction.

use super::{Answer, Command, End, Failure, Session, relay, relay::Relayed, tracked};
use crate::wire::{capability, changes, command, packet, scan};

impl Session {
    /// Passes a command on and its reply back.
    pub(super) async fn relay(&mut self, command: Command) -> Result<Relayed, End> {
        let relayed = relay::relay(&mut self.client, &mut self.backside, &command).await?;
        self.note_counts(&command, relayed.outcome.error.is_some());
        self.heard(&relayed).await?;
        if relayed.outcome.error.is_none() {
            self.note_opened(&command);
        }
        Ok(relayed)
    }

    /// After a command of the client's FOUND_ROWS() is what the server says again, unless it left it as it was.
    pub(super) fn note_counts(&mut self, command: &Command, failed: bool) {
        if self.backside.found.is_none() || failed {
            return;
        }
        let keeps = match command.code() {
            command::QUERY | command::STMT_EXECUTE => {
                self.text_of(command).is_some_and(|text| scan::keeps_found(&text, self.mysql.is_mariadb()))
            }
            code => matches!(code, command::PING | command::INIT_DB | command::STMT_RESET),
        };
        if !keeps {
            self.backside.found = None;
        }
    }

    /// What a reply said.
    async fn heard(&mut self, relayed: &Relayed) -> Result<(), End> {
        // That nothing is open is told by MySQL after a deadlock to everybody.
        self.tracked |= relayed.outcome.transaction.is_some_and(|state| state != tracked::NONE);
        if let Some(status) = relayed.outcome.status {
            self.status = status;
            self.doubt = None;
        }
        match relayed.outcome.error {
            Some(code) => self.check_local_transaction(code).await,
            None => Ok(()),
        }
    }

    /// After an error: some (a deadlock, a lock wait with innodb_rollback_on_timeout, a full lock table) roll back the
    /// whole local transaction, and the next write would then commit by itself, unprotected. ERR packets carry no
    /// status; the answer to a ping does, and leaves the diagnostics alone.
    pub(super) async fn check_local_transaction(&mut self, code: u16) -> Result<(), End> {
        let yielded = self.backside.yielded.take();
        let open = self.status & capability::IN_TRANS != 0;
        // Without autocommit the first statement has opened one, which an error does not tell.
        if let Some(failure) = yielded.filter(|_| open || self.status & capability::AUTOCOMMIT == 0) {
            return self.end_yielded(failure).await;
        }
        if !open {
            return Ok(());
        }
        if self.membership.binding.is_none() {
            // Asked for when it matters.
            self.doubt = self.resource.guards.then_some(code);
            return Ok(());
        }
        self.ask_status(code).await
    }

    /// Is the local transaction still open?
    pub(super) async fn ask_status(&mut self, code: u16) -> Result<(), End> {
        let ping = packet::frames(&[command::PING], 0).0;
        let Answer::Ok(ok, payload) = self.backside.run_raw(&ping).await? else {
            return Err(End::Done);
        };
        // The client's next answer would have said it.
        self.backside.tracked.owed |= changes::transaction(&payload, &ok).is_some();
        if ok.status & capability::IN_TRANS == 0 {
            self.branch = None;
            self.touched.clear();
            if self.membership.binding.is_some() {
                self.dead = Some(Failure::dead(&format!("the database did it with error {code}")));
            }
        }
        self.status = ok.status;
        Ok(())
    }

    /// A command too large to hold, outside a global transaction.
    pub(super) async fn relay_large(&mut self, length: usize) -> Result<(), End> {
        // What it does to the session is not looked for: the worst is assumed.
        self.note_effect(scan::Effect::Everything);
        self.prepared_in_text.clear();
        self.statements.forget_types();
        self.backside.found = None;
        let relayed = relay::relay_large(&mut self.client, &mut self.backside, length).await?;
        self.heard(&relayed).await
    }
}
