//! Gets the database servers and drivers that the tests need onto this machine, once.
//!
//! What is fetched comes from the package sources that the machine already has: nothing here names a host. Everything
//! that is kept lies in one cache folder outside the repository, so that a second clone finds it.

pub mod apt;
pub mod chroot;
pub mod drivers;
pub mod mariadb;
pub mod mysql;
pub mod postgres;

use crate::{Context, Failure, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder that outlives a build: `ATONE_CACHE`, or `~/.cache/atone`.
pub fn cache() -> PathBuf {
    if let Some(dir) = std::env::var_os("ATONE_CACHE") {
        return dir.into();
    }
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    home.join(".cache/atone")
}

/// Builds `cache()/name` if it is not there. Other processes that want it meanwhile wait; a half-built folder is
/// never seen, as it gets its name only when `build` is through.
pub fn once(name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let dir = cache().join(name);
    if dir.exists() {
        return Ok(dir);
    }
    let _lock = lock(name)?;
    if dir.exists() {
        return Ok(dir);
    }
    let unfinished = cache().join(format!("{name}.tmp"));
    remove_dir(&unfinished)?;
    fs::create_dir_all(&unfinished).or_fail(format!("creating {}", unfinished.display()))?;
    build(&unfinished)?;
    fs::rename(&unfinished, &dir).or_fail(format!("naming {}", dir.display()))?;
    Ok(dir)
}

/// Holds `cache()/name.lock` until the file is dropped; the system frees it if the process dies.
pub fn lock(name: &str) -> Result<File> {
    fs::create_dir_all(cache()).or_fail(format!("creating {}", cache().display()))?;
    let path = cache().join(format!("{name}.lock"));
    let file = File::create(&path).or_fail(format!("creating {}", path.display()))?;
    if file.try_lock().is_err() {
        step(&format!("waiting for another process that prepares {name}"));
        file.lock().or_fail(format!("locking {}", path.display()))?;
    }
    Ok(file)
}

/// Says on stderr what takes a while.
pub fn step(text: &str) {
    eprintln!("atone-tests: {text}");
}

/// Runs a command to its end and returns its stdout, or a failure that shows the end of what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().or_fail(format!("cannot run {name}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
    Err(Failure::new(format!("{name} failed ({}):\n  {last}", output.status)))
}

/// The full path of a program, if this machine has it.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"]);
    places.map(|place| Path::new(place).join(program)).find(|file| file.is_file())
}

/// A program, installed by its Debian packages if this machine lacks it.
pub fn program(name: &str, packages: &[&str]) -> Result<PathBuf> {
    if let Some(path) = find(name) {
        return Ok(path);
    }
    let _lock = lock("apt")?;
    if find(name).is_none() {
        apt::install(packages)?;
    }
    find(name).or_fail(format!("{} was installed, but there is still no {name} in PATH", packages.join(" ")))
}

/// Whether this process may install packages and make a chroot.
pub fn is_root() -> bool {
    run(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// Removes a folder with all in it; none there is well too.
pub fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(format!("removing {}: {error}", dir.display())))
        }
        _ => Ok(()),
    }
}
