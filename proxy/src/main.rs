//! `atone-proxy`: the arguments, the configuration, and nothing else.

mod analyses;
mod app;
mod backend;
mod bindings;
mod branch;
mod config;
mod http;
mod ids;
mod isolation;
mod lock_wait;
mod membership;
mod metrics;
mod net;
mod phase_two;
mod postgres;
mod session;
mod stuck;
mod tasks;
mod watch;
mod wire;
mod yielding;

use clap::Parser;
use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

/// Gives unchanged applications distributed transactions.
///
/// Applications connect to the addresses in the configuration as they would to their databases. Inside
/// SELECT atone_begin() … SELECT atone_commit() their local transactions, on any number of databases and in any
/// number of services, succeed or are undone together.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file (TOML): [[database]] with name, listen and url at least; see README.md.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,openraft=warn"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    let result = match config::Config::load(&arguments.config) {
        Ok(config) => {
            let file = arguments.config.display().to_string();
            Box::pin(app::run(config)).await.map_err(|e| format!("{file}: {e}"))
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("atone-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
