//! Gathers ratios and CPU times, prints them, and writes them as JSON.

use atone_tests::servers::binaries::workspace;
use atone_tests::{Context, Result};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What was measured, in order of first mention.
#[derive(Default)]
pub struct Report {
    ratios: Vec<(String, Vec<f64>)>,
    throughputs: Vec<(String, Vec<f64>)>,
    cpu: Vec<(String, f64, u32)>,
}

impl Report {
    /// One round's ratio of two times: above 1 is slower.
    pub fn ratio(&mut self, name: &str, value: f64) {
        add(&mut self.ratios, name, value);
    }

    /// One round's ratio of two throughputs: below 1 is slower.
    pub fn throughput(&mut self, name: &str, value: f64) {
        add(&mut self.throughputs, name, value);
    }

    /// CPU seconds that some transactions took.
    pub fn cpu(&mut self, name: &str, seconds: f64, transactions: u32) {
        match self.cpu.iter_mut().find(|(known, ..)| known == name) {
            Some((_, sum, count)) => {
                *sum += seconds;
                *count += transactions;
            }
            None => self.cpu.push((name.to_owned(), seconds, transactions)),
        }
    }

    /// For a person.
    pub fn print(&self) {
        table("ratio of times (above 1 is slower), median of rounds (low to high)", &self.ratios);
        table("ratio of transactions per second (below 1 is slower), the same", &self.throughputs);
        println!("\nCPU per transaction, µs");
        for (name, seconds, count) in &self.cpu {
            println!("  {name:<86} {:>6.0}", micros(*seconds, *count));
        }
    }

    /// For a program: `target/atone-bench.json`.
    pub fn write(&self) -> Result<()> {
        let cpu = self
            .cpu
            .iter()
            .map(|(name, seconds, count)| (name.clone(), json!(round(micros(*seconds, *count)))));
        let report = json!({
            "ratios": rounds(&self.ratios),
            "throughput_ratios": rounds(&self.throughputs),
            "cpu_microseconds_per_transaction": Value::Object(cpu.collect()),
        });
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
        let path = target.join("atone-bench.json");
        std::fs::create_dir_all(&target).or_fail(target.display())?;
        std::fs::write(&path, format!("{report:#}\n")).or_fail(path.display())?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }
}

/// Adds a value to those of its name.
fn add(all: &mut Vec<(String, Vec<f64>)>, name: &str, value: f64) {
    match all.iter_mut().find(|(known, _)| known == name) {
        Some((_, values)) => values.push(value),
        None => all.push((name.to_owned(), vec![value])),
    }
}

fn table(title: &str, all: &[(String, Vec<f64>)]) {
    println!("\n{title}");
    for (name, values) in all {
        let values = sorted(values);
        let (low, high) = (values[0], values[values.len() - 1]);
        println!("  {name:<86} {:>6.2}   ({low:.2} to {high:.2})", median(&values));
    }
}

fn rounds(all: &[(String, Vec<f64>)]) -> Value {
    let values = all.iter().map(|(name, values)| {
        let values = sorted(values);
        let rounds: Vec<f64> = values.iter().copied().map(round).collect();
        (name.clone(), json!({"median": round(median(&values)), "rounds": rounds}))
    });
    Value::Object(values.collect())
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

fn micros(seconds: f64, count: u32) -> f64 {
    seconds * 1e6 / f64::from(count)
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
