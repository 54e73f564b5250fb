//! Inside a global transaction nobody can tell the proxy from the database either, except where it refuses: each session
//! of the battery is played through the proxy with its first connection in a global transaction, and directly without
//! what was refused. Every packet must be the same; and when all is rolled back nothing is left.

use crate::battery::{TABLES, connect, in_lanes};
use crate::battery_binary::BINARY;
use crate::battery_guard::GUARDED;
use crate::battery_refused::{self as refused, Refused};
use crate::battery_text::TEXT;
use crate::battery_transactions::{TRACKED, TRANSACTIONS};
use atone_tests::Result;
use atone_tests::mysql::raw::Abilities;
use atone_tests::mysql::script::play;
use atone_tests::servers::Kind;
use atone_tests::world::Room;
use std::cell::RefCell;

/// A line of the client and what answered it.
type Turn<'a> = (&'a str, &'a [String]);

fn turns(log: &[String]) -> Vec<Turn<'_>> {
    let starts: Vec<usize> = (0..log.len()).filter(|at| !log[*at].starts_with("  ")).collect();
    let ends = starts.iter().skip(1).copied().chain([log.len()]);
    starts.iter().zip(ends).map(|(start, end)| (log[*start].as_str(), &log[start + 1..end])).collect()
}

/// The line without the session's number.
fn said<'a>(turn: &Turn<'a>) -> &'a str {
    turn.0.split_once(' ').map_or("", |(_, line)| line)
}

fn is_refused(turn: &Turn<'_>) -> bool {
    turn.1.iter().any(|packet| packet.contains("atone: "))
}

/// Plays a session; its first connection, if it has one, asks this before.
async fn played(
    room: &Room<'_>,
    (port, able): (u16, Abilities),
    script: &str,
    first: &str,
) -> Result<(Vec<String>, String)> {
    let answer = RefCell::new(None);
    let log = play(script, async || {
        let mut raw = connect(room, port, able).await?;
        if answer.borrow().is_none() {
            let one = raw.one(first).await?;
            answer.replace(Some(one));
        }
        Ok(raw)
    })
    .await?;
    Ok((log, answer.into_inner().unwrap_or_default()))
}

/// What was refused, or where the session parts from the direct one.
async fn compare(
    room: &Room<'_>,
    (kind, able): (Kind, Abilities),
    name: &str,
    script: &str,
) -> std::result::Result<Vec<String>, String> {
    let failed = |error| format!("{name}: {error}");
    room.prepare(kind, TABLES).await.expect("a fresh schema");
    let before = room.dump(kind).await;
    let proxy = (room.world.proxy.port(kind), able);
    let (log, xid) = played(room, proxy, script, "SELECT atone_begin()").await.map_err(failed)?;
    let left = room.dump(kind).await;
    let got = turns(&log);
    room.world.api().rollback(&xid).unwrap();
    let ended = room.calm(&xid).await;
    let after = room.dump(kind).await;

    room.prepare(kind, TABLES).await.expect("a fresh schema");
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.zip(&got).filter(|(_, turn)| !is_refused(turn)).map(|(line, _)| line);
    let passed = lines.collect::<Vec<_>>().join("\n");
    let direct = (room.world.database(kind).port(), able);
    let (log, _) = played(room, direct, &passed, "SELECT '' AS xid").await.map_err(failed)?;
    let right = room.dump(kind).await;
    let expected = turns(&log);

    let passed: Vec<_> = got.iter().filter(|turn| !is_refused(turn)).collect();
    for (at, (got, expected)) in passed.iter().zip(&expected).enumerate() {
        if *got != expected {
            let before: Vec<_> = passed[at.saturating_sub(3)..at].iter().map(|turn| turn.0).collect();
            return Err(format!(
                "{name}: after {before:?}\n{}\nin a global transaction:\n{}\ndirect:\n{}",
                got.0,
                got.1.join("\n"),
                expected.1.join("\n")
            ));
        }
    }
    if left != right {
        return Err(format!("{name}: phase one left something else:\n{left}\nnot\n{right}"));
    }
    if !leaves(script) && after != before {
        return Err(format!("{name}: {ended}, but something is left:\n{after}\nnot\n{before}"));
    }
    Ok(got.iter().filter(|turn| is_refused(turn)).map(|turn| said(turn).to_owned()).collect())
}

