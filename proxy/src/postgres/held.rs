//! An answer that is held back until it is known what becomes of it.

use crate::isolation::HOLD_LIMIT;

/// An answer that the client gets later, or never.
#[derive(Debug, Default)]
pub struct Held {
    /// Its messages.
    pub frames: Vec<u8>,
    /// Where the word stands that says how it ended.
    pub complete: Option<usize>,
    /// There was more than may be held; nothing of it is here.
    pub overflow: bool,
    /// What was asked about it, before and behind.
    pub told: Vec<Vec<Vec<Option<Vec<u8>>>>>,
    /// It was passed on, since the session does not want to know.
    pub passed: bool,
}

impl Held {
    /// More of it.
    pub fn extend(&mut self, frames: &[u8]) {
        self.overflow |= self.frames.len() + frames.len() > HOLD_LIMIT;
        if self.overflow {
            self.frames = Vec::new();
        } else {
            self.frames.extend(frames);
        }
    }
}
