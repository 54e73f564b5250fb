//! `SELECT atone_begin()` and its sisters, `SET atone.xid = …`: the proxy acts, and answers with one column of type text,
//! which is the same in the text and the binary format.

use super::{End, Failure, IDLE, Session, statements::Prepared};
use crate::{
    membership::{Denied, WRITTEN, Wish},
    wire::postgres::{Bind, build},
};
use atone_undo_log::{
    analyze::{Argument, Control},
    postgres::{Class, quote},
};
use std::sync::Arc;

/// The type text.
const TEXT: u32 = 25;

/// The types bigint, smallint and integer: drivers give a timeout's with its value, and may then send it in binary.
const INTEGERS: [u32; 3] = [20, 21, 23];

fn column(control: &Control) -> String {
    let own =
        if matches!(control.function.as_str(), "atone_commit" | "atone_rollback") { "status" } else { "xid" };
    control.column.clone().unwrap_or_else(|| own.to_owned())
}

/// What is prepared in the database in place of one of ours: as many parameters, one column of type text. Parameters are
/// text too, but for a number that the client gave a type.
pub(super) fn stand_in(control: &Control, types: &[u32]) -> (String, Vec<u32>) {
    let params = control.arguments.iter().filter_map(|a| match a {
        Argument::Param(at) => Some(at + 1),
        Argument::Text(_) | Argument::Null => None,
    });
    let count = params.max().unwrap_or(0);
    let list: String = (1..=count).map(|n| format!(", ${n}::pg_catalog.text")).collect();
    let text = format!("SELECT pg_catalog.concat(''::pg_catalog.text{list}) AS {}", quote(&column(control)));
    let kind = |at| if is_integer(types, at) { types[at] } else { TEXT };
    (text, (0..count).map(kind).collect())
}

fn is_integer(types: &[u32], at: usize) -> bool {
    types.get(at).is_some_and(|kind| INTEGERS.contains(kind))
}

