//! Several statements of one text, outside of BEGIN … COMMIT: the server takes them for a block of their own, in which VACUUM
//! is refused, LOCK TABLE and DECLARE CURSOR are not, and a procedure cannot commit. Run one by one by the extended protocol
//! they are none, so that a block of ours stands around those of which the server might say something else.

use super::{
    End, Session,
    first_words::prepares_transaction,
    pipeline::{Fate, Pipeline},
    statements::Prepared,
};
use crate::wire::{
    postgres::{
        Bind, build,
        message::{LIMIT, Message},
    },
    scan::first_word,
};
use atone_undo_log::postgres::{Class, Counted};
use std::{io, sync::Arc};

/// A statement that does nothing.
const NOTHING: &str = "SELECT WHERE false";

impl Session {
    /// Before a statement of a text of several, `rest` being it and all behind it. False: it was seen to.
    pub(super) async fn next_of_text(&mut self, rest: &[Arc<Prepared>]) -> Result<bool, End> {
        let Some(next) = rest.first().filter(|_| !self.block) else { return Ok(true) };
        match next.class() {
            Class::Begin => {
                if self.text_block {
                    // Our block becomes the client's, if it has not failed.
                    self.send().await?;
                }
                Ok(!self.skipping)
            }
            Class::Rollback { chain: false } => {
                self.send().await?;
                if self.text_block && !self.skipping {
                    self.branch = None;
                    self.counters.forget();
                    self.end_block("ROLLBACK", Fate::Drop);
                    self.send().await?;
                    self.text_block = false;
                }
                Ok(!self.skipping)
            }
            Class::Savepoint(_)
            | Class::RollbackTo(_)
            | Class::Release(_)
            | Class::Rollback { chain: true }
            | Class::Commit { chain: true } => {
                self.out_of_block(&next.text).await?;
                Ok(false)
            }
            Class::Commit { chain: false } => {
                self.commit_without_block().await?;
                Ok(false)
            }
            Class::Unsupported(_) if ends_block(next) && self.guarding() => {
                self.open_prepared().await?;
                self.send().await?;
                if !self.skipping {
                    self.answer.append(&mut self.no_block);
                    // As if our block were the client's.
                    (self.text_block, self.block) = (false, true);
                    self.simple(next).await?;
                    self.send().await?;
                    if self.skipping {
                        (self.text_block, self.block) = (true, false);
                    }
                }
                Ok(false)
            }
            // Inside a global transaction it is refused, and what stands before it is undone.
            Class::Unsupported(_) if ends_block(next) => Ok(true),
            _ if ends_block(next) => {
                if self.text_block {
                    self.commit_block().await?;
                }
                Ok(!self.skipping)
            }
            _ => {
                let (stretch, end) = rest.split_at(rest.iter().position(ends_block).unwrap_or(rest.len()));
                let prepared = matches!(end.first().map(|end| end.class()), Some(Class::Unsupported(_)));
                if prepared && self.guarding() {
                    self.open_prepared().await?;
                } else if !self.text_block && stretch.iter().any(needs_block) {
                    self.end_block("BEGIN", Fate::Drop);
                    self.text_block = true;
                }
                Ok(!self.skipping)
            }
        }
    }

    /// Statements that PREPARE TRANSACTION ends, without a BEGIN of the client's: the server prepares them, with a notice that
    /// there is no block.
    async fn open_prepared(&mut self) -> Result<(), End> {
        if self.text_block {
            return Ok(());
        }
        self.send().await?;
        // Behind others in a pipeline it would commit what these have done.
        let alone = !self.executed && self.branch.is_none();
        if !self.skipping && alone {
            let at = self.answer.len();
            self.say_no_block(false).await?;
            self.no_block = self.answer.split_off(at);
        }
        self.end_block("BEGIN", Fate::Drop);
        self.text_block = true;
        Ok(())
    }

    /// A statement that begins or ends a block of ours is gathered.
    fn end_block(&mut self, sql: &str, fate: Fate) {
        let name = self.own_name();
        alone(&mut self.pipeline, &name, sql, fate);
    }

    /// The COMMIT of a block of ours is gathered, before the Sync: an error is that of the text's end.
    pub(super) fn gather_end_of_block(&mut self) {
        if self.text_block && !self.skipping {
            self.end_block("COMMIT", Fate::Commits);
        }
    }

    /// A block of ours is committed before the client's own word for it, of which the server says that there is no block.
    async fn commit_block(&mut self) -> Result<(), End> {
        let name = self.own_name();
        self.pipeline.parse(&name, "COMMIT", &[], Fate::Drop);
        self.pipeline.bind(&bind_of(&name), Fate::Drop);
        let mut frame = Vec::new();
        build::execute(&mut frame, &name);
        self.commit(&frame, false).await?;
        if !self.skipping {
            self.text_block = false;
            self.pipeline.close(b'S', &name);
        }
        Ok(())
    }

