//! What a client has sent and not been answered yet, while messages are only relayed.

use std::collections::VecDeque;

/// Unanswered messages, oldest first. Only those are kept that tell when the conversation is between two statements.
#[derive(Debug, Default)]
pub struct Pending {
    sent: VecDeque<u8>,
    /// The server takes rows from the client and ignores Sync.
    copying: bool,
}

impl Pending {
    /// Is everything answered?
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Is the client's turn to send rows?
    pub fn copying(&self) -> bool {
        self.copying
    }

    /// Is the last message one that ends an implicit local transaction?
    pub fn ends_with_sync(&self) -> bool {
        self.sent.back().is_some_and(|tag| matches!(tag, b'Q' | b'F' | b'S'))
    }

    /// The client sent a message.
    pub fn sent(&mut self, tag: u8) {
        match tag {
            b'S' if self.copying => {}
            b'Q' | b'F' | b'S' | b'P' | b'B' | b'D' | b'E' | b'C' => self.sent.push_back(tag),
            b'c' | b'f' if self.copying => self.copying = false,
            // Of a COPY that has failed and been answered, the server passes over it.
            b'c' | b'f' if self.sent.is_empty() => {}
            b'c' | b'f' => self.sent.push_back(tag),
            _ => {}
        }
    }

    /// The server sent a message.
    pub fn answered(&mut self, tag: u8) {
        match tag {
            b'1' => self.pop(b'P'),
            b'2' => self.pop(b'B'),
            b'3' => self.pop(b'C'),
            // Describe of a statement is answered by two messages, of which the second counts.
            b'T' | b'n' => self.pop(b'D'),
            b'C' | b'I' | b's' => self.pop(b'E'),
            b'E' => self.skip_to_sync(),
            b'V' => {}
            b'G' | b'W' => self.copy_in(),
            b'Z' => {
                while let Some(tag) = self.sent.pop_front() {
                    if matches!(tag, b'Q' | b'F' | b'S') {
                        break;
                    }
                }
                // The end of rows that came behind an error.
                while self.sent.front().is_some_and(|tag| matches!(tag, b'c' | b'f')) {
                    self.sent.pop_front();
                }
            }
            _ => {}
        }
    }

    fn pop(&mut self, tag: u8) {
        if self.sent.front() == Some(&tag) {
            self.sent.pop_front();
        }
    }

    /// After an error in the extended protocol everything up to the Sync is skipped.
    fn skip_to_sync(&mut self) {
        self.copying = false;
        while self.sent.front().is_some_and(|t| !matches!(t, b'Q' | b'F' | b'S')) {
            self.sent.pop_front();
        }
    }

    /// COPY FROM in the extended protocol: Syncs between the Execute and the end of the rows are ignored.
    fn copy_in(&mut self) {
        if self.sent.front() == Some(&b'Q') {
            // The end of the rows may have been sent already.
            let ended = self.sent.iter().position(|t| matches!(t, b'c' | b'f'));
            if let Some(at) = ended {
                self.sent.remove(at);
            }
            self.copying = ended.is_none();
            return;
        }
        let ended = self.sent.iter().position(|t| matches!(t, b'c' | b'f'));
        let until = ended.unwrap_or(self.sent.len());
        let kept: VecDeque<u8> = self
            .sent
            .iter()
            .enumerate()
            .filter(|(at, tag)| *at == 0 || *at > until || !matches!(tag, b'S' | b'c' | b'f'))
            .map(|(_, tag)| *tag)
            .collect();
        self.sent = kept;
        self.copying = ended.is_none();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(said: &str) -> Pending {
        let mut pending = Pending::default();
        for word in said.split(' ') {
            let (who, tag) = word.split_at(1);
            let tag = tag.as_bytes()[0];
            if who == ">" { pending.sent(tag) } else { pending.answered(tag) }
        }
        pending
    }

    /// What comes behind an error of a COPY is answered by nobody.
    #[test]
    fn the_end_of_rows_that_nobody_wants_is_not_waited_for() {
        for said in [
            ">Q <G >d <E <Z >c",
            ">Q <G >d <E >c <Z",
            ">Q >d >c <G <E <Z",
            ">Q <E <Z >d >c",
            ">Q >c <E <Z",
            ">P >B >E >S <1 <2 <G >d <E >c >S <Z",
        ] {
            assert!(after(said).is_empty(), "{said}: {:?}", after(said));
        }
        assert!(!after(">Q <G >d <E >c <Z >Q").is_empty());
        assert!(after(">Q <G >d").copying());
        assert!(after(">Q <G >d >c <C <Z").is_empty());
    }
}
