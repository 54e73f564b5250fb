//! From a statement to a plan: which table, which image query, which keys; or why it cannot be protected.

use crate::{
    backend::{Backend, BackendError, Entry},
    session::Settings,
    wire::params::Param,
};
use atone_undo_log::{
    analyze::{TableName, Unsupported, Value, ValueKind, Verb, Write, names_in},
    capture::{self, KeyValue, Table, key_literal},
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
    /// INSERT: how its rows will be found.
    pub inserted: Vec<Inserted>,
    /// The literals of its parameters.
    pub params: Vec<String>,
}

/// A row to be inserted: a literal per key column; None for the one the server will number.
pub type Inserted = Vec<Option<String>>;

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
    pub backend: &'a Backend,
    /// The session's settings.
    pub settings: &'a Settings,
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
        refuse_cascades(&entry, &write, table)?;
        self.refuse_writers(sql.as_bytes()).await?;
        for column in &write.assigned {
            if table.column(column).is_some_and(|c| table.key.parts.iter().any(|p| p.column == c)) {
                let why = format!("the statement assigns its key column {column}");
                return Err(NoPlan::Table(table.full_name(), why));
            }
        }
        let literals: Vec<String> = params.iter().map(|p| p.literal(&self.settings.charset)).collect();
        let (mut image, mut inserted) = (None, Vec::new());
        match write.verb {
            Verb::Insert => inserted = self.inserted(table, sql, &write, params)?,
            Verb::Update | Verb::Delete => {
                image = Some(capture::image_of_write(table, sql, &write, &literals))
            }
        }
        Ok(Plan { entry, write, image, inserted, params: literals })
    }

    async fn entry(&self, name: &TableName) -> Result<Arc<Entry>, NoPlan> {
        let schema = name.schema.as_ref().or(self.settings.schema.as_ref());
        let schema =
            schema.ok_or_else(|| Unsupported(format!("table {name} without a schema (none is selected)")))?;
        if schema.eq_ignore_ascii_case("atone") {
            return Err(NoPlan::Table(name.to_string(), "it is kept by the proxy".into()));
        }
        self.backend.table(schema, &name.name).await?.ok_or_else(|| {
            NoPlan::NoTable(TableName { schema: Some(schema.clone()), name: name.name.clone() })
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
        let writers = self.backend.writers(!names.called.is_empty()).await?;
        let schema = self.settings.schema.as_ref().map(|s| s.to_lowercase());
        match writers.mentioned(&names, schema.as_deref()) {
            None => Ok(()),
            Some(name) => {
                Err(Unsupported(format!("{name}, which is or calls a stored function and may write rows,"))
                    .into())
            }
        }
    }

    fn inserted(
        &self,
        table: &Table,
        sql: &str,
        write: &Write,
        params: &[Param],
    ) -> Result<Vec<Inserted>, NoPlan> {
        let names = write.rows.columns.as_ref().unwrap_or(&table.insert_order);
        let places: Vec<(usize, Option<usize>)> = table
            .key
            .parts
            .iter()
            .map(|part| {
                let name = table.columns[part.column].name.to_lowercase();
                (part.column, names.iter().position(|n| n.to_lowercase() == name))
            })
            .collect();
        let mut rows = Vec::with_capacity(write.rows.rows.len());
        for row in &write.rows.rows {
            if !row.is_empty() && row.len() != names.len() {
                return Err(Unsupported(format!(
                    "an INSERT of {} values into {} columns",
                    row.len(),
                    names.len()
                ))
                .into());
            }
            let keys: Result<Inserted, NoPlan> = places
                .iter()
                .map(|(column, place)| {
                    // `VALUES ()` gives every column its default.
                    let value = place.and_then(|p| row.get(p));
                    self.key(table, *column, sql, value, params)
                })
                .collect();
            rows.push(keys?);
        }
        let numbered = rows.iter().filter(|r| r.iter().any(Option::is_none)).count();
        if numbered != 0 && numbered != rows.len() {
            let why =
                "the INSERT mixes given and generated values of the auto-increment key; give all or none";
            return Err(NoPlan::Table(table.full_name(), why.into()));
        }
        Ok(rows)
    }

    fn key(
        &self,
        table: &Table,
        column: usize,
        sql: &str,
        value: Option<&Value>,
        params: &[Param],
    ) -> Result<Option<String>, NoPlan> {
        let name = &table.columns[column].name;
        let given = match value.map(|v| (v.kind, v)) {
            None | Some((ValueKind::Null | ValueKind::Default, _)) => None,
            Some((ValueKind::Param(at), _)) => {
                params.get(at).and_then(|p| p.key_value(&self.settings.charset))
            }
            Some((ValueKind::Number, v)) => {
                Some(KeyValue::Number(sql[v.span.clone()].split_whitespace().collect()))
            }
            Some((ValueKind::Text, v)) => {
                let literal = sql[v.span.clone()].to_owned();
                let inner = literal.get(1..literal.len() - 1).filter(|t| !t.contains(['\\', '\'', '"']));
                let text = inner.map(str::to_owned);
                Some(KeyValue::String { literal, text })
            }
            Some((ValueKind::Expression, _)) => {
                let why = format!("the INSERT computes its key column {name}; give a plain value");
                return Err(NoPlan::Table(table.full_name(), why));
            }
        };
        let auto = table.auto_increment == Some(column);
        let zero = |v: &KeyValue| match v {
            KeyValue::Number(text) | KeyValue::String { text: Some(text), .. } => {
                text.trim().parse::<f64>().is_ok_and(|n| n == 0.0)
            }
            KeyValue::String { text: None, .. } => false,
        };
        match given {
            Some(value) if !(auto && zero(&value) && !self.settings.no_auto_value_on_zero) => {
                Ok(Some(key_literal(name, &table.columns[column].kind, &value)?))
            }
            _ if auto => Ok(None),
            _ => {
                let why = format!("the INSERT gives no value for its key column {name}");
                Err(NoPlan::Table(table.full_name(), why))
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

fn refuse_cascades(entry: &Entry, write: &Write, table: &Table) -> Result<(), NoPlan> {
    // A generated column may change with any other.
    let touches = |columns: &[(String, String)]| {
        columns.iter().any(|(_, mine)| {
            let assigned = write.assigned.iter().any(|a| a.to_lowercase() == mine.to_lowercase());
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
