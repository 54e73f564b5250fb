//! Tables as the database's catalogue describes them, remembered for a second.

use super::{footprint::Footprint, foreign_keys::of_table, remembered::Remembered, writers::Writers};
use crate::backend::{Entry, ForeignKeys, Reference};
use atone_undo_log::capture::{Column, ColumnKind, Key, KeyPart, Parent, Storage, Table, referenced_key};
use dashmap::DashMap;
use mysql_async::{Conn, prelude::Queryable};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A change of schema made elsewhere is seen after this long at most; inside a local transaction that has touched
/// the table, the server's own metadata lock keeps the schema still.
const FRESH: Duration = Duration::from_secs(1);
/// Names remembered at once.
const CAPACITY: usize = 10_000;

type Known<T> = (Instant, T);

/// The cache.
pub struct Catalogue {
    mariadb: bool,
    tables: DashMap<(String, String), Known<Arc<Entry>>>,
    /// Which names may write although they stand in a read.
    pub(super) writers: Remembered<Writers>,
    /// What statements may reach.
    pub(super) footprint: Remembered<Footprint>,
}

impl Catalogue {
    /// Nothing is known yet of this kind of server.
    pub(super) fn new(mariadb: bool) -> Self {
        let (writers, footprint) = (Remembered::new(FRESH), Remembered::new(FRESH));
        Self { mariadb, tables: DashMap::new(), writers, footprint }
    }

    /// Has the table the triggers and the foreign keys that the entry knows? Asked while our local transaction holds
    /// the table's metadata lock, so that the answer stays true until its end.
    pub(super) async fn unchanged(&self, conn: &mut Conn, entry: &Entry) -> Result<bool, mysql_async::Error> {
        let Ok(table) = &entry.table else { return Ok(false) };
        let named = (table.schema.as_str(), table.name.as_str());
        if triggers(conn, named).await? != entry.triggers {
            return Ok(false);
        }
        let keys = of_table(conn, self.mariadb, named).await?;
        let mut now = table.clone();
        link(&mut now, &keys);
        Ok(now == *table && cascades(&keys) == entry.cascades)
    }

    pub(super) fn recent(&self, schema: &str, table: &str) -> Option<Arc<Entry>> {
        let known = self.tables.get(&(schema.to_owned(), table.to_owned()))?;
        (known.0.elapsed() < FRESH).then(|| known.1.clone())
    }

    /// Forgets everything: the schema was changed.
    pub fn forget(&self) {
        self.tables.clear();
        self.writers.forget();
        self.footprint.forget();
    }

    /// Were there views that write when they were last asked for? Perhaps, if they never were.
    pub fn had_writing_views(&self) -> bool {
        self.writers.last().is_none_or(|known| known.has_views())
    }

    /// Asks the database.
    pub async fn load(
        &self,
        conn: &mut Conn,
        schema: &str,
        table: &str,
    ) -> Result<Option<Arc<Entry>>, mysql_async::Error> {
        let asked = Instant::now();
        let entry = read(conn, self.mariadb, schema, table).await?.map(Arc::new);
        if self.tables.len() >= CAPACITY {
            self.tables.clear();
        }
        // One that is not there is asked for each time: it may be made at any moment, and be written to at once.
        if let Some(entry) = &entry {
            self.tables.insert((schema.to_owned(), table.to_owned()), (asked, entry.clone()));
        }
        Ok(entry)
    }
}

pub(super) async fn read(
    conn: &mut Conn,
    mariadb: bool,
    schema: &str,
    table: &str,
) -> Result<Option<Entry>, mysql_async::Error> {
    let named = (schema, table);
    let found: Option<(String, String, String, Option<String>)> = conn
        .exec_first(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
            named,
        )
        .await?;
    let Some((schema, table, kind, engine)) = found else { return Ok(None) };
    let named = (schema.as_str(), table.as_str());
    let columns: Vec<ColumnRow> = conn
        .exec(
            "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, EXTRA, IS_NULLABLE, COLUMN_DEFAULT, COLUMN_TYPE FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            named,
        )
        .await?;
    let keys: Vec<(String, Option<String>, Option<u32>)> = conn
        .exec(
            "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? \
             AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME = 'PRIMARY' DESC, INDEX_NAME, SEQ_IN_INDEX",
            named,
        )
        .await?;
    let triggers = triggers(conn, named).await?;
    let keys_across = of_table(conn, mariadb, named).await?;
    let cascades = cascades(&keys_across);
    let name = format!("{schema}.{table}");
    let mut table = match (kind.as_str(), engine.as_deref()) {
        ("BASE TABLE", Some("InnoDB")) => describe(&schema, &table, &columns, &keys, mariadb),
        ("BASE TABLE", engine) => {
            Err(format!("its engine {} has no transactions", engine.unwrap_or("(none)")))
        }
        ("SYSTEM VERSIONED", _) => {
            Err("it is system-versioned: its history would keep what was undone".into())
        }
        (other, _) => Err(format!("it is a {}, not a base table", other.to_lowercase())),
    };
    if let Ok(table) = &mut table {
        link(table, &keys_across);
    }
    Ok(Some(Entry { name, table, triggers, cascades, fires: false, alone: false, quiet: None, layout: None }))
}

/// Those that change rows of other tables on their own.
fn cascades(keys: &ForeignKeys) -> Vec<Reference> {
    keys.children.iter().filter(|r| r.on_delete || r.on_update).cloned().collect()
}

