//! Cutting the stream into messages, and reading the few that we must understand. Every length is checked.

use bytes::Bytes;

/// Tag and length before each body.
pub const HEADER: usize = 5;
/// No message is longer: the server's own limit.
pub const LIMIT: usize = 1 << 30;

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its first byte.
    pub tag: u8,
    /// All of it.
    pub frame: Bytes,
}

impl Message {
    /// What stands behind the header.
    pub fn body(&self) -> &[u8] {
        &self.frame[HEADER..]
    }
}

/// Tag and length of the whole message that begins here, once its header is there; an error when that is no length.
pub fn header(bytes: &[u8]) -> Option<Result<(u8, usize), &'static str>> {
    let head = bytes.first_chunk::<HEADER>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if (4..LIMIT).contains(&length) {
        Some(Ok((head[0], length + 1)))
    } else {
        Some(Err("a message whose length cannot be"))
    }
}

/// Reads a body from the front; None when it ends too early.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Up to a zero, which is stepped over.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|b| *b == 0)?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    /// Two bytes.
    pub fn short(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    /// Four bytes.
    pub fn int(&mut self) -> Option<i32> {
        self.take(4).map(|b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// A value behind its length; -1 is NULL.
    pub fn value(&mut self) -> Option<Option<&'a [u8]>> {
        match self.int()? {
            -1 => Some(None),
            length => self.take(usize::try_from(length).ok()?).map(Some),
        }
    }
}

/// Parse: a text under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parse {
    /// The statement's name; empty for the unnamed one.
    pub name: Vec<u8>,
    /// The text.
    pub text: Vec<u8>,
    /// Types of its parameters, as far as given; 0 leaves one to the server.
    pub types: Vec<u32>,
}

impl Parse {
    /// Reads a body.
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let name = reader.text()?.to_vec();
        let text = reader.text()?.to_vec();
        let count = reader.short()?;
        let types = (0..count).map(|_| reader.int().map(|t| t as u32)).collect::<Option<_>>()?;
        reader.0.is_empty().then_some(Self { name, text, types })
    }
}

/// Bind: a statement with its values makes a portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The portal's name.
    pub portal: Vec<u8>,
    /// The statement's name.
    pub statement: Vec<u8>,
    /// Formats of the parameters: none, one for all, or one each.
    pub formats: Vec<u16>,
    /// The values.
    pub values: Vec<Option<Vec<u8>>>,
    /// Formats of the results: none, one for all, or one each.
    pub results: Vec<u16>,
}

impl Bind {
    /// Reads a body.
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let portal = reader.text()?.to_vec();
        let statement = reader.text()?.to_vec();
        let shorts = |reader: &mut Reader<'_>| {
            let count = reader.short()?;
            (0..count).map(|_| reader.short()).collect::<Option<Vec<u16>>>()
        };
        let formats = shorts(&mut reader)?;
        let count = reader.short()?;
        let values =
            (0..count).map(|_| reader.value().map(|v| v.map(<[u8]>::to_vec))).collect::<Option<_>>()?;
        let results = shorts(&mut reader)?;
        reader.0.is_empty().then_some(Self { portal, statement, formats, values, results })
    }

    /// The value of a text-like parameter, as text.
    pub fn text(&self, at: usize) -> Option<String> {
        let value = self.values.get(at)?.as_deref()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The value of an integer parameter, in either format, as text.
    pub fn integer(&self, at: usize) -> Option<String> {
        let value = self.values.get(at)?.as_deref()?;
        let format = if self.formats.len() == 1 { self.formats.first() } else { self.formats.get(at) };
        if format != Some(&1) {
            return self.text(at);
        }
        let number = match value.len() {
            2 => i64::from(i16::from_be_bytes(value.try_into().ok()?)),
            4 => i64::from(i32::from_be_bytes(value.try_into().ok()?)),
            _ => i64::from_be_bytes(value.try_into().ok()?),
        };
        Some(number.to_string())
    }
}

/// What the server says went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The SQLSTATE.
    pub state: String,
    /// The sentence, in the server's language.
    pub message: String,
    /// The function of the server that says it.
    pub routine: String,
}

impl Fault {
    /// Reads the body of an ErrorResponse or NoticeResponse.
    pub fn read(body: &[u8]) -> Self {
        let mut fault = Self { state: String::new(), message: String::new(), routine: String::new() };
        let mut reader = Reader(body);
        while let Some(field) = reader.byte().filter(|f| *f != 0) {
            let Some(text) = reader.text() else { break };
            let text = String::from_utf8_lossy(text).into_owned();
            match field {
                b'C' => fault.state = text,
                b'M' => fault.message = text,
                b'R' => fault.routine = text,
                _ => {}
            }
        }
        fault
    }
}

/// The values of a DataRow.
pub fn row(body: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let mut reader = Reader(body);
    let count = reader.short()?;
    let values = (0..count).map(|_| reader.value()).collect::<Option<Vec<_>>>()?;
    reader.0.is_empty().then_some(values)
}

/// Name and value of a ParameterStatus.
pub fn parameter(body: &[u8]) -> Option<(String, String)> {
    let mut reader = Reader(body);
    let name = String::from_utf8_lossy(reader.text()?).into_owned();
    Some((name, String::from_utf8_lossy(reader.text()?).into_owned()))
}

/// The tag of a CommandComplete.
pub fn command_tag(body: &[u8]) -> &str {
    std::str::from_utf8(body.strip_suffix(&[0]).unwrap_or(body)).unwrap_or_default()
}

/// The rows that a command tag counts: the last word, where it is a number.
pub fn rows_of(tag: &str) -> Option<u64> {
    tag.rsplit(' ').next()?.parse().ok()
}
