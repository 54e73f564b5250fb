//! Random columns: every type, what may be a key, what the server fills in.

use super::{Gen, Table};
use crate::types::{Family, Type};
use rand::Rng;

/// Where a column's values come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filled {
    /// A statement gives them.
    Given,
    /// The server counts, and a statement may give them too.
    CountedOrGiven,
    /// The server counts.
    Counted,
    /// The server computes them.
    Generated,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name in quotes.
    pub name: String,
    /// What it holds.
    pub of: &'static Type,
    /// Whether NULL is an error.
    pub not_null: bool,
    /// Where its values come from.
    pub filled: Filled,
    /// If it points at a key: that key's values.
    pub points_at: Vec<String>,
    /// What a CREATE TABLE says after its name.
    pub definition: String,
}

impl Column {
    /// One that statements give.
    pub fn given(name: String, of: &'static Type, not_null: bool, definition: String) -> Self {
        Self { name, of, not_null, filled: Filled::Given, points_at: Vec::new(), definition }
    }
}

/// A key that the server counts.
pub fn counted(r#gen: &mut Gen, name: &str) -> Column {
    let numbered = &r#gen.dialect.numbered()[r#gen.rng.random_range(0..r#gen.dialect.numbered().len())];
    let of = r#gen
        .dialect
        .types()
        .into_iter()
        .find(|of| of.sql == numbered.like)
        .expect("a type of whole numbers");
    let filled = if numbered.may_be_given { Filled::CountedOrGiven } else { Filled::Counted };
    let definition = numbered.definition.to_owned();
    Column { filled, ..Column::given(r#gen.dialect.quoted(name), of, true, definition) }
}

/// A key that is given; a whole number if the table is cut by it.
pub fn key(r#gen: &mut Gen, name: &str, whole: bool) -> Column {
    let types = r#gen.dialect.types().into_iter();
    let types: Vec<(u32, &'static Type)> = types
        .filter(|of| of.key > 0 && (!whole || of.family == Family::Int))
        .map(|of| (of.key, of))
        .collect();
    let of = r#gen.weighted(&types);
    let definition = format!("{} NOT NULL", of.sql);
    Column::given(r#gen.dialect.quoted(name), of, true, definition)
}

/// Any column.
pub fn plain(r#gen: &mut Gen, name: &str, shapes: bool) -> Column {
    let mut types = r#gen.dialect.types();
    types.retain(|of| shapes || of.family != Family::Shape);
    let of = r#gen.pick(&types);
    let (mut definition, mut not_null) = (of.sql.to_owned(), false);
    // A type that may be a key may have a default, too.
    if of.key > 0 {
        not_null = r#gen.chance(20);
        definition += if not_null { " NOT NULL" } else { "" };
        if r#gen.chance(35) {
            definition += &format!(" DEFAULT {}", r#gen.dialect.value(of, Some(of.values[0]), true).sql);
        }
    }
    Column::given(r#gen.dialect.quoted(name), of, not_null, definition)
}

/// A column that is computed from another one.
pub fn generated(r#gen: &mut Gen, name: &str, table: &Table) -> Option<Column> {
    let from: Vec<Column> =
        table.columns.iter().filter(|column| column.filled == Filled::Given).cloned().collect();
    let from = if from.is_empty() { return None } else { r#gen.pick(&from) };
    let forms = r#gen.dialect.generated(from.of);
    let definition = if forms.is_empty() { return None } else { r#gen.pick(forms) };
    let definition = definition.replace('@', &from.name);
    let name = r#gen.dialect.quoted(name);
    Some(Column { filled: Filled::Generated, ..Column::given(name, from.of, false, definition) })
}
