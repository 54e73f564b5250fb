//! Starts a private PostgreSQL, 15 or 18.

use super::database::{APP, Client, Database, Durability, Kind, SERVICE, copy};
use super::ports;
use super::process::Process;
use super::scratch::{Scratch, unique};
use crate::install::postgres::{self, NOBODY, Programs};
use crate::install::{self, program, run};
use crate::{Context, Failure, Result};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The database in which the tests have their schemas.
pub const SHOP: &str = "shop";

/// PostgreSQL, of the version that the kind says.
pub struct Postgres;

impl Postgres {
    /// Starts one with lazy commits.
    pub fn start(kind: Kind) -> Result<Database> {
        Self::start_with(kind, Durability::Lazy)
    }

    /// Starts one.
    pub fn start_with(kind: Kind, durability: Durability) -> Result<Database> {
        Self::start_as(kind, durability, &[])
    }

    /// Starts one with more settings (`ssl=on`) and lazy commits.
    pub fn start_with_settings(kind: Kind, settings: &[&str]) -> Result<Database> {
        Self::start_as(kind, Durability::Lazy, settings)
    }

    fn start_as(kind: Kind, durability: Durability, settings: &[&str]) -> Result<Database> {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let programs = programs(kind)?;
        Self::start_from(kind, &template(&programs)?.join("data"), durability, &settings)
    }

    /// Starts one on a copy of this data folder.
    pub(super) fn start_from(
        kind: Kind,
        data: &Path,
        durability: Durability,
        settings: &[String],
    ) -> Result<Database> {
        let settings = settings.to_vec();
        let programs = programs(kind)?;
        let place = Place::new(&programs)?;
        copy(data, &place.outside.join("data"))?;
        let (port, inside, client) =
            (ports::free(), place.inside.clone(), Client::Postgres(programs.clone()));
        let log = place.outside.join("log");
        let start = move || serve(&programs, &inside, &log, port, durability, &settings);
        let process = start()?;
        Ok(Database { kind, port, process, dir: place.outside, client, run: Box::new(start) })
    }
}

fn programs(kind: Kind) -> Result<Programs> {
    match kind {
        Kind::Pg15 => postgres::fifteen(),
        Kind::Pg18 => postgres::eighteen(),
        Kind::Maria | Kind::MySql => Err(Failure::new(format!("{kind:?} is not PostgreSQL"))),
    }
}

/// A server's folder: as we see it, and as the server does.
struct Place {
    outside: Scratch,
    inside: PathBuf,
}

impl Place {
    fn new(programs: &Programs) -> Result<Self> {
        match programs {
            Programs::Here(_) => {
                let outside = Scratch::new("postgres")?;
                let inside = outside.path().to_owned();
                Ok(Self { outside, inside })
            }
            Programs::There(chroot, _) => {
                let name = unique("server");
                let outside = Scratch::adopt(chroot.outside(&name));
                fs::create_dir_all(outside.path()).or_fail(outside.path().display())?;
                Ok(Self { outside, inside: chroot.inside(&name) })
            }
        }
    }
}

fn serve(
    programs: &Programs,
    inside: &Path,
    log: &Path,
    port: u16,
    durability: Durability,
    more: &[String],
) -> Result<Process> {
    let flush = match durability {
        Durability::Lazy => "off",
        Durability::Full => "on",
    };
    let mut command = programs.server("postgres");
    command.arg("-D").arg(inside.join("data"));
    let own = [format!("port={port}"), format!("fsync={flush}"), format!("full_page_writes={flush}")];
    let same = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "dynamic_shared_memory_type=mmap",
        "shared_buffers=32MB",
        "max_connections=400",
        "max_prepared_transactions=5",
        "wal_level=replica",
        "max_wal_senders=4",
        "min_wal_size=8MB",
        "max_wal_size=128MB",
        "timezone=UTC",
        "jit=off",
    ];
    for setting in own.iter().map(String::as_str).chain(same).chain(more.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    let mut process = Process::start("postgres", &mut command, log)?;
    process.until("ready", || lets_in(port))?;
    Ok(process)
}

/// Whether a server on this port begins to sign a client in; while it starts it says an error instead.
fn lets_in(port: u16) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let text = format!("\0\x03\0\0user\0{}\0database\0{SHOP}\0\0", SERVICE.0);
    let length = u32::try_from(text.len() + 4).ok()?;
    stream.write_all(&[&length.to_be_bytes(), text.as_bytes()].concat()).ok()?;
    let mut kind = [0];
    stream.read_exact(&mut kind).ok()?;
    (kind == *b"R").then_some(())
}

/// An initialised data folder with the users, the database and a certificate, made once.
fn template(programs: &Programs) -> Result<PathBuf> {
    let name = match programs {
        Programs::Here(_) => "postgres-15-template",
        Programs::There(..) => "postgres-18-template",
    };
    install::once(name, |dir| {
        install::step("initialising a PostgreSQL data folder");
        // Not in the cache itself, which may lie where an unprivileged user cannot go.
        let place = Place::new(programs)?;
        own(place.outside.path())?;
        initialise(programs, &place)?;
        certificate(&place.outside)?;
        copy(&place.outside.join("data"), &dir.join("data"))
    })
}

fn initialise(programs: &Programs, place: &Place) -> Result<()> {
    let password = place.outside.join("password");
    fs::write(&password, SERVICE.1).or_fail(password.display())?;
    let mut init = programs.server("initdb");
    init.arg(format!("--pgdata={}/data", place.inside.display()));
    init.arg(format!("--pwfile={}/password", place.inside.display()));
    init.args(["--username", SERVICE.0, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]);
    run(init.args(["--wal-segsize=4", "--no-sync", "--no-instructions"]))?;
    // The server's single-user mode reads statements, one a line.
    let file = place.outside.join("users.sql");
    fs::write(&file, users()).or_fail(file.display())?;
    let mut single = programs.server("postgres");
    single.args(["--single", "-D"]).arg(place.inside.join("data")).arg("postgres");
    let output = single.stdin(File::open(&file).or_fail(file.display())?).stdout(Stdio::null()).output();
    let output = output.or_fail("cannot run postgres")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || text.contains("ERROR") {
        return Err(Failure::new(format!("making PostgreSQL's users: {text}")));
    }
    Ok(())
}

/// Statements, one a line, that make the users and the database.
fn users() -> String {
    let (app, password) = APP;
    format!(
        "CREATE ROLE {app} LOGIN PASSWORD '{password}'\n\
         CREATE DATABASE {SHOP}\n\
         GRANT CREATE ON DATABASE {SHOP} TO {app}\n"
    )
}

/// A certificate for 127.0.0.1 in the data folder, where the server looks for it.
fn certificate(dir: &Scratch) -> Result<()> {
    let (certificate, key) = (dir.join("data/server.crt"), dir.join("data/server.key"));
    let mut command = Command::new(program("openssl", &["openssl"])?);
    command.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "3650",
        "-subj",
        "/CN=127.0.0.1",
    ]);
    command.args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]);
    run(command.arg("-out").arg(&certificate).arg("-keyout").arg(&key))?;
    run(Command::new("chmod").arg("600").arg(&key))?;
    own(&certificate)?;
    own(&key)
}

/// Gives a file or folder to the user that the server runs as.
fn own(path: &Path) -> Result<()> {
    if !install::is_root() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).or_fail(path.display())
}
