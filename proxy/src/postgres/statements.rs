//! Prepared statements and portals, as the client named them.

use super::first_words::{may_write, moves_block};
use crate::wire::{
    postgres::{Bind, Parse},
    scan::{first_word, mentions_atone},
};
use atone_protocol::UndoMark;
use atone_undo_log::postgres::{Class, classify, classify_either_way, prepared_names, prepares_read};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, OnceLock},
};

/// Statements remembered at once; one that was forgotten is refused inside a global transaction.
const CAPACITY: usize = 20_000;

/// A statement as it was prepared.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Its text.
    pub text: String,
    /// Types of its parameters, as far as the client gave them.
    pub types: Vec<u32>,
    /// It is not sure how plain strings are read.
    unsure: bool,
    class: OnceLock<Class>,
}

impl Prepared {
    /// A text with the types of its parameters.
    pub fn new(text: String, types: Vec<u32>, unsure: bool) -> Self {
        Self { text, types, unsure, class: OnceLock::new() }
    }

    /// What it does.
    pub fn class(&self) -> &Class {
        let text = self.text.as_bytes();
        self.class.get_or_init(|| if self.unsure { classify_either_way(text) } else { classify(text, true) })
    }
}

/// A statement with its values.
#[derive(Debug)]
pub(super) struct Portal {
    /// The statement.
    pub prepared: Arc<Prepared>,
    /// The values.
    pub bind: Bind,
    /// It has been run to its end; what of the answer the client has not asked for yet.
    pub done: Option<VecDeque<Vec<u8>>>,
    /// Known before it was bound, which is when the server looks.
    pub since: Option<UndoMark>,
    /// Some of its rows were asked for.
    pub begun: bool,
}

/// A session's statements and portals.
#[derive(Default)]
pub(super) struct Statements {
    prepared: BTreeMap<Vec<u8>, Arc<Prepared>>,
    portals: BTreeMap<Vec<u8>, Portal>,
    order: VecDeque<Vec<u8>>,
    /// Names that were prepared in SQL: were they reads, each time?
    by_sql: BTreeMap<String, bool>,
    /// Names of statements that are ours to answer.
    controls: BTreeSet<Vec<u8>>,
    /// Writes as we re-spell them are prepared under names of ours, by the client's name; and how we spelled them.
    own: BTreeMap<Vec<u8>, (String, String)>,
    /// Those prepared since the last answer: if that was an error, they may not be.
    fresh: Vec<Vec<u8>>,
    /// Names of ours given up, to be closed.
    stale: Vec<String>,
    /// Statements of ours are, or were, prepared in this session.
    pub names_in_use: bool,
    /// The client may have had the server forget them.
    pub lost: bool,
    /// Some statements of the client's are not remembered.
    pub forgetful: bool,
    /// `standard_conforming_strings` is off, or was, or may be: how plain strings are read is not sure.
    pub unsure: bool,
}

impl Statements {
    /// Does a message that is only relayed concern us?
    pub fn is_ours(&self, tag: u8, body: &[u8]) -> bool {
        match tag {
            b'Q' | b'P' => mentions_atone(body),
            b'B' if !self.controls.is_empty() => {
                let mut names = body.split(|b| *b == 0);
                names.nth(1).is_some_and(|statement| self.controls.contains(statement))
            }
            _ => false,
        }
    }

    /// May a message that would only be relayed write rows, or change what a write behind it in the pipeline stands in?
    pub fn may_write(&self, tag: u8, body: &[u8]) -> bool {
        let concerns = |text: &[u8]| may_write(text) || moves_block(text);
        match tag {
            b'Q' => may_write(body.strip_suffix(&[0]).unwrap_or(body)),
            b'P' => body.split(|b| *b == 0).nth(1).is_some_and(concerns),
            _ => match body.split(|b| *b == 0).nth(1).map(|name| self.prepared.get(name)) {
                Some(Some(prepared)) => concerns(prepared.text.as_bytes()),
                Some(None) => self.forgetful,
                None => false,
            },
        }
    }

    /// A message that is only relayed.
    pub fn note(&mut self, tag: u8, body: &[u8]) {
        // Only a session that was in a global transaction has anything of ours to lose.
        if self.names_in_use && matches!(tag, b'Q' | b'P') {
            let says = |word: &[u8]| body.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
            self.lost |= says(b"DISCARD") || says(b"DEALLOCATE");
        }
        if tag == b'Q' {
            self.heard(body);
        }
        if tag == b'P'
            && let Some(parse) = Parse::read(body)
        {
            self.prepare(parse);
        }
    }

    /// A message that is too large to be looked at; for a Parse the name of its statement.
    pub fn overlook(&mut self, tag: u8, name: &[u8]) {
        (self.forgetful, self.lost) = (true, self.lost || self.names_in_use);
        if tag == b'P' {
            self.close(b'S', name);
        } else {
            // It may have prepared any name in SQL.
            self.prepared.clear();
        }
    }

    /// A text that may change how strings are read makes it unsure for good; a name that it prepares is not what we think.
    pub fn heard(&mut self, text: &[u8]) {
        let text = text.strip_suffix(&[0]).unwrap_or(text);
        self.unsure |= text.windows(18).any(|w| w.eq_ignore_ascii_case(b"conforming_strings"));
        if text.windows(7).any(|w| w.eq_ignore_ascii_case(b"PREPARE")) {
            let Some(names) = prepared_names(text) else { return self.forget_all() };
            let reads = prepares_read(text);
            for name in names {
                // If it was prepared already, it stays what it was.
                let known = self.by_sql.entry(name.clone()).or_insert(reads);
                *known &= reads;
                self.forgetful |= self.prepared.contains_key(name.as_bytes());
                self.close(b'S', name.as_bytes());
            }
        }
    }

