//! Case after case on one server, until its time is over.

use crate::case::{Case, Finding};
use crate::check::check;
use crate::shrink::shrink;
use crate::stage::Stage;
use crate::tally::Tally;
use atone_tests::servers::Kind;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long each server is tried if nobody says otherwise.
const SECONDS: u64 = 45;

/// How many failing cases are looked at before the rest is let be.
const ENOUGH: usize = 5;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Tries a server.
pub async fn run(kind: Kind) {
    let stage = Stage::shared();
    stage.prepare(kind).await.expect("what all cases share can be made");
    let one = number("ATONE_PROPERTY_SEED");
    let first = match std::env::var("ATONE_PROPERTY_FROM").as_deref() {
        Ok("new") => rand::random::<u64>() >> 16,
        _ => number("ATONE_PROPERTY_FROM").unwrap_or(1),
    };
    let seeds: Box<dyn Iterator<Item = u64>> = match one {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => Box::new(first..),
    };
    println!("{kind:?}: seeds from {}", one.unwrap_or(first));
    let end = Instant::now() + Duration::from_secs(number("ATONE_PROPERTY_SECONDS").unwrap_or(SECONDS));
    let (mut tally, mut cases, mut xids) = (Tally::default(), 0, BTreeMap::new());
    let mut failed: Vec<String> = Vec::new();
    for seed in seeds.take_while(|_| Instant::now() < end) {
        cases += 1;
        let case = Case::new(kind, seed);
        match check(&case).await {
            Ok(checked) => {
                tally.join(checked.tally);
                xids.extend(checked.xids.into_iter().map(|xid| (xid, seed)));
            }
            Err(finding) => {
                let text = report(case, finding).await;
                println!("{text}");
                failed.push(text);
            }
        }
        if failed.len() >= ENOUGH {
            break;
        }
    }
    println!("{kind:?}: {cases} cases\n{tally}");
    assert!(failed.is_empty(), "{} of {cases} cases fail on {kind:?}:\n{}", failed.len(), failed.join("\n"));
    let all: Vec<String> = xids.keys().cloned().collect();
    let left = stage.undo_left(kind, &all).await.expect("the undo table can be read");
    let left: Vec<u64> = left.iter().map(|xid| xids[xid]).collect();
    assert!(left.is_empty(), "{kind:?}: undo records are left of the cases of seeds {left:?}");
    if one.is_none() {
        let [captured, idle, refused, _] = tally.writes();
        let enough = captured > refused && captured + idle > 2 * refused;
        assert!(enough, "{kind:?}: {captured} writes captured, {refused} refused: too few to mean much");
    }
}

async fn report(case: Case, finding: Finding) -> String {
    let seed = case.seed;
    let again = format!("ATONE_PROPERTY_SEED={seed} cargo test -p atone-tests --test property");
    let (whole, kind) = (case.to_string(), case.kind);
    let (case, finding) = shrink(case, finding).await;
    format!(
        "=== {kind:?}, seed {seed}: {}\n{}\n--- the smallest case that shows it:\n{case}\n--- all of it:\n{whole}\n--- again: {again}\n",
        finding.sort, finding.text
    )
}
