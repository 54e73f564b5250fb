//! A simple Query inside a global transaction: each of its statements is run by the extended protocol, in one implicit
//! local transaction, and answered as the simple one answers.

use super::{
    End, Failure, OPEN, Session, first_words::prepares_transaction, pipeline::Fate, statements::Prepared,
    texts::ends_block, write::Asked,
};
use crate::net::duplex;
use crate::wire::postgres::{Bind, build, message::Message};
use atone_undo_log::{
    analyze::Unsupported,
    postgres::{Class, Counted, split},
};
use std::{ops::Range, sync::Arc};

/// The statement under way is prepared under this name. One that failed is closed before the next.
pub(super) const QUERY: &str = "atone query";

/// Bytes of blanks sent so that positions in errors of one of several statements are right.
const PADDING_LIMIT: usize = 1 << 20;

impl Session {
    pub(super) async fn on_query(&mut self, message: &Message) -> Result<(), End> {
        // One that stands behind an error in a pipeline is skipped.
        self.send().await?;
        if self.skipping {
            return Ok(());
        }
        let body = message.body();
        let Ok(text) = std::str::from_utf8(body.strip_suffix(&[0]).unwrap_or(body)) else {
            if self.wants_committed().await? {
                self.refuse(&super::checked::uncheckable("a statement that is not UTF-8")).await?;
                return self.on_sync().await;
            }
            if self.guarding() || self.membership.binding.is_none() {
                return self.relay(message).await;
            }
            let what = Unsupported("a statement that is not UTF-8".into());
            self.refuse(&Failure::unsupported(&what)).await?;
            return self.on_sync().await;
        };
        self.statements.heard(text.as_bytes());
        let unsure = self.statements.unsure;
        let parts = match parts(text.as_bytes(), unsure) {
            Ok(parts) => parts,
            Err(_)
                if (self.guarding() || self.membership.binding.is_none())
                    && !self.wants_committed().await? =>
            {
                return self.relay(message).await;
            }
            Err(what) => {
                // What the server does not understand either it says itself.
                self.pipeline.close(b'S', QUERY);
                self.pipeline.parse(QUERY, text, &[], Fate::DropUnlessError);
                self.refuse(&Failure::unsupported(&what)).await?;
                return self.on_sync().await;
            }
        };
        let prepared = |text: &str| Arc::new(Prepared::new(text.to_owned(), Vec::new(), unsure));
        let statements: Vec<Arc<Prepared>> = match parts.as_slice() {
            // Positions in errors count from the beginning of the text.
            [] | [_] => vec![prepared(text)],
            many if many.len() * text.len() > PADDING_LIMIT => {
                many.iter().map(|part| prepared(&text[part.clone()])).collect()
            }
            many => {
                let blanks = |part: &Range<usize>| " ".repeat(text[..part.start].chars().count());
                many.iter().map(|part| prepared(&(blanks(part) + &text[part.clone()]))).collect()
            }
        };
        let ours = |p: &Arc<Prepared>| matches!(p.class(), Class::Control(_));
        let misnamed =
            |p: &Arc<Prepared>| matches!(p.class(), Class::Unsupported(what) if what.0.contains("atone"));
        let relayed = match self.guarding() {
            true => !self.guard_concerns(&statements),
            false => self.membership.binding.is_none(),
        };
        let checked = statements.iter().any(|p| self.is_checked(p));
        if checked && statements.len() > 1 && !self.captures() && self.wants_committed().await? {
            self.refuse(&super::checked::uncheckable(
                "a text of several statements (local_writes = \"pass\")",
            ))
            .await?;
            return self.on_sync().await;
        }
        let relayed = relayed && (!checked || statements.len() > 1 && !self.captures());
        if relayed && !statements.iter().any(|p| ours(p) || misnamed(p)) {
            return self.relay(message).await;
        }
        if statements.len() > 1 && statements.iter().any(ours) {
            let what = "one of Atone's own statements together with others in one text";
            self.refuse(&Failure::misuse(what)).await?;
            return self.on_sync().await;
        }
        let ends = |p: &Arc<Prepared>| match p.class() {
            Class::Rollback { .. } | Class::RollbackTo(_) | Class::Commit { .. } | Class::Control(_) => true,
            Class::Unsupported(_) => prepares_transaction(&p.text),
            _ => false,
        };
        if self.failed() && self.ended.is_none() && !statements.iter().any(ends) {
            // The server refuses it in its own words.
            return self.relay(message).await;
        }
        self.querying = true;
        // A simple Query ends the unnamed statement.
        self.statements.close(b'S', b"");
        if !statements.iter().all(ours) {
            self.pipeline.close(b'S', "");
        }
        for (at, statement) in statements.iter().enumerate() {
            if at == 0 {
                self.note_first();
            } else {
                self.skip_locked.is_first = false;
            }
            if statements.len() == 1 || self.next_of_text(&statements[at..]).await? {
                self.simple(statement).await?;
            }
            if self.skipping {
                break;
            }
        }
        if let ([one], true, false) = (statements.as_slice(), self.goes_on(), self.block)
            && !ours(one)
            && !ends_block(one)
        {
            return self.stay_in_pipeline().await;
        }
        self.on_sync().await
    }

