//! Circles in a directed graph: strongly connected components (R. Tarjan, *Depth-first search and linear graph
//! algorithms*, 1972), and the shortest way from one node to another.

use std::collections::{BTreeMap, VecDeque};

/// The components of more than one node, for nodes up to `count`.
pub(super) fn components(count: usize, next: impl Fn(usize) -> Vec<usize>) -> Vec<Vec<usize>> {
    let mut search = Search {
        index: vec![None; count],
        low: vec![0; count],
        waits: vec![false; count],
        ..Search::default()
    };
    for node in 0..count {
        if search.index[node].is_none() {
            search.visit(node, &next);
        }
    }
    search.found
}

#[derive(Default)]
struct Search {
    counter: usize,
    index: Vec<Option<usize>>,
    low: Vec<usize>,
    /// Is it on the stack?
    waits: Vec<bool>,
    stack: Vec<usize>,
    found: Vec<Vec<usize>>,
}

impl Search {
    /// Without recursion: a history may be longer than a stack is deep.
    fn visit(&mut self, root: usize, next: &impl Fn(usize) -> Vec<usize>) {
        let mut path = vec![self.enter(root, next)];
        while let Some((node, children)) = path.last_mut() {
            let node = *node;
            match children.next() {
                Some(child) if self.index[child].is_none() => {
                    let entered = self.enter(child, next);
                    path.push(entered);
                }
                Some(child) => {
                    if let (Some(index), true) = (self.index[child], self.waits[child]) {
                        self.low[node] = self.low[node].min(index);
                    }
                }
                None => {
                    path.pop();
                    if let Some((parent, _)) = path.last() {
                        self.low[*parent] = self.low[*parent].min(self.low[node]);
                    }
                    self.leave(node);
                }
            }
        }
    }

    fn enter(
        &mut self,
        node: usize,
        next: &impl Fn(usize) -> Vec<usize>,
    ) -> (usize, std::vec::IntoIter<usize>) {
        self.index[node] = Some(self.counter);
        self.low[node] = self.counter;
        self.counter += 1;
        self.stack.push(node);
        self.waits[node] = true;
        (node, next(node).into_iter())
    }

    fn leave(&mut self, node: usize) {
        if self.index[node] != Some(self.low[node]) {
            return;
        }
        let from = self.stack.iter().rposition(|on| *on == node).unwrap_or_default();
        let component = self.stack.split_off(from);
        component.iter().for_each(|node| self.waits[*node] = false);
        if component.len() > 1 {
            self.found.push(component);
        }
    }
}

/// The shortest way, both ends included.
pub(super) fn shortest(from: usize, to: usize, next: impl Fn(usize) -> Vec<usize>) -> Option<Vec<usize>> {
    let mut came_from = BTreeMap::from([(from, from)]);
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        if node == to {
            let mut way = vec![to];
            while way.last() != Some(&from) {
                way.push(came_from[way.last()?]);
            }
            way.reverse();
            return Some(way);
        }
        for child in next(node) {
            came_from.entry(child).or_insert_with(|| {
                queue.push_back(child);
                node
            });
        }
    }
    None
}
