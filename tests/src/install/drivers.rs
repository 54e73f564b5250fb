//! Drivers of other languages: PyMySQL, mysql2 and go-sql-driver; psycopg, asyncpg, node-postgres, pgx, lib/pq and
//! pgjdbc. Their check programs lie in `tests/drivers`.
//!
//! Libraries go into the cache by the ordinary clients of their languages, which know their own registries.

pub mod postgres;

use super::{cache, once, program, run, step};
use crate::servers::binaries::workspace;
use crate::{Context, Result};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder(language: &str) -> PathBuf {
    workspace().join("tests/drivers").join(language)
}

/// A name in the cache that changes with these files.
fn name(language: &str, files: &[&str]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let path = folder(language).join(file);
        fs::read(&path).or_fail(path.display())?.hash(&mut hasher);
    }
    Ok(format!("driver-{}-{:016x}", language.replace('/', "-"), hasher.finish()))
}

/// The check program for PyMySQL, ready for its arguments.
pub fn python() -> Result<Command> {
    python_program("python", "PyMySQL", "check.py")
}

fn python_program(language: &str, what: &str, file: &str) -> Result<Command> {
    let python = program("python3", &["python3", "python3-venv"])?;
    let requirements = folder(language).join("requirements.txt");
    let venv = once(&name(language, &["requirements.txt"])?, |dir| {
        step(&format!("installing {what}"));
        make_venv(&python, dir)?;
        let mut pip = Command::new(dir.join("bin/python"));
        run(pip.args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements)).map(drop)
    })?;
    let mut command = Command::new(venv.join("bin/python"));
    command.arg(folder(language).join(file));
    Ok(command)
}

/// Debian splits `venv` off from Python: a first failure is answered by installing it.
fn make_venv(python: &Path, dir: &Path) -> Result<()> {
    let make = || run(Command::new(python).args(["-m", "venv"]).arg(dir)).map(drop);
    make().or_else(|_| {
        super::apt::install(&["python3-venv"])?;
        make()
    })
}

/// The check program for mysql2.
pub fn node() -> Result<Command> {
    node_program("node", "mysql2")
}

fn node_program(language: &str, what: &str) -> Result<Command> {
    let node = program("node", &["nodejs", "npm"])?;
    let npm = program("npm", &["npm"])?;
    let files = ["package.json", "package-lock.json", ".npmrc"];
    let modules = once(&name(language, &files)?, |dir| {
        step(&format!("installing {what}"));
        for file in files {
            fs::copy(folder(language).join(file), dir.join(file)).or_fail(file)?;
        }
        run(Command::new(&npm).args(["ci", "--ignore-scripts"]).current_dir(dir)).map(drop)
    })?;
    let mut command = Command::new(node);
    command.arg(folder(language).join("check.js")).env("NODE_PATH", modules.join("node_modules"));
    Ok(command)
}

/// The check program for go-sql-driver, compiled.
pub fn go() -> Result<Command> {
    go_program("go", "go-sql-driver", &["main.go"])
}

/// The program of a folder, made from these files and what its `go.mod` names.
fn go_program(language: &str, what: &str, files: &[&str]) -> Result<Command> {
    let go = program("go", &["golang-go"])?;
    let name = name(language, &[&["go.mod", "go.sum"], files].concat())?;
    let dir = once(&name, |dir| {
        step(&format!("compiling the check program of {what}"));
        let mut build = Command::new(&go);
        build.args(["build", "-o"]).arg(dir.join("check")).arg(".").current_dir(folder(language));
        // A machine without a home folder has no place for Go's own caches.
        if std::env::var_os("HOME").is_none() {
            build.env("GOPATH", cache().join("go")).env("GOCACHE", cache().join("go-build"));
        }
        run(&mut build).map(drop)
    })?;
    Ok(Command::new(dir.join("check")))
}
