//! The configuration file: read once, every mistake named with file, key and mend.

use serde::Deserialize;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// `proxy.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the coordinators listen for gRPC; none: one inside this process.
    #[serde(default)]
    pub coordinators: Vec<String>,
    /// State of the coordinator inside this process.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Health and metrics.
    #[serde(default = "default_http")]
    pub http: SocketAddr,
    /// The HTTP API of the coordinator inside this process.
    #[serde(default = "default_coordinator_http")]
    pub coordinator_http: SocketAddr,
    /// How long a COMMIT waits for global locks, in milliseconds; at most 3000.
    #[serde(default = "default_lock_wait")]
    pub lock_wait_timeout_ms: u64,
    /// Rows that one local transaction may change inside a global one.
    #[serde(default = "default_max_rows")]
    pub max_rows: usize,
    /// The databases.
    #[serde(default, rename = "database")]
    pub databases: Vec<Database>,
    /// TLS towards clients.
    pub tls: Option<Tls>,
}

/// A database server behind the proxy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The resource's name, for ever: it is recorded in the database.
    pub name: String,
    /// Where applications connect.
    pub listen: SocketAddr,
    /// The server, with the proxy's own account.
    pub url: String,
    /// A file that holds the account's password.
    pub password_file: Option<PathBuf>,
    /// What becomes of writes outside global transactions; they are guarded unless it says otherwise.
    pub local_writes: Option<LocalWrites>,
}

/// What becomes of writes outside global transactions.
#[derive(Debug, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LocalWrites {
    /// They wait for, or fail on, rows that a global transaction has locked.
    Guard,
    /// They are passed on.
    Pass,
}

/// Our certificate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

fn default_data_dir() -> PathBuf {
    "./atone-data".into()
}

fn default_http() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7092))
}

fn default_coordinator_http() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7091))
}

fn default_lock_wait() -> u64 {
    500
}

fn default_max_rows() -> usize {
    100_000
}

// By hand, because the URL holds a password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("name", &self.name)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// What a database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL and MariaDB.
    MySql,
    /// PostgreSQL.
    Postgres,
}

/// Where a database is and how the proxy itself signs in.
#[derive(Clone)]
pub struct Account {
    /// What it speaks.
    pub dialect: Dialect,
    /// PostgreSQL: the database that is protected.
    pub database: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

impl Config {
    /// Reads and checks the file.
    pub fn load(path: &Path) -> Result<Self, String> {
        let at = |e: String| format!("{}: {e}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| at(format!("cannot be read: {e}")))?;
        let config: Self = toml::from_str(&text).map_err(|e| at(e.to_string()))?;
        config.check().map_err(at)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.databases.is_empty() {
            return Err("no [[database]]: add one with name, listen and url".into());
        }
        if self.lock_wait_timeout_ms > 3000 {
            return Err("lock_wait_timeout_ms: at most 3000, below the databases' own row lock wait".into());
        }
        if self.max_rows == 0 {
            return Err("max_rows: must be at least 1".into());
        }
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for database in &self.databases {
            let name = &database.name;
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                return Err(format!("database.name '{name}': use 1 to 64 letters, digits, - and _"));
            }
            if !names.insert(name) {
                return Err(format!("database.name '{name}' is given twice: each server has one name"));
            }
            if database.listen.port() != 0 && !addresses.insert(database.listen) {
                return Err(format!(
                    "database '{name}': listen {} is taken by another database",
                    database.listen
                ));
            }
            database.account()?;
        }
        Ok(())
    }
}

impl Database {
    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        if self.url.starts_with("postgres") { Dialect::Postgres } else { Dialect::MySql }
    }

    /// Are writes outside global transactions checked?
    pub fn guards(&self) -> bool {
        self.local_writes != Some(LocalWrites::Pass)
    }

    /// The account in the URL, with the password from the file if there is one.
    pub fn account(&self) -> Result<Account, String> {
        let name = &self.name;
        let mut account = match self.dialect() {
            Dialect::MySql => self.mysql()?,
            Dialect::Postgres => self.postgres()?,
        };
        let password = &mut account.password;
        if let Some(file) = &self.password_file {
            if !password.is_empty() {
                return Err(format!("database '{name}': password in url and in password_file; keep one"));
            }
            let text = std::fs::read_to_string(file)
                .map_err(|e| format!("database '{name}': password_file {}: {e}", file.display()))?;
            text.trim_end_matches(['\n', '\r']).clone_into(password);
        }
        Ok(account)
    }

    fn mysql(&self) -> Result<Account, String> {
        let wrong = || {
            let name = &self.name;
            format!(
                "database '{name}': url must be mysql://user:password@host:port or \
                 postgres://user:password@host:port/database"
            )
        };
        let opts = mysql_async::Opts::from_url(&self.url).map_err(|_| wrong())?;
        Ok(Account {
            dialect: Dialect::MySql,
            database: String::new(),
            host: opts.ip_or_hostname().to_owned(),
            port: opts.tcp_port(),
            user: opts.user().ok_or_else(wrong)?.to_owned(),
            password: opts.pass().unwrap_or_default().to_owned(),
        })
    }

    fn postgres(&self) -> Result<Account, String> {
        let wrong = |what: &str| {
            format!(
                "database '{}': url must be postgres://user:password@host:port/database: {what}",
                self.name
            )
        };
        let config: tokio_postgres::Config =
            self.url.parse().map_err(|_| wrong("it cannot be read (special characters are %-escaped)"))?;
        let [tokio_postgres::config::Host::Tcp(host)] = config.get_hosts() else {
            return Err(wrong("it names no host, or several, or a socket"));
        };
        let user = config.get_user().ok_or_else(|| wrong("it names no user"))?.to_owned();
        let database = config.get_dbname().ok_or_else(|| wrong("it names no database"))?.to_owned();
        let password = String::from_utf8_lossy(config.get_password().unwrap_or_default()).into_owned();
        let port = config.get_ports().first().copied().unwrap_or(5432);
        Ok(Account { dialect: Dialect::Postgres, database, host: host.clone(), port, user, password })
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    fn check(text: &str) -> Result<(), String> {
        toml::from_str::<Config>(text).map_err(|e| e.to_string())?.check()
    }

    const GOOD: &str = "[[database]]\nname='a'\nlisten='127.0.0.1:1'\nurl='mysql://u:p@h:3306'\n";

    #[test]
    fn mistakes_are_named() {
        assert_eq!(check(GOOD), Ok(()));
        for (text, names) in [
            ("", "no [[database]]"),
            (&GOOD.replace("name='a'", "name='a b'"), "database.name 'a b'"),
            (&GOOD.replace("mysql://u:p@h:3306", "h:3306"), "url must be"),
            (&GOOD.replace("mysql:", "postgres:"), "names no database"),
            (&format!("{GOOD}{GOOD}"), "given twice"),
            (&format!("{GOOD}{}", GOOD.replace("'a'", "'b'")), "taken by another"),
            (&format!("listn=1\n{GOOD}"), "listn"),
            (&format!("{GOOD}local_writes='maybe'\n"), "local_writes"),
            (&format!("lock_wait_timeout_ms=5000\n{GOOD}"), "lock_wait_timeout_ms"),
            (
                &GOOD.replace("listen=", "password_file='/nowhere'\nlisten=").replace(":p@", "@"),
                "password_file /nowhere",
            ),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(names), "{text}: {error}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let config: Config = toml::from_str(GOOD).unwrap();
        assert!(!format!("{config:?}").contains("u:p"));
    }
}
