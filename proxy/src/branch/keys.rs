//! The keys a statement writes: literals where it gives them, questions to the server where it computes them, numbers
//! where the server generates them.

use super::plan::{Asked, Inserted, KeyGiven, NoPlan, Planner};
use crate::wire::params::Param;
use atone_undo_log::{
    analyze::{Unsupported, Value, ValueKind, Write, assigns_itself, refuse_unaskable, refuse_uncomputable},
    capture::{self, KeyChange, KeyValue, NewPart, Storage, Table, key_literal},
};

/// An INSERT's rows, and what must be asked for before it.
pub(super) type Given = (Vec<Inserted>, Vec<Asked>);

/// A statement with its parameters in both forms.
pub(super) struct Text<'a> {
    pub(super) sql: &'a str,
    pub(super) write: &'a Write,
    pub(super) params: &'a [Param],
    pub(super) literals: &'a [String],
}

impl Planner<'_> {
    /// How the rows of an INSERT will be found.
    pub(super) fn inserted(&self, table: &Table, text: &Text<'_>) -> Result<Given, NoPlan> {
        let names = text.write.rows.columns.as_ref().unwrap_or(&table.insert_order);
        let places: Vec<(usize, Option<usize>)> = table
            .key
            .parts
            .iter()
            .map(|part| {
                let name = table.columns[part.column].name.to_lowercase();
                (part.column, names.iter().position(|n| n.to_lowercase() == name))
            })
            .collect();
        let (mut rows, mut asked) = (Vec::with_capacity(text.write.rows.rows.len()), Vec::new());
        for row in &text.write.rows.rows {
            if !row.is_empty() && row.len() != names.len() {
                return Err(Unsupported(format!(
                    "an INSERT of {} values into {} columns",
                    row.len(),
                    names.len()
                ))
                .into());
            }
            let mut keys = Inserted::with_capacity(places.len());
            for (column, place) in &places {
                // `VALUES ()` gives every column its default.
                let value = place.and_then(|p| row.get(p));
                keys.push(self.key(table, *column, text, value, &mut asked)?);
            }
            rows.push(keys);
        }
        Ok((rows, asked))
    }

    fn key(
        &self,
        table: &Table,
        column: usize,
        text: &Text<'_>,
        value: Option<&Value>,
        asked: &mut Vec<Asked>,
    ) -> Result<KeyGiven, NoPlan> {
        let (name, kind) = (&table.columns[column].name, &table.columns[column].kind);
        let auto = table.auto_increment == Some(column);
        let default = || table.defaults.get(column).cloned().flatten().map(KeyGiven::Literal);
        let given = match value.map(|v| (v.kind, v)) {
            None | Some((ValueKind::Default, _)) => match default() {
                Some(default) if !auto => return Ok(default),
                _ => None,
            },
            Some((ValueKind::Expression, v)) => {
                refuse_unaskable(text.sql, self.settings.mode, v, name)?;
                let expression = capture::computed(kind, text.sql, v.span.clone(), text.write, text.literals);
                let why = || {
                    let why = format!("the INSERT computes its key column {name}; give a plain value");
                    NoPlan::Table(table.full_name(), why)
                };
                asked.push(Asked { expression: expression.ok_or_else(why)?, column, auto });
                return Ok(KeyGiven::Asked(asked.len() - 1));
            }
            Some((_, v)) => self.plain(text, v),
        };
        let zero = |v: &KeyValue| match v {
            KeyValue::Number(text) | KeyValue::String { text: Some(text), .. } => is_zero(text),
            KeyValue::String { text: None, .. } => false,
        };
        let year = matches!(table.storage(column), Storage::Year);
        if given.as_ref().is_some_and(|v| year && matches!(v, KeyValue::String { .. }) && zero(v)) {
            let why =
                format!("the INSERT gives a string of zeros to its key column {name}, a YEAR; give a number");
            return Err(NoPlan::Table(table.full_name(), why));
        }
        match given {
            Some(value) if !(auto && zero(&value) && !self.settings.no_auto_value_on_zero) => {
                Ok(KeyGiven::Literal(key_literal(name, kind, &value)?))
            }
            _ if auto => Ok(KeyGiven::Generated),
            _ => {
                let why = format!("the INSERT gives no value for its key column {name}");
                Err(NoPlan::Table(table.full_name(), why))
            }
        }
    }

    /// A literal or parameter; None for NULL and everything else.
    fn plain(&self, text: &Text<'_>, value: &Value) -> Option<KeyValue> {
        match value.kind {
            ValueKind::Param(at) => text.params.get(at).and_then(|p| p.key_value(&self.settings.charset)),
            ValueKind::Number => {
                Some(KeyValue::Number(text.sql[value.span.clone()].split_whitespace().collect()))
            }
            ValueKind::Text => {
                let literal = text.sql[value.span.clone()].to_owned();
                let inner = literal.get(1..literal.len() - 1).filter(|t| !t.contains(['\\', '\'', '"']));
                let text = inner.map(str::to_owned);
                Some(KeyValue::String { literal, text })
            }
            ValueKind::Null | ValueKind::Default | ValueKind::Expression => None,
        }
    }

    /// What an UPDATE does to the row's key; None when it leaves it alone.
    pub(super) fn key_change(&self, table: &Table, text: &Text<'_>) -> Result<Option<KeyChange>, NoPlan> {
        let Text { sql, write, .. } = *text;
        let mut change = KeyChange {
            parts: vec![NewPart::Kept; table.key.parts.len()],
            expressions: Vec::new(),
            plain: true,
            assigned: write.assigned.iter().filter_map(|a| table.column(a)).collect(),
        };
        for (at, (column, value)) in write.assigned.iter().zip(&write.values).enumerate() {
            let Some(index) = table.column(column) else { continue };
            let Some(part) = table.key.parts.iter().position(|p| p.column == index) else { continue };
            if assigns_itself(sql, self.settings.mode, write, at) {
                continue;
            }
            let refused = |why: String| NoPlan::Table(table.full_name(), why);
            if table.key.parts[part].prefix.is_some() {
                let why =
                    format!("the statement assigns {column}, of which only the first characters are its key");
                return Err(refused(why));
            }
            refuse_uncomputable(sql, self.settings.mode, write, at)?;
            let kind = &table.columns[index].kind;
            let no_value =
                || refused(format!("the statement assigns NULL or DEFAULT to its key column {column}"));
            if matches!(value.kind, ValueKind::Null | ValueKind::Default) {
                return Err(no_value());
            }
            // What an INSERT would be trusted with.
            change.plain &= table.storage(index) != Storage::Year
                && self.plain(text, value).is_some_and(|given| key_literal(column, kind, &given).is_ok());
            let expression = capture::computed(kind, sql, value.span.clone(), write, text.literals);
            change.parts[part] = match expression {
                Some(expression) => {
                    change.expressions.push(expression);
                    NewPart::Computed(change.expressions.len() - 1)
                }
                None if value.kind == ValueKind::Expression => {
                    return Err(refused(format!(
                        "the statement computes its key column {column}; give a plain value"
                    )));
                }
                None => {
                    let given = self.plain(text, value).ok_or_else(no_value)?;
                    NewPart::Literal(key_literal(column, kind, &given)?)
                }
            };
        }
        Ok(change.parts.iter().any(|p| *p != NewPart::Kept).then_some(change))
    }
}

/// Does an auto-increment column take it for "the next number"?
pub(super) fn is_zero(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok_and(|n| n == 0.0)
}