impl Session {
    /// Execute of one of ours.
    pub(super) async fn execute_control(&mut self, prepared: &Arc<Prepared>, bind: &Bind) -> Result<(), End> {
        let Class::Control(control) = prepared.class() else { return Ok(()) };
        let arguments: Vec<Option<String>> = control
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Text(text) => Some(text.clone()),
                Argument::Null => None,
                Argument::Param(at) if is_integer(&prepared.types, *at) => bind.integer(*at),
                Argument::Param(at) => bind.text(*at),
            })
            .collect();
        if control.function == "atone_xid" {
            self.send().await?;
        } else {
            // A function that a read called may have written: nobody leaves or decides with that.
            self.check_counters().await?;
        }
        if self.skipping {
            return Ok(());
        }
        if control.function == "set" && !self.block && self.has_written() {
            // It is set in the database by a statement of its own, whose Sync would commit what was written.
            return self.refuse(&Failure::misuse(WRITTEN)).await;
        }
        match self.act(&control.function, &arguments).await? {
            Err(failure) => self.refuse(&failure).await,
            // The setting is set in the database too, so that reading it back works.
            Ok(_) if control.function == "set" => {
                let ran = self.ask_alone(&prepared.text).await?;
                match ran.error {
                    Some((error, _)) => {
                        self.answer.extend(&error.frame);
                        self.skipping = true;
                    }
                    None => {
                        let word = prepared.text.trim_start().get(..5).unwrap_or_default();
                        let tag = if word.eq_ignore_ascii_case("reset") { "RESET" } else { "SET" };
                        build::complete(&mut self.answer, tag);
                    }
                }
                Ok(())
            }
            Ok(answer) => {
                build::data_row(&mut self.answer, &[answer.as_deref().map(str::as_bytes)]);
                build::complete(&mut self.answer, "SELECT 1");
                Ok(())
            }
        }
    }

    /// One of ours as a simple Query.
    pub(super) async fn simple_control(&mut self, prepared: &Arc<Prepared>) -> Result<(), End> {
        let Class::Control(control) = prepared.class() else { return Ok(()) };
        let none = Bind {
            portal: Vec::new(),
            statement: Vec::new(),
            formats: Vec::new(),
            values: Vec::new(),
            results: Vec::new(),
        };
        if control.function == "set" {
            return self.execute_control(prepared, &none).await;
        }
        self.send().await?;
        let at = self.answer.len();
        build::one_column(&mut self.answer, &column(control));
        let described = self.answer.len();
        self.execute_control(prepared, &none).await?;
        if self.skipping {
            self.answer.drain(at..described);
        }
        Ok(())
    }

    async fn act(
        &mut self,
        function: &str,
        arguments: &[Option<String>],
    ) -> Result<Result<Option<String>, Failure>, End> {
        let first = arguments.first().and_then(Option::as_deref);
        let wish = Wish::of(function, first);
        let done = match wish {
            Wish::Xid => return Ok(Ok(self.membership.xid().map(|x| x.to_string()))),
            Wish::Begin | Wish::Join => match self.membership.may_enter(wish, first) {
                Err(denied) => Err(denied),
                Ok(Some(xid)) => Ok(Some(xid.to_string())),
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
                    entered.map(|xid| Some(xid.to_string()))
                }
            },
            Wish::Leave => {
                let left = self.membership.leave(self.has_written());
                left.map(|xid| xid.map(|x| x.to_string()))
            }
            Wish::Commit | Wish::Rollback => return self.decide(first, wish == Wish::Commit).await,
        };
        Ok(done.map_err(told))
    }

    fn has_written(&self) -> bool {
        self.branch.as_ref().is_some_and(|b| !b.is_empty())
    }

    async fn enter(&mut self) -> Result<Result<(), Failure>, End> {
        if let Err(failure) = self.may_enter() {
            return Ok(Err(failure));
        }
        let resource = self.resource.clone();
        let backend = &resource.backend;
        // A connection stays where it is.
        if self.server.is_empty() {
            let ran = self.ask_alone(backend.identity()).await?;
            let told = ran.kept.into_iter().flatten().flatten().flatten().next();
            self.server = String::from_utf8_lossy(&told.unwrap_or_default()).as_ref().into();
        }
        match backend.is_primary(&self.server).await {
            Ok(true) => {}
            Ok(false) => return Ok(Err(Failure::elsewhere())),
            Err(error) => return Ok(Err(Failure::backend(&error))),
        }
        // Before anything else of this session is heard by the coordinator.
        resource.coordinator.sees(backend.name(), &self.server);
        Ok(Ok(()))
    }

    /// What must hold before a session may enter a global transaction.
    fn may_enter(&self) -> Result<(), Failure> {
        if let Err(why) = &self.fit {
            return Err(Failure::misuse(format!("{why} cannot enter a global transaction")));
        }
        if self.unsynced {
            let what =
                "statements before it in the same pipeline are part of a local transaction; send Sync first";
            return Err(Failure::misuse(what));
        }
        if self.block || self.status != IDLE {
            let what = "a local transaction is open, whose writes so far were not captured; COMMIT or ROLLBACK it first";
            return Err(Failure::misuse(what));
        }
        Ok(())
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
        if own && self.has_written() {
            if commit {
                return Ok(Err(Failure::misuse(WRITTEN)));
            }
            // Asked to undo everything: what is not committed locally goes first, before its row locks stand in the
            // way of phase two.
            self.abandon().await?;
            self.block = false;
        }
        let decided = self.membership.decide(xid, commit).await;
        Ok(decided.map(|status| Some(status.to_string())).map_err(told))
    }
}

/// What the client is told.
fn told(denied: Denied) -> Failure {
    match denied {
        Denied::Misuse(what) => Failure::misuse(what),
        Denied::Call(xid, error) => Failure::call(xid, &error),
    }
}
