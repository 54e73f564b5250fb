//! `atone`: arguments, calls of the HTTP API, and what is printed. Decides nothing by itself.

mod http;
mod rows;
mod table;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

/// Looks at and decides Atone's global transactions.
#[derive(Debug, Parser)]
#[command(
    name = "atone",
    version,
    after_help = "Examples:\n  atone tx list --status active\n  atone tx show 01K…\n  atone locks list --table shop.item --key 42\n  atone tx rollback 01K… --reason 'stuck since noon'\n  atone tx resolve 01K… --branch 8f… --restore --reason 'the import was wrong'\n  atone audit --limit 20"
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
    /// What people began, decided and resolved by hand at this coordinator, latest first.
    ///
    /// Each line was on the coordinator's disk before the action was begun (`audit.log` in its data directory). An
    /// action without an outcome was under way when the coordinator ended.
    Audit {
        /// Only what concerns this transaction.
        #[arg(long)]
        xid: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
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
    /// One transaction with its branches, locks and timeline, and the rows that block it.
    ///
    /// For each blocked branch a proxy reads the rows that stand in the way: every column as it was before the branch,
    /// as the branch left it, and as it is now; `*` marks the columns that somebody else has changed. Nothing is
    /// locked or changed by that. Texts and times are in quotes, times in UTC, bytes are x'…', - is no such row.
    Show {
        /// The transaction.
        xid: String,
        /// At most so many rows of each branch (20), and of every branch that can still be undone.
        #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20")]
        rows: Option<u32>,
        /// Rows too that stand in nobody's way, which are only counted otherwise.
        #[arg(long)]
        all: bool,
    },
    /// Begins a transaction and prints its xid.
    Begin {
        /// What people call it.
        #[arg(long)]
        name: Option<String>,
        /// How long it may stay undecided, in milliseconds.
        #[arg(long)]
        timeout_ms: Option<u64>,
        #[command(flatten)]
        who: Who,
    },
    /// Commits a transaction.
    Commit {
        /// The transaction.
        xid: String,
        #[command(flatten)]
        who: Who,
    },
    /// Rolls a transaction back; tries again when it is blocked.
    Rollback {
        /// The transaction.
        xid: String,
        /// Why, for the timeline.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        who: Who,
    },
    /// Ends a blocked branch, or one whose database is gone, in the way you choose; its locks are freed when it is done.
    ///
    /// A branch is blocked when somebody changed its rows behind the proxy, so that its undo might destroy what they
    /// did. Look first: `atone tx show XID` prints the rows before, after and now. Exactly one way must be named. The
    /// choice is logged before anything happens, holds through crashes, and stands in the transaction's timeline and in
    /// `atone audit`. Other branches of the transaction are not touched by it: older ones on the same database are
    /// undone next, and may be blocked in turn.
    Resolve {
        /// The transaction.
        xid: String,
        /// The branch, as `atone tx show` prints it.
        #[arg(long)]
        branch: String,
        #[command(flatten)]
        how: How,
        /// Why, for the timeline; needed for all but --retry.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        who: Who,
    },
}

/// Who acts.
#[derive(Debug, Args)]
struct Who {
    /// Who acts, for the audit log; your user name, if you do not say.
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
}

impl Who {
    fn name(&self) -> String {
        let of = |name| std::env::var(name).ok().filter(|user: &String| !user.is_empty());
        self.by.clone().or_else(|| of("USER")).or_else(|| of("LOGNAME")).unwrap_or_default()
    }
}

/// How a branch ends that cannot end by itself.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct How {
    /// Try the undo again: after you have mended the rows. It is blocked again if they still differ.
    #[arg(long)]
    retry: bool,
    /// Make all rows of the branch what they were before it, WHATEVER STANDS THERE NOW: what somebody else wrote into them
    /// is lost. All or nothing; when a constraint forbids it, nothing is changed and the branch stays blocked.
    #[arg(long)]
    restore: bool,
    /// Undo NOTHING of the branch: all its rows stay as they are now, also those that nobody else touched, and its undo
    /// record is put out of use for ever. You mend by hand what should not stay.
    #[arg(long)]
    keep_current: bool,
    /// Its database is GONE FOR GOOD (replaced, or restored from a backup of before the proxies knew it): nothing is done
    /// there, and nobody waits for it any more. Refused while a proxy reaches it.
    #[arg(long)]
    gone: bool,
}

impl How {
    fn word(&self) -> &'static str {
        match (self.retry, self.restore, self.gone) {
            (true, ..) => "retry",
            (false, true, _) => "restore",
            (false, false, true) => "gone",
            (false, false, false) => "keep-current",
        }
    }
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

/// A page of a transaction.
fn path(xid: &str, page: &str) -> String {
    format!("/v1/transactions/{}/{page}", http::segment(xid))
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
        Command::Audit { xid, limit } => {
            let limit = limit.to_string();
            let query = [("xid", xid.as_deref()), ("limit", Some(limit.as_str()))];
            (server.get("/v1/audit", &query)?, table::audit)
        }
        Command::Tx(Tx::Show { xid, rows, all }) => {
            let mut answer = server.get(&format!("/v1/transactions/{}", http::segment(xid)), &[])?;
            rows::add(&server, &mut answer, *rows, *all);
            (answer, table::transaction)
        }
        Command::Tx(Tx::Begin { name, timeout_ms, who }) => {
            let mut body = json!({ "by": who.name() });
            if let Some(name) = name {
                body["name"] = json!(name);
            }
            if let Some(timeout_ms) = timeout_ms {
                body["timeout_ms"] = json!(timeout_ms);
            }
            (server.post("/v1/transactions", &body)?, table::begun)
        }
        Command::Tx(Tx::Commit { xid, who }) => {
            (server.post(&path(xid, "commit"), &json!({ "by": who.name() }))?, table::decided)
        }
        Command::Tx(Tx::Rollback { xid, reason, who }) => {
            let reason = reason.as_deref().unwrap_or_default();
            let body = json!({ "reason": reason, "by": who.name() });
            (server.post(&path(xid, "rollback"), &body)?, table::decided)
        }
        Command::Tx(Tx::Resolve { xid, branch, how, reason, who }) => {
            let reason = reason.as_deref().unwrap_or_default();
            let body = json!({ "how": how.word(), "reason": reason, "by": who.name() });
            let page = path(xid, &format!("branches/{}/resolve", http::segment(branch)));
            (server.post(&page, &body)?, table::resolved)
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
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_arguments_are_well_formed() {
        super::Arguments::command().debug_assert();
    }

    #[test]
    fn exactly_one_way_to_resolve_must_be_named() {
        let parse = |ways: &[&str]| {
            let first = ["atone", "tx", "resolve", "X", "--branch", "B"];
            super::Arguments::try_parse_from(first.iter().chain(ways)).map_err(|error| error.to_string())
        };
        for way in ["--retry", "--restore", "--keep-current", "--gone"] {
            assert!(parse(&[way]).is_ok(), "{way}");
        }
        assert!(parse(&[]).unwrap_err().contains("--restore"));
        assert!(parse(&["--retry", "--restore"]).unwrap_err().contains("cannot be used with"));
        let show = ["atone", "tx", "show", "X", "--rows"];
        assert!(super::Arguments::try_parse_from(show).is_ok());
    }
}
