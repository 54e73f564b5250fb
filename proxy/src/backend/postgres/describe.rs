//! A table as the database's catalogue describes it.

use super::{
    foreign_keys, forms, keys,
    pool::{Connection, Session},
};
use crate::backend::{BackendError, Entry};
use atone_undo_log::{
    capture::{Column, ColumnKind, Table},
    postgres::{Field, Form, Layout, quote},
};
use tokio_postgres::{
    Client, Error, Row, Statement,
    types::{ToSql, Type},
};

/// The table itself and all its partitions.
const TREE: &str = "WITH RECURSIVE tree AS (SELECT $1::oid AS oid UNION ALL \
    SELECT i.inhrelid FROM tree t JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'p' \
    JOIN pg_inherits i ON i.inhparent = t.oid) ";

const TABLE: &str = "SELECT n.nspname, c.relname, c.relkind::text, c.relpersistence::text, c.relrowsecurity, \
    EXISTS (SELECT FROM tree t JOIN pg_class p ON p.oid = t.oid \
        WHERE p.relkind NOT IN ('r', 'p') OR p.relpersistence <> 'p'), \
    EXISTS (SELECT FROM tree t JOIN pg_rewrite r ON r.ev_class = t.oid \
        WHERE r.rulename <> '_RETURN' AND r.ev_enabled <> 'D'), \
    ARRAY(SELECT DISTINCT g.tgname::text FROM tree t JOIN pg_trigger g ON g.tgrelid = t.oid \
        WHERE NOT g.tgisinternal AND g.tgenabled IN ('A', 'R') ORDER BY 1), \
    rn.nspname, rc.relname, \
    ARRAY(SELECT DISTINCT g.tgname::text FROM tree t JOIN pg_trigger g ON g.tgrelid = t.oid \
        WHERE NOT g.tgisinternal AND g.tgenabled = 'O' ORDER BY 1), \
    has_parameter_privilege('session_replication_role', 'SET') AND NOT EXISTS (SELECT FROM tree t \
        JOIN pg_constraint d ON d.conrelid = t.oid AND d.contype IN ('p', 'u', 'x') AND d.condeferrable), \
    c.relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM tree t JOIN pg_class p ON p.oid = t.oid \
            WHERE p.relkind <> 'p' AND p.relhassubclass OR p.relkind NOT IN ('r', 'p')) \
        AND NOT EXISTS (SELECT FROM tree t JOIN pg_trigger g ON g.tgrelid = t.oid \
            WHERE NOT g.tgisinternal AND g.tgenabled <> 'D') \
        AND NOT EXISTS (SELECT FROM tree t JOIN pg_rewrite r ON r.ev_class = t.oid) \
        AND NOT EXISTS (SELECT FROM tree t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 \
            AND NOT a.attisdropped JOIN pg_type y ON y.oid = a.atttypid \
            WHERE y.typnamespace <> 'pg_catalog'::regnamespace AND y.typtype <> 'e') \
        AND NOT EXISTS (SELECT FROM pg_depend d \
            WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass) \
            AND (d.classid = 'pg_attrdef'::regclass AND d.objid IN (SELECT e.oid FROM tree t \
                    JOIN pg_attrdef e ON e.adrelid = t.oid) \
                OR d.classid = 'pg_constraint'::regclass AND d.objid IN (SELECT e.oid FROM tree t \
                    JOIN pg_constraint e ON e.conrelid = t.oid) \
                OR d.classid = 'pg_class'::regclass AND (d.objid IN (SELECT oid FROM tree) \
                    OR d.objid IN (SELECT e.indexrelid FROM tree t JOIN pg_index e ON e.indrelid = t.oid)))) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_class rc ON rc.oid = coalesce(pg_partition_root(c.oid), c.oid) \
    JOIN pg_namespace rn ON rn.oid = rc.relnamespace WHERE c.oid = $1";

