//! The product's binaries, built from this workspace once per test process.

use crate::{Context, Result, install};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// How the binaries are compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// With failpoints.
    Debug,
    /// What users run; for benches.
    Release,
    /// With this bug, which the checker of histories has to find (`atone_protocol::planted`).
    Planted(&'static str),
}

/// The binaries.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `atone-proxy`.
    pub proxy: PathBuf,
    /// `atone-tc`.
    pub coordinator: PathBuf,
    /// `atone`, the command line.
    pub atone: PathBuf,
}

/// Builds them unless this process already has.
pub fn binaries(profile: Profile) -> Result<Binaries> {
    static DEBUG: OnceLock<Binaries> = OnceLock::new();
    static RELEASE: OnceLock<Binaries> = OnceLock::new();
    static PLANTED: OnceLock<Binaries> = OnceLock::new();
    let known = match profile {
        Profile::Debug => &DEBUG,
        Profile::Release => &RELEASE,
        Profile::Planted(_) => &PLANTED,
    };
    if let Some(binaries) = known.get() {
        return Ok(binaries.clone());
    }
    let binaries = match profile {
        Profile::Planted(_) => planted()?,
        Profile::Debug | Profile::Release => build(profile)?,
    };
    Ok(known.get_or_init(|| binaries).clone())
}

fn build(profile: Profile) -> Result<Binaries> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--bins", "-p", "atone-proxy", "-p", "atone-tc-server", "--message-format=json"]);
    match profile {
        Profile::Debug => {}
        Profile::Release => drop(command.arg("--release")),
        Profile::Planted(_) => {
            command.args(["--features", "atone-proxy/planted-bugs,atone-tc-server/planted-bugs"]);
        }
    }
    command.current_dir(workspace());
    let messages = install::run(&mut command).or_fail("building atone-proxy, atone-tc and atone")?;
    let find = |name: &str| executable(&messages, name).or_fail(format!("cargo built no binary {name}"));
    Ok(Binaries { proxy: find("atone-proxy")?, coordinator: find("atone-tc")?, atone: find("atone")? })
}

/// Cargo puts all debug builds in one place. Those with bugs are kept elsewhere, and the others put back.
fn planted() -> Result<Binaries> {
    let _lock = install::lock("planted-bugs")?;
    let mut kept = build(Profile::Planted(""))?;
    for path in [&mut kept.proxy, &mut kept.coordinator, &mut kept.atone] {
        let name = path.file_name().or_fail("a program has a name")?;
        let folder = path.with_file_name("planted-bugs");
        let copy = folder.join(name);
        std::fs::create_dir_all(&folder).or_fail(folder.display())?;
        // Another process may be running what was there.
        let fresh = folder.join(format!("{}.{}", name.to_string_lossy(), std::process::id()));
        std::fs::copy(&*path, &fresh).or_fail(fresh.display())?;
        std::fs::rename(&fresh, &copy).or_fail(copy.display())?;
        *path = copy;
    }
    build(Profile::Debug)?;
    Ok(kept)
}

/// The repository's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// Cargo tells each artifact in a line of JSON; a binary has `executable` and its target's name.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut paths = messages
        .filter(|message| message["target"]["name"] == name)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    paths.next()
}
