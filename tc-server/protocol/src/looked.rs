//! What a proxy sees of a branch's rows, for a person: words, on their way through the coordinator and kept nowhere.

/// The rows of a branch as they were, as the branch left them, and as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// The undo record as it is now: `normal`, `guard`, `undone` or `none`.
    pub record: String,
    /// The rows told.
    pub rows: Vec<LookedRow>,
    /// Rows that are neither as the branch left them nor as they were before it.
    pub in_the_way: u64,
    /// Rows that are as the branch left them.
    pub as_left: u64,
    /// Rows that are as they were before the branch.
    pub as_before: u64,
    /// Rows that cannot be compared.
    pub unknown: u64,
    /// Rows of those asked for that are not told.
    pub more: u64,
    /// Why rows cannot be compared; empty when there is nothing to say.
    pub trouble: String,
}

/// One row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookedRow {
    /// `schema.table`.
    pub table: String,
    /// Its key, as a person would write it.
    pub key: String,
    /// `changed`, `deleted`, `inserted` (in the way), `as_left`, `as_before` or `unknown`.
    pub state: String,
    /// There was such a row before the branch.
    pub before: bool,
    /// The branch left one.
    pub after: bool,
    /// There is one now.
    pub current: bool,
    /// Its columns.
    pub columns: Vec<LookedColumn>,
}

/// One column. A value is as people write it, and cut when it is long; None is NULL, or no row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookedColumn {
    /// Its name.
    pub name: String,
    /// Before the branch.
    pub before: Option<String>,
    /// As the branch left it.
    pub after: Option<String>,
    /// Now.
    pub current: Option<String>,
    /// The value now is not the one that the branch left.
    pub differs: bool,
}
