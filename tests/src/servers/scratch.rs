//! A folder that goes away with the value, or with this process.

use super::janitor;
use crate::{Context, Result, install};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A folder for one server's files.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty folder in the system's place for temporary files.
    pub fn new(name: &str) -> Result<Self> {
        let dir = std::env::temp_dir().join(unique(&format!("atone-{name}")));
        std::fs::create_dir_all(&dir).or_fail(format!("creating {}", dir.display()))?;
        Ok(Self::adopt(dir))
    }

    /// Takes over a folder that exists or soon will.
    pub(super) fn adopt(dir: PathBuf) -> Self {
        janitor::dir(&dir);
        Self(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now, the janitor removes at the end.
        let _ = install::remove_dir(&self.0);
    }
}

/// A name no other process and no other call uses.
pub(super) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed))
}
