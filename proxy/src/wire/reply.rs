//! Where a server's reply ends. The tracker walks over frames as they arrive and looks only into those that may
//! end something: rows and column definitions are counted, never decoded.

use super::{
    capability::{CURSOR_EXISTS, DEPRECATE_EOF, MORE_RESULTS, OUT_PARAMS},
    changes,
    packet::{HEADER, MAX_PAYLOAD, Reader, header},
};

/// What kind of reply a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// None at all.
    Nothing,
    /// OK, ERR, EOF, or one frame of anything (COM_STATISTICS).
    One,
    /// Results of a query: OK, ERR, LOCAL INFILE request, or columns and rows; perhaps several.
    Results,
    /// Of COM_STMT_PREPARE.
    Prepared,
    /// Rows of a cursor.
    Rows,
    /// Column definitions up to EOF.
    Fields,
}

/// What a reply said at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Status flags of the last OK or EOF.
    pub status: Option<u16>,
    /// The last ERR's code.
    pub error: Option<u16>,
    /// How the last OK says that the local transaction fares, if it does.
    pub transaction: Option<[u8; 8]>,
    /// COM_STMT_PREPARE: the statement's id and its number of parameters.
    pub prepared: Option<(u32, u16)>,
    /// At least one frame was seen.
    pub started: bool,
}

/// What the tracker wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes can be passed on; more must be read.
    More(usize),
    /// So many bytes can be passed on; then the client must send a file.
    File(usize),
    /// So many bytes can be passed on; they end the reply.
    End(usize),
    /// The bytes are not a reply of this kind.
    Malformed(&'static str),
}

/// OK and ERR frames hold messages and session state, not data; a longer one is not waited for.
const LOOKED_INTO_LIMIT: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Single,
    PrepareOk,
    /// Definitions still to come, and what follows them.
    Definitions {
        left: u64,
        then: After,
    },
    /// The EOF behind definitions, when EOFs are in use.
    DefinitionsEof {
        then: After,
    },
    Rows,
    FieldList,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Rows,
    /// COM_STMT_PREPARE: the definitions of the result's columns.
    Columns(u64),
    End,
}

/// Follows one reply.
#[derive(Debug)]
pub struct Tracker {
    state: State,
    deprecate_eof: bool,
    /// Payload bytes of a frame that is passed on without a look.
    skip: usize,
    /// The next frame continues a payload.
    continued: bool,
    /// These rows are what a procedure gives back: MySQL does not say of them that its OK follows.
    gives_back: bool,
    /// Rows so far.
    pub rows: u64,
    /// Where the last frame looked at begins, in the bytes of the last call.
    pub last: usize,
    /// Where status flags stand, in the bytes of the last call.
    pub statuses: Vec<usize>,
    /// What is known so far.
    pub outcome: Outcome,
}

impl Tracker {
    /// Begins to follow a reply; `capabilities` are the client's.
    pub fn new(expect: Expect, capabilities: u32) -> Self {
        let state = match expect {
            Expect::Nothing => State::End,
            Expect::One => State::Single,
            Expect::Results => State::First,
            Expect::Prepared => State::PrepareOk,
            Expect::Rows => State::Rows,
            Expect::Fields => State::FieldList,
        };
        let deprecate_eof = capabilities & DEPRECATE_EOF != 0;
        Self {
            state,
            deprecate_eof,
            skip: 0,
            continued: false,
            gives_back: false,
            rows: 0,
            last: 0,
            statuses: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    /// Walks over what has arrived. The counted bytes must be taken away before the next call.
    pub fn advance(&mut self, bytes: &[u8]) -> Progress {
        let mut at = 0;
        self.statuses.clear();
        loop {
            let step = self.skip.min(bytes.len() - at);
            self.skip -= step;
            at += step;
            if self.skip > 0 {
                return Progress::More(at);
            }
            if self.state == State::End && !self.continued {
                return Progress::End(at);
            }
            let Some((length, _)) = header(&bytes[at..]) else { return Progress::More(at) };
            if self.continued {
                self.continued = length == MAX_PAYLOAD;
                self.skip = HEADER + length;
                continue;
            }
            let body = &bytes[at + HEADER..];
            if length > 0 && body.is_empty() {
                return Progress::More(at);
            }
            let tag = body.first().copied().filter(|_| length > 0);
            if self.looks_into(tag, length) {
                if length > LOOKED_INTO_LIMIT {
                    return Progress::Malformed("an OK or ERR packet over 1 MiB");
                }
                if body.len() < length {
                    return Progress::More(at);
                }
            }
            self.outcome.started = true;
            self.last = at;
            self.continued = length == MAX_PAYLOAD;
            match self.frame(tag, &body[..length.min(body.len())], length) {
                Ok(false) => self.skip = HEADER + length,
                Ok(true) => return Progress::File(at + HEADER + length),
                Err(why) => return Progress::Malformed(why),
            }
        }
    }

    /// The client has sent its file: the reply goes on.
    pub fn file_sent(&mut self) {
        self.state = State::First;
    }

    fn looks_into(&self, tag: Option<u8>, length: usize) -> bool {
        match self.state {
            State::First | State::Single | State::PrepareOk | State::DefinitionsEof { .. } => {
                length < MAX_PAYLOAD
            }
            State::Rows | State::FieldList => match tag {
                Some(0xff) => true,
                Some(0xfe) => self.ends_rows(length),
                _ => false,
            },
            State::Definitions { .. } | State::End => false,
        }
    }

    /// A row may begin with 0xfe too, but is then at least 16 MiB long.
    fn ends_rows(&self, length: usize) -> bool {
        if self.deprecate_eof && self.state == State::Rows { length < MAX_PAYLOAD } else { length < 9 }
    }

    /// One first frame of a payload; true when the client must send a file.
    fn frame(&mut self, tag: Option<u8>, body: &[u8], length: usize) -> Result<bool, &'static str> {
        if tag == Some(0xff) && !matches!(self.state, State::Definitions { .. }) {
            let code = Reader(&body[1..]).number(2).ok_or("an ERR packet without a code")?;
            self.outcome.error = Some(code as u16);
            self.state = State::End;
            return Ok(false);
        }
        match self.state {
            State::First => return self.first(tag, body),
            State::Single => {
                match tag {
                    Some(0x00) => self.ok(body)?,
                    Some(0xfe) if length < 9 => self.eof(body)?,
                    _ => {}
                }
                self.state = State::End;
            }
            State::PrepareOk => self.prepare_ok(body)?,
            State::Definitions { left: 1, then } => self.after_definitions(then),
            State::Definitions { left, then } => self.state = State::Definitions { left: left - 1, then },
            State::DefinitionsEof { then } => {
                self.eof(body)?;
                let cursor = self.outcome.status.is_some_and(|s| s & CURSOR_EXISTS != 0);
                self.gives_back = self.outcome.status.is_some_and(|s| s & OUT_PARAMS != 0);
                match then {
                    After::Rows if cursor => self.result_ended(),
                    then => self.follow(then),
                }
            }
            State::Rows if tag == Some(0xfe) && self.ends_rows(length) => {
                if self.deprecate_eof {
                    self.ok(body)?
                } else {
                    self.eof(body)?
                }
                self.result_ended();
            }
            State::FieldList if tag == Some(0xfe) && self.ends_rows(length) => {
                self.eof(body)?;
                self.state = State::End;
            }
            State::Rows => self.rows += 1,
            State::FieldList | State::End => {}
        }
        Ok(false)
    }

    fn first(&mut self, tag: Option<u8>, body: &[u8]) -> Result<bool, &'static str> {
        match tag {
            Some(0x00) => {
                self.ok(body)?;
                self.result_ended();
            }
            Some(0xfb) => return Ok(true),
            _ => match Reader(body).lenenc() {
                Some(columns @ 1..=65535) => {
                    self.state = State::Definitions { left: columns, then: After::Rows }
                }
                _ => return Err("a result without a number of columns"),
            },
        }
        Ok(false)
    }

