//! How values of a table's columns compare, by what the catalogue tells of their types: asked only for tables with a unique
//! index whose equality is not that of bytes.

use atone_undo_log::postgres::{Field, Form};
use std::collections::BTreeMap;
use tokio_postgres::{Error, Row};

/// The columns' types and those that they are made of. A base type is sure when its default order calls values equal when
/// their bytes are; one made of others when no collation in it calls different texts equal, nor another order than the
/// default one is used.
pub(super) const QUERY: &str = "WITH RECURSIVE types(oid) AS (SELECT a.atttypid FROM pg_attribute a \
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped \
    UNION SELECT p.oid FROM types t JOIN pg_type y ON y.oid = t.oid CROSS JOIN LATERAL \
    (SELECT y.typbasetype WHERE y.typtype = 'd' UNION ALL \
    SELECT y.typelem WHERE y.typsubscript = 'array_subscript_handler'::regproc UNION ALL \
    SELECT r.rngsubtype FROM pg_range r WHERE y.oid IN (r.rngtypid, r.rngmultitypid) UNION ALL \
    SELECT a.atttypid FROM pg_attribute a \
    WHERE y.typtype = 'c' AND a.attrelid = y.typrelid AND a.attnum > 0 AND NOT a.attisdropped) p(oid)) \
    SELECT y.oid, CASE WHEN y.typsubscript = 'array_subscript_handler'::regproc THEN 'a' ELSE y.typtype::text END, \
    CASE WHEN y.typsubscript = 'array_subscript_handler'::regproc THEN ARRAY[y.typelem] \
        WHEN y.typtype = 'd' THEN ARRAY[y.typbasetype] \
        WHEN y.typtype IN ('r', 'm') THEN ARRAY(SELECT r.rngsubtype FROM pg_range r WHERE y.oid IN (r.rngtypid, r.rngmultitypid)) \
        ELSE ARRAY(SELECT a.atttypid FROM pg_attribute a WHERE y.typtype = 'c' AND a.attrelid = y.typrelid \
            AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) END, \
    CASE WHEN y.typtype = 'b' THEN EXISTS (SELECT FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree' \
            JOIN pg_amproc p ON p.amprocfamily = c.opcfamily AND p.amproclefttype = c.opcintype \
            AND p.amprocrighttype = c.opcintype AND p.amprocnum = 4 \
            WHERE c.opcdefault AND p.amproc IN ('btequalimage'::regproc, 'btvarstrequalimage'::regproc) \
            AND c.opcintype = CASE y.oid WHEN 'varchar'::regtype THEN 'text'::regtype \
                WHEN 'cidr'::regtype THEN 'inet'::regtype ELSE y.oid END) \
        WHEN y.typtype IN ('r', 'm') THEN NOT EXISTS (SELECT FROM pg_range r JOIN pg_opclass c ON c.oid = r.rngsubopc \
            LEFT JOIN pg_collation l ON l.oid = r.rngcollation \
            WHERE y.oid IN (r.rngtypid, r.rngmultitypid) AND NOT (c.opcdefault AND coalesce(l.collisdeterministic, true))) \
        ELSE NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_collation l ON l.oid = a.attcollation \
            WHERE y.typtype = 'c' AND a.attrelid = y.typrelid AND NOT l.collisdeterministic) END, \
    p.prosrc, p.probin \
    FROM types t JOIN pg_type y ON y.oid = t.oid \
    LEFT JOIN pg_opclass c ON y.typtype = 'b' AND y.typname IN ('citext', 'hstore', 'ltree') AND c.opcdefault \
        AND c.opcintype = y.oid AND c.opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree') \
    LEFT JOIN pg_amproc s ON s.amprocfamily = c.opcfamily AND s.amproclefttype = y.oid AND s.amprocrighttype = y.oid \
        AND s.amprocnum = 1 LEFT JOIN pg_proc p ON p.oid = s.amproc";

/// Types are made of others this deep at most.
const DEPTH_LIMIT: usize = 16;

struct Type {
    kind: String,
    parts: Vec<u32>,
    sure: bool,
    /// It is an extension's.
    extension: Option<Form>,
}

/// The form of each stored column; None where equal values may differ in a way that is not known here.
pub(super) fn read(rows: &[Row], fields: &[Field]) -> Result<Vec<Option<Form>>, Error> {
    let mut types = BTreeMap::new();
    for row in rows {
        let (function, library): (Option<&str>, Option<&str>) = (row.try_get(4)?, row.try_get(5)?);
        let extension = function.zip(library).and_then(|(f, l)| Form::of_extension(f, l));
        let kind = Type { kind: row.try_get(1)?, parts: row.try_get(2)?, sure: row.try_get(3)?, extension };
        types.insert(row.try_get::<_, u32>(0)?, kind);
    }
    // Within others, and under other names, an extension's types are not known.
    let extension = |oid: u32| types.get(&oid).and_then(|kind| kind.extension.clone());
    Ok(stored(fields).map(|oid| extension(oid).or_else(|| form(oid, &types, DEPTH_LIMIT))).collect())
}

/// The same of the server's own base types alone, without having asked.
pub(super) fn known(fields: &[Field]) -> Vec<Option<Form>> {
    stored(fields).map(|oid| Form::of_base(oid, true)).collect()
}

fn stored(fields: &[Field]) -> impl Iterator<Item = u32> {
    fields.iter().filter(|field| field.column.is_some()).map(|field| field.kind)
}

fn form(oid: u32, types: &BTreeMap<u32, Type>, depth: usize) -> Option<Form> {
    let depth = depth.checked_sub(1)?;
    let found = types.get(&oid)?;
    let mut parts = found.parts.iter().map(|part| form(*part, types, depth));
    match (found.kind.as_str(), found.sure) {
        ("b", sure) => Form::of_base(oid, sure),
        ("e", _) => Some(Form::Plain),
        ("d", _) => parts.next()?,
        ("a", _) => Some(Form::Array(Box::new(parts.next()??))),
        ("r", true) => Some(Form::Range(Box::new(parts.next()??))),
        ("m", true) => Some(Form::Multirange(Box::new(parts.next()??))),
        ("c", true) => Some(Form::Record(parts.collect::<Option<_>>()?)),
        _ => None,
    }
}
