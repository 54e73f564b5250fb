//! What came of a statement.

/// Of one statement, or of several that one row plays as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It changed rows; a rollback brought back every byte, and a commit kept what was written.
    Captured,
    /// It passed and changed nothing that can be dumped.
    Relayed,
    /// Atone said no, in these words, and nothing was changed. The server itself takes the statement.
    Refused(String),
    /// The server itself does not take the statement, with or without Atone.
    Absent(String),
    /// It passed, and a rollback did not undo it: a limit that is known, and told wherever limits are.
    Unseen,
    /// None of these: a fault, of Atone or of the row.
    Wrong(String),
}

/// An error that a server or the proxy answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its number or SQLSTATE.
    pub code: String,
    /// Its sentence, with the room's name left out.
    pub text: String,
}

impl Told {
    /// The sentence if it is Atone's own, without the word by which that is known.
    pub fn ours(&self) -> Option<&str> {
        self.text.strip_prefix("atone: ")
    }
}
