//! Says statements to PostgreSQL.

use super::SHARED;
use crate::session::{Answer, Told};
use crate::statement::{Param, Statement};
use atone_tests::postgres::Raw;
use atone_tests::postgres::message::{self, Message, Parameter, texts};
use atone_tests::servers::database::APP;
use atone_tests::servers::postgres::SHOP;
use atone_tests::{Context, Result};

/// A connection of the application to a schema.
pub async fn open(port: u16, schema: &str) -> Result<Raw> {
    let options = format!("-c search_path={schema},{SHARED}");
    Raw::connect(port, APP, SHOP, &[("options", &options)]).await
}

/// Runs a statement, and writes down all that a client learns.
pub async fn run(raw: &mut Raw, statement: &Statement) -> Result<Told> {
    let messages = match &statement.data {
        Some(data) => copy(raw, &statement.text(), data).await?,
        None if statement.prepared => prepared(raw, statement).await?,
        None => raw.query(&statement.text()).await?,
    };
    Ok(told(&messages))
}

async fn prepared(raw: &mut Raw, statement: &Statement) -> Result<Vec<Message>> {
    let (text, params) = statement.bound(|number| format!("${number}"));
    let params: Vec<Parameter> = params.into_iter().map(parameter).collect();
    let sync = message::message(b'S', b"");
    raw.send(&[message::parse("", &text, &[]), message::name(b'D', b'S', ""), sync.clone()].concat()).await?;
    let mut answers = raw.until(b'Z').await?;
    if !answers.iter().any(|answer| answer.kind == b'E') {
        let format = i16::from(text.len() % 2 == 0);
        raw.send(&[message::bind("", "", &params, &[format]), message::execute("", 0), sync].concat())
            .await?;
        answers.extend(raw.until(b'Z').await?);
    }
    Ok(answers)
}

fn parameter(param: Param) -> Parameter {
    match param {
        Param::Text(text) => (0, Some(text.into_bytes())),
        Param::Bytes(bytes) => (1, Some(bytes)),
        Param::Int(number) => (0, Some(number.to_string().into_bytes())),
        Param::UInt(number) => (0, Some(number.to_string().into_bytes())),
        Param::Double(number) => (0, Some(number.to_string().into_bytes())),
        Param::Null => (0, None),
    }
}

async fn copy(raw: &mut Raw, text: &str, data: &str) -> Result<Vec<Message>> {
    raw.send(&message::message(b'Q', &texts(&[text]))).await?;
    let mut messages = Vec::new();
    loop {
        let message = raw.receive().await.or_fail(text)?;
        let kind = message.kind;
        messages.push(message);
        match kind {
            b'G' => {
                let lines = data.split_inclusive('\n').map(|line| message::message(b'd', line.as_bytes()));
                let lines: Vec<u8> = lines.flatten().collect();
                raw.send(&[lines, message::message(b'c', b"")].concat()).await?;
            }
            b'Z' => return Ok(messages),
            _ => {}
        }
    }
}

fn told(messages: &[Message]) -> Told {
    let state = messages
        .iter()
        .rev()
        .find(|message| message.kind == b'Z')
        .map_or(' ', |last| char::from(last.body[0]));
    let error = messages.iter().find(|message| message.kind == b'E');
    if let Some(error) = error {
        return Told { answer: Answer::error(error.field('C'), error.field('M')), state };
    }
    let (mut rows, mut rest) = (Vec::new(), Vec::new());
    for message in messages {
        match message.kind {
            b'D' => rows.push(message.to_string()),
            b'N' => rest.push(format!("N {} {}", message.field('C'), message.field('M'))),
            _ => rest.push(message.to_string()),
        }
    }
    rows.sort();
    let tag = messages.iter().rev().find(|message| message.kind == b'C');
    let tag = tag
        .map(|tag| String::from_utf8_lossy(&tag.body).trim_end_matches('\0').to_owned())
        .unwrap_or_default();
    let changed = tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
    Told { answer: Answer::Done(changed, format!("{} rows {rows:?}", rest.join("; "))), state }
}
