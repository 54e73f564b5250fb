//! The coordinator's process: configuration, start, signals, end. Everything else is in the library.

use atone_tc_server::{Config, start};
use clap::Parser;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Atone's coordinator: keeps global transactions and global locks, durably.
///
/// Proxies connect by gRPC (`listen`), people and monitoring by HTTP (`http`). When both answer, one line
/// `atone-tc ready grpc=… http=…` is printed. SIGTERM and SIGINT end it in good order. RUST_LOG sets what is logged
/// (default: info).
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, in TOML; without it, every key has its default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // openraft tells the story of every election; its warnings are enough.
        .unwrap_or_else(|_| "info,openraft=warn".into());
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr).init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("atone-tc: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let config = match &arguments.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let of = arguments.config.map(|path| format!("{}: ", path.display())).unwrap_or_default();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = start(config).await.map_err(|error| format!("{of}{error}"))?;
    let mut out = std::io::stdout();
    writeln!(out, "atone-tc ready grpc={} http={}", running.grpc, running.http)?;
    out.flush()?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        why = running.failed() => Some(why),
    };
    running.stop().await;
    failed.map_or(Ok(()), |why| Err(format!("stopped, because it could not go on: {why}").into()))
}
