//! An UPDATE of key columns: where each row goes, asked before the statement and checked after it.
//!
//! Nothing rests on how the server evaluates the assignment. Before the statement no other row is at the new keys;
//! after it there is a row at each of them, as many as were written. So these are the rows written, whichever went
//! where.

use super::{Captured, ColumnKind, Row, Table};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How a key column gets its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewPart {
    /// It is not assigned.
    Kept,
    /// The same literal in every row.
    Literal(String),
    /// The n-th of the expressions.
    Computed(usize),
}

/// An UPDATE that assigns key columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// Per part of the key.
    pub parts: Vec<NewPart>,
    /// What the image query asks for besides the image.
    pub expressions: Vec<String>,
    /// All assigned values are literals or parameters that find a row only if they are what it stores.
    pub plain: bool,
    /// All columns the statement assigns, as indexes.
    pub assigned: BTreeSet<usize>,
}

/// What the server computed for a row, in the order of the expressions.
pub type Computed = Vec<Option<Vec<u8>>>;

impl KeyChange {
    /// The key of this row is surely the same afterwards.
    pub fn keeps(&self, table: &Table, row: &Row, computed: &Computed) -> bool {
        self.plain && self.values(table, row, computed).is_some_and(|new| new == old(table, row))
    }

    /// The literals of the row's new key. None when a value is NULL or not of its column's type.
    pub fn wanted(&self, table: &Table, row: &Row, computed: &Computed) -> Option<Vec<String>> {
        let part = |(part, key): (&NewPart, &super::KeyPart)| {
            let kind = &table.columns[key.column].kind;
            match part {
                NewPart::Kept => kind.literal(row.0[key.column].as_deref()?),
                NewPart::Literal(literal) => Some(literal.clone()),
                NewPart::Computed(at) => kind.literal(computed.get(*at)?.as_deref()?),
            }
        };
        self.parts.iter().zip(&table.key.parts).map(part).collect()
    }

    /// Which row went where, in an order in which each place is free when its row comes: `None` when the rows found
    /// at the new keys cannot be the rows that were captured.
    pub fn pair(
        &self,
        table: &Table,
        before: Vec<Captured>,
        computed: &[Computed],
        found: Vec<Captured>,
    ) -> Option<Vec<(Captured, Captured)>> {
        if before.len() != found.len() || before.len() != computed.len() {
            return None;
        }
        let mut places: HashMap<Vec<Vec<u8>>, usize> = HashMap::new();
        let mut unread: Vec<Option<Captured>> = Vec::new();
        for (at, row) in found.into_iter().enumerate() {
            places.insert(self.comparable(table, old(table, &row.row)), at);
            unread.push(Some(row));
        }
        let (mut pairs, mut rest) = (Vec::new(), Vec::new());
        for (row, computed) in before.into_iter().zip(computed) {
            let place = self.values(table, &row.row, computed).map(|new| self.comparable(table, new));
            let same = |at: &&usize| {
                unread[**at]
                    .as_ref()
                    .is_some_and(|to| self.elsewhere(table, to) == self.elsewhere(table, &row))
            };
            match place.and_then(|place| places.get(&place).filter(same).copied()) {
                Some(at) => pairs.extend(unread[at].take().map(|to| (row, to))),
                None => rest.push(row),
            }
        }
        // Values that are stored in another spelling (5 as 5.00): told by the columns that were not assigned.
        let mut others: BTreeMap<Vec<Option<Vec<u8>>>, Vec<Captured>> = BTreeMap::new();
        for row in unread.into_iter().flatten() {
            others.entry(self.elsewhere(table, &row)).or_default().push(row);
        }
        for row in rest {
            let to = others.get_mut(&self.elsewhere(table, &row))?.pop()?;
            pairs.push((row, to));
        }
        in_order(pairs)
    }

    /// The values of the new key; an empty one stands for a literal.
    fn values<'v>(&self, table: &Table, row: &'v Row, computed: &'v Computed) -> Option<Vec<&'v [u8]>> {
        let part = |(part, key): (&NewPart, &super::KeyPart)| match part {
            NewPart::Kept => row.0[key.column].as_deref(),
            NewPart::Literal(_) => Some(&b""[..]),
            NewPart::Computed(at) => computed.get(*at)?.as_deref(),
        };
        self.parts.iter().zip(&table.key.parts).map(part).collect()
    }

    fn comparable(&self, table: &Table, values: Vec<&[u8]>) -> Vec<Vec<u8>> {
        let parts = self.parts.iter().zip(&table.key.parts).zip(values);
        let spelled = parts.map(|((part, key), value)| match part {
            NewPart::Literal(_) => Vec::new(),
            NewPart::Kept | NewPart::Computed(_) => plain(&table.columns[key.column].kind, value),
        });
        spelled.collect()
    }

    /// The columns that the statement leaves alone; times may have changed by themselves.
    fn elsewhere(&self, table: &Table, row: &Captured) -> Vec<Option<Vec<u8>>> {
        let timed =
            |at: usize| matches!(table.columns[at].kind, ColumnKind::Temporal | ColumnKind::Timestamp);
        let columns = (0..table.columns.len()).filter(|at| !timed(*at) && !self.assigned.contains(at));
        columns.map(|at| row.row.0[at].clone()).collect()
    }
}

fn old<'r>(table: &Table, row: &'r Row) -> Vec<&'r [u8]> {
    table.key_values(row)
}

