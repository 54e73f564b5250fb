//! Expressions given to key columns: may they be evaluated once more, before the statement, with the same result?
//!
//! What passes here is not trusted: the proxy looks for the rows at the evaluated keys and counts them. What does not
//! pass could only fail there, so that it is refused with a better sentence.

use super::{
    Unsupported, Value, functions, names,
    write::{Write, listed_unstable},
};
use crate::sql::{Kind, SqlMode, Token, tokens};

/// Deterministic functions that are native in one server or both. A stored function of the same name is looked up
/// elsewhere, as for every name that is not surely native.
const PURE: &str =
    "MD5 SHA SHA1 UUID_TO_BIN BIN_TO_UUID IS_UUID NVL NVL2 LENGTHB CHR TO_CHAR NATURAL_SORT_KEY CRC32C";

/// An UPDATE's assignment that leaves the column as it is: `SET id = id`.
pub fn assigns_itself(sql: &str, mode: SqlMode, write: &Write, at: usize) -> bool {
    let (Some(column), Some(value)) = (write.assigned.get(at), write.values.get(at)) else { return false };
    let sql = sql.as_bytes();
    let Ok(found) = tokens(&sql[value.span.clone()], mode) else { return false };
    let text = &sql[value.span.clone()];
    let same = |token: &Token| {
        names::name(text, token).is_some_and(|name| name.to_lowercase() == column.to_lowercase())
    };
    // Perhaps with its table before it.
    let qualified = |token: &[Token]| match token {
        [name, dot] => names::name(text, name).is_some() && dot.is_punct(text, b'.'),
        _ => false,
    };
    let itself = match found.split_last() {
        Some((last, before)) => same(last) && before.chunks(2).all(qualified),
        None => false,
    };
    itself && !write.assigned[..at].iter().any(|earlier| earlier.to_lowercase() == column.to_lowercase())
}

/// Refuses an UPDATE's expression for a key column that cannot be evaluated before the statement. `at` is its place
/// among the assignments.
pub fn refuse_uncomputable(sql: &str, mode: SqlMode, write: &Write, at: usize) -> Result<(), Unsupported> {
    let (Some(column), Some(value)) = (write.assigned.get(at), write.values.get(at)) else {
        return Err(Unsupported::new("an assignment without a value"));
    };
    let same = |a: &String, b: &str| a.to_lowercase() == b.to_lowercase();
    if write.assigned.iter().filter(|a| same(a, column)).count() > 1 {
        return Err(Unsupported::new(format!("an UPDATE that assigns its key column {column} twice")));
    }
    let text = &sql[value.span.clone()];
    let found = tokens(text.as_bytes(), mode).map_err(|e| Unsupported::new(e.to_string()))?;
    let earlier = &write.assigned[..at];
    let names = found.iter().filter_map(|t| names::name(text.as_bytes(), t));
    if let Some(name) = names.into_iter().find(|n| earlier.iter().any(|e| same(e, n))) {
        return Err(Unsupported::new(format!(
            "an UPDATE that assigns its key column {column} from {name}, which it has assigned before,"
        )));
    }
    unchanging(sql, mode, value)
        .map_err(|why| Unsupported::new(format!("an UPDATE that assigns its key column {column} from {why}")))
}

/// Refuses an INSERT's expression for a key column that cannot be evaluated before the statement.
pub fn refuse_unaskable(sql: &str, mode: SqlMode, value: &Value, column: &str) -> Result<(), Unsupported> {
    unchanging(sql, mode, value).map_err(|why| {
        Unsupported::new(format!(
            "an INSERT that computes its key column {column} from {why} (give a plain value)"
        ))
    })
}

/// Says what in the expression may give another value the second time.
fn unchanging(sql: &str, mode: SqlMode, value: &Value) -> Result<(), String> {
    let text = sql[value.span.clone()].as_bytes();
    let found = tokens(text, mode).map_err(|e| e.to_string())?;
    let whole = tokens(sql.as_bytes(), mode).map_err(|e| e.to_string())?;
    let assigns = whole.windows(2).any(|w| {
        w[0].is_punct(sql.as_bytes(), b':') && w[1].is_punct(sql.as_bytes(), b'=') && w[0].end == w[1].start
    });
    for (at, token) in found.iter().enumerate() {
        let spelled = String::from_utf8_lossy(token.text(text)).into_owned();
        let followed = |sign: u8, by: usize| found.get(at + by).is_some_and(|t| t.is_punct(text, sign));
        match token.kind {
            // A user variable is still while nothing in the statement assigns one.
            Kind::Variable if spelled.starts_with("@@") || assigns => return Err(spelled),
            // Without an argument it only reads.
            Kind::Word if token.is_word(text, "LAST_INSERT_ID") && followed(b'(', 1) && followed(b')', 2) => {
            }
            Kind::Word | Kind::Quoted if listed_unstable(&spelled) => {
                return Err(format!("{}, which may give another value each time,", spelled.to_uppercase()));
            }
            Kind::Word
            | Kind::Quoted
            | Kind::Variable
            | Kind::String
            | Kind::Number
            | Kind::Param
            | Kind::Punct => {}
        }
    }
    match functions::unknown_call(text, &found, PURE) {
        Some(name) => Err(format!("{name}(), which may give another value each time,")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::analyze_write;

    fn of(sql: &str) -> Write {
        analyze_write(sql.as_bytes(), SqlMode::default()).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    #[test]
    fn a_column_assigned_to_itself_is_seen() {
        for (set, itself) in [
            ("id = id", true),
            ("t.id = `ID`", true),
            ("id = s.t.id", true),
            ("id = id + 0", false),
            ("id = (id)", false),
            ("id = 'id'", false),
            ("id = v", false),
        ] {
            let sql = format!("UPDATE t SET {set}, v = 1 WHERE id = 1");
            assert_eq!(assigns_itself(&sql, SqlMode::default(), &of(&sql), 0), itself, "{sql}");
        }
        let twice = "UPDATE t SET id = 5, id = id";
        assert!(!assigns_itself(twice, SqlMode::default(), &of(twice), 1));
    }

    #[test]
    fn assignments_that_cannot_be_asked_for_are_refused() {
        for (set, fine) in [
            ("id = 5", true),
            ("id = id + 1", true),
            ("v = 1, id = id + 1", true),
            ("id = CASE id WHEN 1 THEN 2 ELSE 1 END", true),
            ("id = MD5(CONCAT(v, 'x')), v = 1", true),
            ("id = @x", true),
            ("id = LAST_INSERT_ID()", true),
            ("id = LAST_INSERT_ID(id + 1)", false),
            ("id = @@identity", false),
            ("id = (@x := @x + 1)", false),
            ("id = @x, v = (@x := 2)", false),
            ("id = RAND()", false),
            ("id = uuid()", false),
            ("id = (SELECT MAX(a) FROM u)", false),
            ("id = f(1)", false),
            ("v = 1, id = v", false),
            ("v = 1, id = t.`V` + 1", false),
            ("id = 1, id = 2", false),
            ("id = NOW()", false),
        ] {
            let sql = format!("UPDATE t SET {set}");
            let write = of(&sql);
            let at = write.assigned.iter().position(|a| a == "id").unwrap();
            let said = refuse_uncomputable(&sql, SqlMode::default(), &write, at);
            assert_eq!(said.is_ok(), fine, "{sql}: {said:?}");
            assert!(said.is_ok() || said.unwrap_err().0.contains("key column id"), "{sql}");
        }
    }
}