    /// Does a simple Query not end the pipeline that it stands in? From PostgreSQL 18 on, behind an Execute.
    pub(super) fn goes_on(&self) -> bool {
        self.executed && self.major() >= 18
    }

    /// A Query was run in such a pipeline, which is still open, as the client is told.
    async fn stay_in_pipeline(&mut self) -> Result<(), End> {
        self.send().await?;
        if self.skipping {
            return self.on_sync().await;
        }
        (self.status, self.querying, self.queried) = (OPEN, false, true);
        build::ready(&mut self.answer, OPEN);
        self.hand_over().await
    }

    /// One statement of a simple Query.
    pub(super) async fn simple(&mut self, prepared: &Arc<Prepared>) -> Result<(), End> {
        let none = Bind {
            portal: Vec::new(),
            statement: QUERY.into(),
            formats: Vec::new(),
            values: Vec::new(),
            results: Vec::new(),
        };
        match prepared.class() {
            Class::Control(_) => return self.simple_control(prepared).await,
            Class::Write(write)
                if self.membership.binding.is_some()
                    || self.guarding() && self.plain_target(&prepared.text[write.table.clone()]).await? =>
            {
                return self.write(prepared, &none, Asked::Query).await;
            }
            _ => {}
        }
        if let Class::Locking(Some(locking)) = prepared.class()
            && (self.membership.binding.is_some() || self.plain_targets(&prepared.text, locking).await?)
        {
            return self.write(prepared, &none, Asked::Query).await;
        }
        if self.skipping {
            return Ok(());
        }
        if self.is_checked(prepared) {
            return self.checked_simple(prepared, &none).await;
        }
        let refused =
            matches!(prepared.class(), Class::Unsupported(_) | Class::Locking(None)) && !self.guarding();
        // What the server does not understand either it says itself.
        self.pipeline.close(b'S', QUERY);
        self.pipeline.parse(QUERY, &prepared.text, &[], Fate::DropUnlessError);
        if !refused {
            self.pipeline.bind(&none, Fate::DropUnlessError);
            self.pipeline.describe("", if runs_first(prepared) { Fate::Withhold } else { Fate::DropNoData });
        }
        let mut frame = Vec::new();
        build::execute(&mut frame, "");
        self.statement(prepared, &frame).await
    }

    /// Outside a global transaction, but looked at: as it came.
    pub(super) async fn relay(&mut self, message: &Message) -> Result<(), End> {
        self.send().await?;
        self.hand_over().await?;
        let pipelined = (self.guard_is_up() || self.goes_on()) && !self.block;
        if message.tag == b'Q' {
            self.statements.note(message.tag, message.body());
            self.defines |= super::statements::may_define(message.body());
            if super::first_words::changes_names(message.body()) {
                self.targets.forget();
            }
        }
        self.database.write(&message.frame).await?;
        self.pending.sent(message.tag);
        while !self.pending.is_empty() || self.passing.1 > 0 || self.free.1 > 0 {
            if self.pending.copying() {
                self.look_at_client()?;
            }
            let event = duplex(&mut self.client, &mut self.database, self.free).await?;
            self.on_event(event)?;
        }
        self.block = self.status != super::IDLE && !pipelined;
        self.executed &= self.status != super::IDLE;
        self.queried = message.tag == b'Q' && pipelined && self.goes_on();
        Ok(())
    }
}

/// Does the server run it to its end before it describes its rows? All but plain reads: errors come without a description.
pub(super) fn runs_first(prepared: &Prepared) -> bool {
    let text = prepared.text.as_bytes();
    let word = crate::wire::scan::first_word(text);
    let is = |words: &[&[u8]]| words.iter().any(|w| word.eq_ignore_ascii_case(w));
    let says = |word: &&[u8]| text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
    match prepared.class() {
        Class::Read => !is(&[b"SELECT", b"VALUES", b"TABLE", b"WITH", b""]),
        // Functions may write in these; behind WITH stands a write, too.
        Class::Counted(Counted::Plain) if is(&[b"WITH"]) => {
            [&b"INSERT"[..], b"UPDATE", b"DELETE", b"MERGE"].iter().any(says)
        }
        Class::Counted(Counted::Plain) => !is(&[b"SELECT", b"VALUES", b"TABLE", b""]),
        _ => true,
    }
}

/// The statements of a text, however its strings are read.
fn parts(text: &[u8], unsure: bool) -> Result<Vec<Range<usize>>, Unsupported> {
    let parts = split(text, true)?;
    if unsure && split(text, false).as_ref() != Ok(&parts) {
        return Err(Unsupported(
            "a text that means another thing when standard_conforming_strings changes".into(),
        ));
    }
    Ok(parts)
}
