//! `SELECT atone_begin()` and its sisters. The proxy acts, and lets the database render the answer, so that it has
//! the client's own character set, flags and form.

use super::{Answer, Command, End, Failure, Session};
use crate::{
    membership::{Denied, WRITTEN, Wish},
    wire::{
        capability::{DEPRECATE_EOF, IN_TRANS},
        command,
        packet::{self, Reader},
        params::Param,
        reply::OkPacket,
    },
};
use atone_undo_log::{
    analyze::{Argument, Class, Control, Unsupported, classify, split},
    sql::{SqlMode, identifier},
};

/// How the client is answered.
pub(super) enum Reply<'a> {
    /// It sent text.
    Text(&'a Command),
    /// It executes a prepared statement: rows are binary.
    Binary(&'a Command),
}

/// Is this one of ours? Then as what, or why not. Behind or before another statement it would go unnoticed.
pub(super) fn read(text: &[u8]) -> Option<Result<Control, Unsupported>> {
    let mode = SqlMode::default();
    let parts = split(text, mode).ok()?;
    let ours = |part: &[u8]| match classify(part, mode) {
        Class::Control(control) => Some(Ok(control)),
        Class::Unsupported(what) if what.0.contains("atone_") => Some(Err(what)),
        _ => None,
    };
    match parts.as_slice() {
        [] => None,
        [one] => ours(&text[one.clone()]),
        many => many.iter().find_map(|part| ours(&text[part.clone()])).map(|_| {
            Err(Unsupported("one of Atone's own statements together with others in one text".into()))
        }),
    }
}

/// What is prepared in the database in place of one of ours: a statement with as many parameters and one column.
pub(super) fn prepared(control: &Control, command: &Command) -> Command {
    if control.function == "set" {
        return command.clone();
    }
    let params = control.arguments.iter().filter(|a| matches!(a, Argument::Param(_))).count();
    let list = ", ?".repeat(params);
    let mut payload = vec![command::STMT_PREPARE];
    payload.extend(
        format!("SELECT CAST(CONCAT(''{list}) AS CHAR(64)) AS {}", identifier(&column(control))).into_bytes(),
    );
    Command { frames: packet::frames(&payload, 0).0.into(), payload: payload.into() }
}

fn column(control: &Control) -> String {
    let own =
        if matches!(control.function.as_str(), "atone_commit" | "atone_rollback") { "status" } else { "xid" };
    control.column.clone().unwrap_or_else(|| own.to_owned())
}

impl Session {
    /// COM_STMT_EXECUTE of one of ours.
    pub(super) async fn execute_control(&mut self, control: Control, command: Command) -> Result<(), End> {
        let attributes = self.backside.capabilities & crate::wire::capability::QUERY_ATTRIBUTES != 0;
        let Some(params) = self.statements.params(&command.payload, attributes) else {
            return self.fail(&Failure::misuse("the statement's parameters cannot be read")).await;
        };
        self.control(Ok(control), &params, Reply::Binary(&command)).await
    }

    /// Does what is asked and answers.
    pub(super) async fn control(
        &mut self,
        control: Result<Control, Unsupported>,
        params: &[Param],
        reply: Reply<'_>,
    ) -> Result<(), End> {
        let control = match control {
            Ok(control) => control,
            Err(what) => return self.fail(&Failure::misuse(what.0)).await,
        };
        let arguments: Vec<Option<String>> = control.arguments.iter().map(|a| value(a, params)).collect();
        let done = self.act(&control.function, &arguments).await?;
        match (done, reply) {
            (Err(failure), _) => self.fail(&failure).await,
            // The variable is set in the database too, so that reading it back works.
            (Ok(_), Reply::Text(command) | Reply::Binary(command)) if control.function == "set" => {
                self.relay(command.clone()).await.map(drop)
            }
            (Ok(answer), Reply::Text(_)) => {
                let query = query(&answer, &column(&control));
                let payload = self.backside.query_payload(&query);
                let frames = packet::frames(&payload, 0).0.into();
                self.relay(Command { frames, payload: payload.into() }).await.map(drop)
            }
            (Ok(answer), Reply::Binary(_)) => self.answer_binary(&answer, &column(&control)).await,
        }
    }

    async fn act(
        &mut self,
        function: &str,
        arguments: &[Option<String>],
    ) -> Result<Result<Option<String>, Failure>, End> {
        let first = arguments.first().and_then(Option::as_deref);
        let wish = Wish::of(function, first);
        let done = match wish {
            Wish::Xid => Ok(self.membership.xid()),
            Wish::Begin | Wish::Join => match self.membership.may_enter(wish, first) {
                Err(denied) => Err(denied),
                Ok(Some(xid)) => Ok(Some(xid)),
                Ok(None) => {
                    if let Err(failure) = self.enter().await? {
                        return Ok(Err(failure));
                    }
                    let entered = if wish == Wish::Begin {
                        let timeout = arguments.get(1).and_then(Option::as_deref);
                        self.membership.begin(first, timeout).await
                    } else {
                        self.membership.join(first).await
                    };
                    entered.map(Some)
                }
            },
            Wish::Leave => self.membership.leave(self.branch.is_some()),
            Wish::Commit | Wish::Rollback => return self.decide(first, wish == Wish::Commit).await,
        };
        Ok(done.map(|xid| xid.map(|x| x.to_string())).map_err(told))
    }

    /// What must hold before a session may enter a global transaction.
    async fn enter(&mut self) -> Result<Result<(), Failure>, End> {
        if self.status & IN_TRANS != 0 {
            let what = "a local transaction is open, whose writes so far were not captured; COMMIT or ROLLBACK it first";
            return Ok(Err(Failure::misuse(what)));
        }
        if self.tables_locked {
            let what =
                "LOCK TABLES is in force, which a local transaction of ours would end; UNLOCK TABLES first";
            return Ok(Err(Failure::misuse(what)));
        }
        self.real_tables.clear();
        self.touched.clear();
        let account = self.settings().await?.account.clone();
        let server = self.server.clone().unwrap_or_default();
        let backend = &self.resource.backend;
        match backend.is_primary(&server).await {
            Ok(true) => {}
            Ok(false) => return Ok(Err(Failure::elsewhere())),
            Err(error) => return Ok(Err(Failure::backend(&error))),
        }
        // Before anything else of this session is heard by the coordinator.
        self.resource.coordinator.sees(backend.name(), &server);
        Ok(self.mysql.allow_undo(&account).await.map_err(|e| Failure::backend(&e)))
    }

    async fn decide(
        &mut self,
        xid: Option<&str>,
        commit: bool,
    ) -> Result<Result<Option<String>, Failure>, End> {
        let (xid, own) = match self.membership.to_decide(xid) {
            Ok(found) => found,
            Err(denied) => return Ok(Err(told(denied))),
        };
        if own && self.branch.is_some() {
            if commit {
                return Ok(Err(Failure::misuse(WRITTEN)));
            }
            // Asked to undo everything: what is not committed locally goes first, before its row locks stand in the
            // way of phase two.
            self.roll_back_locally().await?;
        }
        let decided = self.membership.decide(xid, commit).await;
        Ok(decided.map(|status| Some(status.to_string())).map_err(told))
    }

    /// Ends the local transaction without the client having said so.
    pub(super) async fn roll_back_locally(&mut self) -> Result<(), End> {
        self.branch = None;
        if let Answer::Ok(ok, _) = self.backside.ask_one("ROLLBACK AND NO CHAIN NO RELEASE").await? {
            self.status = ok.status;
        }
        Ok(())
    }

    /// The text answer of the database, its rows in the binary form.
    async fn answer_binary(&mut self, answer: &Option<String>, column: &str) -> Result<(), End> {
        let payload = self.backside.query_payload(&query(answer, column));
        self.backside.packets.send(&payload, 0).await?;
        let deprecate_eof = self.backside.capabilities & DEPRECATE_EOF != 0;
        // Count, definition, perhaps EOF; then the row; then the end.
        let row_at = if deprecate_eof { 2 } else { 3 };
        let mut frames = Vec::new();
        for at in 0..row_at + 2 {
            let part = self.backside.packets.packet(1 << 20).await?;
            if at == row_at + 1 {
                self.note_end(&part.payload, deprecate_eof);
            }
            let ends = part.payload.first() == Some(&0xff);
            let payload =
                if at == row_at && !ends { binary_row(&part.payload) } else { part.payload.to_vec() };
            frames.extend(packet::frames(&payload, part.sequence).0);
            if ends {
                break;
            }
        }
        Ok(self.client.write(&frames).await?)
    }
}

impl Session {
    /// The status at the end of rows.
    fn note_end(&mut self, payload: &[u8], deprecate_eof: bool) {
        let status = match deprecate_eof {
            true => OkPacket::read(payload).map(|ok| ok.status),
            false => payload.get(3..5).map(|s| u16::from_le_bytes([s[0], s[1]])),
        };
        self.status = status.unwrap_or(self.status);
    }
}

fn query(answer: &Option<String>, column: &str) -> String {
    let value = answer.as_ref().map_or("NULL".to_owned(), |a| format!("'{a}'"));
    format!("SELECT {value} AS {}", identifier(column))
}

/// One nullable string column: a header, a bitmap whose first two bits are unused, the value.
fn binary_row(text: &[u8]) -> Vec<u8> {
    match Reader(text).0.first() {
        Some(0xfb) => vec![0, 0b100],
        _ => [&[0, 0], text].concat(),
    }
}

fn value(argument: &Argument, params: &[Param]) -> Option<String> {
    match argument {
        Argument::Text(text) => Some(text.clone()),
        Argument::Null => None,
        Argument::Param(at) => match params.get(*at)? {
            Param::Null => None,
            Param::Number(digits) => Some(digits.clone()),
            Param::Double(number) => Some(number.to_string()),
            Param::Text(bytes) | Param::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Param::Temporal(_, text) => Some(text.clone()),
        },
    }
}

/// What the client is told.
fn told(denied: Denied) -> Failure {
    match denied {
        Denied::Misuse(what) => Failure::misuse(what),
        Denied::Call(xid, error) => Failure::call(xid, &error),
    }
}
