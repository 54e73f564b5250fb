//! Which unique index of a table names its rows, and which others are locked as well.
//!
//! Limits: an index over expressions or generated columns, one whose equality can be told neither from bytes nor by the
//! server (text with a collation that calls different texts equal, arrays of citext), NULLs that are NOT DISTINCT, and exclusion constraints are not locked. An undo that meets a value taken under one of these is blocked, and names it.

use super::describe::Described;
use atone_undo_log::{
    capture::{Key, KeyPart},
    postgres::Form,
};
use tokio_postgres::{Error, Row};

/// Every column of every unique index, of the table itself and of single partitions. An index of a partition that belongs
/// to one of the partitioned table has that one's name, so that both ways to a row lock the same.
pub(super) const QUERY: &str = "SELECT i.indexrelid, coalesce(root.relname, x.relname), \
    i.indrelid = $1 AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL, a.attname, \
    coalesce(p.amproc = 'btequalimage'::regproc OR (p.amproc = 'btvarstrequalimage'::regproc \
        AND coalesce(l.collisdeterministic, true)), false), \
    coalesce(l.collisdeterministic, true), \
    coalesce(o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprname = '=' AND NOT EXISTS (SELECT FROM pg_type y \
        WHERE y.oid = a.atttypid AND y.typname IN ('citext', 'hstore', 'ltree')), false), \
    coalesce(o.oprname = '=' AND o.oprleft = a.atttypid AND o.oprright = a.atttypid \
        AND o.oprnamespace = (SELECT y.typnamespace FROM pg_type y WHERE y.oid = a.atttypid), false) \
    FROM tree t JOIN pg_index i ON i.indrelid = t.oid AND i.indisunique AND i.indislive \
    JOIN pg_class x ON x.oid = i.indexrelid LEFT JOIN pg_class root ON root.oid = pg_partition_root(x.oid) \
    CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS k(at) \
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.at] AND a.attnum > 0 \
    LEFT JOIN pg_opclass c ON c.oid = i.indclass[k.at] \
    LEFT JOIN pg_amproc p ON p.amprocfamily = c.opcfamily AND p.amproclefttype = c.opcintype \
        AND p.amprocrighttype = c.opcintype AND p.amprocnum = 4 \
    LEFT JOIN pg_amop e ON e.amopfamily = c.opcfamily AND e.amoplefttype = c.opcintype \
        AND e.amoprighttype = c.opcintype AND e.amopstrategy = 3 \
    LEFT JOIN pg_operator o ON o.oid = e.amopopr \
    LEFT JOIN pg_collation l ON l.oid = i.indcollation[k.at] \
    WHERE i.indrelid = $1 OR NOT x.relispartition \
    ORDER BY i.indrelid = $1 DESC, i.indisprimary DESC, 2, i.indexrelid, k.at";

/// A unique index.
pub(super) struct Index {
    oid: u32,
    name: String,
    /// Of every row of the table, and at any time.
    whole: bool,
    parts: Vec<Part>,
}

struct Part {
    /// None: an expression.
    column: Option<String>,
    /// Equality is that of bytes.
    image: bool,
    deterministic: bool,
    /// Its `=` is the server's own, which is found without any search path.
    native: bool,
    /// Its `=` is in the schema of the column's type.
    own: bool,
}

pub(super) fn read(rows: &[Row]) -> Result<Vec<Index>, Error> {
    let mut indexes: Vec<Index> = Vec::new();
    for row in rows {
        let oid = row.try_get(0)?;
        if indexes.last().is_none_or(|last| last.oid != oid) {
            indexes.push(Index { oid, name: row.try_get(1)?, whole: row.try_get(2)?, parts: Vec::new() });
        }
        let part = Part {
            column: row.try_get(3)?,
            image: row.try_get(4)?,
            deterministic: row.try_get(5)?,
            native: row.try_get(6)?,
            own: row.try_get(7)?,
        };
        if let Some(last) = indexes.last_mut() {
            last.parts.push(part);
        }
    }
    Ok(indexes)
}

/// May an index hold values that are equal without having the same bytes? Then the catalogue may tell how they compare.
pub(super) fn unclear(indexes: &[Index], forms: &[Option<Form>], described: &[Described]) -> bool {
    indexes.iter().flat_map(|index| &index.parts).any(|part| {
        let found = described.iter().find(|d| Some(&d.name) == part.column.as_ref());
        let form = found.and_then(|found| forms.get(found.stored?));
        form.is_some_and(|form| (part.native || part.own) && !compares(part, form.as_ref()))
    })
}

