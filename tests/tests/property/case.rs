//! A case: tables, rows and a script, made from a seed; and what can be found out with it.

use crate::dialect::dialect;
use crate::generate::{Gen, rows, script, tables};
use crate::statement::Statement;
use atone_tests::servers::Kind;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::fmt::{self, Write};

/// A case.
#[derive(Clone)]
pub struct Case {
    /// On which server.
    pub kind: Kind,
    /// What it is made from.
    pub seed: u64,
    /// Makes the tables.
    pub tables: Vec<String>,
    /// Makes the rows that they begin with.
    pub rows: Vec<Statement>,
    /// The session's settings.
    pub settings: Vec<String>,
    /// What is done.
    pub script: Vec<Statement>,
}

impl Case {
    /// The case of this seed.
    pub fn new(kind: Kind, seed: u64) -> Self {
        let dialect = dialect(kind);
        let mut rng = SmallRng::seed_from_u64(seed);
        let settings = dialect.settings(&mut rng);
        let mut r#gen = Gen::new(rng, &*dialect, &[]);
        let tables = tables(&mut r#gen);
        let rows = tables.iter().flat_map(|table| rows(&mut r#gen, table)).collect();
        let mut r#gen = Gen::new(r#gen.rng, &*dialect, &tables);
        let script = script(&mut r#gen);
        let tables = tables.iter().flat_map(|table| table.create.clone()).collect();
        Self { kind, seed, tables, rows, settings, script }
    }

    /// Without what does something else each time.
    pub fn steady(&self) -> Vec<Statement> {
        self.script.iter().filter(|statement| !statement.fleeting).cloned().collect()
    }
}

/// As a person would type it.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.tables.iter().for_each(|table| text += &format!("{table};\n"));
        self.rows.iter().for_each(|row| text += &format!("{};\n", row.text()));
        self.settings.iter().for_each(|setting| text += &format!("{setting};\n"));
        text += "SELECT atone_begin();\n";
        for statement in &self.script {
            let _ = write!(text, "{};", statement.text());
            text += if statement.prepared { " -- prepared, values bound\n" } else { "\n" };
            text += statement.data.as_deref().unwrap_or_default();
        }
        f.write_str(&text)
    }
}

/// What is wrong.
#[derive(Debug)]
pub struct Finding {
    /// What sort of thing: a smaller case must show the same.
    pub sort: &'static str,
    /// All of it.
    pub text: String,
}

impl Finding {
    /// One.
    pub fn new(sort: &'static str, text: impl Into<String>) -> Self {
        Self { sort, text: text.into() }
    }
}

impl From<atone_tests::Failure> for Finding {
    fn from(failure: atone_tests::Failure) -> Self {
        Self::new("the harness or a lost connection", failure.to_string())
    }
}
