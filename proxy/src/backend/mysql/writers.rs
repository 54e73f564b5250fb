//! Names that may write rows although they stand in a read: stored functions, packages, and the views that call one.

use super::footprint::is_number;
use atone_undo_log::{
    analyze::{Names, names_in},
    sql::SqlMode,
};
use mysql_async::{Conn, prelude::Queryable};
use std::collections::BTreeSet;

/// The names, in lower case, of all schemas but the server's own.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Writers {
    functions: BTreeSet<String>,
    /// With their schemas.
    views: BTreeSet<(String, String)>,
}

const ROUTINES: &str = "SELECT DISTINCT LOWER(ROUTINE_NAME) FROM information_schema.ROUTINES \
    WHERE ROUTINE_TYPE <> 'PROCEDURE' AND ROUTINE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')";
const VIEWS: &str = "SELECT LOWER(TABLE_SCHEMA), LOWER(TABLE_NAME), VIEW_DEFINITION FROM information_schema.VIEWS \
    WHERE TABLE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')";

impl Writers {
    /// The first name in a statement that may write; `schema` is the session's default, in lower case.
    pub fn mentioned<'n>(&self, names: &'n Names, schema: Option<&str>) -> Option<&'n str> {
        let reaches = |s: &String| schema == Some(s) || names.qualifiers.contains(s);
        let view = |n: &String| self.views.iter().any(|(s, v)| v == n && reaches(s));
        let mut called = names.called.iter().chain(&names.qualifiers);
        let function = called.find(|n| self.functions.contains(*n));
        function.or_else(|| names.all.iter().find(|n| view(n))).map(String::as_str)
    }

    /// Those of these names that are unknown: native functions that are not listed, tables, columns and words, or what was made
    /// since. Where no view calls a function only calls are looked at.
    pub fn missing(&self, names: &Names, schema: Option<&str>) -> Vec<String> {
        let called = names.called.iter().filter(|name| !self.functions.contains(*name)).cloned();
        let read = names.all.iter().filter(|name| self.has_views() && !is_number(name));
        let read = read.filter_map(|name| {
            let mut known = self.views.iter().filter(|(_, view)| view == name).map(|(of, _)| of).peekable();
            match (known.peek(), schema) {
                (None, _) => Some(format!(".{name}")),
                (Some(_), None) => None,
                (Some(_), Some(schema)) => {
                    let reached = known.any(|of| of == schema || names.qualifiers.contains(of));
                    (!reached).then(|| format!("{schema}.{name}"))
                }
            }
        });
        called.chain(read).collect()
    }

    /// May it mention such a view, whatever the session's default schema is?
    pub fn named(&self, names: &Names) -> bool {
        self.views.iter().any(|(_, view)| names.all.contains(view))
    }

    /// Is there a view that calls a function?
    pub fn has_views(&self) -> bool {
        !self.views.is_empty()
    }

    /// Adds views until none is left that names one added before.
    fn add_views(&mut self, views: &[((String, String), Option<Names>)]) {
        loop {
            let before = self.views.len();
            for (view, names) in views {
                // A definition that cannot be seen or read may call anything.
                if names.as_ref().is_none_or(|n| self.mentioned(n, Some(&view.0)).is_some()) {
                    self.views.insert(view.clone());
                }
            }
            if self.views.len() == before {
                return;
            }
        }
    }
}

/// Asks the database.
pub(super) async fn read(conn: &mut Conn) -> Result<Writers, mysql_async::Error> {
    let functions: Vec<String> = conn.query(ROUTINES).await?;
    let mut writers = Writers { functions: functions.into_iter().collect(), views: BTreeSet::new() };
    if !writers.functions.is_empty() {
        let views: Vec<(String, String, Option<String>)> = conn.query(VIEWS).await?;
        let read = |text: Option<String>| {
            text.filter(|t| !t.is_empty()).and_then(|t| names_in(t.as_bytes(), SqlMode::default()))
        };
        let views: Vec<_> =
            views.into_iter().map(|(schema, name, text)| ((schema, name), read(text))).collect();
        writers.add_views(&views);
    }
    Ok(writers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str) -> Names {
        names_in(sql.as_bytes(), SqlMode::default()).unwrap()
    }

    #[test]
    fn views_of_views_are_followed() {
        let mut writers = Writers { functions: ["f".to_owned()].into(), views: BTreeSet::new() };
        let named = |name: &str| ("shop".to_owned(), name.to_owned());
        let view = |name: &str, text: &str| (named(name), Some(names(text)));
        writers.add_views(&[
            view("c", "select * from `b`"),
            view("b", "select `shop`.`f`(1) AS x"),
            view("plain", "select f from t"),
            (named("hidden"), None),
        ]);
        for (sql, found) in [
            ("SELECT F (1)", Some("f")),
            ("SELECT `f`.g()", Some("f")),
            ("SELECT * FROM shop.C", Some("c")),
            ("SELECT * FROM hidden", Some("hidden")),
            ("SELECT c FROM other.plain", None),
            ("SELECT f FROM plain", None),
        ] {
            let schema = if sql.contains("other") { None } else { Some("shop") };
            assert_eq!(writers.mentioned(&names(sql), schema), found, "{sql}");
        }
    }
}
