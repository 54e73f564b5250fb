//! `SELECT atone_begin()` and its sisters, `SET atone.xid = …`: the proxy acts, and answers with one column of type text,
//! which is the same in the text and the binary format.

use super::{End, Failure, IDLE, Session, pipeline::Fate, statements::Prepared};
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

fn column(control: &Control) -> String {
    let own =
        if matches!(control.function.as_str(), "atone_commit" | "atone_rollback") { "status" } else { "xid" };
    control.column.clone().unwrap_or_else(|| own.to_owned())
}

/// What is prepared in the database in place of one of ours: as many parameters, one column of type text.
pub(super) fn stand_in(control: &Control) -> (String, Vec<u32>) {
    let params = control.arguments.iter().filter_map(|a| match a {
        Argument::Param(at) => Some(at + 1),
        Argument::Text(_) | Argument::Null => None,
    });
    let count = params.max().unwrap_or(0);
    let list: String = (1..=count).map(|n| format!(", ${n}::pg_catalog.text")).collect();
    let text = format!("SELECT pg_catalog.concat(''::pg_catalog.text{list}) AS {}", quote(&column(control)));
    (text, vec![TEXT; count])
}

impl Session {
    /// Execute of one of ours. `frame` executes what stands for it.
    pub(super) async fn execute_control(
        &mut self,
        prepared: &Arc<Prepared>,
        bind: &Bind,
        frame: &[u8],
    ) -> Result<(), End> {
        let Class::Control(control) = prepared.class() else { return Ok(()) };
        let arguments: Vec<Option<String>> = control
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Text(text) => Some(text.clone()),
                Argument::Null => None,
                Argument::Param(at) => bind.text(*at),
            })
            .collect();
        self.run().await?;
        if self.skipping {
            return Ok(());
        }
        match self.act(&control.function, &arguments).await? {
            Err(failure) => self.refuse(&failure).await,
            // The setting is set in the database too, so that reading it back works.
            Ok(_) if control.function == "set" => {
                self.pipeline.pass(frame, super::pipeline::Ask::Execute);
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
            let name = self.own_name();
            let bind = Bind { portal: name.clone().into_bytes(), statement: name.clone().into_bytes(), ..none.clone() };
            self.pipeline.parse(&name, &prepared.text, &[], Fate::DropUnlessError);
            self.pipeline.bind(&bind, Fate::DropUnlessError);
            let mut frame = Vec::new();
            build::execute(&mut frame, &name);
            return self.execute_control(prepared, &none, &frame).await;
        }
        self.run().await?;
        let at = self.answer.len();
        build::one_column(&mut self.answer, &column(control));
        let described = self.answer.len();
        self.execute_control(prepared, &none, &[]).await?;
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
                    if let Err(failure) = self.may_enter() {
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
        self.branch.as_ref().is_some_and(|b| !b.changes.is_empty())
    }

    /// What must hold before a session may enter a global transaction.
    fn may_enter(&self) -> Result<(), Failure> {
        if let Err(why) = &self.fit {
            return Err(Failure::misuse(format!("{why} cannot enter a global transaction")));
        }
        if self.block || self.status != IDLE {
            let what = "a local transaction is open, whose writes so far were not captured; COMMIT or ROLLBACK it first";
            return Err(Failure::misuse(what));
        }
        Ok(())
    }

    async fn decide(&mut self, xid: Option<&str>, commit: bool) -> Result<Result<Option<String>, Failure>, End> {
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
        Denied::Backend(error) => Failure::backend(&error),
    }
}