/// The key that names rows, and the others.
pub(super) fn choose(
    indexes: &[Index],
    forms: &[Option<Form>],
    described: &[Described],
) -> Result<(Key, Vec<Key>), String> {
    let mut reasons = Vec::new();
    let mut chosen = None;
    let mut uniques = Vec::new();
    for index in indexes {
        match key(index, forms, described) {
            Ok((key, not_null)) if chosen.is_none() && index.whole && not_null => chosen = Some(key),
            Ok((key, _)) => uniques.push(key),
            Err(why) => reasons.push(format!("{}: {why}", index.name)),
        }
    }
    match chosen {
        Some(key) => Ok((key, uniques)),
        None if reasons.is_empty() => {
            Err("it has no primary key, nor a unique index of all rows without NULLs".into())
        }
        None => Err(format!("it has no key that names rows exactly ({})", reasons.join("; "))),
    }
}

/// The index as a key, and whether none of its columns can be NULL.
fn key(index: &Index, forms: &[Option<Form>], described: &[Described]) -> Result<(Key, bool), String> {
    let (mut parts, mut not_null) = (Vec::new(), true);
    for part in &index.parts {
        let name = part.column.as_ref().ok_or("an expression")?;
        let found = described.iter().find(|d| d.name == *name);
        let found = found.ok_or_else(|| format!("column {name} is not there"))?;
        let column = found.stored.ok_or_else(|| format!("column {name} is generated"))?;
        not_null &= found.not_null;
        if !compares(part, forms[column].as_ref()) {
            return Err(format!("values of column {name} can be equal without being the same"));
        }
        parts.push(KeyPart { column, prefix: None });
    }
    Ok((Key { name: index.name.clone(), parts }, not_null))
}

/// Are values equal exactly when the canonical bytes of their form are?
fn compares(part: &Part, form: Option<&Form>) -> bool {
    match form {
        None | Some(Form::Plain) => part.native && part.image,
        Some(Form::Numeric | Form::Float | Form::Interval | Form::Json) => part.native,
        Some(Form::Padded | Form::Array(_) | Form::Range(_) | Form::Multirange(_) | Form::Record(_)) => {
            part.native && part.deterministic
        }
        Some(Form::Sent | Form::Folded) => part.own && part.deterministic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str, whole: bool, parts: &[(Option<&str>, bool)]) -> Index {
        let part = |(column, image): &(Option<&str>, bool)| Part {
            column: column.map(str::to_owned),
            image: *image,
            deterministic: true,
            native: true,
            own: false,
        };
        Index { oid: 1, name: name.into(), whole, parts: parts.iter().map(part).collect() }
    }

    fn check(indexes: &[Index]) -> Result<(String, Vec<String>), String> {
        let columns = ["id", "code", "place", "maybe"];
        let forms = [Some(Form::Plain), Some(Form::Padded), None, Some(Form::Plain)];
        let described = |(at, column): (usize, &&str)| Described {
            name: (*column).to_owned(),
            stored: Some(at),
            not_null: *column != "maybe",
        };
        let mut described: Vec<Described> = columns.iter().enumerate().map(described).collect();
        described.push(Described { name: "sum".into(), stored: None, not_null: true });
        choose(indexes, &forms, &described)
            .map(|(key, uniques)| (key.name, uniques.into_iter().map(|k| k.name).collect()))
    }

    #[test]
    fn the_first_key_that_names_rows_is_chosen_and_the_others_are_locked() {
        let all = [
            index("lower", true, &[(None, true)]),
            index("partial", false, &[(Some("id"), true)]),
            index("nulls", true, &[(Some("maybe"), true)]),
            index("generated", true, &[(Some("sum"), true)]),
            index("code", true, &[(Some("code"), false)]),
            index("id", true, &[(Some("id"), true)]),
        ];
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(check(&all), Ok(("code".into(), names(&["partial", "nulls", "id"]))));
    }

    #[test]
    fn what_cannot_name_rows_is_said() {
        assert!(check(&[]).unwrap_err().contains("no primary key"));
        let why = check(&[index("place", true, &[(Some("place"), false)])]).unwrap_err();
        assert!(why.contains("place: values of column place can be equal"), "{why}");
        let why = check(&[index("lower", true, &[(None, true)])]).unwrap_err();
        assert!(why.contains("lower: an expression"), "{why}");
    }
}
