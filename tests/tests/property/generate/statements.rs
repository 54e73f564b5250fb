//! Random statements that both dialects have.

use super::columns::{Column, Filled};
use super::{Gen, Table};
use crate::statement::Statement;
use crate::types::Family;
use rand::Rng;

#[derive(Clone, Copy)]
enum Verb {
    Insert,
    InsertSelect,
    Update,
    Delete,
    Select,
    Special,
}

impl Gen<'_> {
    /// One statement, or a few that belong together.
    pub fn statements(&mut self) -> Vec<Statement> {
        let table = self.pick(self.tables);
        let verb = self.weighted(&[
            (22, Verb::Insert),
            (2, Verb::InsertSelect),
            (32, Verb::Update),
            (13, Verb::Delete),
            (8, Verb::Select),
            (22, Verb::Special),
        ]);
        match verb {
            Verb::Insert => vec![self.insert(&table)],
            Verb::InsertSelect => vec![self.insert_select(&table)],
            Verb::Update => vec![self.update(&table)],
            Verb::Delete => vec![self.delete(&table)],
            Verb::Select => vec![self.select(&table)],
            Verb::Special => self.dialect.special(self, &table),
        }
    }

    fn insert(&mut self, table: &Table) -> Statement {
        let count = self.weighted(&[(6, 1), (2, 2), (1, 4)]);
        let (columns, values) = self.insert_parts(table, count, true);
        let tail = self.returning("INSERT", table);
        let template = if columns == "()" && self.chance(70) {
            format!("INSERT INTO {} {}{tail}", table.name, self.dialect.no_columns())
        } else if columns == "()" {
            let all: Vec<&str> = table.columns.iter().map(|_| "DEFAULT").collect();
            format!("INSERT INTO {} VALUES ({}){tail}", table.name, all.join(", "))
        } else {
            format!("INSERT INTO {} {columns} VALUES {values}{tail}", table.name)
        };
        self.finish(if count == 1 { "insert" } else { "insert many" }, template)
    }

    /// The column list and the rows of an INSERT.
    pub fn insert_parts(&mut self, table: &Table, count: usize, loose: bool) -> (String, String) {
        let mut columns = Vec::new();
        for (place, column) in table.columns.iter().enumerate() {
            let taken = match column.filled {
                Filled::Given if table.key.contains(&place) => !loose || self.chance(98),
                Filled::Given if column.not_null => self.chance(97),
                Filled::Given => self.chance(75),
                Filled::CountedOrGiven => loose && self.chance(18),
                Filled::Counted => loose && self.chance(3),
                Filled::Generated => loose && self.chance(1),
            };
            if taken {
                columns.push((place, column.clone()));
            }
        }
        let names: Vec<&str> = columns.iter().map(|(_, column)| column.name.as_str()).collect();
        let list = format!("({})", names.join(", "));
        let mut rows = Vec::new();
        for _ in 0..count {
            let key =
                if self.chance(if loose { 35 } else { 95 }) { Some(self.pick(&table.pool)) } else { None };
            let values: Vec<String> = columns
                .iter()
                .map(|(place, column)| match (&key, table.key.iter().position(|of| of == place)) {
                    (Some(key), Some(part)) => self.place(column.of, Some(&key[part]), true),
                    (_, part) if (part.is_some() || table.unique == Some(*place)) && self.chance(75) => {
                        self.fresh(column)
                    }
                    _ => self.given(column, loose),
                })
                .collect();
            rows.push(format!("({})", values.join(", ")));
        }
        (list, rows.join(", "))
    }

    /// A value that is likely not there yet.
    fn fresh(&mut self, column: &Column) -> String {
        match column.of.family {
            Family::Int => {
                let number = self.rng.random_range(13..120).to_string();
                self.place(column.of, Some(&number), true)
            }
            _ => self.any(column.of, true),
        }
    }

    /// A value for a column, now and then one that it does not take.
    pub fn given(&mut self, column: &Column, loose: bool) -> String {
        if !column.points_at.is_empty() && self.chance(95) {
            // Those that were given first are likely there.
            let place = self.rng.random_range(0..column.points_at.len().min(5));
            let text = Some(column.points_at[place].as_str()).filter(|_| self.chance(60));
            return self.place(column.of, text, true);
        }
        let null = if !column.not_null {
            15
        } else if loose {
            1
        } else {
            0
        };
        if self.chance(null) {
            return self.place(column.of, None, true);
        }
        if loose && (column.filled == Filled::Generated || self.chance(5)) {
            return "DEFAULT".to_owned();
        }
        self.any(column.of, true)
    }

    fn insert_select(&mut self, table: &Table) -> Statement {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for place in table.settable() {
            let column = &table.columns[place];
            names.push(column.name.clone());
            let fresh = table.key.contains(&place) || table.unique == Some(place) || self.chance(30);
            values.push(if fresh { self.any(column.of, false) } else { column.name.clone() });
        }
        if names.is_empty() {
            return self.insert(table);
        }
        let condition = self.condition(table, "");
        let order: Vec<String> = table.key_columns().into_iter().map(|column| column.name).collect();
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        let (names, values, tail) = (names.join(", "), values.join(", "), self.returning("INSERT", table));
        let template = format!(
            "INSERT INTO {} ({names}) SELECT {values} FROM {} WHERE {condition}{order}{tail}",
            table.name, table.name
        );
        self.finish("insert select", template)
    }

    fn update(&mut self, table: &Table) -> Statement {
        let moves = self.chance(10);
        let (set, whom) = (self.assignments(table, "", moves), self.condition(table, ""));
        let tail = self.returning("UPDATE", table);
        let fleeting = self.chance(4);
        let also = if fleeting { format!(" AND {}", self.dialect.fleeting()) } else { String::new() };
        let template = format!("UPDATE {} SET {set} WHERE ({whom}){also}{tail}", table.name);
        let mut statement = self.finish(if moves { "update key" } else { "update" }, template);
        statement.fleeting = fleeting;
        statement
    }

    fn delete(&mut self, table: &Table) -> Statement {
        let whom = self.condition(table, "");
        let tail = self.returning("DELETE", table);
        self.finish("delete", format!("DELETE FROM {} WHERE {whom}{tail}", table.name))
    }

    fn select(&mut self, table: &Table) -> Statement {
        let whom = self.condition(table, "");
        let tail = self.pick(&["", "", " FOR UPDATE"]);
        self.finish("select", format!("SELECT * FROM {} WHERE {whom}{tail}", table.name))
    }

    fn returning(&mut self, verb: &str, table: &Table) -> String {
        let Some(word) = self.dialect.returning(verb).filter(|_| self.chance(35)) else {
            return String::new();
        };
        let column = self.pick(&table.columns).name;
        format!(" {word} {}", self.pick(&["*".to_owned(), column.clone(), format!("{column} AS x, 1 + 1")]))
    }
}
