//! The DBA's command line. It speaks the HTTP API only and can do nothing that the API cannot.

use atone_tc_server::cli;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(&cli::Arguments::parse()) {
        Ok(text) => {
            // A reader that has gone (`| head`) is no error of ours.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("atone: {error}");
            ExitCode::FAILURE
        }
    }
}
