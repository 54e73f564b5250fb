//! A write inside a global transaction: run with three more columns in its RETURNING clause, which tell the table meant,
//! the table or partition of each row, and the row.

use super::{
    End, Failure, Session,
    counters::{Counters, Counts},
    pipeline::{Fate, Ran, Seen},
    statements::Prepared,
};
use crate::{backend::Entry, branch::Branch, wire::postgres::Bind};
use atone_undo_log::{
    analyze::Unsupported,
    capture::Captured,
    postgres::{Class, Verb, Write},
};
use std::sync::Arc;

/// Bytes of rows that one local transaction may change; its undo record holds them twice.
const BRANCH_BYTES: usize = 256 << 20;

/// A write that was sent and whose rows are not in the branch yet.
#[derive(Debug)]
pub(super) struct Running {
    statement: Arc<Prepared>,
}

impl Running {
    fn write(&self) -> Option<&Write> {
        match self.statement.class() {
            Class::Write(write) => Some(write),
            _ => None,
        }
    }
}

impl Session {
    /// A name for a statement or portal of ours that no other has or had.
    pub(super) fn own_name(&mut self) -> String {
        self.names += 1;
        format!("atone {}", self.names)
    }

    /// Gathers a write. `described`: the client awaits a description of its rows (it sent a simple Query).
    pub(super) async fn write(&mut self, prepared: &Arc<Prepared>, bind: &Bind, described: bool) -> Result<(), End> {
        if let Some(why) = self.ended.clone() {
            return self.refuse(&why).await;
        }
        let Class::Write(write) = prepared.class() else { return Ok(()) };
        if self.parameters.get("client_encoding").is_some_and(|e| e != "UTF8") {
            let what = "a session whose client_encoding is not UTF8".into();
            return self.refuse(&Failure::unsupported(&Unsupported(what))).await;
        }
        self.begin_counting();
        let name = self.own_name();
        let mut results = bind.results.clone();
        if results.len() > 1 {
            // One format per column of the client's; ours are text in any format.
            results.extend([0; super::pipeline::OURS]);
        }
        let own = Bind {
            portal: name.clone().into_bytes(),
            statement: name.clone().into_bytes(),
            results,
            ..bind.clone()
        };
        let number = self.writes.len();
        let capture = Fate::Capture { write: number };
        // What the server says of our re-spelling of the client's statement is for the client.
        let sql = write.with_returning(&prepared.text);
        self.pipeline.parse(&name, &sql, &prepared.types, Fate::DropUnlessError);
        self.pipeline.bind(&own, Fate::DropUnlessError);
        if described {
            self.pipeline.describe(&name, capture.clone());
        }
        self.pipeline.execute(&name, capture);
        self.pipeline.close(b'P', &name);
        self.pipeline.close(b'S', &name);
        self.writes.push(Running { statement: prepared.clone() });
        Ok(())
    }

    /// Before the first statement of a local transaction that may change rows, the counters are asked.
    pub(super) fn begin_counting(&mut self) {
        if !self.counters.known() && !self.counting {
            self.ask_counts();
        }
    }

    /// Asks for the counts; [`Session::absorb`] hears the answer.
    pub(super) fn ask_counts(&mut self) {
        let (parse, bind) = self.counters.ask();
        if let Some((name, sql)) = parse {
            self.pipeline.parse(&name, sql, &[], Fate::Drop);
        }
        self.pipeline.bind(&bind, Fate::Drop);
        self.pipeline.execute("atone counts", Fate::Keep);
        self.counting = true;
    }

    /// Will there be something to compare when what was gathered has run?
    pub(super) fn expects_counts(&self) -> bool {
        self.counting || self.counters.known()
    }

    /// Runs what was gathered and compares the counts.
    pub(super) async fn check_counters(&mut self) -> Result<(), End> {
        if self.expects_counts() {
            self.ask_counts();
        }
        self.run().await
    }

    /// Takes in what came of running: errors, rows of writes, counts.
    pub(super) async fn absorb(&mut self, ran: Ran) -> Result<(), End> {
        let Ran { kept, seen, writes, error, last_complete, .. } = ran;
        self.counting = false;
        let begun = self.counters.known();
        let mut kept = kept.into_iter();
        // The first counts of a local transaction stand before its statements, all others behind.
        if !begun && let Some(rows) = kept.next() {
            match Counters::read(&rows) {
                Some(counts) => self.counters.begin(counts),
                None => return self.uncountable().await,
            }
        }
        if let Err((at, failure)) = self.take_in(&writes, seen).await {
            self.answer.truncate(at);
            self.answer.extend(failure.message("ERROR"));
            if error.is_some() {
                self.skipping = true;
                self.writes.clear();
                return Ok(());
            }
            return self.fail_locally().await;
        }
        self.writes.clear();
        if let Some((error, own)) = error {
            if !own {
                let fault = crate::wire::postgres::Fault::read(error.body());
                let what = format!("a question of the proxy failed: {} ({})", fault.message, fault.state);
                self.counters.forget_statement();
                self.answer.extend(Failure::internal(&what).message("ERROR"));
            }
            self.skipping = true;
            return Ok(());
        }
        for rows in kept {
            match Counters::read(&rows) {
                Some(counts) => self.compare(counts, last_complete).await?,
                None => return self.uncountable().await,
            }
        }
        Ok(())
    }