/// What the table's foreign keys refer to, and what is referred to here. A key over a generated column is left out: no image has
/// its value.
fn link(table: &mut Table, keys: &ForeignKeys) {
    let place = |own: &String| table.columns.iter().position(|c| c.name.to_lowercase() == own.to_lowercase());
    let key = |pairs: &mut dyn Iterator<Item = (&String, &String)>| {
        let columns = pairs.map(|(referenced, own)| Some((referenced.clone(), place(own)?)));
        Some(referenced_key(columns.collect::<Option<_>>()?, true))
    };
    let here = keys.children.iter().filter_map(|r| key(&mut r.columns.iter().map(|(_, own)| (own, own))));
    let mut referenced: Vec<Key> = here.collect();
    let parent = |p: &crate::backend::Parent| {
        let key = key(&mut p.columns.iter().map(|(own, referenced)| (referenced, own)))?;
        Some(Parent { table: format!("{}.{}", p.table.0, p.table.1).into(), key })
    };
    let parents = keys.parents.iter().filter_map(parent).collect();
    referenced.sort_by(|a, b| a.name.cmp(&b.name));
    referenced.dedup();
    (table.referenced, table.parents) = (referenced, parents);
}

/// Name, type, character set, extra, nullable, default, type in full.
type ColumnRow = (String, String, Option<String>, String, String, Option<String>, String);

async fn triggers(conn: &mut Conn, named: (&str, &str)) -> Result<Vec<String>, mysql_async::Error> {
    let query = "SELECT EVENT_MANIPULATION FROM information_schema.TRIGGERS \
        WHERE TRIGGER_SCHEMA = ? AND EVENT_OBJECT_TABLE = ? ORDER BY TRIGGER_NAME";
    conn.exec(query, named).await
}

fn describe(
    schema: &str,
    name: &str,
    rows: &[ColumnRow],
    keys: &[(String, Option<String>, Option<u32>)],
    mariadb: bool,
) -> Result<Table, String> {
    let generated = |extra: &str| {
        let extra = extra.to_uppercase();
        ["VIRTUAL GENERATED", "STORED GENERATED", "PERSISTENT"].iter().any(|g| extra.contains(g))
    };
    let mut columns = Vec::new();
    let mut auto_increment = None;
    let (mut nullable, mut defaults, mut storage) = (Vec::new(), Vec::new(), Vec::new());
    for (column, data_type, charset, extra, is_nullable, default, full_type) in
        rows.iter().filter(|r| !generated(&r.3))
    {
        let kind = ColumnKind::of(data_type, charset.as_deref(), full_type).ok_or_else(|| {
            format!("its column {column} has type {data_type}, which is not captured exactly")
        })?;
        if extra.to_lowercase().contains("auto_increment") {
            auto_increment = Some(columns.len());
        }
        storage.push(stored(data_type, full_type));
        nullable.push(is_nullable == "YES");
        defaults.push(default.as_deref().and_then(|text| default_literal(&kind, text, extra, mariadb)));
        columns.push(Column { name: column.clone(), kind });
    }
    let mut uniques: Vec<Key> = Vec::new();
    let mut unusable = Vec::new();
    for (index, column, prefix) in keys {
        // A generated column or an expression has no stored value to lock or find by.
        let Some(at) = column.as_ref().and_then(|c| columns.iter().position(|k| k.name == *c)) else {
            unusable.push(index);
            continue;
        };
        let part = KeyPart { column: at, prefix: *prefix };
        match uniques.iter_mut().find(|k| k.name == *index) {
            Some(key) => key.parts.push(part),
            None => uniques.push(Key { name: index.clone(), parts: vec![part] }),
        }
    }
    uniques.retain(|k| !unusable.contains(&&k.name));
    let names_rows = |key: &Key| {
        key.parts.iter().all(|p| {
            let kind = &columns[p.column].kind;
            let comparable = !matches!(kind, ColumnKind::Timestamp | ColumnKind::Json | ColumnKind::Geometry);
            !nullable[p.column] && comparable
        })
    };
    let chosen = uniques.iter().position(names_rows).ok_or(
        "it has no primary key (nor a unique key without NULLs) of a type that names rows exactly (TIMESTAMP, JSON and spatial types do not)",
    )?;
    let key = uniques.remove(chosen);
    let visible = |extra: &str| !extra.to_uppercase().contains("INVISIBLE");
    let insert_order = rows.iter().filter(|r| visible(&r.3)).map(|r| r.0.clone()).collect();
    Ok(Table {
        schema: schema.to_owned(),
        name: name.to_owned(),
        columns,
        key,
        uniques,
        referenced: Vec::new(),
        parents: Vec::new(),
        auto_increment,
        insert_order,
        defaults,
        storage,
        only: false,
    })
}

fn stored(data_type: &str, full_type: &str) -> Storage {
    let full_type = full_type.to_lowercase();
    let width = full_type.strip_prefix("binary(").and_then(|t| t.strip_suffix(')')?.parse().ok());
    match width {
        Some(width) => Storage::Filled(width),
        None if data_type.eq_ignore_ascii_case("year") => Storage::Year,
        None if full_type.contains("zerofill") => Storage::Padded,
        None => Storage::Plain,
    }
}

/// The literal of a default. MariaDB writes it as SQL; MySQL writes a string's bare characters, and marks expressions
/// in `extra`. None where the two could be confused.
fn default_literal(kind: &ColumnKind, text: &str, extra: &str, mariadb: bool) -> Option<String> {
    if extra.to_uppercase().contains("DEFAULT_GENERATED") {
        return None;
    }
    let bare = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).unwrap_or(text);
    match kind {
        ColumnKind::Number | ColumnKind::Float => kind.literal(bare.as_bytes()),
        ColumnKind::Char(_) | ColumnKind::Text(_) | ColumnKind::Temporal => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b" _-.:/+".contains(&b);
            (mariadb == (text.len() > bare.len()) && bare.bytes().all(plain)).then(|| format!("'{bare}'"))
        }
        _ => None,
    }
}
