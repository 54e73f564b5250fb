//! Messages on their way to the server, each with what becomes of its answer: replies of ours and replies for the client
//! come back through one queue, so that neither can overtake the other.

use super::{
    held::Held,
    own_columns::{capture, describe},
};
use crate::{
    isolation,
    net::Packets,
    wire::postgres::{
        Bind, Fault, build,
        message::{LIMIT, Message, parameter, row, rows_of},
    },
    yielding::Gate,
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

/// Answers for the client are passed on when so many bytes wait.
const PASS_ON: usize = 32 << 10;

/// Answers that may have to be taken back are held up to so many bytes, where only the commit is at stake.
const HOLD: usize = 1 << 20;

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// ParseComplete.
    Parse,
    /// BindComplete.
    Bind,
    /// CloseComplete.
    Close,
    /// ParameterDescription, then as a portal.
    DescribeStatement,
    /// RowDescription or NoData.
    DescribePortal,
    /// Rows, and how it ended.
    Execute,
    /// Of a simple Query of ours: EmptyQueryResponse and ReadyForQuery.
    Nothing,
    /// ReadyForQuery.
    Sync,
}

impl Ask {
    fn awaits_ready(self) -> bool {
        matches!(self, Self::Nothing | Self::Sync)
    }
}

/// What becomes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The client gets it.
    Pass,
    /// The client gets it, without notices.
    Silently,
    /// Nobody needs it.
    Drop,
    /// Nobody needs it, but an error is the client's.
    DropUnlessError,
    /// The same, and an error is the answer to the client's COMMIT.
    Commits,
    /// The client gets a description of rows, but not that there are none.
    DropNoData,
    /// The same, once the statement has run.
    Withhold,
    /// Its rows are kept.
    Keep,
    /// The same; its first value says whether the next one is held back or passed.
    Gate,
    /// What the client gets if it turns out to be committed.
    Hold,
    /// Its rows are kept beside what is held back.
    Behind,
    /// The rows of a write with our columns: ours are kept, the client gets its own.
    Capture {
        /// Which write.
        write: usize,
        /// So many rows the client wants now; 0 is all.
        most: usize,
        /// It is a read that locks rows of so many tables; 0: a write.
        reads: usize,
    },
}

/// A row of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which write.
    pub write: usize,
    /// The table that the statement named.
    pub meant: u32,
    /// The table or partition of the row.
    pub found: u32,
    /// The row in binary form.
    pub row: Vec<u8>,
    /// How it was before the statement, or that it was not there; None where the server does not tell.
    pub old: Option<Option<Vec<u8>>>,
}

impl Seen {
    /// The row, and how it was.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&*self.row).chain(self.old.iter().flatten().map(Vec::as_slice))
    }
}

/// What of a write's answer waits for another Execute.
#[derive(Debug, Default, Clone)]
pub struct Rest {
    /// Rows given.
    given: usize,
    /// Messages not given yet; the last one says that it is complete.
    pub frames: VecDeque<Vec<u8>>,
}

/// What came of running.
#[derive(Debug, Default)]
pub struct Ran {
    /// Rows of questions of ours, one list per question.
    pub kept: Vec<Vec<Vec<Option<Vec<u8>>>>>,
    /// Rows of writes.
    pub seen: Vec<Seen>,
    /// Per write: how many rows there were beyond the most that are kept, by table or partition.
    pub flood: BTreeMap<usize, BTreeMap<u32, u64>>,
    /// Per write: where its result begins in the client's answer, and the rows that its tag counts.
    pub writes: Vec<(usize, usize, u64)>,
    /// Per write: what of its answer the client has not asked for yet.
    pub rest: BTreeMap<usize, Rest>,
    /// An error, and whether the client's own message met it (then the client gets it). Everything behind it was skipped.
    pub error: Option<(Message, bool)>,
    /// ReadyForQuery's status, if it came.
    pub ready: Option<u8>,
    /// Where the last result of a statement of the client's ends in its answer, without the word that says so.
    pub last_complete: Option<usize>,
    /// Command tags of the client's statements.
    pub tags: Vec<String>,
    /// Settings that the server reported.
    pub parameters: Vec<(String, String)>,
    /// A notice of a commit that may not be replicated.
    pub doubtful: bool,
    /// The error is the answer to the client's COMMIT.
    pub refused: bool,
    /// What is held back.
    pub held: Held,
}

