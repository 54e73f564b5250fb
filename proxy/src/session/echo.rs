//! What a statement leaves behind for the next one to ask: its warnings and ROW_COUNT(). A statement that stood
//! alone was followed by our COMMIT, which clears both in the database; here they live one statement longer.

use super::{Answer, Backside, Command, End, Session};
use crate::wire::{command, packet, reply::OkPacket};
use atone_undo_log::sql::{SqlMode, tokens};
use std::io;

/// The leavings of one statement.
pub(super) struct Echo {
    /// Rows affected.
    rows: u64,
    /// `SHOW WARNINGS` as a SELECT of constants; None when there were none.
    warnings: Option<String>,
}

impl Echo {
    /// Asks for what will be gone after the COMMIT.
    pub(super) async fn keep(backside: &mut Backside, ok: &OkPacket) -> io::Result<Self> {
        let mut warnings = None;
        if ok.warnings > 0
            && let Answer::Rows(rows) = backside.ask_one("SHOW WARNINGS").await?
        {
            let row = |row: &Vec<Option<Vec<u8>>>| {
                let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
                let code = String::from_utf8_lossy(&text(1)).into_owned();
                let string = |bytes: Vec<u8>| atone_undo_log::sql::hex(&bytes);
                format!(
                    "SELECT _utf8mb4 {} AS Level, {code} AS Code, _utf8mb4 {} AS Message",
                    string(text(0)),
                    string(text(2))
                )
            };
            let rows: Vec<String> = rows.iter().map(row).collect();
            warnings = (!rows.is_empty()).then(|| rows.join(" UNION ALL "));
        }
        Ok(Self { rows: ok.affected, warnings })
    }

    /// The query that answers this one from memory, if it asks for what we hold.
    fn answer(&self, text: &[u8]) -> Option<String> {
        let tokens = tokens(text, SqlMode::default()).ok()?;
        let words: Vec<String> =
            tokens.iter().map(|t| String::from_utf8_lossy(t.text(text)).to_ascii_uppercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|w| *w != ";").collect();
        match words.as_slice() {
            ["SHOW", "WARNINGS"] => self.warnings.clone(),
            ["SELECT", "ROW_COUNT", "(", ")"] => {
                let name = String::from_utf8_lossy(&text[tokens[1].start..tokens[3].end]).into_owned();
                Some(format!("SELECT {} AS {}", self.rows, atone_undo_log::sql::identifier(&name)))
            }
            ["SELECT", "ROW_COUNT", "(", ")", "AS", _] => {
                let alias = String::from_utf8_lossy(tokens[5].text(text)).into_owned();
                Some(format!("SELECT {} AS {alias}", self.rows))
            }
            _ => None,
        }
    }
}

impl Session {
    /// Answers a command from the echo of the last one; gives it back when it asks for something else.
    pub(super) async fn answer_from(&mut self, echo: Echo, command: Command) -> Result<Option<Command>, End> {
        if command.code() != command::QUERY {
            return Ok(Some(command));
        }
        let query = self.text_at(&command).and_then(|at| echo.answer(&command.payload[at..]));
        let Some(query) = query else { return Ok(Some(command)) };
        let payload = self.backside.query_payload(&query);
        self.relay(Command { frames: packet::frames(&payload, 0).0.into(), payload: payload.into() }).await?;
        // SHOW WARNINGS may be asked again and again.
        self.echo = Some(echo);
        Ok(None)
    }
}
