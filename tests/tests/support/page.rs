//! Writes the outcomes down.

use super::outcome::Outcome;
use super::rows::{Form, Row, Section};
use std::fmt::Write;

const HEAD: &str = "# What is supported

Inside a global transaction every statement is captured, relayed or refused. This page was not written by hand: `tests/tests/support` plays every row on
real servers, and `cargo test --test support` fails when the page is not what they say (`ATONE_WRITE=1 cargo test --test support` rewrites it).
Outside a global transaction everything passes. Statements are sent as text, each a local transaction of its own where no BEGIN stands.

* **captured**: it changes rows; after `atone_rollback()` a dump of all tables is the same byte for byte as before, and after `atone_commit()` what was
  written is there.
* **relayed**: it passes as it came, and changes no row and nothing else that a dump shows. What it changes besides (a setting of the session, the number of a
  sequence, an advisory lock) is undone by nobody, as without Atone.
* **refused**: it fails with the error that stands here, after the word `atone: `, and nothing is changed. The server itself takes it, which is tried too, unless it
  needs a file or would stop the server.
* **not seen**: a limit of this version: it passes, and a rollback does not undo it.
* **–**: the server itself does not take it.

A type is tried with values from its edges, which stand in `tests/tests/support/rows`: as a column, each of them and NULL is changed, deleted and inserted; as the
key, rows are changed, inserted and deleted. Where nothing else stands, that holds for all three.
";

/// What two servers of one family said of their rows.
pub type Family<'a> = (&'a [Section], [(&'a str, Vec<Vec<Outcome>>); 2]);

/// The whole page.
pub fn render(families: &[Family<'_>]) -> String {
    let mut page = HEAD.to_owned();
    for (sections, servers) in families {
        let names = servers.each_ref().map(|(name, _)| *name);
        let _ = write!(page, "\n## {} and {}\n", names[0], names[1]);
        let mut at = 0;
        for section in sections.iter() {
            let outcomes = servers.each_ref().map(|(_, outcomes)| &outcomes[at..at + section.rows.len()]);
            at += section.rows.len();
            let _ = write!(page, "\n### {}\n\n", section.title);
            page += &match section.form {
                Form::Statements => statements(section, names, outcomes),
                Form::Types => types(section, names, outcomes),
            };
        }
    }
    page
}

fn statements(section: &Section, names: [&str; 2], outcomes: [&[Vec<Outcome>]; 2]) -> String {
    let mut text = "| what | for example | outcome |\n|---|---|---|\n".to_owned();
    for (at, row) in section.rows.iter().enumerate() {
        let cell = both(names, outcomes.map(|outcomes| cell(row, &outcomes[at])));
        let _ = writeln!(text, "| {} | {} | {cell} |", escaped(&row.title), example(row));
    }
    text
}

/// A type has two rows: as a plain column, and as the key.
fn types(section: &Section, names: [&str; 2], outcomes: [&[Vec<Outcome>]; 2]) -> String {
    let mut text = "| type | as a column | as the primary key |\n|---|---|---|\n".to_owned();
    for at in (0..section.rows.len()).step_by(2) {
        let cells = [at, at + 1].map(|at| both(names, outcomes.map(|all| cell(&section.rows[at], &all[at]))));
        let _ = writeln!(text, "| {} | {} | {} |", escaped(&section.rows[at].title), cells[0], cells[1]);
    }
    text
}

/// What both servers say, once if it is the same.
fn both(names: [&str; 2], cells: [String; 2]) -> String {
    let [first, second] = cells;
    if first == second { first } else { format!("{}: {first}<br>{}: {second}", names[0], names[1]) }
}

/// What one server says of a row: in one word if it is so of all its statements.
fn cell(row: &Row, outcomes: &[Outcome]) -> String {
    let words: Vec<String> = outcomes.iter().map(word).collect();
    if words.windows(2).all(|pair| pair[0] == pair[1]) {
        return words.into_iter().next().unwrap_or_default();
    }
    let verbs = row.inside.iter().map(|statement| statement.split(' ').next().unwrap_or_default());
    let each = verbs.zip(words).map(|(verb, word)| format!("{verb} {word}"));
    each.collect::<Vec<_>>().join("<br>")
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Captured => "captured".to_owned(),
        Outcome::Relayed => "relayed".to_owned(),
        Outcome::Refused(why) => format!("refused: {}", escaped(why)),
        Outcome::Unseen => "**not seen**: passes, and is not undone".to_owned(),
        Outcome::Absent(_) => "–".to_owned(),
        Outcome::Wrong(what) => format!("WRONG: {}", escaped(what)),
    }
}

/// The statements as they stand, before them those from outside the transaction.
fn example(row: &Row) -> String {
    let outside = row.outside.iter().map(|statement| format!("{} (before)", code(statement)));
    let inside = row.inside.iter().map(|statement| code(statement));
    outside.chain(inside).collect::<Vec<_>>().join("<br>")
}

/// A statement as code; of one that brings its data with it, its first line.
fn code(statement: &str) -> String {
    let line = statement.lines().next().unwrap_or_default();
    let tick = if line.contains('`') { "``" } else { "`" };
    format!("{tick}{}{tick}", escaped(&line.replace("{schema}", "shop")))
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