/// Messages not sent yet, and the answers that are awaited.
#[derive(Default)]
pub struct Pipeline {
    out: Vec<u8>,
    awaited: VecDeque<(Ask, Fate)>,
    /// So many rows of writes are kept; None: all.
    pub most: Option<usize>,
    /// What may interrupt the statement that runs.
    pub gate: Option<Arc<Gate>>,
}

impl Pipeline {
    /// Nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Bytes that wait.
    pub fn size(&self) -> usize {
        self.out.len()
    }

    /// A message as the client made it.
    pub fn pass(&mut self, frame: &[u8], ask: Ask) {
        self.give(frame, ask, Fate::Pass);
    }

    /// The same, with another fate.
    pub fn give(&mut self, frame: &[u8], ask: Ask, fate: Fate) {
        self.out.extend(frame);
        self.awaited.push_back((ask, fate));
    }

    /// The answer to the Execute that was gathered last is held back. False: there is none, or nobody would get it.
    pub fn hold_last(&mut self) -> bool {
        match self.awaited.back_mut() {
            Some((Ask::Execute, fate @ Fate::Pass)) => {
                *fate = Fate::Hold;
                true
            }
            _ => false,
        }
    }

    /// Parse.
    pub fn parse(&mut self, name: &str, sql: &str, types: &[u32], fate: Fate) {
        build::parse(&mut self.out, name, sql, types);
        self.awaited.push_back((Ask::Parse, fate));
    }

    /// Bind.
    pub fn bind(&mut self, bind: &Bind, fate: Fate) {
        build::bind(&mut self.out, bind);
        self.awaited.push_back((Ask::Bind, fate));
    }

    /// Describe of a portal.
    pub fn describe(&mut self, portal: &str, fate: Fate) {
        build::describe(&mut self.out, b'P', portal);
        self.awaited.push_back((Ask::DescribePortal, fate));
    }

    /// Execute to the end.
    pub fn execute(&mut self, portal: &str, fate: Fate) {
        build::execute(&mut self.out, portal);
        self.awaited.push_back((Ask::Execute, fate));
    }

    /// Close of a statement, S, or a portal, P.
    pub fn close(&mut self, kind: u8, name: &str) {
        build::close(&mut self.out, kind, name);
        self.awaited.push_back((Ask::Close, Fate::Drop));
    }

    /// Sync.
    pub fn sync(&mut self, fate: Fate) {
        build::sync(&mut self.out);
        self.awaited.push_back((Ask::Sync, fate));
    }

    /// A simple Query of nothing: a Sync right behind one is another to PostgreSQL 18 than one behind an Execute.
    pub fn query_nothing(&mut self) {
        self.out.extend([b'Q', 0, 0, 0, 5, 0]);
        self.awaited.push_back((Ask::Nothing, Fate::Drop));
    }

    /// Makes the server's local transaction fail, as any error would: what the client is told is up to us.
    pub fn poison(&mut self) {
        let bind = Bind {
            portal: Vec::new(),
            statement: b"atone refused the statement before".to_vec(),
            formats: Vec::new(),
            values: Vec::new(),
            results: Vec::new(),
        };
        self.bind(&bind, Fate::Drop);
    }

