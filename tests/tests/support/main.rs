//! `tests/SUPPORT.md`, the page that says what is captured and what is refused, is written by real servers: every row of it is
//! played here, and the page in the repository must be what comes out.
//!
//! `rows` lists what is tried, `play` tries one row and says what came of it, `mysql` and `postgres` are its two ways
//! to talk to a server, `page` writes the outcomes down. `ATONE_WRITE=1 cargo test --test support` rewrites the page.

mod mysql;
mod outcome;
mod page;
mod play;
mod postgres;
mod rows;
mod servers;

use atone_tests::servers::Kind;
use atone_tests::servers::binaries::workspace;
use outcome::Outcome;
use play::play_all;
use rows::{Form, Section};
use servers::Servers;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_page_is_what_the_servers_say() {
    let servers = Servers::start().await.expect("the servers start");
    let (mysql, postgres) = (rows::mysql(), rows::postgres());
    let outcomes = tokio::join!(
        play_all(mysql::Server::new(&servers, Kind::MySql).await, &mysql),
        play_all(mysql::Server::new(&servers, Kind::Maria).await, &mysql),
        play_all(postgres::Server::new(&servers, Kind::Pg15).await, &postgres),
        play_all(postgres::Server::new(&servers, Kind::Pg18).await, &postgres),
    );
    let [mysql_9, maria] = [("MySQL 9", outcomes.0), ("MariaDB", outcomes.1)];
    let [fifteen, eighteen] = [("PostgreSQL 15", outcomes.2), ("PostgreSQL 18", outcomes.3)];
    let all = [(&mysql, &mysql_9), (&mysql, &maria), (&postgres, &fifteen), (&postgres, &eighteen)];
    let wrong = all.iter().flat_map(|(sections, (server, outcomes))| wrong_ones(sections, server, outcomes));
    let nowhere = [nowhere(&mysql, [&mysql_9.1, &maria.1]), nowhere(&postgres, [&fifteen.1, &eighteen.1])];
    let wrong: Vec<String> = wrong.chain(nowhere.concat()).collect();
    assert!(wrong.is_empty(), "{} outcomes are no answer:\n\n{}", wrong.len(), wrong.join("\n\n"));
    let page = page::render(&[(&mysql, [mysql_9, maria]), (&postgres, [fifteen, eighteen])]);
    compare(&page);
}

/// What is neither captured nor refused nor a read.
fn wrong_ones(sections: &[Section], server: &str, outcomes: &[Vec<Outcome>]) -> Vec<String> {
    let rows = sections.iter().flat_map(|section| &section.rows).zip(outcomes);
    let wrong = rows.flat_map(|(row, outcomes)| {
        outcomes.iter().filter_map(move |outcome| match outcome {
            Outcome::Wrong(what) => {
                Some(format!("{server}: {}\n  {}\n  {what}", row.title, row.inside.join("\n  ")))
            }
            _ => None,
        })
    });
    wrong.collect()
}

/// Statements that neither server takes: the row is mistaken.
fn nowhere(sections: &[Section], servers: [&Vec<Vec<Outcome>>; 2]) -> Vec<String> {
    let rows = sections.iter().flat_map(|section| section.rows.iter().map(|row| (section.form, row)));
    let rows = rows.zip(servers[0].iter().zip(servers[1]));
    let mistaken = rows.filter_map(|((form, row), (first, second))| {
        let ([Outcome::Absent(first)], [Outcome::Absent(second)]) = (&first[..], &second[..]) else {
            return None;
        };
        let text = format!("{}: no server takes it:\n  {first}\n  {second}", row.title);
        (form == Form::Statements).then_some(text)
    });
    mistaken.collect()
}

/// The page in the repository must be this one; with `ATONE_WRITE` it becomes it.
fn compare(page: &str) {
    let path = workspace().join("tests/SUPPORT.md");
    if std::env::var_os("ATONE_WRITE").is_some() {
        std::fs::write(&path, page).expect("SUPPORT.md can be written");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let (lines, wanted): (Vec<&str>, Vec<&str>) = (written.lines().collect(), page.lines().collect());
    let other = |from: &[&str], than: &[&str], mark: &str| -> Vec<String> {
        from.iter().filter(|line| !than.contains(line)).map(|line| format!("{mark} {line}")).collect()
    };
    let differences = [other(&lines, &wanted, "-"), other(&wanted, &lines, "+")].concat();
    assert!(
        written == page,
        "SUPPORT.md (-) is not what the servers say (+); ATONE_WRITE=1 cargo test --test support rewrites it:\n{}",
        differences.join("\n")
    );
}