    /// Any name may mean anything now.
    fn forget_all(&mut self) {
        self.forgetful = true;
        self.prepared.clear();
        self.by_sql.clear();
        self.forget_own();
    }

    /// What the server reports of its settings.
    pub fn reported(&mut self, name: &str, value: &str) {
        self.unsure |= name == "standard_conforming_strings" && value != "on";
    }

    /// A statement is prepared.
    pub fn prepare(&mut self, parse: Parse) -> Option<Arc<Prepared>> {
        let Parse { name, text, types } = parse;
        self.heard(&text);
        self.close(b'S', &name);
        // Text that is not UTF-8 cannot be protected; without a record it is refused inside.
        let Ok(text) = String::from_utf8(text) else {
            self.forgetful = true;
            return None;
        };
        let prepared = Arc::new(Prepared::new(text, types, self.unsure));
        if mentions_atone(prepared.text.as_bytes()) && matches!(prepared.class(), Class::Control(_)) {
            self.controls.insert(name.clone());
        }
        if self.order.len() >= CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.close(b'S', &oldest);
            self.forgetful = true;
        }
        if !name.is_empty() {
            self.order.push_back(name.clone());
        }
        self.prepared.insert(name, prepared.clone());
        Some(prepared)
    }

    /// Does EXECUTE of this name surely read only?
    pub fn reads(&self, name: &str) -> bool {
        match (self.prepared.get(name.as_bytes()), self.by_sql.get(name)) {
            (Some(prepared), None) => *prepared.class() == Class::Read,
            (None, Some(reads)) => *reads && !self.forgetful,
            _ => false,
        }
    }

    /// The statement of this name.
    pub fn statement(&self, name: &[u8]) -> Option<Arc<Prepared>> {
        self.prepared.get(name).cloned()
    }

    /// A portal is made.
    pub fn bind(&mut self, bind: Bind, since: Option<UndoMark>) {
        match self.statement(&bind.statement) {
            Some(prepared) => {
                self.portals
                    .insert(bind.portal.clone(), Portal { prepared, bind, done: None, since, begun: false });
            }
            None => {
                self.portals.remove(&bind.portal);
            }
        }
    }

    /// The portal of this name.
    pub fn portal(&mut self, name: &[u8]) -> Option<&mut Portal> {
        self.portals.get_mut(name)
    }

    /// All portals, to be bound again; None: of one the statement is not there any more.
    pub fn all_bound(&self) -> Option<Vec<Bind>> {
        let bound = |portal: &Portal| {
            let now = self.prepared.get(&portal.bind.statement)?;
            Arc::ptr_eq(now, &portal.prepared).then(|| portal.bind.clone())
        };
        self.portals.values().map(bound).collect()
    }

    /// A statement (S) or portal (P) is closed.
    pub fn close(&mut self, kind: u8, name: &[u8]) {
        if kind == b'P' {
            self.portals.remove(name);
        } else if self.prepared.remove(name).is_some() {
            self.stale.extend(self.own.remove(name).map(|own| own.0));
            self.controls.remove(name);
            if !name.is_empty() {
                self.order.retain(|n| n != name);
            }
        }
    }

    /// Our name for the client's statement, if it is prepared in this spelling; otherwise `name` from now on.
    pub fn own(&mut self, statement: &[u8], name: &str, sql: &str) -> (String, bool) {
        match self.own.get(statement) {
            Some((known, spelling)) if spelling == sql => return (known.clone(), false),
            Some((known, _)) => self.stale.push(known.clone()),
            None => {}
        }
        self.own.insert(statement.to_vec(), (name.to_owned(), sql.to_owned()));
        self.fresh.push(statement.to_vec());
        (name.to_owned(), true)
    }

    /// The answers came: what was prepared stays so, unless there was an error.
    pub fn answered(&mut self, error: bool) {
        for statement in std::mem::take(&mut self.fresh) {
            if error {
                self.stale.extend(self.own.remove(&statement).map(|own| own.0));
            }
        }
    }

    /// Names of statements of ours to close.
    pub fn stale(&mut self) -> Vec<String> {
        std::mem::take(&mut self.stale)
    }

    /// The server may have forgotten all prepared statements.
    pub fn forget_own(&mut self) {
        self.stale.extend(std::mem::take(&mut self.own).into_values().map(|own| own.0));
    }

    /// Portals end with the local transaction.
    pub fn end_of_transaction(&mut self) {
        self.portals.clear();
    }

    /// DISCARD ALL.
    pub fn clear(&mut self) {
        *self = Self { unsure: self.unsure, ..Self::default() };
    }
}

/// May a text (behind the name of a Parse, or alone) define tables? By its first words only: a second is soon over.
pub(super) fn may_define(body: &[u8]) -> bool {
    body.splitn(3, |b| *b == 0).any(|text| {
        let word = first_word(text);
        [&b"CREATE"[..], b"ALTER", b"DROP"].iter().any(|w| word.eq_ignore_ascii_case(w))
    })
}
