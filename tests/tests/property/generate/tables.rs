//! Random tables: every type, every shape of key, names that need quotes; and the rows they begin with.

use super::Gen;
use super::columns::{Column, Filled, counted, generated, key, plain};
use crate::statement::Statement;
use rand::Rng;

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name in quotes.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The places of its key's columns; empty if it has none.
    pub key: Vec<usize>,
    /// The place of a column that is unique besides.
    pub unique: Option<usize>,
    /// Keys that its rows may have: those that statements look for are mostly among them.
    pub pool: Vec<Vec<String>>,
    /// The statements that make it.
    pub create: Vec<String>,
}

impl Table {
    /// The columns of the key; all columns that have an order if there is no key.
    pub fn key_columns(&self) -> Vec<Column> {
        if self.key.is_empty() {
            return self.columns.iter().filter(|column| column.of.key > 0).cloned().collect();
        }
        self.key.iter().map(|&place| self.columns[place].clone()).collect()
    }

    /// The columns that a statement may set.
    pub fn settable(&self) -> Vec<usize> {
        let places = 0..self.columns.len();
        places.filter(|&place| self.columns[place].filled == Filled::Given).collect()
    }
}

/// How many keys a table's rows mostly have.
const POOL: usize = 9;

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Counted,
    One,
    Composite,
    UniqueOnly,
    Cut,
    Keyless,
}

const NAMES: &[&str] = &[
    "plain",
    "Mixed",
    "order",
    "two words",
    "a`b",
    "größe",
    "it's",
    "semi;colon",
    "da--sh",
    "what?",
    "dollar$1",
    "per%cent",
    "say \"x\"",
    "select",
    "UPPER",
    "back\\slash",
    "名前",
    "/*c*/",
    "@at",
    "colon:",
    "n",
    "v",
    "x1",
    "long_name_of_a_column",
];

/// Up to three tables; a later one may point at an earlier one.
pub fn tables(r#gen: &mut Gen) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for number in 0..r#gen.rng.random_range(1..=3) {
        let table = table(r#gen, number, &tables);
        tables.push(table);
    }
    tables
}

fn table(r#gen: &mut Gen, number: usize, before: &[Table]) -> Table {
    let name = r#gen.pick(&["t", "Table", "my table", "ord`er", "tä\"ble", "where"]);
    let name = r#gen.dialect.quoted(&format!("{name}{number}"));
    let shape = r#gen.weighted(&[
        (6, Shape::Counted),
        (8, Shape::One),
        (6, Shape::Composite),
        (3, Shape::UniqueOnly),
        (2, Shape::Cut),
        (1, Shape::Keyless),
    ]);
    let mut names: Vec<&str> = NAMES.to_vec();
    let mut next = |r#gen: &mut Gen| names.swap_remove(r#gen.rng.random_range(0..names.len()));
    let mut table = Table {
        name,
        columns: Vec::new(),
        key: Vec::new(),
        unique: None,
        pool: Vec::new(),
        create: Vec::new(),
    };
    let keys = match shape {
        Shape::Keyless => 0,
        Shape::Composite | Shape::Cut => r#gen.rng.random_range(2..=3),
        _ => 1,
    };
    for place in 0..keys {
        let name = next(r#gen);
        let column = match (shape, place) {
            (Shape::Counted, _) => counted(r#gen, name),
            (Shape::Cut, 0) => key(r#gen, name, true),
            _ => key(r#gen, name, false),
        };
        table.columns.push(column);
        table.key.push(place);
    }
    for _ in 0..r#gen.rng.random_range(1..=7) {
        let name = next(r#gen);
        // MariaDB cannot cut tables with shapes.
        let column = plain(r#gen, name, shape != Shape::Cut);
        table.columns.push(column);
    }
    if r#gen.chance(35) {
        let name = next(r#gen);
        table.columns.extend(generated(r#gen, name, &table));
    }
    let columns = table.key_columns();
    for number in 1..=POOL {
        let texts = columns.iter().map(|column| match column.filled {
            Filled::Given => r#gen.text_of(column.of),
            _ => number.to_string(),
        });
        let texts = texts.collect();
        table.pool.push(texts);
    }
    let mut constraints = constraints(r#gen, &mut table, shape);
    if shape != Shape::Cut && r#gen.chance(35) {
        let name = next(r#gen);
        constraints.extend(reference(r#gen, name, &mut table, before));
    }
    table.create = create(r#gen, &table, shape, constraints);
    table
}

fn constraints(r#gen: &mut Gen, table: &mut Table, shape: Shape) -> Vec<String> {
    let names: Vec<String> = table.key.iter().map(|&place| table.columns[place].name.clone()).collect();
    let mut all = match shape {
        Shape::Keyless => vec![],
        Shape::UniqueOnly => vec![format!("UNIQUE ({})", names.join(", "))],
        _ => vec![format!("PRIMARY KEY ({})", names.join(", "))],
    };
    let others = (table.key.len()..table.columns.len()).filter(|&place| {
        let column = &table.columns[place];
        column.of.key > 0 && column.filled == Filled::Given
    });
    let others: Vec<usize> = others.collect();
    if shape != Shape::Cut && !others.is_empty() && r#gen.chance(35) {
        let place = r#gen.pick(&others);
        table.unique = Some(place);
        all.push(format!("UNIQUE ({})", table.columns[place].name));
    }
    all
}

/// A column that points at the table itself or at another one.
fn reference(r#gen: &mut Gen, name: &str, table: &mut Table, before: &[Table]) -> Option<String> {
    let targets = before.iter().chain([&*table]).filter(|target| target.key.len() == 1);
    let targets: Vec<Table> = targets.cloned().collect();
    let target = if targets.is_empty() { return None } else { r#gen.pick(&targets) };
    let pointed = &target.columns[target.key[0]];
    let action =
        r#gen.pick(&["", "", "", "", " ON DELETE CASCADE", " ON UPDATE CASCADE", " ON DELETE SET NULL"]);
    let name = r#gen.dialect.quoted(name);
    let more = if target.name == table.name { r#gen.dialect.to_itself() } else { "" };
    let definition = pointed.of.sql.to_owned();
    let constraint =
        format!("FOREIGN KEY ({name}) REFERENCES {} ({}){action}{more}", target.name, pointed.name);
    let points_at = target.pool.iter().map(|key| key[0].clone()).collect();
    table.columns.push(Column { points_at, ..Column::given(name, pointed.of, false, definition) });
    Some(constraint)
}

fn create(r#gen: &mut Gen, table: &Table, shape: Shape, constraints: Vec<String>) -> Vec<String> {
    let columns = table.columns.iter().map(|column| format!("{} {}", column.name, column.definition));
    let parts: Vec<String> = columns.chain(constraints).collect();
    let mut statement = format!("CREATE TABLE {} ({})", table.name, parts.join(", "));
    if shape != Shape::Cut {
        return vec![statement];
    }
    let (tail, more) = r#gen.dialect.partitioned(&table.name, &table.columns[0].name);
    statement += &tail;
    [vec![statement], more].concat()
}

/// The rows that a table begins with; some may be refused by the table's constraints, everywhere alike.
pub fn rows(r#gen: &mut Gen, table: &Table) -> Vec<Statement> {
    let count = r#gen.rng.random_range(0..10);
    let insert = |_| {
        let (columns, values) = r#gen.insert_parts(table, 1, false);
        let template = format!("INSERT INTO {} {columns} VALUES {values}", table.name);
        let mut statement = r#gen.finish("insert", template);
        statement.prepared = false;
        statement
    };
    (0..count).map(insert).collect()
}
