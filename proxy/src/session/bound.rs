//! Inside a global transaction: every statement is a read, is protected, or is refused.

use super::{
    Command, End, Failure, Session, Settings,
    control::Reply,
    local::LocalTransaction,
    locking::may_lock,
    several::{SYNTAX, code_of, may_be_several, parts},
    write::Execution,
};
use crate::{
    branch::{Planner, SettleError, Settlement, Settler},
    wire::{capability, command, packet, scan},
};
use atone_undo_log::{
    analyze::{self, Class, Locks, Unsupported, classify, locks},
    sql::SqlMode,
};
use bytes::Bytes;

impl Session {
    pub(super) async fn dispatch_bound(&mut self, command: Command) -> Result<(), End> {
        match command.code() {
            command::QUERY => match self.text_at(&command) {
                Some(at) => {
                    let text = command.payload.slice(at..);
                    self.statement(text, command, Execution::Text).await
                }
                None => {
                    self.fail(&Failure::unsupported(&Unsupported(
                        "a query with unreadable attributes".into(),
                    )))
                    .await
                }
            },
            command::STMT_EXECUTE => {
                let done = self.execute(command.clone()).await;
                self.statements.forget_long_data(&command.payload);
                done
            }
            command::INIT_DB => self.relay(command).await.map(drop),
            code if command::harmless(code) => self.relay(command).await.map(drop),
            code => self.fail(&Failure::unsupported(&Unsupported(format!("command 0x{code:02x}")))).await,
        }
    }

    async fn execute(&mut self, command: Command) -> Result<(), End> {
        if let Some(control) = self.statements.control(&command.payload) {
            let harmless =
                matches!(control.function.as_str(), "atone_rollback" | "atone_leave" | "atone_xid");
            return match &self.dead {
                Some(why) if !harmless => self.fail(&why.clone()).await,
                _ => {
                    // Asking is not ending.
                    if control.function != "atone_xid" {
                        self.dead = None;
                    }
                    self.execute_control(control, command).await
                }
            };
        }
        let attributes = self.backside.capabilities & capability::QUERY_ATTRIBUTES != 0;
        let params = self.statements.params(&command.payload, attributes);
        match (self.statements.text(&command.payload), params) {
            (Some(text), Some(params)) => self.statement(text, command, Execution::Prepared(params)).await,
            _ => {
                let what = "a prepared statement whose text or parameters the proxy has not seen";
                self.fail(&Failure::unsupported(&Unsupported(what.into()))).await
            }
        }
    }

    async fn statement(&mut self, text: Bytes, command: Command, execution: Execution) -> Result<(), End> {
        let settings = self.settings().await?;
        if !settings.readable(&text) {
            let what = format!("text beyond ASCII in {}, which may hide quotes", settings.charset);
            return self.fail(&Failure::unsupported(&Unsupported(what))).await;
        }
        let class = classify(&text, settings.mode);
        if let Some(why) = self.dead.clone() {
            return self.statement_when_dead(class, command, &why).await;
        }
        if scan::mentions_atone(&text) {
            if let Err(failure) = self.hear_of_isolation(&text) {
                return self.fail(&failure).await;
            }
            if scan::names_schema(&text) {
                return self.fail(&Failure::private()).await;
            }
        }
        self.note_prepared(&text);
        if matches!(execution, Execution::Text)
            && may_be_several(&text)
            && self.backside.multi_statements
            && !self.only_reads(&text, settings.mode)
            && let Some(parts) = parts(&text, settings.mode)
        {
            return self.several(&text, parts, command).await;
        }
        match class {
            Class::Empty => self.relay(command).await.map(drop),
            Class::Read if may_lock(&text) && locks(&text, settings.mode) != Locks::None => {
                let prepared = matches!(execution, Execution::Prepared(_));
                let (text, command) =
                    if prepared { (text, command) } else { trimmed(text, command, settings.mode) };
                let mysql = self.mysql.clone();
                let planner = Planner { mysql: &mysql, settings: &settings, only_keys: None };
                match planner.refuse_writers(&text).await {
                    Ok(()) => self.bound_read(&text, command, execution, &settings).await,
                    Err(no) => self.fail(&super::write::failure(no)).await,
                }
            }
            Class::Read => self.read(&text, &settings, command).await,
            Class::Set => {
                self.note_effect(scan::effect(&text));
                self.read(&text, &settings, command).await
            }
            Class::Use => {
                self.note_effect(scan::Effect::Reading);
                self.relay(command).await.map(drop)
            }
            Class::Control(control) => self.control(Ok(control), &[], Reply::Text(&command)).await,
            Class::Write => {
                let prepared = matches!(execution, Execution::Prepared(_));
                if prepared && !self.reads_as_prepared(&command.payload) {
                    let what = "a statement prepared before the session's schema or sql_mode may have changed (prepare it again)";
                    return self.fail(&Failure::unsupported(&Unsupported(what.into()))).await;
                }
                let (text, command) =
                    if prepared { (text, command) } else { trimmed(text, command, settings.mode) };
                self.write(text, command, execution, settings).await
            }
            // It commits only when it turns autocommit on.
            Class::Autocommit(true) if self.status & capability::AUTOCOMMIT != 0 => {
                self.relay(command).await.map(drop)
            }
            Class::Begin | Class::Commit(_) | Class::Autocommit(true) => {
                let text = trimmed(text, command.clone(), settings.mode).0;
                self.end_local(&text, command).await
            }
            Class::Autocommit(false) => self.relay(command).await.map(drop),
            Class::Rollback(_) => {
                self.branch = None;
                self.relay(command).await.map(drop)
            }
            Class::Savepoint(name) => {
                let done = self.relay(command).await?.outcome.error.is_none();
                if let (true, Some(branch)) = (done, &mut self.branch) {
                    branch.savepoint(name);
                }
                Ok(())
            }
            Class::RollbackTo(name) => {
                let done = self.relay(command).await?.outcome.error.is_none();
                if let (true, Some(branch)) = (done, &mut self.branch) {
                    branch.rollback_to(&name);
                }
                Ok(())
            }
            Class::Release(name) => {
                let done = self.relay(command).await?.outcome.error.is_none();
                if let (true, Some(branch)) = (done, &mut self.branch) {
                    branch.release(&name);
                }
                Ok(())
            }
            Class::Unsupported(what) => {
                if self.only_reads(&text, settings.mode) {
                    return self.read(&text, &settings, command).await;
                }
                self.refuse(&text, &command, &what).await
            }
        }
    }

