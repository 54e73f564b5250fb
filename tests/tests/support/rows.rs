//! What is tried: rows in sections. A row is a schema and statements; what comes of them it does not say.

mod mysql_objects;
mod mysql_types;
mod mysql_writes;
mod postgres_objects;
mod postgres_types;
mod postgres_writes;
mod types;

/// Rows that belong together.
pub struct Section {
    pub title: &'static str,
    pub form: Form,
    pub rows: Vec<Row>,
}

/// How a section looks on the page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A line for each row.
    Statements,
    /// A line for each two rows: a type as a column and as the key.
    Types,
}

/// One thing that is tried.
#[derive(Clone, Default)]
pub struct Row {
    /// What it is.
    pub title: String,
    /// What is there before, as the application's own. `{schema}` is the room's name, here and in the statements.
    pub tables: String,
    /// Said before the transaction begins.
    pub outside: Vec<String>,
    /// Said inside it; the first error ends the row. After `FROM STDIN` and a line break comes the data.
    pub inside: Vec<String>,
    /// Said afterwards, directly, by the account that may do everything.
    pub cleanup: Vec<String>,
    /// Each statement has an outcome of its own, and errors end nothing.
    pub each: bool,
    /// It takes more rights than the application has.
    pub by_admin: bool,
    /// Where it is refused, it is tried directly, too.
    pub checked: bool,
    /// A limit of this version, known and told: it passes, and a rollback does not undo it.
    pub limit: bool,
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A row of one statement.
fn row(title: &str, statement: &str) -> Row {
    rows(title, &[statement])
}

/// A row of several.
fn rows(title: &str, inside: &[&str]) -> Row {
    Row { title: title.to_owned(), inside: strings(inside), checked: true, ..Row::default() }
}

impl Row {
    /// These must have been said before.
    fn after(self, outside: &[&str]) -> Self {
        Self { outside: strings(outside), ..self }
    }

    /// With tables of its own beside those of the section.
    fn on(self, tables: &str) -> Self {
        Self { tables: tables.to_owned(), ..self }
    }

    /// Leaves something that the next row must not find.
    fn cleaned_by(self, cleanup: &[&str]) -> Self {
        Self { cleanup: strings(cleanup), ..self }
    }

    fn by_admin(self) -> Self {
        Self { by_admin: true, ..self }
    }

    /// A limit of this version.
    fn limit(self) -> Self {
        Self { limit: true, ..self }
    }

    /// Cannot be tried directly: it ends the session, needs a file, or the like.
    fn unchecked(self) -> Self {
        Self { checked: false, ..self }
    }
}

/// A section of statements on the same tables.
fn section(title: &'static str, tables: &str, rows: Vec<Row>) -> Section {
    let furnished = |row: Row| Row { tables: format!("{tables};\n{}", row.tables), ..row };
    Section { title, form: Form::Statements, rows: rows.into_iter().map(furnished).collect() }
}

/// All of MySQL and MariaDB.
pub fn mysql() -> Vec<Section> {
    [mysql_writes::sections(), mysql_objects::sections(), mysql_types::sections()]
        .into_iter()
        .flatten()
        .collect()
}

/// All of PostgreSQL.
pub fn postgres() -> Vec<Section> {
    let all = [postgres_writes::sections(), postgres_objects::sections(), postgres_types::sections()];
    all.into_iter().flatten().collect()
}
