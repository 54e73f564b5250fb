//! Reverse statements for PostgreSQL: values are parameters in binary form, never text.

use crate::{
    capture::{ColumnKind, Row, Table},
    postgres::{equals, quote, target},
    record::Touched,
};

/// A statement and its parameters.
type Statement = (String, Vec<Option<Vec<u8>>>);

/// Is it a table of PostgreSQL?
pub(super) fn is_its(table: &Table) -> bool {
    table.columns.iter().any(|c| matches!(c.kind, ColumnKind::Postgres(_)))
}

/// The statement that takes a row from one state to another; nothing when they are the same.
pub(super) fn statement(
    table: &Table,
    touched: &Touched,
    from: Option<&Row>,
    to: Option<&Row>,
) -> Result<Option<Statement>, String> {
    let mut values = Values { table, params: Vec::new() };
    let target = target(table);
    let sql = match (from, to) {
        (None, None) => return Ok(None),
        (Some(from), Some(to)) if from == to => return Ok(None),
        (Some(_), None) => format!("DELETE FROM {target} WHERE {}", values.key(touched)?),
        // A column that is always numbered by the server gets the number that it had.
        (None, Some(to)) => {
            let names: Vec<String> = table.columns.iter().map(|c| quote(&c.name)).collect();
            let given = (0..table.columns.len()).map(|at| values.add(at, to.0[at].clone()));
            let given = given.collect::<Result<Vec<_>, _>>()?;
            format!(
                "INSERT INTO {}.{} ({}) OVERRIDING SYSTEM VALUE VALUES ({})",
                quote(&table.schema),
                quote(&table.name),
                names.join(", "),
                given.join(", ")
            )
        }
        // What did not change is not sent: such a column takes no value from an UPDATE.
        (Some(from), Some(to)) => {
            let mut pairs = Vec::new();
            for (at, column) in table.columns.iter().enumerate() {
                if from.0[at] != to.0[at] {
                    pairs.push(format!("{} = {}", quote(&column.name), values.add(at, to.0[at].clone())?));
                }
            }
            format!("UPDATE {target} SET {} WHERE {}", pairs.join(", "), values.key(touched)?)
        }
    };
    Ok(Some((sql, values.params)))
}

/// The parameters so far.
struct Values<'t> {
    table: &'t Table,
    params: Vec<Option<Vec<u8>>>,
}

impl Values<'_> {
    /// A value for a column; the text that stands for it.
    fn add(&mut self, column: usize, value: Option<Vec<u8>>) -> Result<String, String> {
        let column = &self.table.columns[column];
        let ColumnKind::Postgres(kind) = &column.kind else {
            return Err(format!("column {} of {} is not PostgreSQL's", column.name, self.table.full_name()));
        };
        self.params.push(value);
        Ok(format!("${}::{kind}", self.params.len()))
    }

    /// The condition that finds the row.
    fn key(&mut self, touched: &Touched) -> Result<String, String> {
        let mut conditions = Vec::new();
        let table = self.table;
        for (part, value) in table.key.parts.iter().zip(&touched.key) {
            let column = &table.columns[part.column];
            let same = match &column.kind {
                ColumnKind::Postgres(kind) => equals(kind),
                _ => "=".to_owned(),
            };
            let value = self.add(part.column, Some(value.clone()))?;
            conditions.push(format!("{} {same} {value}", quote(&column.name)));
        }
        Ok(conditions.join(" AND "))
    }
}
