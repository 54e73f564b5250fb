//! What a statement that is not captured may write: the tables it names, and those that the views, routines, triggers and
//! foreign keys behind these names reach. Rather too many than one too few.

use atone_undo_log::{
    analyze::{Names, names_in},
    sql::SqlMode,
};
use mysql_async::{Conn, prelude::Queryable};
use std::collections::{BTreeMap, BTreeSet};

/// A schema and a name, in lower case.
type Named = (String, String);
/// The names in a definition; None when it cannot be read.
type Body = Option<Names>;

/// All tables but the server's own, and what reaches from one to another.
#[derive(Debug, Default)]
pub struct Footprint {
    /// As lock keys name them.
    tables: BTreeMap<Named, BTreeSet<String>>,
    /// Views, routines and, under their table, triggers.
    bodies: BTreeMap<Named, Vec<Body>>,
    /// Tables whose foreign keys change rows on their own, by the table they point at.
    children: BTreeMap<Named, Vec<Named>>,
}

/// What may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// No table but these.
    Tables(BTreeSet<String>),
    /// Anything.
    Everything,
}

/// Words by which a text runs another that is not in it.
const DYNAMIC: [&str; 2] = ["execute", "prepare"];

impl Footprint {
    /// What a statement with these names may write; `schema` is the session's default, in lower case.
    pub fn reach(&self, names: &Names, schema: Option<&str>) -> Reach {
        let mut found = BTreeSet::new();
        let mut seen: BTreeSet<Named> = BTreeSet::new();
        let mut open: Vec<Named> = Vec::new();
        if !self.name(names, schema, &mut open) {
            return Reach::Everything;
        }
        while let Some(named) = open.pop() {
            if !seen.insert(named.clone()) {
                continue;
            }
            found.extend(self.tables.get(&named).into_iter().flatten().cloned());
            open.extend(self.children.get(&named).into_iter().flatten().cloned());
            for body in self.bodies.get(&named).into_iter().flatten() {
                let known = body.as_ref().is_some_and(|names| self.name(names, Some(&named.0), &mut open));
                if !known {
                    return Reach::Everything;
                }
            }
        }
        Reach::Tables(found)
    }

    /// Those of these names that are unknown: columns and words, or what was made since.
    pub fn missing(&self, names: &Names, schema: Option<&str>) -> Vec<String> {
        let schemas = schema.into_iter().chain(names.qualifiers.iter().map(String::as_str));
        let schemas: BTreeSet<&str> = schemas.collect();
        let all: BTreeSet<&String> = names.all.iter().filter(|name| !is_number(name)).collect();
        let pairs = schemas.iter().flat_map(|schema| all.iter().map(move |name| (*schema, *name)));
        let known = |(schema, name): &(&str, &String)| {
            let named = ((*schema).to_owned(), (*name).clone());
            self.tables.contains_key(&named) || self.bodies.contains_key(&named)
        };
        pairs.filter(|pair| !known(pair)).map(|(schema, name)| format!("{schema}.{name}")).collect()
    }

    /// Everything that these names may be the names of; false when they do not tell.
    fn name(&self, names: &Names, schema: Option<&str>, open: &mut Vec<Named>) -> bool {
        if names.all.iter().any(|n| DYNAMIC.contains(&n.as_str()))
            || names.qualifiers.iter().any(|q| q == "sys")
        {
            return false;
        }
        let schemas = schema.into_iter().chain(names.qualifiers.iter().map(String::as_str));
        for schema in schemas.collect::<BTreeSet<_>>() {
            for name in names.all.iter().collect::<BTreeSet<_>>() {
                let named = (schema.to_owned(), name.clone());
                if self.tables.contains_key(&named) || self.bodies.contains_key(&named) {
                    open.push(named);
                }
            }
        }
        true
    }
}

/// A number stands among the names, since the server would take it for one in some places.
pub(super) fn is_number(name: &str) -> bool {
    let number = name.starts_with("0x") || name.starts_with("0b") || name.parse::<f64>().is_ok();
    number && name.starts_with(|c: char| c.is_ascii_digit())
}

const OURS: &str = "NOT IN ('sys', 'mysql', 'information_schema', 'performance_schema')";

