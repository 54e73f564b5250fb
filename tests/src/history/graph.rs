//! Who depends on whom, among committed transactions: by writing behind another (ww), by reading what another wrote (wr),
//! by not having read yet what another wrote (rw).

use super::anomaly::{Anomaly, Kind};
use super::cycles::{components, shortest};
use super::model::{Key, Value};
use super::order::Orders;
use std::collections::{BTreeMap, BTreeSet};

/// So many circles of a component are compared at most; the shortest is told.
const CIRCLES: usize = 50;

/// How one transaction comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Ww,
    Wr,
    Rw,
}

/// And by which value.
#[derive(Debug, Clone, Copy)]
struct Link<'a> {
    edge: Edge,
    key: &'a Key,
    value: Value,
}

/// All of it: by node and following node, at most one link of a kind.
pub(super) struct Graph<'a> {
    orders: &'a Orders<'a>,
    links: BTreeMap<usize, BTreeMap<usize, BTreeMap<Edge, Link<'a>>>>,
}

/// How many values of the list stood there before the reader appended its own.
pub(super) fn external(orders: &Orders<'_>, reader: usize, key: &Key, list: &[Value]) -> usize {
    let own: Vec<Value> = orders.transaction(reader).appended(key).collect();
    list.iter().position(|value| own.contains(value)).unwrap_or(list.len())
}

impl<'a> Graph<'a> {
    pub fn of(orders: &'a Orders<'a>) -> Self {
        let mut graph = Self { orders, links: BTreeMap::new() };
        for (key, list) in &orders.committed {
            let writers: Vec<Option<usize>> = list.iter().map(|value| orders.writer(key, *value)).collect();
            for (pair, values) in writers.windows(2).zip(list.windows(2)) {
                if let [Some(before), Some(after)] = pair {
                    graph.add(*before, *after, Link { edge: Edge::Ww, key, value: values[1] });
                }
            }
        }
        for number in 0..orders.history.transactions.len() {
            if orders.has_committed(number) {
                graph.add_reads(number);
            }
        }
        graph
    }

    fn add_reads(&mut self, reader: usize) {
        let orders = self.orders;
        for (_, key, list) in orders.transaction(reader).promised() {
            let Some(whole) = orders.committed.get(key) else { continue };
            let seen = &list[..external(orders, reader, key, list)];
            let last =
                seen.iter().rev().find_map(|value| Some((*value, whole.iter().position(|v| v == value)?)));
            if let Some((value, writer)) =
                last.and_then(|(value, _)| Some((value, orders.writer(key, value)?)))
            {
                self.add(writer, reader, Link { edge: Edge::Wr, key, value });
            }
            let following = last.map_or(0, |(_, at)| at + 1);
            if let Some(value) = whole.get(following)
                && let Some(writer) = orders.writer(key, *value)
            {
                self.add(reader, writer, Link { edge: Edge::Rw, key, value: *value });
            }
        }
    }

    fn add(&mut self, from: usize, to: usize, link: Link<'a>) {
        if from != to {
            self.links.entry(from).or_default().entry(to).or_default().entry(link.edge).or_insert(link);
        }
    }

    fn next(&self, node: usize, edges: &[Edge]) -> Vec<usize> {
        let links = self.links.get(&node).into_iter().flatten();
        links
            .filter(|(_, kinds)| edges.iter().any(|edge| kinds.contains_key(edge)))
            .map(|(to, _)| *to)
            .collect()
    }

    /// The shortest circle of each component that is one by these edges, with a first step of this kind.
    fn circles(&self, first: Edge, rest: &[Edge]) -> Vec<Vec<Step<'a>>> {
        let mut all = rest.to_vec();
        all.push(first);
        let components = components(self.orders.history.transactions.len(), |node| self.next(node, &all));
        let shortest = components.iter().filter_map(|component| {
            let component: BTreeSet<usize> = component.iter().copied().collect();
            let within = |node: usize, edges: &[Edge]| {
                self.next(node, edges).into_iter().filter(|to| component.contains(to)).collect::<Vec<_>>()
            };
            let steps = component
                .iter()
                .flat_map(|from| within(*from, &[first]).into_iter().map(move |to| (*from, to)));
            let circles =
                steps.filter_map(|(from, to)| Some((from, shortest(to, from, |node| within(node, rest))?)));
            let (from, way) = circles.take(CIRCLES).min_by_key(|(_, way)| way.len())?;
            let start = self.link(from, way[0], &[first])?;
            let others = way.windows(2).map(|pair| self.link(pair[0], pair[1], rest));
            std::iter::once(Some(start)).chain(others).collect::<Option<Vec<_>>>()
        });
        shortest.collect()
    }

    fn link(&self, from: usize, to: usize, edges: &[Edge]) -> Option<Step<'a>> {
        let kinds = self.links.get(&from)?.get(&to)?;
        let link = kinds.iter().find(|(edge, _)| edges.contains(edge))?.1;
        Some(Step { from, to, link: *link })
    }

    /// All circles that may not be, each in words.
    pub fn anomalies(&self) -> Vec<Anomaly> {
        use Edge::{Rw, Wr, Ww};
        let mut anomalies = Vec::new();
        for (kind, first, rest) in [
            (Kind::G0, Ww, &[Ww][..]),
            (Kind::G1c, Wr, &[Ww, Wr][..]),
            (Kind::GSingle, Rw, &[Ww, Wr][..]),
            (Kind::G2, Rw, &[Ww, Wr, Rw][..]),
        ] {
            let circles = self.circles(first, rest);
            // With a single rw it has the other name.
            let fitting = circles.into_iter().filter(|circle| {
                kind != Kind::G2 || circle.iter().filter(|step| step.link.edge == Rw).count() > 1
            });
            anomalies.extend(fitting.map(|circle| self.tell(kind, &circle)));
        }
        anomalies
    }

    fn tell(&self, kind: Kind, circle: &[Step<'a>]) -> Anomaly {
        let steps: Vec<String> = circle.iter().map(|step| self.words(step)).collect();
        let mut anomaly = Anomaly::new(kind, steps.join(",\n  then ") + ": a circle", None);
        anomaly.who = circle.iter().map(|step| self.orders.transaction(step.from).to_string()).collect();
        anomaly
    }

    fn words(&self, step: &Step<'a>) -> String {
        let name = |number: usize| &self.orders.transaction(number).name;
        let (from, to) = (name(step.from), name(step.to));
        let Link { edge, key, value } = step.link;
        match edge {
            Edge::Ww => format!("{to} appended {value} to {key} right behind {from} (ww)"),
            Edge::Wr => format!("{to} read {key} with {value} of {from} in it (wr)"),
            Edge::Rw => format!("{from} read {key} without {value}, which {to} appended (rw)"),
        }
    }
}

/// A step of a circle.
struct Step<'a> {
    from: usize,
    to: usize,
    link: Link<'a>,
}
