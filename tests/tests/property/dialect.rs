//! All that tells one dialect from another, for a generator that is written once.

use crate::generate::{Gen, Table};
use crate::mysql::MySql;
use crate::postgres::Postgres;
use crate::statement::{Statement, Value};
use crate::types::{Family, Type};
use atone_tests::servers::Kind;
use rand::rngs::SmallRng;

/// How a key column that numbers its rows is defined.
pub struct Numbered {
    /// The definition, without the name.
    pub definition: &'static str,
    /// The type whose values it takes.
    pub like: &'static str,
    /// Whether an INSERT may give the number.
    pub may_be_given: bool,
}

/// A dialect, as one server speaks it.
pub trait Dialect: Send + Sync {
    /// A name in quotes.
    fn quoted(&self, name: &str) -> String;

    /// The types that the server has.
    fn types(&self) -> Vec<&'static Type>;

    /// A value of a type, NULL if there is no text. `assigned` says that the server knows the type from the place.
    fn value(&self, of: &Type, text: Option<&str>, assigned: bool) -> Value;

    /// Definitions of a column that numbers the rows.
    fn numbered(&self) -> &'static [Numbered];

    /// Definitions of a generated column from another one, `@`.
    fn generated(&self, of: &Type) -> &'static [&'static str];

    /// What a column of a family, `@`, may be set to.
    fn expressions(&self, family: Family) -> &'static [&'static str];

    /// Conditions on a column of a family, `@`.
    fn conditions(&self, family: Family) -> &'static [&'static str];

    /// A condition that holds or not as the server pleases.
    fn fleeting(&self) -> &'static str;

    /// The end of a CREATE TABLE that cuts the table by this whole number, and the statements that follow it.
    fn partitioned(&self, table: &str, column: &str) -> (String, Vec<String>);

    /// What a foreign key from a table to itself needs besides.
    fn to_itself(&self) -> &'static str;

    /// An INSERT's tail where it gives no column.
    fn no_columns(&self) -> &'static str;

    /// What may follow a write so that it answers with rows.
    fn returning(&self, verb: &str) -> Option<&'static str>;

    /// Statements that only this dialect has.
    fn special(&self, r#gen: &mut Gen, table: &Table) -> Vec<Statement>;

    /// Settings of a session, some of them by chance.
    fn settings(&self, rng: &mut SmallRng) -> Vec<String>;
}

/// The dialect of a server.
pub fn dialect(kind: Kind) -> Box<dyn Dialect> {
    match kind {
        Kind::MySql | Kind::Maria => Box::new(MySql { maria: kind == Kind::Maria }),
        Kind::Pg15 | Kind::Pg18 => Box::new(Postgres { newest: kind == Kind::Pg18 }),
    }
}