    async fn uncountable(&mut self) -> Result<(), End> {
        let what = Unsupported("a session whose track_counts is off".into());
        self.answer.extend(Failure::unsupported(&what).message("ERROR"));
        self.fail_locally().await
    }

    async fn compare(&mut self, counts: Counts, last_complete: Option<usize>) -> Result<(), End> {
        match self.counters.check(counts) {
            Ok(()) => Ok(()),
            Err(unseen) => {
                self.answer.truncate(last_complete.unwrap_or(self.answer.len()));
                let failure = Failure::unseen(&unseen.table, unseen.captured, unseen.counted);
                self.answer.extend(failure.message("ERROR"));
                self.fail_locally().await
            }
        }
    }

    /// The rows of writes become changes of the branch. An error stands where the write's result began.
    async fn take_in(&mut self, writes: &[(usize, usize, u64)], seen: Vec<Seen>) -> Result<(), (usize, Failure)> {
        let mut seen = seen.into_iter().peekable();
        for (number, at, counted) in writes {
            let mut rows = Vec::new();
            while let Some(row) = seen.next_if(|s| s.write == *number) {
                rows.push(row);
            }
            let Some(running) = self.writes.get(*number) else { continue };
            let statement = running.statement.clone();
            let Some(write) = running.write() else { continue };
            let verb = (write.verb, write.assigned.clone());
            if rows.len() as u64 != *counted {
                let what = format!("{} rows were told of {counted} that were written", rows.len());
                return Err((*at, Failure::internal(&what)));
            }
            self.change(verb, rows).await.map_err(|failure| (*at, failure))?;
            drop(statement);
        }
        Ok(())
    }

    async fn change(&mut self, (verb, assigned): (Verb, Vec<String>), rows: Vec<Seen>) -> Result<(), Failure> {
        let Some(meant) = rows.first().map(|r| r.meant) else { return Ok(()) };
        let resource = self.resource.clone();
        let Some(backend) = resource.backend.postgres() else { return Ok(()) };
        let entry = backend.entry(meant).await.map_err(|e| Failure::backend(&e))?;
        let entry = entry.ok_or_else(|| {
            Failure::table(&format!("number {meant}"), "it is a temporary table, or was made in this transaction")
        })?;
        let table = protectable(&entry)?;
        let layout = entry.layout.as_ref().ok_or_else(|| Failure::internal("a table without a layout"))?;
        let key = |column: &&String| table.key.parts.iter().any(|p| table.columns[p.column].name == **column);
        if let Some(column) = assigned.iter().find(key) {
            return Err(Failure::table(&entry.name, &format!("the statement assigns its key column {column}")));
        }
        let mut captured = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.found != row.meant && !layout.partitioned {
                let why = "the row is in a table that inherits from it; write to that table";
                return Err(Failure::table(&entry.name, why));
            }
            self.counters.captured(row.found, 1);
            let image = layout.decode(table, &row.row);
            let changed = || Failure::internal("a row that does not fit its table; its schema was changed");
            captured.push(image.ok_or_else(changed)?);
        }
        let branch = self.branch.get_or_insert_with(|| Branch::new(crate::ids::branch()));
        let bytes = branch.bytes + captured.iter().map(|c: &Captured| c.row.size()).sum::<usize>();
        if bytes > BRANCH_BYTES {
            return Err(Failure::too_large("the local transaction would change over 256 MiB of rows"));
        }
        if branch.rows() + captured.len() > resource.max_rows {
            let most = resource.max_rows;
            return Err(Failure::too_large(&format!("the local transaction would change over {most} rows (max_rows)")));
        }
        let at = branch.table(&entry);
        branch.left(at, captured, verb == Verb::Delete);
        Ok(())
    }
}

fn protectable(entry: &Entry) -> Result<&atone_undo_log::capture::Table, Failure> {
    if let Some(trigger) = entry.triggers.first() {
        let why = format!("it has the trigger {trigger}, which the undo would fire");
        return Err(Failure::table(&entry.name, &why));
    }
    entry.table.as_ref().map_err(|why| Failure::table(&entry.name, why))
}