    fn result_ended(&mut self) {
        let said = self.outcome.status.is_some_and(|s| s & (MORE_RESULTS | OUT_PARAMS) != 0);
        let more = std::mem::take(&mut self.gives_back) || said;
        self.state = if more { State::First } else { State::End };
    }

    fn prepare_ok(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let mut reader = Reader(body);
        let mut read = || Some((reader.byte()?, reader.number(4)?, reader.number(2)?, reader.number(2)?));
        let (_, id, columns, params) = read().ok_or("a short reply to COM_STMT_PREPARE")?;
        self.outcome.prepared = Some((id as u32, params as u16));
        self.state = State::End;
        if params > 0 {
            self.state = State::Definitions { left: params, then: After::Columns(columns) };
        } else {
            self.follow(After::Columns(columns));
        }
        Ok(())
    }

    fn after_definitions(&mut self, then: After) {
        if self.deprecate_eof { self.follow(then) } else { self.state = State::DefinitionsEof { then } }
    }

    fn follow(&mut self, then: After) {
        self.state = match then {
            After::Rows => State::Rows,
            After::Columns(0) | After::End => State::End,
            After::Columns(left) => State::Definitions { left, then: After::End },
        };
    }

    fn ok(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let ok = OkPacket::read(body).ok_or("a short OK packet")?;
        self.outcome.status = Some(ok.status);
        self.outcome.transaction = changes::transaction(body, &ok).or(self.outcome.transaction);
        self.statuses.push(self.last + HEADER + ok.status_at);
        Ok(())
    }

    fn eof(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let mut reader = Reader(body);
        let status = reader.take(3).and_then(|_| reader.number(2)).ok_or("a short EOF packet")?;
        self.outcome.status = Some(status as u16);
        self.statuses.push(self.last + HEADER + 3);
        Ok(())
    }
}

/// What an OK packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OkPacket {
    /// Rows written.
    pub affected: u64,
    /// The first number the server gave.
    pub last_insert_id: u64,
    /// Status flags.
    pub status: u16,
    /// Where the status flags stand in the payload.
    pub status_at: usize,
    /// Warnings.
    pub warnings: u16,
    /// The human-readable part, `Rows matched: 1  Changed: 1  Warnings: 0`.
    pub info: Vec<u8>,
}

impl OkPacket {
    /// Reads an OK payload (also one tagged 0xfe).
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        reader.byte()?;
        let (affected, last_insert_id) = (reader.lenenc()?, reader.lenenc()?);
        let status_at = body.len() - reader.0.len();
        let (status, warnings) = (reader.number(2)? as u16, reader.number(2)? as u16);
        // The manual says "rest of packet" for sessions without state tracking; servers send a length all the same.
        let rest = reader.0;
        let info = reader.lenenc_bytes().unwrap_or(rest);
        Some(Self { affected, last_insert_id, status, status_at, warnings, info: info.to_vec() })
    }

    /// The rows an UPDATE matched, changed or not: the first number of the info, whatever its language.
    pub fn matched(&self) -> Option<u64> {
        let digits = self.info.iter().skip_while(|b| !b.is_ascii_digit()).take_while(|b| b.is_ascii_digit());
        let text: Vec<u8> = digits.copied().collect();
        std::str::from_utf8(&text).ok()?.parse().ok()
    }
}