/// Asks the database.
pub(super) async fn read(conn: &mut Conn, mariadb: bool) -> Result<Footprint, mysql_async::Error> {
    let mut all = Footprint::default();
    let tables: Vec<(String, String)> = conn
        .query(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA {OURS}"
        ))
        .await?;
    for (schema, table) in tables {
        let full = format!("{schema}.{table}");
        all.tables.entry(lower(&schema, &table)).or_default().insert(full);
    }
    let bodies: Vec<(String, String, Option<String>)> = conn
        .query(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA {OURS} \
             UNION ALL SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES \
             WHERE ROUTINE_SCHEMA {OURS} \
             UNION ALL SELECT TRIGGER_SCHEMA, EVENT_OBJECT_TABLE, ACTION_STATEMENT FROM information_schema.TRIGGERS \
             WHERE TRIGGER_SCHEMA {OURS}"
        ))
        .await?;
    for (schema, name, text) in bodies {
        let text = text.filter(|text| !text.is_empty());
        all.bodies.entry(lower(&schema, &name)).or_default().push(text.and_then(|text| names_of(&text)));
    }
    for ((schema, table), (child_schema, child)) in super::foreign_keys::reaching(conn, mariadb).await? {
        let child = lower(&child_schema, &child);
        all.children.entry(lower(&schema, &table)).or_default().push(child);
    }
    Ok(all)
}

/// The names in a definition, however the session read it that made it.
fn names_of(text: &str) -> Option<Names> {
    let modes = [(false, false), (true, false), (false, true), (true, true)];
    let modes =
        modes.map(|(ansi_quotes, no_backslash_escapes)| SqlMode { ansi_quotes, no_backslash_escapes });
    modes.into_iter().filter_map(|mode| names_in(text.as_bytes(), mode)).reduce(|mut all, more| {
        all.called.extend(more.called);
        all.qualifiers.extend(more.qualifiers);
        all.all.extend(more.all);
        all
    })
}

fn lower(schema: &str, name: &str) -> Named {
    (schema.to_lowercase(), name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str) -> Names {
        names_in(sql.as_bytes(), SqlMode::default()).unwrap()
    }

    #[test]
    fn definitions_are_read_as_any_session_may_have_written_them() {
        let found = names_of("BEGIN UPDATE \"t\" SET v = 'a\\'; UPDATE u SET v = 'b'; END").unwrap();
        assert!(["t", "u"].iter().all(|name| found.all.contains(&(*name).to_owned())), "{found:?}");
    }

    #[test]
    fn what_stands_behind_a_name_is_followed() {
        let mut all = Footprint::default();
        let named = |name: &str| ("shop".to_owned(), name.to_owned());
        for table in ["T", "parent", "child", "log", "other"] {
            all.tables.insert(named(&table.to_lowercase()), [format!("shop.{table}")].into());
        }
        all.children.insert(named("parent"), vec![named("child")]);
        all.bodies.insert(named("child"), vec![Some(names("BEGIN INSERT INTO log VALUES (1); END"))]);
        all.bodies.insert(named("vw"), vec![Some(names("select * from `shop`.`parent`"))]);
        all.bodies.insert(named("p"), vec![Some(names("UPDATE t SET v = 1"))]);
        all.bodies.insert(named("loops"), vec![Some(names("CALL loops(); CALL p()"))]);
        all.bodies.insert(named("hidden"), vec![None]);
        all.bodies.insert(named("dynamic"), vec![Some(names("PREPARE s FROM @x; EXECUTE s"))]);
        for (sql, found) in [
            ("REPLACE INTO t VALUES (1)", Some("shop.T")),
            ("UPDATE vw SET a = 1", Some("shop.child shop.log shop.parent")),
            ("CALL p()", Some("shop.T")),
            ("CALL shop.loops()", Some("shop.T")),
            ("CALL hidden()", None),
            ("CALL dynamic()", None),
            ("CALL sys.table_exists('a', 'b', @x)", None),
            ("INSERT INTO nowhere SELECT 1", Some("")),
        ] {
            let expected = match found {
                Some(found) => Reach::Tables(found.split_whitespace().map(str::to_owned).collect()),
                None => Reach::Everything,
            };
            let schema = if sql.contains("shop.") { None } else { Some("shop") };
            assert_eq!(all.reach(&names(sql), schema), expected, "{sql}");
        }
    }
}
