//! The house rules that a machine can check, by reading the sources. HOUSE rules in words are in ARCHITECTURE.md.

use std::fs;
use std::path::{Path, PathBuf};

const LONGEST: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// A source file by its path from the root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The lines that are code: no whole-line comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Where code contains a text.
    fn places(&self, text: &str) -> Vec<String> {
        let found = self.code().filter(|(_, line)| line.contains(text));
        found.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim())).collect()
    }
}

/// Every `.rs` file below a folder or at a path; none if it is not there.
fn sources(place: &str) -> Vec<Source> {
    let mut files = Vec::new();
    let start = root().join(place);
    if start.is_file() {
        files.push(start);
    } else {
        collect(&start, &mut files);
    }
    files.sort();
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).expect("a readable file"),
        path: path.strip_prefix(root()).expect("below the root").display().to_string(),
    };
    files.into_iter().map(read).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir()
            && name != "target"
            && name != "node_modules"
            && !name.to_string_lossy().starts_with('.')
        {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn manifest(package: &str) -> String {
    fs::read_to_string(root().join(package).join("Cargo.toml")).expect("a manifest")
}

fn none(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// Places in pure rooms that reach for the world.
fn impurities(rooms: &[&str]) -> Vec<String> {
    let worldly = [
        "tokio",
        "std::time",
        "std::net",
        "std::fs",
        "std::thread",
        "std::env",
        "rand::",
        "async fn",
        ".await",
    ];
    let sources = rooms.iter().flat_map(|room| sources(room));
    sources.flat_map(|source| worldly.map(|word| source.places(word)).concat()).collect()
}

#[test]
fn undo_log_has_no_io_clock_randomness_or_async() {
    none(impurities(&["undo-log/src"]), "undo-log is pure");
    let manifest = manifest("undo-log");
    let dependencies = manifest.split("[dev-dependencies]").next().expect("a first part");
    for name in ["tokio", "rand", "mysql_async", "atone-protocol", "atone-tc-server"] {
        assert!(!dependencies.lines().any(|line| line.starts_with(name)), "undo-log depends on {name}");
    }
}

#[test]
fn the_proxys_wire_and_the_coordinators_state_are_pure() {
    none(
        impurities(&["proxy/src/wire", "proxy/src/wire.rs"]),
        "proxy's wire turns bytes into messages, no more",
    );
    let state = ["tc-server/src/state", "tc-server/src/state.rs"];
    none(impurities(&state), "the coordinator's state is a function of its log");
    let hashed = state.iter().flat_map(|room| sources(room));
    let hashed = hashed.flat_map(|source| ["HashMap", "HashSet"].map(|word| source.places(word)).concat());
    none(hashed.collect(), "replicated state is in ordered maps");
}

#[test]
fn tests_link_no_product_code() {
    let manifest = manifest("tests");
    let products = ["atone-proxy", "atone-tc-server", "atone-protocol", "atone-undo-log"];
    none(
        products.iter().filter(|name| manifest.contains(*name)).map(ToString::to_string).collect(),
        "tests/Cargo.toml names product packages",
    );
}

#[test]
fn the_coordinator_knows_no_rows_and_no_proxy() {
    for package in ["tc-server", "tc-server/protocol"] {
        for name in ["atone-undo-log", "atone-proxy", "mysql_async", "sqlparser"] {
            assert!(!manifest(package).contains(name), "{package} names {name}");
        }
    }
}

#[test]
fn the_proxy_meets_the_coordinator_in_one_file() {
    let users: Vec<String> = sources("proxy/src")
        .into_iter()
        .filter(|source| !source.places("atone_tc_server").is_empty())
        .map(|source| source.path)
        .collect();
    assert!(users.len() <= 1, "the embedded coordinator is started in one file, but {users:?} name it");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent =
        sources(".").into_iter().filter(|source| !source.text.starts_with("//!")).map(|source| source.path);
    none(silent.collect(), "files that do not open with //!");
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    let long = sources(".").into_iter().filter(|source| source.text.lines().count() > LONGEST);
    none(long.map(|source| source.path).collect(), &format!("files of more than {LONGEST} lines"));
}

#[test]
fn nothing_is_left_undone() {
    // In two parts, so that this file does not find itself.
    let marks = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let found =
        sources(".").into_iter().flat_map(|source| marks.clone().map(|mark| source.places(&mark)).concat());
    none(found.collect(), "unfinished code");
}

#[test]
fn planted_bugs_are_in_the_named_places_only() {
    let places = [
        "proxy/src/postgres/guard.rs",
        "proxy/src/postgres/write.rs",
        "proxy/src/session/guard/end.rs",
        "proxy/src/session/guard/write.rs",
        "tc-server/protocol/src/planted.rs",
        "tc-server/src/dispatch/requests.rs",
        "tc-server/src/dispatch/stale.rs",
        "tc-server/src/state/phase_two.rs",
    ];
    let products = ["undo-log/src", "proxy/src", "tc-server"].iter().flat_map(|place| sources(place));
    let outside = products.filter(|source| !places.contains(&source.path.as_str()));
    let words = ["planted::", "planted(", "planted-bugs"];
    let found = outside.flat_map(|source| words.map(|word| source.places(word)).concat());
    let found = found.filter(|place| !place.ends_with("#[cfg(feature = \"planted-bugs\")]"));
    none(found.collect(), "bugs for the tests to find");
    for package in ["proxy", "tc-server", "tc-server/protocol"] {
        assert!(
            !manifest(package).lines().any(|line| line.starts_with("default =")),
            "{package} has default features"
        );
    }
}

#[test]
fn dialects_are_told_apart_in_the_named_rooms_only() {
    let rooms = [
        "undo-log/src/analyze",
        "undo-log/src/sql",
        "proxy/src/wire",
        // Which front a listener has, and what a URL means.
        "proxy/src/app.rs",
        "proxy/src/config.rs",
        "proxy/src/backend",
    ];
    let products = ["undo-log/src", "proxy/src", "tc-server"].iter().flat_map(|place| sources(place));
    let outside = products.filter(|source| !rooms.iter().any(|room| source.path.starts_with(room)));
    let found = outside.flat_map(|source| {
        let arms = source.places("Dialect::").into_iter().filter(|place| place.contains("=>"));
        let matches = source.places("match ").into_iter().filter(|place| place.contains("dialect"));
        arms.chain(matches).collect::<Vec<_>>()
    });
    none(
        found.collect(),
        "match on dialect outside undo-log/{analyze,sql} and proxy/{wire,backend,app.rs,config.rs}",
    );
}

#[test]
fn nothing_is_fetched_from_a_place_named_here() {
    for folder in ["node", "postgres/node"] {
        let lock = format!("tests/drivers/{folder}/package-lock.json");
        let text = fs::read_to_string(root().join(&lock)).expect("a lock file");
        assert!(!text.contains("\"resolved\""), "{lock} names a registry's host");
    }
    let pom = "tests/drivers/postgres/java/pom.xml";
    let text = fs::read_to_string(root().join(pom)).expect("a pom");
    assert!(!text.contains("://"), "{pom} names a repository's host");
}
