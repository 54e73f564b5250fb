//! From a statement to a plan: which table, which image query, which keys; or why it cannot be protected.

use super::keys::Text;
use crate::{
    backend::{BackendError, Entry, MySql},
    session::Settings,
    wire::params::Param,
};
use atone_undo_log::{
    analyze::{TableName, Unsupported, Verb, Write, assigns_itself, names_in},
    capture::{self, KeyChange, Table},
    sql::SqlMode,
};
use std::sync::Arc;

/// A write, ready to run.
#[derive(Debug)]
pub struct Plan {
    /// The table's description.
    pub entry: Arc<Entry>,
    /// What the statement says.
    pub write: Arc<Write>,
    /// UPDATE, DELETE: the query that locks and reads the rows.
    pub image: Option<String>,
    /// UPDATE: where its rows will be found, when it assigns key columns.
    pub key_change: Option<KeyChange>,
    /// INSERT: how its rows will be found.
    pub inserted: Vec<Inserted>,
    /// INSERT: what is asked for before it.
    pub asked: Vec<Asked>,
    /// INSERT: 0 in an auto-increment column is a 0.
    pub zero_is_zero: bool,
    /// The literals of its parameters.
    pub params: Vec<String>,
}

/// Values asked for in one query.
const VALUES_PER_QUERY: usize = 500;

impl Plan {
    /// The queries that ask for what an INSERT computes, one row each.
    pub fn questions(&self) -> Vec<String> {
        let query = |asked: &[Asked]| {
            let list: Vec<&str> = asked.iter().map(|a| a.expression.as_str()).collect();
            format!("SELECT {}", list.join(", "))
        };
        self.asked.chunks(VALUES_PER_QUERY).map(query).collect()
    }
}

/// A row to be inserted: what is given for each key column.
pub type Inserted = Vec<KeyGiven>;

/// A key column's value in an INSERT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyGiven {
    /// A literal that finds it.
    Literal(String),
    /// The server numbers it.
    Generated,
    /// The n-th of [`Plan::asked`].
    Asked(usize),
}

/// A key's value that the server is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What to select.
    pub expression: String,
    /// Which column it is for.
    pub column: usize,
    /// The server numbers that column when this is NULL or 0.
    pub auto: bool,
}

/// A statement with its values.
pub struct Statement<'a> {
    /// Its text.
    pub sql: &'a str,
    /// What it says.
    pub write: Arc<Write>,
    /// Its parameters, when it was prepared.
    pub params: &'a [Param],
}

/// Why there is no plan.
#[derive(Debug)]
pub enum NoPlan {
    /// The statement cannot be protected.
    Unsupported(Unsupported),
    /// The table cannot be protected.
    Table(String, String),
    /// The catalogue knows no such table.
    NoTable(TableName),
    /// The catalogue could not be asked.
    Backend(BackendError),
}

impl From<BackendError> for NoPlan {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl From<Unsupported> for NoPlan {
    fn from(what: Unsupported) -> Self {
        Self::Unsupported(what)
    }
}

/// Makes plans for one session.
pub struct Planner<'a> {
    /// The database.
    pub mysql: &'a MySql,
    /// The session's settings.
    pub settings: &'a Settings,
    /// Only keys are asked for, of at most so many rows: what a writer outside global transactions needs.
    pub only_keys: Option<usize>,
}

