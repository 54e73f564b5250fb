//! What a catalogue tells of a table.

use atone_undo_log::{capture::Table, postgres::Layout};

/// What is known of a table.
#[derive(Debug)]
pub struct Entry {
    /// `schema.table`, under which its rows are locked.
    pub name: String,
    /// How to capture it; or why it cannot be captured.
    pub table: Result<Table, String>,
    /// Its triggers that an undo would fire: on MySQL their events, on PostgreSQL their names.
    pub triggers: Vec<String>,
    /// PostgreSQL: it has triggers that the undo keeps still.
    pub fires: bool,
    /// PostgreSQL: nothing else is written when its rows are: no triggers, no rules of foreign keys, no functions of users in
    /// its defaults, constraints, indexes and types.
    pub alone: bool,
    /// PostgreSQL: triggers of the table can be kept still, and with them the server's checks of these foreign keys.
    pub quiet: Option<ForeignKeys>,
    /// Foreign keys of other tables that point here and change rows there on their own.
    pub cascades: Vec<Reference>,
    /// PostgreSQL: how its rows come in binary form, when it can be captured.
    pub layout: Option<Layout>,
}

/// Foreign keys of a table, whether or not they have a rule that writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignKeys {
    /// Its own.
    pub parents: Vec<Parent>,
    /// Those that point here.
    pub children: Vec<Reference>,
}

/// A foreign key of the table itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The referenced schema and table.
    pub table: (String, String),
    /// Pairs of its column and the referenced one.
    pub columns: Vec<(String, String)>,
}

/// A foreign key of another table that points at this one.
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
