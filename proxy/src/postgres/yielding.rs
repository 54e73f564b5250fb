//! A statement inside a global transaction, which may have to yield: the server's word that it was cancelled becomes ours that
//! there was a deadlock.

use super::{End, Session, failure::Failure, pipeline::Pipeline};
use crate::{
    wire::postgres::{Fault, message::Message},
    yielding::Gate,
};
use atone_protocol::Xid;
use std::sync::Arc;

/// query_canceled
const CANCELLED: &str = "57014";

impl Session {
    /// What the client sends inside a global transaction: as long as it runs it may be interrupted.
    pub(super) async fn on_message_inside(&mut self, xid: Xid, message: Message) -> Result<(), End> {
        let gate = Arc::new(Gate::new(self.cancellable.interrupt()));
        let resource = self.resource.clone();
        let running = resource.running.begin(self.number, xid, gate.clone());
        self.pipeline.gate = Some(gate);
        self.on_message(message).await?;
        self.close_gate().await;
        drop(running);
        Ok(())
    }

    /// From here on nothing interrupts it. A request that came too late for its statement is no request to the next: the
    /// server has had it before it is sent anything more, and forgets it when it waits for that.
    pub(super) async fn close_gate(&mut self) {
        if let Some(gate) = self.pipeline.gate.take() {
            gate.close().await;
        }
    }
}

impl Pipeline {
    /// What the server says of an error; of an interruption for a circle we say what it is.
    pub(super) async fn spoken(&self, error: Message) -> Message {
        match &self.gate {
            Some(gate) if Fault::read(error.body()).state == CANCELLED => match gate.circle().await {
                Some(circle) => {
                    Message { tag: b'E', frame: Failure::deadlock(&circle).message("ERROR").into() }
                }
                None => error,
            },
            _ => error,
        }
    }
}
