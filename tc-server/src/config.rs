//! The coordinator's configuration file. Unknown keys are errors: a misspelt key must not silently do nothing.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What `tc.toml` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// This node's number in its cluster; fixed once the data directory exists.
    pub node_id: u64,
    /// Where proxies connect (gRPC), `host:port`; port 0 takes any free one.
    pub listen: String,
    /// Where people and monitoring connect (HTTP), `host:port`.
    pub http: String,
    /// Everything this node stores.
    pub data_dir: PathBuf,
    /// A snapshot is made after this many bytes of log. Not a setting: tests make it small.
    #[serde(skip)]
    pub snapshot_after: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_id: 1,
            listen: "127.0.0.1:8091".to_owned(),
            http: "127.0.0.1:7091".to_owned(),
            data_dir: PathBuf::from("./atone-tc-data"),
            snapshot_after: 64 << 20,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}; name an existing file with --config", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {why}known keys are node_id, listen, http and data_dir", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and what; ends with a line break.
        why: String,
    },
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), why: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        let config: Config = toml::from_str("").unwrap();
        assert_eq!((config.node_id, config.listen.as_str()), (1, "127.0.0.1:8091"));
        assert_eq!(config.snapshot_after, Config::default().snapshot_after);
    }

    #[test]
    fn an_unknown_key_is_named_with_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "node_id = 1\nlisten_on = \"x\"\n").unwrap();
        let error = Config::load(file.path()).unwrap_err().to_string();
        assert!(error.contains("listen_on") && error.contains(&file.path().display().to_string()), "{error}");
    }
}
