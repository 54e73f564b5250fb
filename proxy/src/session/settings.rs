//! What of the session's settings decides how its statements are read, asked from the server when it may have
//! changed.

use super::ask::{Answer, Backside};
use crate::lock_wait;
use atone_undo_log::{analyze::Unsupported, sql::SqlMode};
use std::{io, sync::Arc, time::Duration};

/// The settings, as of the last look.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How text is read.
    pub mode: SqlMode,
    /// The whole of sql_mode.
    pub sql_mode: String,
    /// 0 in an auto-increment column is a 0.
    pub no_auto_value_on_zero: bool,
    /// The character set of the client's text.
    pub charset: String,
    /// The distance of generated keys.
    pub auto_increment_increment: u64,
    /// The largest query.
    pub max_allowed_packet: usize,
    /// Who the server says is signed in.
    pub account: String,
    /// The default schema.
    pub schema: Option<String>,
    /// How long it queues for global locks, if it says so.
    pub lock_wait: Option<Duration>,
    /// Why no statement of this session can be read surely, if so.
    pub unreadable: Option<Unsupported>,
}

const QUERY: &str = "SELECT @@sql_mode, @@character_set_client, @@character_set_connection, \
    @@auto_increment_increment, @@max_allowed_packet, @@sql_select_limit, CURRENT_USER(), DATABASE(), @atone_lock_wait_ms";

/// A quote or backslash may be the second byte of a character in these.
const UNREADABLE: [&str; 5] = ["big5", "cp932", "gbk", "sjis", "gb18030"];

impl Settings {
    /// Is the client's text UTF-8?
    pub fn is_utf8(&self) -> bool {
        self.charset.starts_with("utf8") || self.charset == "ascii"
    }

    /// Can this text be cut into tokens as the server does? Bytes beyond ASCII may hide a quote in some character sets.
    pub fn readable(&self, text: &[u8]) -> bool {
        text.is_ascii() || !UNREADABLE.contains(&self.charset.as_str())
    }

    /// Asks the server.
    pub async fn read(backside: &mut Backside) -> io::Result<Self> {
        Self::understand(backside.ask_one(QUERY).await?)
    }

    /// Asks the server, and in the same message which one it is; that is empty when it is of another kind than `identity`
    /// is for.
    pub async fn read_first(backside: &mut Backside, identity: &str) -> io::Result<(Self, Arc<str>)> {
        let mut answers = backside.ask(&[QUERY, identity]).await?;
        let server = match answers.pop() {
            Some(Answer::Rows(rows)) => rows.into_iter().flatten().next().flatten().unwrap_or_default(),
            _ => Vec::new(),
        };
        let settings = Self::understand(answers.remove(0))?;
        Ok((settings, String::from_utf8_lossy(&server).as_ref().into()))
    }

    fn understand(answer: Answer) -> io::Result<Self> {
        let malformed =
            || io::Error::new(io::ErrorKind::InvalidData, "the server does not tell its settings");
        let Answer::Rows(rows) = answer else { return Err(malformed()) };
        let row = rows.into_iter().next().ok_or_else(malformed)?;
        let text = |at: usize| row[at].as_ref().map(|v| String::from_utf8_lossy(v).into_owned());
        let known = |at: usize| text(at).ok_or_else(malformed);
        let modes = known(0)?.to_ascii_uppercase();
        let has = |mode: &str| modes.split(',').any(|m| m == mode);
        let (charset, connection) = (known(1)?, known(2)?);
        let mut unreadable = unreadable(&modes, [&charset, &connection], &known(5)?);
        let lock_wait = lock_wait::read("@atone_lock_wait_ms", text(8).as_deref());
        if let Err(why) = &lock_wait {
            unreadable = Some(Unsupported(format!("a session whose {why},")));
        }
        Ok(Self {
            mode: SqlMode {
                ansi_quotes: has("ANSI_QUOTES"),
                no_backslash_escapes: has("NO_BACKSLASH_ESCAPES"),
            },
            no_auto_value_on_zero: has("NO_AUTO_VALUE_ON_ZERO"),
            charset,
            sql_mode: modes.clone(),
            auto_increment_increment: known(3)?.parse().map_err(|_| malformed())?,
            max_allowed_packet: known(4)?.parse().map_err(|_| malformed())?,
            account: known(6)?,
            schema: text(7),
            lock_wait: lock_wait.unwrap_or_default(),
            unreadable,
        })
    }
}

/// Settings under which our own queries would not mean what they say.
fn unreadable(modes: &str, charsets: [&String; 2], select_limit: &str) -> Option<Unsupported> {
    let wide = |c: &str| ["ucs2", "utf16", "utf32"].iter().any(|w| c.starts_with(w));
    if let Some(charset) = charsets.into_iter().find(|c| UNREADABLE.contains(&c.as_str()) || wide(c)) {
        return Some(Unsupported(format!("a session whose character set is {charset} (use utf8mb4)")));
    }
    if let Some(mode) = modes.split(',').find(|m| matches!(*m, "ORACLE" | "EMPTY_STRING_IS_NULL")) {
        return Some(Unsupported(format!("a session whose sql_mode has {mode}")));
    }
    let limited = select_limit.parse::<u64>().is_ok_and(|limit| limit < u64::from(u32::MAX));
    limited.then(|| Unsupported("a session with sql_select_limit".into()))
}
