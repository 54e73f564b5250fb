//! The same work done in several ways, in rounds that go through all ways before the next round begins.

use crate::Extent;
use crate::cpu::Cpu;
use crate::report::Report;
use atone_tests::Result;
use std::time::Instant;

/// A clock of CPU time that is read around one of the ways, and the name under which it is told.
pub struct Clock {
    pub way: usize,
    pub name: String,
    pub cpu: Cpu,
}

impl Clock {
    /// Those of proxy and coordinator, while this way works.
    pub fn both(work: &str, way: usize, [proxy, coordinator]: [Cpu; 2]) -> [Self; 2] {
        let clocks = [("proxy", proxy), ("coordinator", coordinator)];
        clocks.map(|(program, cpu)| Self { way, name: format!("{work}: {program}"), cpu })
    }
}

/// Runs it; gives every round's times, in seconds, way by way. `work` is given the way and a number that is always another.
pub async fn rounds<const WAYS: usize>(
    extent: Extent,
    operations: u32,
    clocks: [Clock; 2],
    report: &mut Report,
    mut work: impl AsyncFnMut(usize, u32) -> Result<()>,
) -> Result<Vec<[f64; WAYS]>> {
    let mut all = Vec::new();
    let mut id = 0;
    for round in 0..=extent.rounds {
        let mut times = [0.0; WAYS];
        for step in 0..WAYS {
            // Another way begins each round, so that none always follows the same one.
            let way = (round + step) % WAYS;
            let clocks: Vec<&Clock> = clocks.iter().filter(|clock| clock.way == way).collect();
            let before = clocks.iter().map(|clock| clock.cpu.seconds()).collect::<Result<Vec<_>>>()?;
            let start = Instant::now();
            for _ in 0..operations {
                id += 7;
                work(way, id).await?;
            }
            times[way] = start.elapsed().as_secs_f64();
            for (clock, before) in clocks.iter().zip(before) {
                report.cpu(&clock.name, clock.cpu.seconds()? - before, operations);
            }
        }
        // The first round fills caches.
        if round > 0 || extent.rounds == 1 {
            all.push(times);
        }
    }
    Ok(all)
}
