//! The parts that statements are made of: what is set, and which rows are meant.

use super::columns::{Column, Filled};
use super::{Gen, Table};
use rand::Rng;

impl Gen<'_> {
    /// What comes after SET; columns on the right are written with this in front. `moves` sets a key's column, too.
    pub fn assignments(&mut self, table: &Table, before: &str, moves: bool) -> String {
        let mut places = table.settable();
        places.retain(|place| !table.key.contains(place));
        let mut chosen: Vec<usize> = Vec::new();
        for _ in 0..self.rng.random_range(1..=3) {
            if !places.is_empty() {
                chosen.push(places.swap_remove(self.rng.random_range(0..places.len())));
            }
        }
        if (moves || chosen.is_empty()) && !table.key.is_empty() {
            chosen.push(self.pick(&table.key));
        }
        if chosen.is_empty() {
            chosen.push(0);
        }
        let set = chosen.into_iter().map(|place| {
            let column = &table.columns[place];
            format!("{} = {}", column.name, self.expression(column, before))
        });
        set.collect::<Vec<_>>().join(", ")
    }

    /// What a column may be set to.
    pub fn expression(&mut self, column: &Column, before: &str) -> String {
        let own = format!("{before}{}", column.name);
        let forms = self.dialect.expressions(column.of.family);
        match self.rng.random_range(0..100) {
            0..55 => self.given(column, true),
            55..60 => "DEFAULT".to_owned(),
            60..68 => own,
            68..75 if !column.not_null => self.place(column.of, None, true),
            _ if forms.is_empty() => self.any(column.of, true),
            _ => self.pick(forms).replace('@', &own),
        }
    }

    /// Which rows: mostly one by its key, now and then all.
    pub fn condition(&mut self, table: &Table, before: &str) -> String {
        match self.rng.random_range(0..100) {
            0..45 => self.one_row(table, before),
            45..55 => self.some_rows(table, before),
            55..60 => "1 = 1".to_owned(),
            60..70 => format!("NOT ({})", self.simple(table, before)),
            70..78 => format!("{} AND {}", self.simple(table, before), self.simple(table, before)),
            78..84 => format!("{} OR {}", self.one_row(table, before), self.simple(table, before)),
            _ => self.simple(table, before),
        }
    }

    /// Likely one row, by the key.
    pub fn one_row(&mut self, table: &Table, before: &str) -> String {
        let columns = table.key_columns();
        if columns.is_empty() {
            return self.simple(table, before);
        }
        let key = self.pick(&table.pool);
        let parts: Vec<String> = columns
            .iter()
            .zip(&key)
            .map(|(column, text)| {
                format!("{before}{} = {}", column.name, self.place(column.of, Some(text), false))
            })
            .collect();
        parts.join(" AND ")
    }

    fn some_rows(&mut self, table: &Table, before: &str) -> String {
        let columns = table.key_columns();
        if columns.is_empty() {
            return "1 = 1".to_owned();
        }
        let column = self.pick(&columns);
        let values = [self.any(column.of, false), self.any(column.of, false), self.any(column.of, false)];
        format!("{before}{} IN ({})", column.name, values.join(", "))
    }

    fn simple(&mut self, table: &Table, before: &str) -> String {
        let column = self.pick(&table.columns);
        let own = format!("{before}{}", column.name);
        let forms = self.dialect.conditions(column.of.family);
        if forms.is_empty() || column.filled == Filled::Generated || self.chance(35) {
            return format!("{own} {}", self.pick(&["IS NULL", "IS NOT NULL"]));
        }
        self.pick(forms).replace('@', &own)
    }
}
