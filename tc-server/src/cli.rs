//! `atone`: arguments, calls of the HTTP API, and what is printed. Decides nothing by itself.

mod http;
mod table;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};

/// Looks at and decides Atone's global transactions.
#[derive(Debug, Parser)]
#[command(
    name = "atone",
    version,
    after_help = "Examples:\n  atone tx list --status active\n  atone tx show 01K…\n  atone locks list --table shop.item --key 42\n  atone tx rollback 01K… --reason 'stuck since noon'"
)]
pub struct Arguments {
    /// The coordinator's HTTP address.
    #[arg(
        long,
        global = true,
        env = "ATONE_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7091"
    )]
    pub server: String,
    /// Print the API's JSON instead of a table.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Global transactions.
    #[command(subcommand)]
    Tx(Tx),
    /// Global locks.
    #[command(subcommand)]
    Locks(Locks),
    /// Whether the coordinator is ready, and which proxies are connected.
    Health,
}

#[derive(Debug, Subcommand)]
enum Tx {
    /// The newest transactions; finished ones stay for an hour.
    List {
        /// Only these: active, committed, rolling_back, blocked or rolled_back.
        #[arg(long)]
        status: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// One transaction with its branches, locks and timeline.
    Show {
        /// The transaction.
        xid: String,
    },
    /// Begins a transaction and prints its xid.
    Begin {
        /// What people call it.
        #[arg(long)]
        name: Option<String>,
        /// How long it may stay undecided, in milliseconds.
        #[arg(long)]
        timeout_ms: Option<u64>,
    },
    /// Commits a transaction.
    Commit {
        /// The transaction.
        xid: String,
    },
    /// Rolls a transaction back; tries again when it is blocked.
    Rollback {
        /// The transaction.
        xid: String,
        /// Why, for the timeline.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Locks {
    /// Who holds which rows.
    List {
        /// Only in this database (the name in the proxy's configuration).
        #[arg(long)]
        database: Option<String>,
        /// Only in this table, `schema.table` or `table`.
        #[arg(long)]
        table: Option<String>,
        /// Only this key, as it is shown.
        #[arg(long)]
        key: Option<String>,
        /// Only those of this transaction.
        #[arg(long)]
        xid: Option<String>,
    },
}

/// Runs a command and gives back what to print.
pub fn run(arguments: &Arguments) -> Result<String, http::CallError> {
    let server = http::Server::new(&arguments.server);
    let (answer, show): (Value, fn(&Value) -> String) = match &arguments.command {
        Command::Health => (server.get("/v1/health", &[])?, table::health),
        Command::Tx(Tx::List { status, limit }) => {
            let limit = limit.to_string();
            let query = [("status", status.as_deref()), ("limit", Some(limit.as_str()))];
            (server.get("/v1/transactions", &query)?, table::transactions)
        }
        Command::Tx(Tx::Show { xid }) => {
            (server.get(&format!("/v1/transactions/{}", http::segment(xid)), &[])?, table::transaction)
        }
        Command::Tx(Tx::Begin { name, timeout_ms }) => {
            let mut body = json!({});
            if let Some(name) = name {
                body["name"] = json!(name);
            }
            if let Some(timeout_ms) = timeout_ms {
                body["timeout_ms"] = json!(timeout_ms);
            }
            (server.post("/v1/transactions", &body)?, table::begun)
        }
        Command::Tx(Tx::Commit { xid }) => (
            server.post(&format!("/v1/transactions/{}/commit", http::segment(xid)), &json!({}))?,
            table::decided,
        ),
        Command::Tx(Tx::Rollback { xid, reason }) => {
            let body = reason.as_ref().map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
            (
                server.post(&format!("/v1/transactions/{}/rollback", http::segment(xid)), &body)?,
                table::decided,
            )
        }
        Command::Locks(Locks::List { database, table, key, xid }) => {
            let query = [
                ("database", database.as_deref()),
                ("table", table.as_deref()),
                ("key", key.as_deref()),
                ("xid", xid.as_deref()),
            ];
            (server.get("/v1/locks", &query)?, table::locks)
        }
    };
    Ok(if arguments.json { format!("{answer:#}\n") } else { show(&answer) })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
