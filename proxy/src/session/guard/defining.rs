//! Statements outside global transactions that empty tables, take them away or give them another shape: an undo would not find its
//! rows there. They commit by themselves, so that nothing can be asked at their end. Instead the tables are locked before, by LOCK
//! TABLES on the client's connection: all who have written to them have committed then, and nobody can come to write. The
//! coordinator is asked whether a global transaction holds a row of theirs, the statement is run, and they are unlocked.

use super::{LOCKED, end::Wanted};
use crate::{
    backend::Reach,
    session::{Answer, Command, Echo, End, ServerError, Session, echo::NO_ROWS},
    wire::capability::DEPRECATE_EOF,
};
use atone_undo_log::{
    analyze::{TableName, Taken},
    sql::{identifier, quoted},
};
use std::collections::BTreeSet;

/// Errors of a statement that LOCK TABLES keeps from what it would do without: a table that is not locked, or only for reading, and
/// statements that do not run under it at all.
const LOCKED_OUT: [u16; 3] = [1100, 1099, 1192];

/// MariaDB: a statement that says how long it waits is not kept waiting by a lock of ours.
fn waits(text: &[u8]) -> bool {
    !text
        .split(|b| !b.is_ascii_alphanumeric())
        .any(|word| [&b"WAIT"[..], b"NOWAIT"].iter().any(|how| word.eq_ignore_ascii_case(how)))
}

impl Session {
    /// Runs such a statement.
    pub(super) async fn guarded_definition(&mut self, taken: Taken, command: Command) -> Result<(), End> {
        if self.tables_locked || !self.touched.is_clear() {
            // What is open is committed by it; somebody else's locks are in force.
            let touched = std::mem::take(&mut self.touched);
            if let Err(failure) = self.check(&touched).await? {
                self.roll_back_locally().await?;
                return self.fail(&failure).await;
            }
        }
        let (known, lockable) = self.known_tables(taken).await?;
        let lock = match lockable && !self.tables_locked && !self.tracked && waits(&command.payload) {
            true => match self.lock_tables(&known).await? {
                Ok(locked) => locked,
                Err(error) => return self.tell(&error.payload).await,
            },
            false => false,
        };
        let tables = known.iter().map(|(_, locked_as)| locked_as.clone()).collect();
        let mut wanted = Wanted::default();
        wanted.reach(&Reach::Tables(tables));
        let wait = self.lock_wait();
        if let Err(failure) = self.await_free(wanted, wait).await {
            self.unlock_tables(lock).await?;
            return self.fail(&failure).await;
        }
        if !lock {
            return self.relay_free(command).await.map(drop);
        }
        let answer = self.backside.run_raw(&command.frames).await?;
        if matches!(&answer, Answer::Error(error) if LOCKED_OUT.contains(&error.code)) {
            self.unlock_tables(lock).await?;
            return self.relay_free(command).await.map(drop);
        }
        let (payload, rows, warned) = match answer {
            Answer::Ok(ok, payload) => {
                self.status = ok.status;
                (payload, ok.affected.cast_signed(), ok.warnings > 0)
            }
            Answer::Error(error) => (error.payload.clone(), NO_ROWS, true),
            Answer::Rows(_) | Answer::TooMany => return Err(End::Done),
        };
        let echo = Echo::keep(&mut self.backside, rows, warned).await?;
        self.unlock_tables(lock).await?;
        self.mysql.catalogue.forget();
        self.echo = Some(echo.outside(self.backside.capabilities & DEPRECATE_EOF != 0));
        self.tell(&payload).await
    }

    /// The base tables among what it takes, each as SQL names it and as its rows are locked; and are these all of it?
    async fn known_tables(&mut self, taken: Taken) -> Result<(BTreeSet<(String, String)>, bool), End> {
        let mut known = BTreeSet::new();
        let schema = self.settings().await?.schema.clone();
        let (names, mut lockable) = match taken {
            Taken::Tables(names) => (names, true),
            Taken::Schema(schema) => (self.tables_of(&schema).await?, false),
        };
        for TableName { schema: named, name } in names {
            let Some(schema) = named.or_else(|| schema.clone()) else { return Ok((known, false)) };
            let in_sql = format!("{}.{}", identifier(&schema), identifier(&name));
            match self.mysql.table(&schema, &name).await {
                Ok(Some(entry)) => drop(known.insert((in_sql, entry.name.clone()))),
                Ok(None) => lockable = false,
                // Our own account cannot be asked: the name as it stands here is mostly its own.
                Err(_) => drop(known.insert((in_sql, format!("{schema}.{name}")))),
            }
        }
        Ok((known, lockable))
    }

    async fn tables_of(&mut self, schema: &str) -> Result<Vec<TableName>, End> {
        let Some(literal) = quoted(schema) else { return Ok(Vec::new()) };
        let query =
            format!("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {literal}");
        let Answer::Rows(rows) = self.backside.ask_one(&query).await? else { return Ok(Vec::new()) };
        let names = rows.into_iter().filter_map(|row| String::from_utf8(row.into_iter().next()??).ok());
        Ok(names.map(|name| TableName { schema: Some(schema.to_owned()), name }).collect())
    }

    /// Without the right to do so the statement is only asked about before it runs. Err: it would have waited in vain as well.
    async fn lock_tables(
        &mut self,
        known: &BTreeSet<(String, String)>,
    ) -> Result<Result<bool, ServerError>, End> {
        if known.is_empty() {
            return Ok(Ok(false));
        }
        let list: Vec<String> = known.iter().map(|(in_sql, _)| format!("{in_sql} WRITE")).collect();
        let answer = self.backside.ask_one(&format!("LOCK TABLES {}", list.join(", "))).await?;
        Ok(match answer {
            Answer::Error(error) if LOCKED.contains(&error.code) => Err(error),
            answer => Ok(matches!(answer, Answer::Ok(..))),
        })
    }

    async fn unlock_tables(&mut self, locked: bool) -> Result<(), End> {
        if locked && let Answer::Ok(ok, _) = self.backside.ask_one("UNLOCK TABLES").await? {
            self.status = ok.status;
        }
        Ok(())
    }
}