    /// What cannot be read is no statement to the server either, perhaps: then it says so itself.
    pub(super) async fn refuse(
        &mut self,
        text: &Bytes,
        command: &Command,
        what: &Unsupported,
    ) -> Result<(), End> {
        let mode = self.settings.as_ref().map_or_else(SqlMode::default, |settings| settings.mode);
        let several = may_be_several(text);
        if command.code() == command::QUERY
            && (several && !self.backside.multi_statements || !several && analyze::may_be_wrong(text, mode))
            && let Some(error) = self.mistake(text).await?
            && code_of(&error) == Some(SYNTAX)
        {
            return Ok(self.client.write(&error).await?);
        }
        self.fail(&Failure::unsupported(what)).await
    }

    /// Several statements in one text, all of them reads.
    fn only_reads(&self, text: &[u8], mode: SqlMode) -> bool {
        let Ok(parts) = analyze::split(text, mode) else { return false };
        parts.len() > 1
            && parts.into_iter().all(|p| {
                matches!(classify(&text[p.clone()], mode), Class::Read | Class::Empty) && !may_lock(&text[p])
            })
    }

    /// After the server rolled back on its own, everything is an error until the client ends the transaction.
    async fn statement_when_dead(
        &mut self,
        class: Class,
        command: Command,
        why: &Failure,
    ) -> Result<(), End> {
        match class {
            Class::Rollback(_) | Class::Begin => {
                self.dead = None;
                self.relay(command).await.map(drop)
            }
            Class::Commit(_) => {
                self.dead = None;
                self.fail(why).await
            }
            Class::Control(control)
                if matches!(control.function.as_str(), "atone_rollback" | "atone_leave" | "atone_xid") =>
            {
                // Asking is not ending.
                if control.function != "atone_xid" {
                    self.dead = None;
                }
                self.control(Ok(control), &[], Reply::Text(&command)).await
            }
            _ => self.fail(why).await,
        }
    }

    /// A read passes, unless a function in it may write.
    async fn read(&mut self, text: &[u8], settings: &Settings, command: Command) -> Result<(), End> {
        let mysql = self.mysql.clone();
        let planner = Planner { mysql: &mysql, settings, only_keys: None };
        match planner.refuse_writers(text).await {
            Ok(()) => self.relay(command).await.map(drop),
            Err(no) => self.fail(&super::write::failure(no)).await,
        }
    }

