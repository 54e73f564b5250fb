//! The session's prepared statements: their texts, and what was sent ahead of their executions.

use crate::wire::{
    command,
    params::{self, Param, ParamType},
};
use atone_undo_log::analyze::Control;
use bytes::Bytes;
use std::collections::HashMap;

/// Bytes of long data kept per session; a statement that was sent more is not executed inside a global transaction.
const LONG_DATA_LIMIT: usize = 64 << 20;

#[derive(Default)]
pub(super) struct Statements {
    known: HashMap<u32, Prepared>,
    long_data: usize,
}

struct Prepared {
    text: Bytes,
    params: u16,
    control: Option<Control>,
    types: Vec<ParamType>,
    long: Vec<Option<Vec<u8>>>,
    too_long: bool,
    reading: u64,
}

impl Statements {
    /// `reading` counts the changes of schema and sql_mode: the text means what it meant when it was prepared.
    pub(super) fn prepared(
        &mut self,
        id: u32,
        params: u16,
        text: Bytes,
        control: Option<Control>,
        reading: u64,
    ) {
        // A slice would keep the whole read buffer alive for as long as the statement.
        let text = Bytes::copy_from_slice(&text);
        let long = vec![None; usize::from(params)];
        self.known.insert(
            id,
            Prepared { text, params, control, types: Vec::new(), long, too_long: false, reading },
        );
    }

    /// Follows the commands that say something about prepared statements.
    pub(super) fn note(&mut self, payload: &[u8]) {
        match payload.first() {
            Some(&command::STMT_CLOSE) => {
                if let Some(gone) = params::statement_id(payload).and_then(|id| self.known.remove(&id)) {
                    self.long_data -= gone.long.iter().flatten().map(Vec::len).sum::<usize>();
                }
            }
            Some(&command::STMT_RESET) => self.forget_long_data(payload),
            Some(&command::STMT_SEND_LONG_DATA) => self.long_data(payload),
            _ => {}
        }
    }

    /// What was sent ahead was too large to look into.
    pub(super) fn too_long(&mut self, payload: &[u8]) {
        if let Some(prepared) = params::statement_id(payload).and_then(|id| self.known.get_mut(&id)) {
            prepared.too_long = true;
        }
    }

    fn long_data(&mut self, payload: &[u8]) {
        let total = self.long_data;
        let Some(prepared) = params::statement_id(payload).and_then(|id| self.known.get_mut(&id)) else {
            return;
        };
        let (Some(at), Some(data)) = (payload.get(5..7), payload.get(7..)) else { return };
        let Some(slot) = prepared.long.get_mut(usize::from(u16::from_le_bytes([at[0], at[1]]))) else {
            return;
        };
        if total + data.len() > LONG_DATA_LIMIT {
            prepared.too_long = true;
        } else {
            slot.get_or_insert_default().extend_from_slice(data);
            self.long_data += data.len();
        }
    }

    /// After an execution or a reset the server has forgotten what was sent ahead.
    pub(super) fn forget_long_data(&mut self, payload: &[u8]) {
        let Some(prepared) = params::statement_id(payload).and_then(|id| self.known.get_mut(&id)) else {
            return;
        };
        self.long_data -= prepared.long.iter_mut().filter_map(Option::take).map(|d| d.len()).sum::<usize>();
        prepared.too_long = false;
    }

    /// Was a parameter of the next execution sent ahead? The server has it for one only.
    pub(super) fn sent_ahead(&self, payload: &[u8]) -> bool {
        let known = params::statement_id(payload).and_then(|id| self.known.get(&id));
        known.is_some_and(|p| p.too_long || p.long.iter().any(Option::is_some))
    }

    pub(super) fn text(&self, payload: &[u8]) -> Option<Bytes> {
        self.known.get(&params::statement_id(payload)?).map(|p| p.text.clone())
    }

    pub(super) fn control(&self, payload: &[u8]) -> Option<Control> {
        self.known.get(&params::statement_id(payload)?)?.control.clone()
    }

    /// The count of changes of schema and sql_mode when it was prepared.
    pub(super) fn reading(&self, payload: &[u8]) -> Option<u64> {
        self.known.get(&params::statement_id(payload)?).map(|p| p.reading)
    }

    /// Remembers what an execution that is only relayed binds: later ones may leave the types out.
    pub(super) fn note_types(&mut self, payload: &[u8], attributes: bool) {
        let Some(prepared) = params::statement_id(payload).and_then(|id| self.known.get_mut(&id)) else {
            return;
        };
        if params::note_types(payload, usize::from(prepared.params), attributes, &mut prepared.types)
            .is_none()
        {
            prepared.types.clear();
        }
    }

    /// An execution passed that was too large to look into.
    pub(super) fn forget_types(&mut self) {
        self.known.values_mut().for_each(|p| p.types.clear());
    }

    /// The parameters of an execution; also remembers their types for the next. None: they cannot be read.
    pub(super) fn params(&mut self, payload: &[u8], attributes: bool) -> Option<Vec<Param>> {
        let prepared = self.known.get_mut(&params::statement_id(payload)?)?;
        if prepared.too_long {
            return None;
        }
        let count = usize::from(prepared.params);
        params::execute(payload, count, attributes, &mut prepared.types, &prepared.long)
    }
}
