//! Makes a failing case smaller: whatever it fails without is left out.

use crate::case::{Case, Finding};
use crate::check::check;

/// How many smaller cases are tried.
const TRIES: usize = 150;

/// A smaller case that shows the same, and how.
pub async fn shrink(mut case: Case, mut finding: Finding) -> (Case, Finding) {
    let mut tries = 0;
    loop {
        let mut smaller = false;
        // From the end: what is at the beginning is more likely needed.
        for part in [script, rows, tables, settings] {
            let mut place = part(&mut case.clone(), usize::MAX);
            while place > 0 && tries < TRIES {
                place -= 1;
                tries += 1;
                let mut candidate = case.clone();
                part(&mut candidate, place);
                match check(&candidate).await {
                    Err(other) if other.sort == finding.sort => {
                        (case, finding, smaller) = (candidate, other, true);
                    }
                    _ => {}
                }
            }
        }
        if !smaller || tries >= TRIES {
            return (case, finding);
        }
    }
}

fn remove<T>(of: &mut Vec<T>, place: usize) -> usize {
    if place < of.len() {
        of.remove(place);
    }
    of.len()
}

fn script(case: &mut Case, place: usize) -> usize {
    remove(&mut case.script, place)
}

fn rows(case: &mut Case, place: usize) -> usize {
    remove(&mut case.rows, place)
}

fn tables(case: &mut Case, place: usize) -> usize {
    remove(&mut case.tables, place)
}

fn settings(case: &mut Case, place: usize) -> usize {
    remove(&mut case.settings, place)
}