/// One spelling of values that are written in several.
fn plain(kind: &ColumnKind, value: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(value);
    let fraction = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    match kind {
        ColumnKind::Number if text.contains('.') => fraction(&text).into_bytes(),
        ColumnKind::Temporal => {
            let text = if text.contains('.') { fraction(&text) } else { text.into_owned() };
            text.trim_end_matches(" 00:00:00").as_bytes().to_vec()
        }
        _ => value.to_vec(),
    }
}

/// Orders moves so that a place is left before another row comes there. None when rows changed places, which a
/// server that checks keys row by row cannot do.
fn in_order(pairs: Vec<(Captured, Captured)>) -> Option<Vec<(Captured, Captured)>> {
    let from: HashMap<Vec<u8>, usize> =
        pairs.iter().enumerate().map(|(at, pair)| (pair.0.key.bytes.clone(), at)).collect();
    let next: Vec<Option<usize>> = pairs
        .iter()
        .enumerate()
        .map(|(at, pair)| from.get(&pair.1.key.bytes).copied().filter(|next| *next != at))
        .collect();
    let mut pairs: Vec<Option<(Captured, Captured)>> = pairs.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(pairs.len());
    for start in 0..pairs.len() {
        let (mut chain, mut at) = (Vec::new(), Some(start));
        while let Some(place) = at.filter(|place| pairs[*place].is_some()) {
            if chain.len() > pairs.len() || chain.first() == Some(&place) {
                return None;
            }
            chain.push(place);
            at = next[place];
        }
        ordered.extend(chain.into_iter().rev().filter_map(|place| pairs[place].take()));
    }
    Some(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Canonical, Column, Key, KeyPart, References};

    fn table(kind: ColumnKind) -> Table {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        Table {
            schema: "s".into(),
            name: "t".into(),
            columns: vec![column("id", kind), column("v", ColumnKind::Number)],
            key: Key { name: "PRIMARY".into(), parts: vec![KeyPart { column: 0, prefix: None }] },
            uniques: Vec::new(),
            referenced: Vec::new(),
            parents: Vec::new(),
            auto_increment: None,
            insert_order: Vec::new(),
            defaults: Vec::new(),
            storage: Vec::new(),
            only: false,
        }
    }

    fn row(id: &str, v: u32) -> Captured {
        let key = Canonical { index: "PRIMARY".into(), bytes: id.into(), shown: id.into() };
        let row = Row(vec![Some(id.into()), Some(v.to_string().into_bytes())]);
        Captured { row, key, uniques: Vec::new(), references: References::default() }
    }

    fn change() -> KeyChange {
        KeyChange {
            parts: vec![NewPart::Computed(0)],
            expressions: vec!["x".into()],
            plain: false,
            assigned: [0].into(),
        }
    }

    fn pairs(
        kind: ColumnKind,
        moves: &[(&str, &str, u32)],
        found: &[(&str, u32)],
    ) -> Option<Vec<(String, String)>> {
        let before = moves.iter().map(|m| row(m.0, m.2)).collect();
        let computed: Vec<Computed> = moves.iter().map(|m| vec![Some(m.1.into())]).collect();
        let found = found.iter().map(|f| row(f.0, f.1)).collect();
        let pairs = change().pair(&table(kind), before, &computed, found)?;
        Some(pairs.into_iter().map(|(from, to)| (from.key.shown, to.key.shown)).collect())
    }

    fn shown(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
    }

    #[test]
    fn chains_are_ordered_from_their_free_end() {
        let number = ColumnKind::Number;
        let found = [("2", 1), ("3", 2), ("4", 3)];
        let moves = [("1", "2", 1), ("2", "3", 2), ("3", "4", 3)];
        assert_eq!(pairs(number.clone(), &moves, &found), shown(&[("3", "4"), ("2", "3"), ("1", "2")]));
        let swap = [("1", "2", 1), ("2", "1", 2)];
        assert_eq!(pairs(number.clone(), &swap, &[("2", 1), ("1", 2)]), None);
        let kept = [("1", "1", 1), ("5", "6", 2)];
        assert_eq!(pairs(number, &kept, &[("1", 1), ("6", 2)]), shown(&[("1", "1"), ("5", "6")]));
    }

    #[test]
    fn other_spellings_are_paired_and_other_rows_are_not() {
        let number = ColumnKind::Number;
        assert_eq!(pairs(number.clone(), &[("1.00", "5", 1)], &[("5.00", 1)]), shown(&[("1.00", "5.00")]));
        assert_eq!(pairs(number.clone(), &[("1", "5", 1)], &[("5", 9)]), None);
        assert_eq!(pairs(number, &[("1", "5", 1)], &[]), None);
        let day = ("2024-01-01", "2024-01-02 00:00:00", 1);
        assert_eq!(
            pairs(ColumnKind::Temporal, &[day], &[("2024-01-02", 1)]),
            shown(&[("2024-01-01", "2024-01-02")])
        );
    }

    #[test]
    fn only_plain_values_are_sure_to_keep_a_key() {
        let table = table(ColumnKind::Number);
        let seven = vec![Some(b"7".to_vec())];
        let mut change = change();
        assert!(!change.keeps(&table, &row("7", 1).row, &seven));
        change.plain = true;
        assert!(change.keeps(&table, &row("7", 1).row, &seven));
        assert!(!change.keeps(&table, &row("8", 1).row, &seven));
        assert_eq!(change.wanted(&table, &row("8", 1).row, &seven), Some(vec!["7".into()]));
        assert_eq!(change.wanted(&table, &row("8", 1).row, &vec![None]), None);
    }
}
