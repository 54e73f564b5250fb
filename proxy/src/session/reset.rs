//! COM_RESET_CONNECTION and COM_CHANGE_USER: the server rolls back and forgets the session; so do we, when it has.

use super::{
    Answer, Command, End, Failure, Session,
    exchange::{Exchange, Exchanged, legs},
    statements::Statements,
};
use crate::wire::{auth::Method, capability, command, greeting, packet, scan};

impl Session {
    pub(super) async fn reset(&mut self, command: Command) -> Result<(), End> {
        self.backside.give_back_multi_statements().await?;
        let relayed = self.relay(command).await?;
        if relayed.outcome.error.is_none() {
            self.forget();
        }
        Ok(())
    }

    pub(super) async fn change_user(&mut self, command: Command) -> Result<(), End> {
        // User, password, schema are separated by zeros.
        let schema = |w: &[u8]| w.eq_ignore_ascii_case(b"\0atone\0");
        if command.payload.windows(7).any(schema) {
            return self.fail(&Failure::private()).await;
        }
        let plugin = greeting::plugin_of_change_user(&command.payload).unwrap_or_default();
        let method = Method::new(plugin, self.method.nonce());
        if !method.first_may_pass(legs(&self.client, &self.backside.packets)) {
            return self.fail(&Failure::bare_wire()).await;
        }
        self.method = method;
        self.backside.give_back_multi_statements().await?;
        self.backside.packets.write(&command.frames).await?;
        let exchange = Exchange {
            client: &mut self.client,
            to_client: 1,
            database: &mut self.backside.packets,
            to_database: 1,
            key: &self.resource.password_key,
            method: &mut self.method,
        };
        match exchange.run().await? {
            Exchanged::Accepted(status) => self.status = status,
            Exchanged::Refused => self.status = self.status_when_refused().await?,
            Exchanged::Failed => return Err(End::Done),
        }
        self.forget();
        Ok(())
    }

    /// MariaDB goes on under the old account, with all else of the session forgotten; MySQL closes the connection. ERR
    /// packets carry no status.
    async fn status_when_refused(&mut self) -> Result<u16, End> {
        let ping = packet::frames(&[command::PING], 0).0;
        match self.backside.run_raw(&ping).await {
            Ok(Answer::Ok(ok, _)) if ok.status & capability::IN_TRANS == 0 => Ok(ok.status),
            _ => Err(End::Done),
        }
    }

    fn forget(&mut self) {
        (self.membership.binding, self.branch, self.dead) = (None, None, None);
        (self.statements, self.tables_locked, self.echo) = (Statements::default(), false, None);
        self.touched.clear();
        self.prepared_in_text.clear();
        self.backside.server_multi = None;
        self.note_effect(scan::Effect::Everything);
    }
}
