//! Statements analysed before, by text and by how text is read.

use atone_undo_log::{
    analyze::{Unsupported, Write},
    sql::SqlMode,
};
use bytes::Bytes;
use dashmap::DashMap;
use std::sync::Arc;

/// Statements remembered; when there are more, all are forgotten and the busy ones are soon back.
const CAPACITY: usize = 10_000;
/// A longer text is analysed each time.
const LONGEST: usize = 16 << 10;

type Analysis = Result<Arc<Write>, Unsupported>;

/// The cache.
#[derive(Default)]
pub struct Analyses(DashMap<(Bytes, SqlMode), Analysis>);

impl Analyses {
    /// The analysis of a text, made by `analyze` if it is new.
    pub fn get(&self, text: &Bytes, mode: SqlMode, analyze: impl FnOnce() -> Analysis) -> Analysis {
        if text.len() > LONGEST {
            return analyze();
        }
        if let Some(known) = self.0.get(&(text.clone(), mode)) {
            return known.clone();
        }
        let analysis = analyze();
        if self.0.len() >= CAPACITY {
            self.0.clear();
        }
        // A slice would keep a whole read buffer alive.
        self.0.insert((Bytes::copy_from_slice(text), mode), analysis.clone());
        analysis
    }
}
