//! Sessions written down as lines, so that many fit on a page. Played, they give everything the server said.
//!
//! A line is a command of the client: `Q text` (`q` does not wait for the answer); `P name text` (prepare),
//! `E name a | b` (execute; values as in `command`), `A name a | b` (again, without the types), `O name a` (execute with
//! a cursor), `F name 2` (fetch), `L name 0 text` (long data), `R name` (reset), `C name` (close), where a number may
//! stand for a name; `D schema`, `ping`, `stat`, `reset`, `opt 1`, `fields t`, `user name password schema`; `file text`
//! sends a file that was asked for; `x 00ff` any bytes with an answer of one packet; `X` says goodbye. `< results`,
//! `< one` wait for an answer, `<` for the end. A line that begins with a digit is said by that session; the first is 1.

use super::answer::{self, Answer};
use super::command::{Form, bytes, execute, expanded, with_number};
use super::packet::{Packet, Reader};
use super::raw::Raw;
use crate::{Context, Failure, Result};
use std::collections::HashMap;

/// How the error begins that says that there is no such statement, 1243.
const UNKNOWN_STATEMENT: [u8; 3] = [0xff, 0xdb, 0x04];
/// The same for a statement without an open cursor, 1421.
const NO_CURSOR: [u8; 3] = [0xff, 0x8d, 0x05];
/// Stands for a statement that the server did not prepare.
const NOT_PREPARED: u32 = 999_999;

struct Session {
    raw: Raw,
    /// The numbers of prepared statements.
    statements: HashMap<String, u32>,
    /// The last packet asked for a file.
    file_wanted: bool,
}

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
            let raw = connect().await?;
            log.extend(raw.greeting.iter().map(|packet| format!("  {packet}")));
            sessions.push(Session { raw, statements: HashMap::new(), file_wanted: false });
        }
        log.push(format!("{number} {line}"));
        let session = &mut sessions[number - 1];
        let answers = session.say(line).await.or_fail(format!("{line}, after {log:#?}"))?;
        session.file_wanted = answers.last().is_some_and(|packet| packet.kind() == answer::FILE);
        log.extend(answers.iter().map(|packet| format!("  {}", session.masked(line, packet))));
    }
    Ok(log)
}

impl Session {
    /// A packet as it is told. MariaDB numbers the prepared statements of all sessions together, so that their numbers
    /// are not comparable, neither where they are given nor where an error names one.
    fn masked(&self, line: &str, packet: &Packet) -> Packet {
        let mut packet = packet.clone();
        if self.raw.is_mariadb() && packet.body.len() > 4 {
            if line.starts_with("P ") && packet.number == 1 && packet.kind() == 0 {
                packet.body[1..5].fill(b'?');
            }
            if [UNKNOWN_STATEMENT, NO_CURSOR].iter().any(|error| packet.body.starts_with(error)) {
                mask_number(&mut packet.body);
            }
        }
        packet
    }

    async fn say(&mut self, line: &str) -> Result<Vec<Packet>> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "<" => self.wait(rest).await,
            "X" => {
                self.raw.command(&[1]).await?;
                self.raw.closed().await
            }
            // Refused, it was not asked for.
            "file" if !self.file_wanted => Ok(Vec::new()),
            "file" => {
                self.raw.reply(&expanded(rest)?).await?;
                if !rest.is_empty() {
                    self.raw.reply(&[]).await?;
                }
                self.raw.answer(Answer::Results).await
            }
            "user" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let [name, password, schema] = words[..] else { return Err(Failure::new(rest)) };
                Ok(self.raw.change_user((name, password), schema).await?.into_iter().collect())
            }
            "stat" => {
                self.raw.command(&[9]).await?;
                let mut packets = self.raw.answer(Answer::One).await?;
                // Counters of the whole server.
                packets
                    .iter_mut()
                    .for_each(|packet| packet.body.retain(|b| !b.is_ascii_digit() && *b != b'.'));
                Ok(packets)
            }
            "P" => self.prepare(rest).await,
            _ => {
                let (payload, answer) = self.encode(word, rest)?;
                self.raw.command(&payload).await?;
                self.raw.answer(answer).await
            }
        }
    }

    async fn wait(&mut self, what: &str) -> Result<Vec<Packet>> {
        match what {
            "results" => self.raw.answer(Answer::Results).await,
            "one" => self.raw.answer(Answer::One).await,
            _ => self.raw.closed().await,
        }
    }

    async fn prepare(&mut self, rest: &str) -> Result<Vec<Packet>> {
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        self.raw.command(&[&[0x16], &expanded(text)?[..]].concat()).await?;
        let packets = self.raw.answer(Answer::Prepared).await?;
        let number = match packets.first() {
            Some(first) if first.kind() == 0 => Reader(&first.body[1..]).number(4),
            _ => u64::from(NOT_PREPARED),
        };
        self.statements.insert(name.to_owned(), u32::try_from(number).or_fail("a statement")?);
        Ok(packets)
    }

    /// A command's bytes, and what answers it.
    fn encode(&self, word: &str, rest: &str) -> Result<(Vec<u8>, Answer)> {
        let (name, more) = rest.split_once(' ').unwrap_or((rest, ""));
        let statement = || match self.statements.get(name) {
            Some(number) => Ok(*number),
            None => name.parse().or_fail(format!("no statement {name}")),
        };
        Ok(match word {
            "Q" => (self.raw.query(&expanded(rest)?), Answer::Results),
            "q" => (self.raw.query(&expanded(rest)?), Answer::None),
            "E" | "A" | "O" => {
                let attributes = self.raw.attributes;
                let form = Form { cursor: word == "O", types: word != "A", attributes };
                (execute(statement()?, form, more)?, Answer::Results)
            }
            "F" => {
                let count: u32 = more.parse().or_fail(rest)?;
                ([with_number(0x1c, statement()?), count.to_le_bytes().to_vec()].concat(), Answer::Rows)
            }
            "L" => {
                let (at, text) = more.split_once(' ').unwrap_or((more, ""));
                let at: u16 = at.parse().or_fail(rest)?;
                let head = [with_number(0x18, statement()?), at.to_le_bytes().to_vec()].concat();
                ([head, expanded(text)?].concat(), Answer::None)
            }
            "C" => (with_number(0x19, statement()?), Answer::None),
            "R" => (with_number(0x1a, statement()?), Answer::One),
            "D" => ([b"\x02", rest.as_bytes()].concat(), Answer::One),
            "ping" => (vec![0x0e], Answer::One),
            "reset" => (vec![0x1f], Answer::One),
            "opt" => (vec![0x1b, rest.parse().or_fail(rest)?, 0], Answer::One),
            "fields" => ([b"\x04", rest.as_bytes(), b"\0"].concat(), Answer::Rows),
            "x" => (bytes(rest)?, Answer::One),
            _ => return Err(Failure::new(format!("no such word: {word}"))),
        })
    }
}

/// Takes a number out of a sentence, the first one behind the sentence's code and state.
fn mask_number(error: &mut Vec<u8>) {
    let state = b"\xff??#HY000".len();
    let digit = |byte: &u8| byte.is_ascii_digit();
    if let Some(at) = error.iter().skip(state).position(digit).map(|at| at + state) {
        let end = error[at..].iter().position(|byte| !digit(byte)).map_or(error.len(), |end| at + end);
        error.splice(at..end, *b"?");
    }
}
