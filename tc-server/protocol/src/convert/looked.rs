//! What a proxy tells of rows, to the wire and back.

use crate::wire;
use crate::{Looked, LookedColumn, LookedRow};

impl From<Looked> for wire::Looked {
    fn from(l: Looked) -> Self {
        Self {
            record: l.record,
            in_the_way: l.in_the_way,
            as_left: l.as_left,
            as_before: l.as_before,
            unknown: l.unknown,
            more: l.more,
            trouble: l.trouble,
            rows: l.rows.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<wire::Looked> for Looked {
    fn from(l: wire::Looked) -> Self {
        Self {
            record: l.record,
            in_the_way: l.in_the_way,
            as_left: l.as_left,
            as_before: l.as_before,
            unknown: l.unknown,
            more: l.more,
            trouble: l.trouble,
            rows: l.rows.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<LookedRow> for wire::LookedRow {
    fn from(l: LookedRow) -> Self {
        Self {
            table: l.table,
            key: l.key,
            state: l.state,
            before: l.before,
            after: l.after,
            current: l.current,
            columns: l.columns.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<wire::LookedRow> for LookedRow {
    fn from(l: wire::LookedRow) -> Self {
        Self {
            table: l.table,
            key: l.key,
            state: l.state,
            before: l.before,
            after: l.after,
            current: l.current,
            columns: l.columns.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<LookedColumn> for wire::LookedColumn {
    fn from(l: LookedColumn) -> Self {
        Self { name: l.name, before: l.before, after: l.after, current: l.current, differs: l.differs }
    }
}

impl From<wire::LookedColumn> for LookedColumn {
    fn from(l: wire::LookedColumn) -> Self {
        Self { name: l.name, before: l.before, after: l.after, current: l.current, differs: l.differs }
    }
}
