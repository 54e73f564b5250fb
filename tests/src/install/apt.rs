//! Debian's package manager: installs packages, and tells which mirror this machine uses.
//!
//! The mirror is read from apt's own sources and never written here, so a machine behind a private mirror works too.

use super::{find, is_root, run, step};
use crate::{Context, Failure, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Installs packages, refreshing apt's lists first if there are none, or if the first try fails.
pub fn install(packages: &[&str]) -> Result<()> {
    let wanted = packages.join(" ");
    if find("apt-get").is_none() {
        let text =
            format!("there is no apt-get here: install what holds {wanted} by hand, then run this again");
        return Err(Failure::new(text));
    }
    if !is_root() {
        let text = format!(
            "{wanted} is missing and only root may install it: run `apt-get install {wanted}` as root once"
        );
        return Err(Failure::new(text));
    }
    if !has_lists() {
        update()?;
    }
    step(&format!("installing {wanted}"));
    if get_install(packages).is_ok() {
        return Ok(());
    }
    update()?;
    get_install(packages).or_fail(format!("installing {wanted}"))
}

fn get_install(packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages);
    run(command.env("DEBIAN_FRONTEND", "noninteractive")).map(drop)
}

fn update() -> Result<()> {
    step("refreshing apt's package lists");
    run(Command::new("apt-get").args(["update", "--quiet"])).map(drop)
}

fn has_lists() -> bool {
    let Ok(entries) = fs::read_dir("/var/lib/apt/lists") else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

/// The Debian mirror of this machine: `ATONE_DEBIAN_MIRROR`, or the first in apt's sources that carries Debian itself.
pub fn mirror() -> Result<String> {
    if let Ok(mirror) = env::var("ATONE_DEBIAN_MIRROR") {
        return Ok(mirror);
    }
    let texts = source_files().into_iter().filter_map(|path| Some((fs::read_to_string(&path).ok()?, path)));
    let sources: Vec<Source> = texts
        .flat_map(|(text, path)| if is_deb822(&path) { deb822(&text) } else { one_line(&text) })
        .collect();
    choose(&sources).or_fail(
        "apt's sources (/etc/apt/sources.list, sources.list.d) name no mirror of Debian: set ATONE_DEBIAN_MIRROR to one",
    )
}

fn source_files() -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let more =
        fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut more: Vec<_> = more.collect();
    more.sort();
    files.extend(more);
    files
}

fn is_deb822(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sources")
}

/// One place that packages come from.
struct Source {
    uri: String,
    components: Vec<String>,
}

/// `deb [options] URI suite component…`, one a line.
fn one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(read_line).collect()
}

fn read_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let rest = if rest.starts_with('[') { rest.split_once(']')?.1 } else { rest };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uri = words.next()?;
    Some(Source { uri, components: words.skip(1).collect() })
}

/// Paragraphs of `Key: value` lines; a line that starts with a space goes on with the one before.
fn deb822(text: &str) -> Vec<Source> {
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    text.split(|line| line.trim().is_empty()).flat_map(read_paragraph).collect()
}

fn read_paragraph(lines: &[&str]) -> Vec<Source> {
    let field = |name: &str| -> Vec<String> {
        let mut words = Vec::new();
        let mut inside = false;
        for line in lines {
            let value = if line.starts_with([' ', '\t']) {
                Some(*line)
            } else {
                let pair = line.split_once(':');
                inside = pair.is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
                pair.map(|(_, value)| value)
            };
            words.extend(value.filter(|_| inside).unwrap_or("").split_whitespace().map(str::to_owned));
        }
        words
    };
    if !field("Types").contains(&"deb".to_owned()) || field("Enabled") == ["no"] {
        return Vec::new();
    }
    let components = field("Components");
    field("URIs").into_iter().map(|uri| Source { uri, components: components.clone() }).collect()
}

/// A mirror's path ends in `/debian` by custom; the security archive and other vendors' sources do not.
fn choose(sources: &[Source]) -> Option<String> {
    let serves_main = |source: &&Source| source.components.iter().any(|component| component == "main");
    let by_custom = |source: &&Source| source.uri.trim_end_matches('/').ends_with("/debian");
    sources.iter().filter(serves_main).find(by_custom).map(|source| source.uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_line_sources() {
        let text = "# deb http://no.test/debian x main\n\
                    deb [signed-by=/k.gpg] http://vendor.test/debian stable contrib\n\
                    deb [arch=amd64] http://mirror.test/debian/ bookworm main contrib\n";
        assert_eq!(choose(&one_line(text)).as_deref(), Some("http://mirror.test/debian/"));
    }

    #[test]
    fn reads_deb822_sources() {
        let text = "Types: deb\nURIs: http://mirror.test/debian-security\nSuites: s\nComponents: main\n\n\
                    Types: deb deb-src\n# a remark\nURIs:\n http://mirror.test/debian\nSuites: sid\nComponents: main\n";
        assert_eq!(choose(&deb822(text)).as_deref(), Some("http://mirror.test/debian"));
    }

    #[test]
    fn finds_none_among_strangers() {
        assert_eq!(choose(&deb822("Types: deb\nURIs: http://other.test/x\nComponents: main\n")), None);
        assert_eq!(
            choose(&deb822("Types: deb\nEnabled: no\nURIs: http://m.test/debian\nComponents: main\n")),
            None
        );
    }
}