    /// A statement that commits what is open: the branch is settled by it.
    async fn end_local(&mut self, text: &[u8], command: Command) -> Result<(), End> {
        let Some(branch) = self.branch.take().filter(|b| !b.changes.is_empty()) else {
            return self.relay(command).await.map(drop);
        };
        let Ok(commit) = std::str::from_utf8(text) else {
            return self.fail(&Failure::unsupported(&Unsupported("a COMMIT that is not UTF-8".into()))).await;
        };
        match self.settle(branch, commit).await? {
            Ok(Some(payload)) => {
                if let Some(ok) = crate::wire::reply::OkPacket::read(&payload) {
                    self.status = ok.status;
                }
                self.tell(&payload).await
            }
            // Committed, but the connection is gone: the client hears the truth before it ends.
            Ok(None) => {
                self.tell(&packet::ok(0, 0, capability::AUTOCOMMIT)).await?;
                Err(End::Done)
            }
            Err((failure, lost)) => {
                self.status &= !(capability::IN_TRANS | capability::IN_TRANS_READONLY);
                self.fail(&failure).await?;
                if lost { Err(End::Done) } else { Ok(()) }
            }
        }
    }

    /// Settles a branch. Ok: the answer to the commit, None if it was lost. Err: what to tell, and whether the
    /// database connection is gone.
    pub(super) async fn settle(
        &mut self,
        branch: crate::branch::Branch,
        commit: &str,
    ) -> Result<Result<Option<Bytes>, (Failure, bool)>, End> {
        let Some(xid) = self.membership.binding.as_ref().map(|b| b.xid) else { return Err(End::Done) };
        self.backside.close_gate().await?;
        let settings = self.settings().await?;
        let max_allowed_packet = settings.max_allowed_packet;
        let primary = self.server.clone().unwrap_or_default();
        let resource = self.resource.clone();
        let mut local = LocalTransaction {
            backside: &mut self.backside,
            client: &mut self.client,
            commit,
            max_allowed_packet,
        };
        let mut settler = Settler {
            local: &mut local,
            backend: &resource.backend,
            coordinator: &resource.coordinator,
            primary: &primary,
            xid,
            lock_wait: self.lock_wait.unwrap_or(resource.lock_wait),
            session: self.number,
        };
        let settled = Box::pin(settler.settle(branch)).await;
        Ok(match settled {
            Ok(Settlement::Committed(payload)) => Ok(Some(payload)),
            Ok(Settlement::CommittedUnheard) => Ok(None),
            Err(error) => {
                let lost = matches!(
                    error,
                    SettleError::Lost
                        | SettleError::LostUncommitted
                        | SettleError::InDoubt
                        | SettleError::Elsewhere
                );
                Err((Self::settle_failure(xid, error), lost))
            }
        })
    }

    pub(super) fn settle_failure(xid: atone_protocol::Xid, error: SettleError) -> Failure {
        match error {
            SettleError::Call(error) => Failure::call(xid, &error),
            SettleError::Database(error) => Failure::database(
                error.code,
                &format!("the local transaction was rolled back: {}", error.message()),
            ),
            SettleError::NotFound(table, inserted, found) => {
                Failure::not_found_again(&table, inserted, found)
            }
            SettleError::Changed(table) => {
                Failure::dead(&format!("table {table} has got a trigger or foreign key meanwhile"))
            }
            SettleError::Unsupported(table, why) | SettleError::Unsearchable(table, why) => {
                Failure::table(&table, &why)
            }
            SettleError::Backend(error) => Failure::backend(&error),
            SettleError::TooLarge => {
                Failure::too_large("the local transaction changed more than may be held; it was rolled back")
            }
            SettleError::Lost | SettleError::LostUncommitted => Failure::lost(xid),
            SettleError::InDoubt => Failure::in_doubt(xid),
            SettleError::Elsewhere => Failure::elsewhere(),
            SettleError::Malformed(what) => {
                Failure::database(1105, &format!("{what}; the local transaction was rolled back"))
            }
        }
    }
}

/// The statement without what stands around it: a semicolon or comment behind it would make the server answer twice.
fn trimmed(text: Bytes, command: Command, mode: SqlMode) -> (Bytes, Command) {
    let parts = analyze::split(&text, mode).unwrap_or_default();
    let [one] = parts.as_slice() else { return (text, command) };
    if *one == (0..text.len()) {
        return (text, command);
    }
    let head = command.payload.len() - text.len();
    let text = text.slice(one.clone());
    let payload = [&command.payload[..head], &text].concat();
    let frames = packet::frames(&payload, 0).0.into();
    (text, Command { frames, payload: payload.into() })
}
