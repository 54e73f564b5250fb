//! The keys of inserted rows, once the server has answered what it was asked: literals, and gaps for the numbers it
//! generates.

use super::{
    keys::is_zero,
    plan::{KeyGiven, Plan},
};
use crate::session::TextRow;
use atone_undo_log::capture::Table;

/// The key of a row to be inserted; None for the part the server numbers.
pub type Key = Vec<Option<String>>;

/// Puts the answers into the rows' keys. Err: what is wrong with one, for the client.
pub fn resolve(plan: &Plan, table: &Table, answers: &TextRow) -> Result<Vec<Key>, String> {
    let part = |given: &KeyGiven| match given {
        KeyGiven::Literal(literal) => Ok(Some(literal.clone())),
        KeyGiven::Generated => Ok(None),
        KeyGiven::Asked(at) => {
            let Some(asked) = plan.asked.get(*at) else { return Err("a question was lost".to_owned()) };
            let column = &table.columns[asked.column];
            match answers.get(*at).and_then(Option::as_deref) {
                None if asked.auto => Ok(None),
                None => Err(format!("the INSERT gives no value for its key column {}", column.name)),
                Some(value)
                    if asked.auto && !plan.zero_is_zero && is_zero(&String::from_utf8_lossy(value)) =>
                {
                    Ok(None)
                }
                Some(value) => column.kind.literal(value).map(Some).ok_or_else(|| {
                    format!(
                        "the INSERT computes a value for its key column {} that is not of its type",
                        column.name
                    )
                }),
            }
        }
    };
    let rows: Result<Vec<Key>, String> =
        plan.inserted.iter().map(|row| row.iter().map(part).collect()).collect();
    let rows = rows?;
    if mixes(&rows) && table.key.parts.len() > 1 {
        return Err("the INSERT mixes given and generated values of the auto-increment part of its key; give all or none"
            .into());
    }
    Ok(rows)
}

/// Some rows are numbered by the server and some are not.
pub fn mixes(rows: &[Key]) -> bool {
    let numbered = generated(rows);
    numbered != 0 && numbered != rows.len()
}

/// How many rows the server numbers.
pub fn generated(rows: &[Key]) -> usize {
    rows.iter().filter(|r| r.iter().any(Option::is_none)).count()
}

/// The keys with the numbers put in, in the order in which the server gives them.
pub fn numbered(rows: Vec<Key>, mut numbers: impl Iterator<Item = String>) -> Option<Vec<Vec<String>>> {
    rows.into_iter()
        .map(|row| row.into_iter().map(|part| part.or_else(|| numbers.next())).collect())
        .collect()
}
