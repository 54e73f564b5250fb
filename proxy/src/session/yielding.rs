//! A command inside a global transaction, which may have to yield: the server's word that it was interrupted becomes ours that
//! there was a deadlock.

use super::{Backside, Command, End, Failure, ServerError, Session};
use crate::{
    wire::{command, packet},
    yielding::{Gate, Interrupt},
};
use atone_protocol::Xid;
use bytes::Bytes;
use std::{io, sync::Arc};

/// A statement was interrupted (ER_QUERY_INTERRUPTED).
pub(super) const INTERRUPTED: u16 = 1317;
/// An answer to a ping is never larger.
const PING_LIMIT: usize = 1 << 20;

impl Session {
    /// Runs a command inside a global transaction: as long as it does, it may be interrupted.
    pub(super) async fn dispatch_inside(&mut self, xid: Xid, command: Command) -> Result<(), End> {
        // A statement among several of one text has its own.
        self.backside.close_gate().await?;
        let gate = Arc::new(Gate::new(self.interrupt()));
        let resource = self.resource.clone();
        let running = resource.running.begin(self.number, xid, gate.clone());
        self.backside.gate = Some(gate);
        self.dispatch_bound(command).await?;
        self.backside.close_gate().await?;
        drop(running);
        Ok(())
    }

    fn interrupt(&self) -> Interrupt {
        // It is known since the session has entered.
        let server = self.server.clone().unwrap_or_default();
        let (mysql, number) = (self.mysql.clone(), self.number);
        Box::new(move || {
            let (mysql, server) = (mysql.clone(), server.clone());
            Box::pin(async move { mysql.interrupt(number, &server).await })
        })
    }

    /// The statement had to yield: the server has only undone that, and the rest of the local transaction goes as after a
    /// deadlock of its own.
    pub(super) async fn end_yielded(&mut self, failure: Failure) -> Result<(), End> {
        self.roll_back_locally().await?;
        self.dead = Some(failure);
        Ok(())
    }
}

impl Backside {
    /// What the server says of an error; of an interruption for a circle we say what it is.
    pub(super) async fn spoken(&mut self, code: u16, payload: Bytes) -> ServerError {
        if code == INTERRUPTED
            && let Some(gate) = &self.gate
            && let Some(circle) = gate.circle().await
        {
            let failure = Failure::deadlock(&circle);
            let (code, payload) = (failure.code(), failure.payload().into());
            self.yielded = Some(failure);
            return ServerError { code, payload };
        }
        ServerError { code, payload }
    }

    /// From here on nothing interrupts it.
    pub(super) async fn close_gate(&mut self) -> io::Result<()> {
        let Some(gate) = self.gate.take() else { return Ok(()) };
        let met = self.yielded.take().is_some();
        if gate.close().await && !met {
            // It may have come too late for the statement, and is not to hit the next: whatever it hits is over then.
            self.packets.write(&packet::frames(&[command::PING], 0).0).await?;
            self.packets.packet(PING_LIMIT).await?;
        }
        Ok(())
    }
}
