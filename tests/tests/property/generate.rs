//! What is made at random: `tables` of `columns`, their rows, `statements` of `parts`, and the `script` that puts statements into local
//! transactions. All of it follows from the seed.

mod columns;
mod parts;
mod script;
mod statements;
mod tables;

pub use script::script;
pub use tables::{Table, rows, tables};

use crate::dialect::Dialect;
use crate::statement::{Statement, Value};
use crate::types::{Family, Type};
use rand::Rng;
use rand::rngs::SmallRng;

/// A source of random things for one statement after another.
pub struct Gen<'a> {
    /// Chance.
    pub rng: SmallRng,
    /// The dialect.
    pub dialect: &'a dyn Dialect,
    /// The tables there are.
    pub tables: &'a [Table],
    values: Vec<Value>,
    names: u32,
}

impl<'a> Gen<'a> {
    /// One that knows no tables yet.
    pub fn new(rng: SmallRng, dialect: &'a dyn Dialect, tables: &'a [Table]) -> Self {
        Self { rng, dialect, tables, values: Vec::new(), names: 0 }
    }

    /// True this often of a hundred times.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// One of these.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())].clone()
    }

    /// One of these, each as often as its weight says.
    pub fn weighted<T: Clone>(&mut self, of: &[(u32, T)]) -> T {
        let mut at = self.rng.random_range(0..of.iter().map(|(weight, _)| weight).sum());
        for (weight, thing) in of {
            if at < *weight {
                return thing.clone();
            }
            at -= weight;
        }
        unreachable!("the weights are the range")
    }

    /// A number that no other call gets.
    pub fn number(&mut self) -> u32 {
        self.names += 1;
        self.names
    }

    /// The text of a value: whole numbers are mostly small, so that keys meet.
    pub fn text_of(&mut self, of: &Type) -> String {
        if of.family == Family::Int && self.chance(60) {
            return self.rng.random_range(1..12).to_string();
        }
        // The ordinary one a little more often: the others are not seldom errors.
        if self.chance(25) { of.values[0].to_owned() } else { self.pick(of.values).to_owned() }
    }

    /// A value as a place in a template.
    pub fn place(&mut self, of: &Type, text: Option<&str>, assigned: bool) -> String {
        self.values.push(self.dialect.value(of, text, assigned));
        format!("\u{1}{}\u{2}", self.values.len() - 1)
    }

    /// A random value as a place in a template.
    pub fn any(&mut self, of: &Type, assigned: bool) -> String {
        let text = self.text_of(of);
        self.place(of, Some(&text), assigned)
    }

    /// A statement of this template, with the values that were placed since the last one.
    pub fn finish(&mut self, kind: &'static str, template: String) -> Statement {
        let prepared = self.chance(40);
        let mut statement = Statement::plain(kind, template);
        statement.values = std::mem::take(&mut self.values);
        statement.prepared = prepared;
        statement
    }
}
