//! PostgreSQL's drivers: psycopg, asyncpg, node-postgres, pgx, lib/pq and pgjdbc.

use super::{folder, go_program, name, node_program, python_program};
use crate::Result;
use crate::install::{once, program, run, step};
use std::process::Command;

const PYTHON: &str = "psycopg and asyncpg";

/// The check program for psycopg 3, ready for its arguments.
pub fn psycopg() -> Result<Command> {
    python_program("postgres/python", PYTHON, "check_psycopg.py")
}

/// The check program for asyncpg.
pub fn asyncpg() -> Result<Command> {
    python_program("postgres/python", PYTHON, "check_asyncpg.py")
}

/// The check program for node-postgres.
pub fn node() -> Result<Command> {
    node_program("postgres/node", "node-postgres")
}

/// The check program for pgx.
pub fn pgx() -> Result<Command> {
    go("pgx")
}

/// The check program for lib/pq.
pub fn pq() -> Result<Command> {
    go("pq")
}

fn go(driver: &str) -> Result<Command> {
    let mut command = go_program("postgres/go", "pgx and lib/pq", &["main.go", "pgx.go", "pq.go"])?;
    command.arg(driver);
    Ok(command)
}

/// The check program for pgjdbc, compiled.
pub fn java() -> Result<Command> {
    let java = program("java", &["default-jdk-headless"])?;
    let javac = program("javac", &["default-jdk-headless"])?;
    let maven = program("mvn", &["maven"])?;
    let language = "postgres/java";
    let dir = once(&name(language, &["pom.xml", "Check.java"])?, |dir| {
        step("installing pgjdbc and compiling its check program");
        let mut copy = Command::new(maven);
        copy.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
        copy.arg(format!("-DoutputDirectory={}", dir.join("lib").display()));
        // Not in the home folder, where other projects' libraries are.
        copy.arg(format!("-Dmaven.repo.local={}", dir.join("repository").display()));
        run(copy.arg("--file").arg(folder(language).join("pom.xml")))?;
        let mut compile = Command::new(javac);
        compile.args(["-encoding", "UTF-8", "-d"]).arg(dir.join("classes"));
        run(compile.arg(folder(language).join("Check.java"))).map(drop)
    })?;
    let mut command = Command::new(java);
    command.arg("-cp").arg(format!("{0}/classes:{0}/lib/*", dir.display())).arg("Check");
    Ok(command)
}