    /// COMMIT without a block of the client's: what came before is committed, and then it is said that there is no block, as
    /// one of several statements, since the server names the place in its source.
    async fn commit_without_block(&mut self) -> Result<(), End> {
        // As the COMMIT of a block of ours is, this one is not heard by the client.
        self.text_block = true;
        self.commit_block().await?;
        self.send().await?;
        if self.skipping {
            return Ok(());
        }
        self.say_no_block(true).await
    }

    /// COMMIT as the second of two statements, of which the first does nothing.
    async fn say_no_block(&mut self, tagged: bool) -> Result<(), End> {
        self.say(&format!("{NOTHING};COMMIT\0")).await?;
        let mut first = true;
        loop {
            let Message { tag, frame } = self.database.message(LIMIT).await?;
            match tag {
                b'Z' => return Ok(()),
                b'T' if first => {}
                b'C' if std::mem::take(&mut first) || !tagged => {}
                b'N' | b'A' | b'S' | b'C' => self.answer.extend(&frame),
                b'E' => {
                    self.answer.extend(&frame);
                    self.skipping = true;
                }
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "no end of a block").into()),
            }
        }
    }

    /// A statement that the server surely refuses outside of blocks: in the simple protocol, since it names the place in its
    /// source. What came before in the text is undone by it.
    async fn out_of_block(&mut self, text: &str) -> Result<(), End> {
        self.send().await?;
        if self.skipping {
            return Ok(());
        }
        self.abandon().await?;
        self.say(&format!("{text}\n;EXECUTE \"atone refused the statement before\"\0")).await?;
        loop {
            let Message { tag, frame } = self.database.message(LIMIT).await?;
            match tag {
                b'Z' => break,
                b'E' | b'N' | b'A' | b'S' => self.answer.extend(&frame),
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "no refusal").into()),
            }
        }
        self.skipping = true;
        Ok(())
    }

    /// A simple Query.
    async fn say(&mut self, query: &str) -> Result<(), End> {
        let mut frame = vec![b'Q'];
        frame.extend((query.len() as u32 + 4).to_be_bytes());
        frame.extend(query.as_bytes());
        Ok(self.database.write(&frame).await?)
    }
}

/// A statement of ours, in one go.
pub(super) fn alone(pipeline: &mut Pipeline, name: &str, sql: &str, fate: Fate) {
    pipeline.parse(name, sql, &[], Fate::Drop);
    pipeline.bind(&bind_of(name), Fate::Drop);
    pipeline.execute(name, fate);
    pipeline.close(b'S', name);
}

fn bind_of(name: &str) -> Bind {
    Bind {
        portal: name.as_bytes().to_vec(),
        statement: name.as_bytes().to_vec(),
        formats: Vec::new(),
        values: Vec::new(),
        results: Vec::new(),
    }
}

/// Does a statement begin or end a block, or try to?
pub(super) fn ends_block(prepared: &Arc<Prepared>) -> bool {
    match prepared.class() {
        Class::Begin
        | Class::Commit { .. }
        | Class::Rollback { .. }
        | Class::Savepoint(_)
        | Class::RollbackTo(_)
        | Class::Release(_) => true,
        Class::Unsupported(_) => prepares_transaction(&prepared.text),
        Class::Empty
        | Class::Read
        | Class::Locking(_)
        | Class::Session
        | Class::Write(_)
        | Class::Counted(_)
        | Class::DiscardAll
        | Class::ResetAll
        | Class::Control(_) => false,
    }
}

/// May the server run it otherwise within a block than outside?
fn needs_block(prepared: &Arc<Prepared>) -> bool {
    let word = first_word(prepared.text.as_bytes());
    let is = |words: &[&[u8]]| words.iter().any(|w| word.eq_ignore_ascii_case(w));
    match prepared.class() {
        Class::Unsupported(_) | Class::DiscardAll | Class::Counted(Counted::Procedure) => true,
        Class::Read | Class::Counted(_) => is(&[b"DECLARE"]),
        Class::Session => is(&[b"LOCK", b"SET"]),
        Class::Empty
        | Class::Locking(_)
        | Class::Write(_)
        | Class::ResetAll
        | Class::Control(_)
        | Class::Begin
        | Class::Commit { .. }
        | Class::Rollback { .. }
        | Class::Savepoint(_)
        | Class::RollbackTo(_)
        | Class::Release(_) => false,
    }
}
