//! Names as the text spells them.

use crate::sql::{Kind, Token};

/// A table as the statement names it; the catalogue decides which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The schema, when written.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// The name a token spells, quotes removed; None when the token is not a name or not UTF-8.
pub(super) fn name(sql: &[u8], token: &Token) -> Option<String> {
    let text = std::str::from_utf8(token.text(sql)).ok()?;
    match token.kind {
        Kind::Word => Some(text.to_owned()),
        Kind::Quoted => {
            let quote = text.chars().next()?;
            let inner = text.get(1..text.len() - 1)?;
            Some(inner.replace(&format!("{quote}{quote}"), &quote.to_string()))
        }
        Kind::String | Kind::Number | Kind::Param | Kind::Variable | Kind::Punct => None,
    }
}
