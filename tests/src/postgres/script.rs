//! Sessions written down as lines, so that many fit on a page. Played, they give everything the server said.
//!
//! A line is a message of the client, named as in the protocol: `Q text` and `S` (Sync) wait for ReadyForQuery, `q text`
//! and `s` do not; `P name [types] text`, `B portal name a | b > 1` (a value of `\N` is NULL, `x:00ff` is binary; after
//! `>` the formats of the results), `D S name`, `D P portal`, `C S name`, `E portal limit`, `H` (Flush); `d text` and
//! `x 00ff` are CopyData, `c` CopyDone, `f why` CopyFail. `-` is the empty name. `< A` waits for a message, `<` for the
//! end. A line that begins with a digit is said by that session; the first is 1. `X` is Terminate.

use super::message::{self, Message, Parameter};
use super::raw::Raw;
use crate::{Context, Failure, Result};

/// Plays a script; `connect` opens a session. What each said is told in lines, with the client's lines between.
pub async fn play(script: &str, connect: impl AsyncFn() -> Result<Raw>) -> Result<Vec<String>> {
    let mut sessions = Vec::new();
    let mut log = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (number, line) = match line.split_once(' ') {
            Some((number, rest)) if number.parse::<usize>().is_ok() => (number.parse().or_fail(line)?, rest),
            _ => (1, line),
        };
        while sessions.len() < number {
            let session = connect().await?;
            log.extend(session.greeting.iter().map(|message| format!("  {message}")));
            sessions.push(session);
        }
        log.push(format!("{number} {line}"));
        let session = &mut sessions[number - 1];
        let answers = say(session, line).await.or_fail(format!("{line}, after {log:#?}"))?;
        log.extend(answers.iter().map(|message| format!("  {message}")));
    }
    Ok(log)
}

async fn say(session: &mut Raw, line: &str) -> Result<Vec<Message>> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    if word == "<" {
        return match rest.as_bytes().first() {
            Some(kind) => session.until(*kind).await,
            None => session.closed().await,
        };
    }
    if word == "X" {
        session.send(&message::message(b'X', b"")).await?;
        return session.closed().await;
    }
    session.send(&encode(word, rest)?).await?;
    if ["Q", "S"].contains(&word) { session.until(b'Z').await } else { Ok(Vec::new()) }
}

fn encode(word: &str, rest: &str) -> Result<Vec<u8>> {
    let words: Vec<&str> = rest.split_whitespace().map(unnamed).collect();
    let word_at = |at: usize| words.get(at).copied().or_fail(format!("{word} {rest}"));
    Ok(match word {
        "Q" | "q" => message::message(b'Q', &message::texts(&[rest])),
        "S" | "s" => message::message(b'S', b""),
        "H" => message::message(b'H', b""),
        "P" => parse(rest)?,
        "B" => bind(rest)?,
        "D" | "C" => message::name(word.as_bytes()[0], word_at(0)?.as_bytes()[0], word_at(1)?),
        "E" => message::execute(word_at(0)?, words.get(1).map_or(Ok(0), |n| n.parse()).or_fail(rest)?),
        "d" => message::message(b'd', rest.replace("\\t", "\t").replace("\\n", "\n").as_bytes()),
        "x" => message::message(b'd', &bytes(rest)?),
        "c" => message::message(b'c', b""),
        "f" => message::message(b'f', &message::texts(&[rest])),
        _ => return Err(Failure::new(format!("no such word: {word}"))),
    })
}

fn unnamed(name: &str) -> &str {
    if name == "-" { "" } else { name }
}

fn parse(rest: &str) -> Result<Vec<u8>> {
    let (name, mut text) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut types = Vec::new();
    if let Some((list, after)) = text.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        types = list.split(',').map(|kind| kind.parse().or_fail(kind)).collect::<Result<_>>()?;
        text = after;
    }
    Ok(message::parse(unnamed(name), text, &types))
}

fn bind(rest: &str) -> Result<Vec<u8>> {
    let (rest, formats) = rest.rsplit_once(" > ").unwrap_or((rest, ""));
    let formats: Vec<i16> =
        formats.split_whitespace().map(|format| format.parse().or_fail(format)).collect::<Result<_>>()?;
    let mut parts = rest.splitn(3, ' ');
    let mut name = || parts.next().map(unnamed).or_fail(rest);
    let (portal, statement) = (name()?, name()?);
    let values = parts.next().map_or(Ok(Vec::new()), |values| values.split(" | ").map(value).collect())?;
    Ok(message::bind(portal, statement, &values, &formats))
}

fn value(text: &str) -> Result<Parameter> {
    Ok(match text.strip_prefix("x:") {
        Some(hex) => (1, Some(bytes(hex)?)),
        None if text == "\\N" => (0, None),
        None => (0, Some(text.as_bytes().to_vec())),
    })
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let hex: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    hex.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).or_fail("hex")).collect()
}
