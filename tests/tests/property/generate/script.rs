//! Puts random statements into local transactions with nested savepoints, and between them.

use super::Gen;
use crate::statement::Statement;
use rand::Rng;

/// A script.
pub fn script(r#gen: &mut Gen) -> Vec<Statement> {
    let mut script = Vec::new();
    let mut local = false;
    let mut savepoints: Vec<String> = Vec::new();
    for _ in 0..r#gen.rng.random_range(4..16) {
        let word = match (local, r#gen.rng.random_range(0..100)) {
            (false, 0..30) => "BEGIN".to_owned(),
            (true, 0..14) => "COMMIT".to_owned(),
            (true, 14..18) => "ROLLBACK".to_owned(),
            (true, 18..34) => {
                let (name, other) = (r#gen.pick(&["a", "b", "s1_x2"]), r#gen.pick(&["ä c", "Quoted"]));
                let other = r#gen.dialect.quoted(other);
                savepoints.push(if r#gen.chance(85) { name.to_owned() } else { other });
                format!("SAVEPOINT {}", savepoints[savepoints.len() - 1])
            }
            (true, 34..46) if !savepoints.is_empty() => {
                let at = r#gen.rng.random_range(0..savepoints.len());
                savepoints.truncate(at + 1);
                format!("ROLLBACK TO SAVEPOINT {}", savepoints[at])
            }
            (true, 46..50) if !savepoints.is_empty() => {
                let at = r#gen.rng.random_range(0..savepoints.len());
                let word = format!("RELEASE SAVEPOINT {}", savepoints[at]);
                savepoints.truncate(at);
                word
            }
            _ => {
                script.extend(r#gen.statements());
                continue;
            }
        };
        match word.as_str() {
            "BEGIN" => local = true,
            "COMMIT" | "ROLLBACK" => local = false,
            _ => {}
        }
        if !local {
            savepoints.clear();
        }
        script.push(Statement::plain("control", word));
    }
    if local {
        script.push(Statement::plain("control", r#gen.weighted(&[(9, "COMMIT"), (1, "ROLLBACK")])));
    }
    script
}
