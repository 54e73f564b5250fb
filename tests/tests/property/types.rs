//! What columns can hold: a type in the dialect's words, and values that are at its edges.

/// What can be done with the values of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// Whole numbers.
    Int,
    /// Other exact numbers.
    Number,
    /// Numbers that are not exact.
    Float,
    /// Bits, given as a number.
    Bits,
    /// Characters.
    Text,
    /// Bytes, given in hexadecimal.
    Binary,
    /// Documents.
    Json,
    /// Lists.
    Array,
    /// Shapes, given as text that a function reads.
    Shape,
    /// Nothing but to be stored.
    Other,
}

/// A type of columns.
#[derive(Debug)]
pub struct Type {
    /// As a CREATE TABLE says it.
    pub sql: &'static str,
    /// What can be done with it.
    pub family: Family,
    /// How often it is taken for a key, compared with others; 0 is never.
    pub key: u32,
    /// Values in the server's own words. The first is an ordinary one.
    pub values: &'static [&'static str],
}

/// Makes one.
pub const fn of(sql: &'static str, family: Family, key: u32, values: &'static [&'static str]) -> Type {
    Type { sql, family, key, values }
}
