//! Commands outside global transactions that are too large to be held without need.

use super::touched::{Mark, Touched};
use crate::{
    backend::Reach,
    session::{Answer, End, Session, relay},
    wire::{
        capability::QUERY_ATTRIBUTES,
        command,
        packet::{HEADER, MAX_PAYLOAD},
        params, scan,
    },
};
use bytes::Bytes;

/// Of a large command so much is looked at first.
const BEGINNING: usize = 256;

/// What becomes of a large command.
pub(in crate::session) enum Large {
    /// It is passed on as it arrives.
    Passed,
    /// It is held in one piece, as smaller ones are.
    Held,
    /// It is passed on as it arrives, and may have written anything.
    Guarded,
}

impl Session {
    /// Its first bytes tell.
    pub(in crate::session) async fn look_at_large(&mut self, length: usize) -> Result<Large, End> {
        if !self.guarding() {
            return Ok(Large::Passed);
        }
        self.client.fill_to(HEADER + BEGINNING).await?;
        let payload = Bytes::copy_from_slice(&self.client.arrived()[HEADER..HEADER + BEGINNING]);
        let attributes = self.backside.capabilities & QUERY_ATTRIBUTES != 0;
        Ok(match payload[0] {
            command::QUERY | command::STMT_EXECUTE | command::STMT_BULK_EXECUTE if length < MAX_PAYLOAD => {
                Large::Held
            }
            command::QUERY if reads(&payload, attributes) => Large::Passed,
            command::QUERY | command::STMT_EXECUTE | command::STMT_BULK_EXECUTE => Large::Guarded,
            command::STMT_SEND_LONG_DATA => {
                self.statements.too_long(&payload);
                Large::Passed
            }
            _ => Large::Passed,
        })
    }

    /// No key of the resource may be locked.
    pub(in crate::session) async fn guard_large(&mut self, length: usize) -> Result<(), End> {
        let mut touched = Touched::default();
        touched.add(vec![Mark::Reach(Reach::Everything)]);
        if self.tables_locked {
            // It has to be read before it can be refused: that would take as much memory as it is long.
            self.tables_locked = false;
        }
        if !self.autocommits() {
            self.touched.add(vec![Mark::Reach(Reach::Everything)]);
            return self.relay_large(length).await;
        }
        self.prepared_in_text.clear();
        self.note_effect(scan::Effect::Everything);
        self.statements.forget_types();
        if let Answer::Error(error) = self.backside.ask_one("BEGIN").await? {
            tracing::debug!(message = error.message(), "a large statement cannot be guarded");
            return Err(End::Done);
        }
        self.backside.found = None;
        let (relayed, end) = relay::relay_large_but_end(&mut self.client, &mut self.backside, length).await?;
        let failed = relayed.outcome.error.is_some();
        self.finish_relayed(&touched, Vec::new(), end.sequence, &end.payload, failed).await
    }
}

/// Does it begin as a read does? What may follow in one text is not looked for.
fn reads(payload: &[u8], attributes: bool) -> bool {
    let text = params::query_text(payload, attributes).map_or(&[][..], |at| &payload[at..]);
    scan::first_word(text).eq_ignore_ascii_case(b"SELECT")
}
