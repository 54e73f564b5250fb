//! Messages of PostgreSQL's protocol: building a client's, and writing down a server's so that two servers' can be
//! compared. Numbers that differ from run to run (process numbers, new tables and types) are masked, nothing else.

use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};

/// Values longer than this are shown by their length and a hash.
const SHOWN: usize = 400;

/// The first number that is given to tables and types that are not the server's own.
const FIRST_OWN: u32 = 16_384;

/// A message of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Its first byte.
    pub kind: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl Message {
    /// The fields of an ErrorResponse or NoticeResponse.
    pub fn fields(&self) -> Vec<(char, String)> {
        let fields = self.body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        fields
            .map(|field| (char::from(field[0]), String::from_utf8_lossy(&field[1..]).into_owned()))
            .collect()
    }

    /// One field of an error or a notice; empty if it is not there.
    pub fn field(&self, name: char) -> String {
        let field = self.fields().into_iter().find(|(field, _)| *field == name);
        field.map(|(_, value)| value).unwrap_or_default()
    }

    /// The values of a DataRow.
    pub fn values(&self) -> Vec<Option<Vec<u8>>> {
        let mut reader = Reader(&self.body);
        let count = reader.i16();
        (0..count)
            .map(|_| {
                let length = reader.i32();
                usize::try_from(length).ok().map(|length| reader.take(length).to_vec())
            })
            .collect()
    }

    /// The text of the values of a DataRow, `NULL` for none.
    pub fn texts(&self) -> Vec<String> {
        let text = |value: Option<Vec<u8>>| match value {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => "NULL".to_owned(),
        };
        self.values().into_iter().map(text).collect()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = char::from(self.kind);
        let mut reader = Reader(&self.body);
        match kind {
            'E' | 'N' => {
                write!(f, "{kind}")?;
                self.fields().iter().try_for_each(|(name, value)| write!(f, " {name}={value:?}"))
            }
            'K' => write!(f, "K masked"),
            'A' => {
                reader.i32();
                write!(f, "A masked {}", shown(reader.0))
            }
            'D' => {
                let values = self.values();
                let values = values.iter().map(|value| value.as_deref().map_or("NULL".to_owned(), shown));
                write!(f, "D {}", values.collect::<Vec<_>>().join("|"))
            }
            'T' => {
                write!(f, "T")?;
                (0..reader.i16()).try_for_each(|_| {
                    let (name, table, column) = (reader.text(), reader.u32(), reader.i16());
                    let (kind, size, modifier) = (reader.u32(), reader.i16(), reader.i32());
                    let (table, kind) = (masked(table), masked(kind));
                    write!(f, " {name}({table}.{column} {kind} {size} {modifier} {})", reader.i16())
                })
            }
            't' => {
                write!(f, "t")?;
                (0..reader.i16()).try_for_each(|_| write!(f, " {}", masked(reader.u32())))
            }
            _ => write!(f, "{kind} {}", shown(&self.body)),
        }
    }
}

fn masked(number: u32) -> String {
    if number < FIRST_OWN { number.to_string() } else { "own".to_owned() }
}

fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN {
        return bytes.escape_ascii().to_string();
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{}… {} bytes, {:016x}", bytes[..40].escape_ascii(), bytes.len(), hasher.finish())
}

/// Reads what a server sent; nothing where there is nothing left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        head
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap_or([0; N])
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.array())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(self.take(end)).into_owned();
        self.take(1);
        text
    }
}

/// A client's message.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &length(body.len() + 4)[..], body].concat()
}

/// A message without a first byte, as the first ones of a connection are.
pub fn first(body: &[u8]) -> Vec<u8> {
    [&length(body.len() + 4)[..], body].concat()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("a message of less than 4 GiB").to_be_bytes()
}

/// Texts, each ended by a zero byte.
pub fn texts(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect()
}

/// Parse.
pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let count = i16::try_from(types.len()).expect("few parameters").to_be_bytes();
    let types: Vec<u8> = types.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    message(b'P', &[&texts(&[name, sql])[..], &count, &types].concat())
}

/// A parameter: its format (0 text, 1 binary) and its bytes.
pub type Parameter = (i16, Option<Vec<u8>>);

/// Bind.
pub fn bind(portal: &str, statement: &str, parameters: &[Parameter], results: &[i16]) -> Vec<u8> {
    let count = i16::try_from(parameters.len()).expect("few parameters").to_be_bytes();
    let mut body = texts(&[portal, statement]);
    body.extend(count);
    parameters.iter().for_each(|(format, _)| body.extend(format.to_be_bytes()));
    body.extend(count);
    for (_, value) in parameters {
        match value {
            Some(value) => {
                body.extend(length(value.len()));
                body.extend(value);
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    body.extend(i16::try_from(results.len()).expect("few columns").to_be_bytes());
    results.iter().for_each(|format| body.extend(format.to_be_bytes()));
    message(b'B', &body)
}

/// Execute.
pub fn execute(portal: &str, limit: i32) -> Vec<u8> {
    message(b'E', &[&texts(&[portal])[..], &limit.to_be_bytes()].concat())
}

/// Describe (`D`) or Close (`C`) of a statement (`S`) or a portal (`P`).
pub fn name(kind: u8, what: u8, name: &str) -> Vec<u8> {
    message(kind, &[&[what], &texts(&[name])[..]].concat())
}

/// A value written for people, as one text with no line break.
pub fn line(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        let _ = write!(text, "{message}; ");
    }
    text
}
