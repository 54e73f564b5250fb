//! Foreign keys of a table: its own, and those that point at it.

use crate::backend::{ForeignKeys, Parent, Reference};
use atone_undo_log::{
    capture::{self, Column, Key, referenced_key},
    postgres::{Field, Form},
};
use std::collections::BTreeMap;
use tokio_postgres::{Error, Row};

/// May the values of both columns be compared by their bytes, integers of two sizes aside? And the name under which rows of
/// the referenced table are locked.
macro_rules! comparable {
    () => {
        "ca.atttypid = pa.atttypid OR ca.atttypid IN (20, 21, 23) AND pa.atttypid IN (20, 21, 23) \
         OR ca.atttypid IN (25, 1042, 1043) AND pa.atttypid IN (25, 1042, 1043)"
    };
}

/// Triggers that are enabled for ordinary sessions only do not fire where `session_replication_role` is `replica`; neither do those that check
/// foreign keys, which can be done otherwise, and deferrable unique constraints, which cannot.
pub(super) const PARENTS: &str = concat!(
    "SELECT f.oid, n.nspname, p.relname, ca.attname, pa.attname, ",
    comparable!(),
    ", format('%s.%s', rn.nspname, r.relname) \
    FROM pg_constraint f JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace n ON n.oid = p.relnamespace \
    JOIN pg_class r ON r.oid = coalesce(pg_partition_root(p.oid), p.oid) JOIN pg_namespace rn ON rn.oid = r.relnamespace \
    CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY AS k(child, parent, at) \
    JOIN pg_attribute ca ON ca.attrelid = f.conrelid AND ca.attnum = k.child \
    JOIN pg_attribute pa ON pa.attrelid = f.confrelid AND pa.attnum = k.parent \
    WHERE f.contype = 'f' AND f.conrelid = $1 AND to_jsonb(f) ->> 'conenforced' IS DISTINCT FROM 'false' \
    ORDER BY f.oid, k.at"
);

/// Where a partitioned table refers to this one, each of its partitions has the foreign key too: the first is enough.
pub(super) const CHILDREN: &str = concat!(
    "SELECT f.oid, n.nspname, c.relname, ca.attname, pa.attname, ",
    comparable!(),
    ", f.confdeltype IN ('c', 'n', 'd'), f.confupdtype IN ('c', 'n', 'd') \
    FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY AS k(child, parent, at) \
    JOIN pg_attribute ca ON ca.attrelid = f.conrelid AND ca.attnum = k.child \
    JOIN pg_attribute pa ON pa.attrelid = f.confrelid AND pa.attnum = k.parent \
    WHERE f.contype = 'f' AND f.confrelid = $1 AND to_jsonb(f) ->> 'conenforced' IS DISTINCT FROM 'false' \
    AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = f.conparentid AND p.confrelid = f.confrelid) \
    ORDER BY f.oid, k.at"
);

/// Foreign keys of a table.
pub(super) struct Across {
    /// As they are.
    pub keys: ForeignKeys,
    /// Of its own ones whose values can be compared: the table that is referred to, as its rows are locked, and pairs of referenced
    /// column and its own.
    own: Vec<(String, Pairs)>,
    /// Of those that point here, the same.
    here: Vec<Pairs>,
}

type Pairs = Vec<(String, String)>;

/// bool, bytea, the integers, text, oid, character, varchar, date, timestamp, timestamptz, numeric, uuid: what most foreign keys are
/// made of. They are made of no other types.
const SIMPLE: [u32; 14] = [16, 17, 20, 21, 23, 25, 26, 1042, 1043, 1082, 1114, 1184, 1700, 2950];

/// What the catalogue tells.
pub(super) fn read(children: &[Row], parents: &[Row]) -> Result<Across, Error> {
    let mut pointing: BTreeMap<u32, (Reference, bool)> = BTreeMap::new();
    for row in children {
        let reference = Reference {
            child: (row.try_get(1)?, row.try_get(2)?),
            columns: Vec::new(),
            on_delete: row.try_get(6)?,
            on_update: row.try_get(7)?,
        };
        let (reference, comparable) = pointing.entry(row.try_get(0)?).or_insert((reference, true));
        reference.columns.push((row.try_get(3)?, row.try_get(4)?));
        *comparable &= row.try_get::<_, bool>(5)?;
    }
    let mut own: BTreeMap<u32, (Parent, String, bool)> = BTreeMap::new();
    for row in parents {
        let parent = Parent { table: (row.try_get(1)?, row.try_get(2)?), columns: Vec::new() };
        let (parent, _, comparable) = own.entry(row.try_get(0)?).or_insert((parent, row.try_get(6)?, true));
        parent.columns.push((row.try_get(3)?, row.try_get(4)?));
        *comparable &= row.try_get::<_, bool>(5)?;
    }
    let turned = |pairs: &Pairs| pairs.iter().cloned().map(|(own, theirs)| (theirs, own)).collect();
    let same = |pairs: &Pairs| pairs.iter().map(|(_, here)| (here.clone(), here.clone())).collect();
    Ok(Across {
        here: pointing.values().filter(|(_, c)| *c).map(|(r, _)| same(&r.columns)).collect(),
        own: own.values().filter(|o| o.2).map(|(p, name, _)| (name.clone(), turned(&p.columns))).collect(),
        keys: ForeignKeys {
            children: pointing.into_values().map(|(reference, _)| reference).collect(),
            parents: own.into_values().map(|(parent, ..)| parent).collect(),
        },
    })
}

impl Across {
    /// Is there a column in them of a type of which is not known without asking how its values compare?
    pub(super) fn unclear(&self, columns: &[Column], fields: &[Field]) -> bool {
        let all = self.here.iter().chain(self.own.iter().map(|(_, pairs)| pairs)).flatten();
        let simple = |at| fields.iter().any(|f| f.column == Some(at) && SIMPLE.contains(&f.kind));
        all.into_iter().any(|(_, own)| place(columns, own).is_some_and(|at| !simple(at)))
    }

    /// What is referred to here.
    pub(super) fn referenced(&self, columns: &[Column], forms: &[Option<Form>]) -> Vec<Key> {
        let mut keys: Vec<Key> = self.here.iter().filter_map(|pairs| key(pairs, columns, forms)).collect();
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        keys.dedup();
        keys
    }

    /// What the table refers to. A key over a generated column is left out: no image has its value.
    pub(super) fn parents(&self, columns: &[Column], forms: &[Option<Form>]) -> Vec<capture::Parent> {
        let parent = |(table, pairs): &(String, Pairs)| {
            Some(capture::Parent { table: table.as_str().into(), key: key(pairs, columns, forms)? })
        };
        let mut found: Vec<capture::Parent> = self.own.iter().filter_map(parent).collect();
        found.dedup();
        found
    }
}

fn place(columns: &[Column], name: &str) -> Option<usize> {
    columns.iter().position(|column| column.name == name)
}

fn key(pairs: &Pairs, columns: &[Column], forms: &[Option<Form>]) -> Option<Key> {
    let pair = |(referenced, own): &(String, String)| {
        let at = place(columns, own)?;
        forms[at].as_ref().map(|_| (referenced.clone(), at))
    };
    Some(referenced_key(pairs.iter().map(pair).collect::<Option<_>>()?, false))
}