/// A type of values that cannot be sent in binary form is not captured, nor tsquery, which does not take back an empty one; nor is one of elements, or over a type, like that.
const COLUMNS: &str = "SELECT a.attname, a.atttypid, a.attgenerated <> '', a.attidentity = 'a', a.attnotnull, \
    n.nspname, t.typname, t.typsend::oid = 0 OR t.typreceive::oid = 0 \
        OR coalesce(e.typsend::oid = 0 OR e.typreceive::oid = 0, false) \
        OR 'tsquery'::regtype IN (t.oid, coalesce(e.oid, 0)) \
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace \
    LEFT JOIN pg_type e ON e.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END \
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// A column of the table.
pub(super) struct Described {
    pub name: String,
    /// Its place among the stored ones; None for a generated one.
    pub stored: Option<usize>,
    pub not_null: bool,
}

impl Session {
    /// The table of this number; None when there is none, or a temporary one.
    pub async fn describe(&mut self, oid: u32) -> Result<Option<Entry>, BackendError> {
        let client = self.ask();
        let entry = describe(&client, oid).await;
        self.answered(entry)
    }

    /// The number of the table of this name.
    pub async fn number(&mut self, schema: &str, table: &str) -> Result<Option<u32>, BackendError> {
        let query = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
            WHERE n.nspname = $1::text AND c.relname = $2::text";
        let rows = self.query(query, &[(&schema, Type::TEXT), (&table, Type::TEXT)]).await?;
        let oid = rows.first().map(|row| row.try_get(0)).transpose();
        self.answered(oid)
    }
}

/// The questions about a table, each with its number as the parameter.
async fn prepare(client: &Client) -> Result<Vec<Statement>, Error> {
    let (table, keys) = (format!("{TREE}{TABLE}"), format!("{TREE}{}", keys::QUERY));
    let typed = |sql| client.prepare_typed(sql, &[Type::OID]);
    let (a, b, c, d, e, f) = tokio::try_join!(
        client.prepare_typed(&table, &[Type::OID]),
        typed(COLUMNS),
        client.prepare_typed(&keys, &[Type::OID]),
        typed(foreign_keys::CHILDREN),
        typed(foreign_keys::PARENTS),
        typed(forms::QUERY),
    )?;
    Ok(vec![a, b, c, d, e, f])
}

async fn describe(client: &Connection, oid: u32) -> Result<Option<Entry>, Error> {
    let statements = client.catalogue.get_or_try_init(|| prepare(client)).await?;
    let param: [&(dyn ToSql + Sync); 1] = [&oid];
    let (table, columns, keys, references, parents) = tokio::try_join!(
        client.query(&statements[0], &param),
        client.query(&statements[1], &param),
        client.query(&statements[2], &param),
        client.query(&statements[3], &param),
        client.query(&statements[4], &param),
    )?;
    let keys = keys::read(&keys)?;
    let Some(row) = table.first() else { return Ok(None) };
    let (schema, name, kind): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let persistence: String = row.try_get(3)?;
    if persistence == "t" {
        return Ok(None);
    }
    let locked_as = format!("{}.{}", row.try_get::<_, String>(8)?, row.try_get::<_, String>(9)?);
    let across = foreign_keys::read(&references, &parents)?;
    let (ordinary, can_be_quiet): (Vec<String>, bool) = (row.try_get(10)?, row.try_get(11)?);
    let mut entry = Entry {
        name: locked_as.clone(),
        table: Err(String::new()),
        triggers: row.try_get(7)?,
        fires: !ordinary.is_empty(),
        alone: row.try_get(12)?,
        quiet: None,
        cascades: across.keys.children.iter().filter(|r| r.on_delete || r.on_update).cloned().collect(),
        layout: None,
    };
    entry.alone &= entry.cascades.is_empty();
    if can_be_quiet {
        entry.quiet = Some(across.keys.clone());
    } else {
        entry.triggers.extend(ordinary);
    }
    let obstacle = obstacle(row, (&schema, &kind, &persistence))?;
    let described = match obstacle {
        Some(why) => Err(why),
        None => columns_of(&columns)?,
    };
    match described {
        Err(why) => entry.table = Err(why),
        Ok((columns, fields, described, always)) => {
            let mut forms = forms::known(&fields);
            if keys::unclear(&keys, &forms, &described) || across.unclear(&columns, &fields) {
                forms = forms::read(&client.query(&statements[5], &param).await?, &fields)?;
            }
            let insert_order = described.iter().map(|d| d.name.clone()).collect();
            entry.table = keys::choose(&keys, &forms, &described).map(|(key, uniques)| Table {
                schema,
                name,
                key,
                uniques,
                referenced: across.referenced(&columns, &forms),
                parents: across.parents(&columns, &forms),
                columns,
                auto_increment: always,
                insert_order,
                defaults: Vec::new(),
                storage: Vec::new(),
                only: kind == "r",
            });
            let forms = forms.into_iter().map(|form| form.unwrap_or(Form::Plain)).collect();
            let layout = Layout { oid, fields, forms, locked_as, partitioned: kind == "p" };
            entry.layout = entry.table.is_ok().then_some(layout);
        }
    }
    Ok(Some(entry))
}