/// Whether somebody in the session is, at some time, not in the global transaction.
fn leaves(script: &str) -> bool {
    let out = ["2 ", "reset", "user "];
    script.lines().any(|line| out.iter().any(|word| line.trim_start().starts_with(word)))
}

/// Plays a collection of sessions. Refused is what is listed, in the first list that has the session, and nothing else.
async fn battery(kind: Kind, schema: &str, sessions: &[(&str, &str)], refused: &[Refused]) {
    // Both kinds of client, without playing everything twice.
    let able = if kind == Kind::Maria { Abilities::Old } else { Abilities::New };
    battery_of((kind, able), schema, sessions, refused).await;
}

async fn battery_of(
    (kind, able): (Kind, Abilities),
    schema: &str,
    sessions: &[(&str, &str)],
    refused: &[Refused],
) {
    let play = async |room: &Room<'_>, name: &str, script: &str| {
        let known = refused.iter().copied().flatten().find(|(session, _)| *session == name);
        let known = known.map_or(&[][..], |(_, lines)| lines);
        match compare(room, (kind, able), name, script).await {
            Ok(lines) if begin_as(&lines, known) => None,
            Ok(lines) => Some(format!("{name}: refused are {lines:#?}, not {known:#?}")),
            Err(why) => Some(why),
        }
    };
    let failed = in_lanes(kind, schema, sessions, play).await;
    assert!(failed.is_empty(), "{} sessions differ on {kind:?}:\n{}", failed.len(), failed.join("\n---\n"));
}

fn begin_as(lines: &[String], known: &[&str]) -> bool {
    lines.len() == known.len() && lines.iter().zip(known).all(|(line, known)| line.starts_with(known))
}

#[tokio::test]
async fn text_inside_on_mysql() {
    battery(Kind::MySql, "inside_text_mysql", TEXT, &[refused::TEXT]).await;
}

#[tokio::test]
async fn text_inside_on_mariadb() {
    battery(Kind::Maria, "inside_text_mariadb", TEXT, &[refused::TEXT]).await;
}

#[tokio::test]
async fn binary_inside_on_mysql() {
    battery(Kind::MySql, "inside_binary_mysql", BINARY, &[refused::BINARY_BY_MYSQL, refused::BINARY]).await;
}

#[tokio::test]
async fn binary_inside_on_mariadb() {
    battery(Kind::Maria, "inside_binary_mariadb", BINARY, &[refused::BINARY]).await;
}

#[tokio::test]
async fn transactions_inside_on_mysql() {
    battery(Kind::MySql, "inside_transactions_mysql", TRANSACTIONS, &[refused::TRANSACTIONS]).await;
}

#[tokio::test]
async fn transactions_inside_on_mariadb() {
    battery(Kind::Maria, "inside_transactions_mariadb", TRANSACTIONS, &[refused::TRANSACTIONS]).await;
}

#[tokio::test]
async fn guarded_inside_on_mysql() {
    battery(Kind::MySql, "inside_guarded_mysql", GUARDED, &[refused::GUARDED]).await;
}

#[tokio::test]
async fn guarded_inside_on_mariadb() {
    battery(Kind::Maria, "inside_guarded_mariadb", GUARDED, &[refused::GUARDED]).await;
}

#[tokio::test]
async fn tracked_inside_on_both() {
    for kind in Kind::ALL {
        battery_of((kind, Abilities::New), "inside_tracked", TRACKED, &[]).await;
    }
}
