//! Names that may write rows although they stand in a read: stored functions, packages, and the views that call one.

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
    views: BTreeSet<String>,
}

const ROUTINES: &str = "SELECT DISTINCT LOWER(ROUTINE_NAME) FROM information_schema.ROUTINES \
    WHERE ROUTINE_TYPE <> 'PROCEDURE' AND ROUTINE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')";
const VIEWS: &str = "SELECT LOWER(TABLE_NAME), VIEW_DEFINITION FROM information_schema.VIEWS \
    WHERE TABLE_SCHEMA NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')";

impl Writers {
    /// The first name in a statement that may write.
    pub fn mentioned<'n>(&self, names: &'n Names) -> Option<&'n str> {
        let mut called = names.called.iter().chain(&names.qualifiers);
        let function = called.find(|n| self.functions.contains(*n));
        function.or_else(|| names.all.iter().find(|n| self.views.contains(*n))).map(String::as_str)
    }

    /// Adds views until none is left that names one added before.
    fn add_views(&mut self, views: &[(String, Option<Names>)]) {
        loop {
            let before = self.views.len();
            for (view, names) in views {
                // A definition that cannot be seen or read may call anything.
                if names.as_ref().is_none_or(|n| self.mentioned(n).is_some()) {
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
        let views: Vec<(String, Option<String>)> = conn.query(VIEWS).await?;
        let read = |text: Option<String>| {
            text.filter(|t| !t.is_empty()).and_then(|t| names_in(t.as_bytes(), SqlMode::default()))
        };
        let views: Vec<_> = views.into_iter().map(|(name, text)| (name, read(text))).collect();
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
        let view = |name: &str, text: &str| (name.to_owned(), Some(names(text)));
        writers.add_views(&[
            view("c", "select * from `b`"),
            view("b", "select `shop`.`f`(1) AS x"),
            view("plain", "select f from t"),
            ("hidden".to_owned(), None),
        ]);
        for (sql, found) in [
            ("SELECT F (1)", Some("f")),
            ("SELECT `f`.g()", Some("f")),
            ("SELECT * FROM shop.C", Some("c")),
            ("SELECT * FROM hidden", Some("hidden")),
            ("SELECT f FROM plain", None),
        ] {
            assert_eq!(writers.mentioned(&names(sql)), found, "{sql}");
        }
    }
}