    /// Sends everything and reads every answer, up to the first error. What the client gets is added to `answer`, and
    /// passed on when it grows, as long as nothing in it may have to be taken back.
    pub async fn run(
        &mut self,
        database: &mut Packets,
        client: &mut Packets,
        answer: &mut Vec<u8>,
    ) -> io::Result<Ran> {
        if self.awaited.is_empty() {
            return Ok(Ran::default());
        }
        if self.awaited.back().is_none_or(|(ask, _)| *ask != Ask::Sync) {
            build::flush(&mut self.out);
        }
        let out = std::mem::take(&mut self.out);
        database.write_while_reading(&out).await?;
        let mut ran = Ran::default();
        let mut rows = Vec::new();
        let mut held = self.awaited.iter().any(|(_, fate)| matches!(fate, Fate::Capture { .. }));
        // A description that waits for the first row, or the end.
        let mut withheld = Vec::new();
        // Where the results of writes and locking reads begin.
        let mut begins: BTreeMap<usize, usize> = BTreeMap::new();
        let locks = self.awaited.iter().any(|(_, fate)| matches!(fate, Fate::Capture { reads: 1.., .. }));
        let hold = if self.most.is_some() && !locks { HOLD } else { usize::MAX };
        let mut copying = false;
        while let Some((ask, fate)) = self.awaited.front().cloned() {
            let message = match copying {
                true => match super::copy::rows(database, client).await? {
                    Some(message) => message,
                    None => {
                        copying = false;
                        continue;
                    }
                },
                false => database.message(LIMIT).await?,
            };
            if message.tag == b'Z' {
                // What stands before the Sync was skipped.
                while self.awaited.front().is_some_and(|(ask, _)| !ask.awaits_ready()) {
                    self.awaited.pop_front();
                }
            }
            let Some((ask, mut fate)) = self.awaited.front().cloned().or(Some((ask, fate))) else { break };
            if fate == Fate::Hold && ran.held.passed {
                fate = Fate::Pass;
            }
            match (message.tag, ask) {
                // At any moment.
                (b'N', _) => {
                    // A WARNING; its words are the server's language's.
                    ran.doubtful |= Fault::read(message.body()).routine == "SyncRepWaitForLSN";
                    if fate == Fate::Hold {
                        ran.held.extend(&message.frame);
                    } else if fate == Fate::Pass || ask == Ask::Sync {
                        answer.extend(&message.frame);
                    }
                }
                (b'A' | b'S', _) => {
                    if message.tag == b'S' {
                        ran.parameters.extend(parameter(message.body()));
                    }
                    answer.extend(&message.frame);
                }
                (b'E', _) => {
                    let message = self.spoken(message).await;
                    // At the Sync a deferred constraint of the client speaks.
                    let own = ask == Ask::Sync
                        || !matches!(fate, Fate::Drop | Fate::Keep | Fate::Gate | Fate::Behind);
                    if own {
                        answer.extend(&message.frame);
                    }
                    ran.refused = fate == Fate::Commits;
                    ran.error = Some((message, own));
                    // Everything up to a Sync is skipped by the server, but not behind a simple Query.
                    let simple = ask == Ask::Nothing;
                    self.awaited.retain(|(ask, _)| *ask == Ask::Sync || simple && ask.awaits_ready());
                    rows = Vec::new();
                    (held, copying) = (true, false);
                }
                (b't', Ask::DescribeStatement) => {
                    answer.extend(&message.frame);
                    if let Some(front) = self.awaited.front_mut() {
                        front.0 = Ask::DescribePortal;
                    }
                }
                (b'D', Ask::Execute) => match &fate {
                    Fate::Pass | Fate::Silently => {
                        answer.append(&mut withheld);
                        answer.extend(&message.frame);
                    }
                    Fate::Drop
                    | Fate::DropUnlessError
                    | Fate::Commits
                    | Fate::DropNoData
                    | Fate::Withhold => {}
                    Fate::Keep | Fate::Gate | Fate::Behind => rows.push(owned(&message)?),
                    Fate::Hold => {
                        ran.held.extend(&std::mem::take(&mut withheld));
                        ran.held.extend(&message.frame);
                    }
                    Fate::Capture { write, most, reads } => {
                        let before = ran.rest.get(write).map_or(0, |rest| rest.given);
                        let full = *most > 0 && before >= *most;
                        begins.entry(*write).or_insert(answer.len());
                        answer.append(&mut withheld);
                        let rest = ran.rest.entry(*write).or_default();
                        let mut own = Vec::new();
                        for seen in capture(&message, *write, *reads, &mut own)? {
                            if self.most.is_some_and(|most| ran.seen.len() >= most) {
                                *ran.flood.entry(*write).or_default().entry(seen.found).or_default() += 1;
                            } else {
                                ran.seen.push(seen);
                            }
                        }
                        rest.given += usize::from(!full && !own.is_empty());
                        if full {
                            rest.frames.push_back(own);
                        } else {
                            answer.extend(own);
                        }
                    }
                },
                (b'T', Ask::Execute) => answer.extend(&message.frame),
                (b'I', Ask::Nothing) => {}
                // COPY FROM: the client sends its rows now.
                (b'G', Ask::Execute) => {
                    answer.extend(&message.frame);
                    client.write(answer).await?;
                    answer.clear();
                    ran.last_complete = None;
                    copying = true;
                }
                // COPY TO: a description, the rows, their end.
                (b'H' | b'd' | b'c', Ask::Execute) if fate == Fate::Hold => ran.held.extend(&message.frame),
                (b'H' | b'd' | b'c', Ask::Execute) => answer.extend(&message.frame),
                (tag, ask) if ends(tag, ask) => {
                    self.awaited.pop_front();
                    let tag = crate::wire::postgres::message::command_tag(message.body()).to_owned();
                    if matches!(message.tag, b'C' | b's')
                        && matches!(fate, Fate::Capture { .. } | Fate::Pass | Fate::Silently)
                    {
                        if let Fate::Capture { write, .. } = &fate {
                            begins.entry(*write).or_insert(answer.len());
                        }
                        answer.append(&mut withheld);
                    }
                    match (message.tag, &fate) {
                        (b'C', Fate::Capture { write, most, .. }) => {
                            let at = begins.get(write).copied().unwrap_or(answer.len());
                            ran.writes.push((*write, at, rows_of(&tag).unwrap_or(0)));
                            ran.last_complete = Some(answer.len());
                            match ran.rest.get_mut(write) {
                                // The server would not know yet that there are no more.
                                Some(rest) if *most > 0 && rest.given >= *most => {
                                    rest.frames.push_back(message.frame.to_vec());
                                    build::suspended(answer);
                                }
                                _ => answer.extend(&message.frame),
                            }
                        }
                        (b'T', Fate::Capture { reads: 0, .. }) => describe(&message, 0, &mut withheld)?,
                        (b'T', Fate::Capture { write, reads, .. }) => {
                            begins.entry(*write).or_insert(answer.len());
                            describe(&message, *reads, answer)?;
                        }
                        (b'T', Fate::Withhold) => withheld.extend(&message.frame),
                        (b'C' | b'I' | b's', Fate::Keep) => ran.kept.push(std::mem::take(&mut rows)),
                        (b'C' | b'I' | b's', Fate::Gate) => {
                            let says = rows.first().and_then(|row| row.first()?.as_deref());
                            let says = says.and_then(|says| std::str::from_utf8(says).ok());
                            ran.held.passed = isolation::read("", says) == Ok(false);
                            ran.held.told.push(std::mem::take(&mut rows));
                        }
                        (b'C' | b'I' | b's', Fate::Behind) => ran.held.told.push(std::mem::take(&mut rows)),
                        (b'C' | b'I' | b's', Fate::Hold) => {
                            ran.held.extend(&std::mem::take(&mut withheld));
                            ran.held.complete = Some(ran.held.frames.len());
                            ran.held.extend(&message.frame);
                        }
                        (b'Z', _) => {
                            ran.ready = message.body().first().copied();
                            if fate == Fate::Pass {
                                answer.extend(&message.frame);
                            }
                        }
                        (b'n', Fate::DropNoData | Fate::Withhold) => {}
                        (_, Fate::Pass | Fate::Silently | Fate::DropNoData) => {
                            if message.tag == b'C' {
                                ran.last_complete = Some(answer.len());
                            }
                            answer.extend(&message.frame);
                        }
                        _ => {}
                    }
                    let ours =
                        matches!(fate, Fate::Drop | Fate::Keep | Fate::Gate | Fate::Behind | Fate::Commits);
                    if message.tag == b'C' && !ours {
                        ran.tags.push(tag);
                    }
                }
                _ => return Err(invalid("an answer to another question")),
            }
            if answer.len() > if held { hold } else { PASS_ON } {
                client.write(answer).await?;
                answer.clear();
                ran.last_complete = None;
            }
        }
        Ok(ran)
    }
}

/// Does this message end the answer to what was asked?
fn ends(tag: u8, ask: Ask) -> bool {
    match ask {
        Ask::Parse => tag == b'1',
        Ask::Bind => tag == b'2',
        Ask::Close => tag == b'3',
        Ask::DescribeStatement => false,
        Ask::DescribePortal => matches!(tag, b'T' | b'n'),
        Ask::Execute => matches!(tag, b'C' | b'I' | b's'),
        Ask::Nothing | Ask::Sync => tag == b'Z',
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn owned(message: &Message) -> io::Result<Vec<Option<Vec<u8>>>> {
    let values = row(message.body()).ok_or_else(|| invalid("a malformed row"))?;
    Ok(values.into_iter().map(|v| v.map(<[u8]>::to_vec)).collect())
}