impl Planner<'_> {
    /// Plans a write.
    pub async fn plan(&self, statement: Statement<'_>) -> Result<Plan, NoPlan> {
        let Statement { sql, write, params } = statement;
        if params.len() != write.params.len() {
            return Err(Unsupported("a statement whose parameters are not given".into()).into());
        }
        let entry = self.entry(&write.table).await?;
        let table = protectable(&entry)?;
        refuse_cascades(&entry, sql, self.settings.mode, &write, table)?;
        self.refuse_writers(sql.as_bytes()).await?;
        let literals: Vec<String> = params.iter().map(|p| p.literal(&self.settings.charset)).collect();
        let text = Text { sql, write: &write, params, literals: &literals };
        let (mut image, mut key_change, mut given) = (None, None, (Vec::new(), Vec::new()));
        match write.verb {
            Verb::Insert => given = self.inserted(table, &text)?,
            Verb::Update | Verb::Delete => {
                key_change = self.key_change(table, &text)?;
                let more = key_change.as_ref().map_or(&[][..], |c| &c.expressions);
                image = Some(capture::image_of_write(table, sql, &write, &literals, more, self.only_keys))
            }
        }
        let (inserted, asked) = given;
        let zero_is_zero = self.settings.no_auto_value_on_zero;
        Ok(Plan { entry, write, image, key_change, inserted, asked, zero_is_zero, params: literals })
    }

    /// A table as it is, and as a table of keys only. Err of either: it has none.
    pub async fn keyed(&self, name: &TableName) -> Result<(Arc<Entry>, Result<Table, String>), NoPlan> {
        let entry =
            Planner { mysql: self.mysql, settings: self.settings, only_keys: None }.entry(name).await?;
        let keys = entry.table.as_ref().map(Table::keys_only).map_err(String::clone);
        Ok((entry, keys))
    }

    async fn entry(&self, name: &TableName) -> Result<Arc<Entry>, NoPlan> {
        let schema = name.schema.as_ref().or(self.settings.schema.as_ref());
        let schema =
            schema.ok_or_else(|| Unsupported(format!("table {name} without a schema (none is selected)")))?;
        if schema.eq_ignore_ascii_case("atone") {
            return Err(NoPlan::Table(name.to_string(), "it is kept by the proxy".into()));
        }
        let entry = self.mysql.table(schema, &name.name).await?.ok_or_else(|| {
            NoPlan::NoTable(TableName { schema: Some(schema.clone()), name: name.name.clone() })
        })?;
        Ok(match (&entry.table, self.only_keys) {
            (Ok(table), Some(_)) => Arc::new(Entry {
                name: entry.name.clone(),
                table: Ok(table.keys_only()),
                triggers: entry.triggers.clone(),
                cascades: entry.cascades.clone(),
                fires: false,
                alone: false,
                quiet: None,
                layout: None,
            }),
            _ => entry,
        })
    }

    /// Stored functions, and views that call them, may write rows that nobody captures.
    pub async fn refuse_writers(&self, sql: &[u8]) -> Result<(), NoPlan> {
        let names = names_in(sql, self.settings.mode);
        let names = names.ok_or_else(|| Unsupported("a statement with names that are not UTF-8".into()))?;
        if !self.settings.is_utf8() && names.all.iter().any(|n| !n.is_ascii()) {
            return Err(Unsupported("a name beyond ASCII in a session that does not use UTF-8".into()).into());
        }
        // A call of what may be stored is looked up now; the views a moment ago are good enough.
        let now = self.only_keys.is_none() && !names.called.is_empty();
        let schema = self.settings.schema.as_ref().map(|s| s.to_lowercase());
        let writers = self.mysql.writers(&names, schema.as_deref(), now).await?;
        match writers.mentioned(&names, schema.as_deref()) {
            None => Ok(()),
            Some(name) => {
                Err(Unsupported(format!("{name}, which is or calls a stored function and may write rows,"))
                    .into())
            }
        }
    }
}

/// The table, if rows of it can be captured and put back.
fn protectable(entry: &Entry) -> Result<&Table, NoPlan> {
    let table = match &entry.table {
        Ok(table) => table,
        Err(why) => return Err(NoPlan::Table(entry.name.clone(), why.clone())),
    };
    if let Some(event) = entry.triggers.first() {
        let why = format!("it has a trigger on {event}, whose writes are not captured");
        return Err(NoPlan::Table(table.full_name(), why));
    }
    Ok(table)
}

fn refuse_cascades(
    entry: &Entry,
    sql: &str,
    mode: SqlMode,
    write: &Write,
    table: &Table,
) -> Result<(), NoPlan> {
    // A generated column may change with any other.
    let touches = |columns: &[(String, String)]| {
        columns.iter().any(|(_, mine)| {
            let mut assigned = write.assigned.iter().enumerate();
            let assigned = assigned.any(|(at, a)| {
                a.to_lowercase() == mine.to_lowercase() && !assigns_itself(sql, mode, write, at)
            });
            assigned || table.column(mine).is_none()
        })
    };
    let fires = entry.cascades.iter().find(|r| match write.verb {
        Verb::Insert => false,
        Verb::Delete => r.on_delete,
        Verb::Update => r.on_update && touches(&r.columns),
    });
    match fires {
        None => Ok(()),
        Some(r) => {
            let why =
                format!("a foreign key of {}.{} would change rows there on its own", r.child.0, r.child.1);
            Err(NoPlan::Table(table.full_name(), why))
        }
    }
}