/// Why a table cannot be captured whatever its columns are.
fn obstacle(row: &Row, (schema, kind, persistence): (&str, &str, &str)) -> Result<Option<String>, Error> {
    let is = |at: usize| row.try_get::<_, bool>(at);
    let why = match kind {
        "r" | "p" if schema == "atone" => "it belongs to the proxy",
        "r" | "p" if matches!(schema, "pg_catalog" | "information_schema" | "pg_toast") => {
            "it belongs to the database server"
        }
        "r" | "p" if persistence == "u" => "it is unlogged: a crash would empty it",
        "r" | "p" if is(5)? => "a partition of it is a foreign or unlogged table",
        "r" | "p" if is(6)? => "it has rules, which rewrite statements",
        "r" | "p" if is(4)? => {
            "it has row level security, by which a statement may see other rows than the undo"
        }
        "r" | "p" => return Ok(None),
        "v" => "it is a view, not a table",
        "m" => "it is a materialized view, not a table",
        "f" => "it is a foreign table: its rows are elsewhere",
        "S" => "it is a sequence, not a table",
        _ => "it is not a table",
    };
    Ok(Some(why.to_owned()))
}

/// Stored columns, fields of a row in binary form, all columns, and the one that is always numbered by the server (an UPDATE
/// cannot give it a value).
type Columns = (Vec<Column>, Vec<Field>, Vec<Described>, Option<usize>);

fn columns_of(rows: &[Row]) -> Result<Result<Columns, String>, Error> {
    let (mut columns, mut fields, mut described, mut always) = (Vec::new(), Vec::new(), Vec::new(), None);
    for row in rows {
        let (name, kind, generated): (String, u32, bool) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (schema, type_name): (String, String) = (row.try_get(5)?, row.try_get(6)?);
        if row.try_get(7)? {
            return Ok(Err(format!("its column {name} has type {type_name}, which has no binary form")));
        }
        let stored = (!generated).then_some(columns.len());
        if row.try_get(3)? {
            always = stored;
        }
        fields.push(Field { kind, column: stored });
        described.push(Described { name: name.clone(), stored, not_null: row.try_get(4)? });
        if stored.is_some() {
            columns.push(Column { name, kind: ColumnKind::Postgres(type_in_full(&schema, &type_name)) });
        }
    }
    Ok(Ok((columns, fields, described, always)))
}

/// As a cast names it.
fn type_in_full(schema: &str, name: &str) -> String {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if schema == "pg_catalog" && name.bytes().all(plain) {
        return format!("pg_catalog.{name}");
    }
    format!("{}.{}", quote(schema), quote(name))
}
