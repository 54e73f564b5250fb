//! What a catalogue tells of a table.

use atone_undo_log::{capture::Table, postgres::Layout};

/// What is known of a table.
#[derive(Debug)]
pub struct Entry {
    /// `schema.table`, under which its rows are locked.
    pub name: String,
    /// How to capture it; or why it cannot be captured.
    pub table: Result<Table, String>,
    /// Its triggers: on MySQL their events, on PostgreSQL their names.
    pub triggers: Vec<String>,
    /// Foreign keys of other tables that point here and change rows there on their own.
    pub cascades: Vec<Reference>,
    /// PostgreSQL: how its rows come in binary form, when it can be captured.
    pub layout: Option<Layout>,
}

/// A foreign key with a rule that writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The referencing schema and table.
    pub child: (String, String),
    /// Pairs of referencing and referenced column.
    pub columns: Vec<(String, String)>,
    /// A DELETE here changes rows there.
    pub on_delete: bool,
    /// An UPDATE of the referenced columns here changes rows there.
    pub on_update: bool,
}
