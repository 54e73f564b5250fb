//! Reads that lock rows. Inside a global transaction they take the global locks too, FOR SHARE those that others may share;
//! outside they see to it that nobody holds them. Rows are given to the client only then: what it reads under a lock is never undone later.

use super::{Failure, Session, guard::keys_of, pipeline::Seen};
use crate::{
    backend::Entry,
    branch::{Branch, Change, lock_key},
};
use atone_protocol::{CallError, Check, LockKey};
use atone_undo_log::postgres::Locking;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

impl Session {
    /// Takes in the rows that a read has locked in the database.
    pub(super) async fn locked_rows(
        &mut self,
        locking: &Locking,
        rows: &[Seen],
        flood: &BTreeMap<u32, u64>,
        told: &[Arc<Entry>],
    ) -> Result<(), Failure> {
        let bound = self.membership.binding.is_some();
        if bound && !flood.is_empty() {
            let most = self.resource.max_rows;
            return Err(Failure::too_large(&format!("the read would lock over {most} rows (max_rows)")));
        }
        let resource = self.resource.clone();
        let Some(backend) = resource.backend.postgres() else { return Ok(()) };
        let (mut tables, mut taken) = (BTreeSet::new(), Vec::new());
        let meant: BTreeSet<u32> = rows.iter().map(|row| row.meant).collect();
        for oid in meant.iter().chain(flood.keys()) {
            // One that is not known is temporary, or made in this local transaction.
            let entry = backend.entry(*oid).await.map_err(|e| Failure::backend(&e))?;
            let Some(entry) = entry else { continue };
            let (Ok(_), Some(layout), false) = (&entry.table, &entry.layout, flood.contains_key(oid)) else {
                tables.insert(entry.name.clone());
                continue;
            };
            let of_table = || rows.iter().filter(|row| row.meant == *oid);
            let folds = self.folds_of(told, &entry, of_table()).await?;
            for row in of_table() {
                let captured = match row.found != row.meant && !layout.partitioned {
                    // A table that inherits from it, with a key of its own.
                    true => None,
                    false => keys_of(told, &entry, &row.row, &folds),
                };
                match captured {
                    Some(captured) => taken.push((entry.clone(), captured)),
                    None => {
                        let found = backend.entry(row.found).await.map_err(|e| Failure::backend(&e))?;
                        tables.extend(found.map(|found| found.name.clone()));
                    }
                }
            }
        }
        let shared = !locking.exclusive;
        let keys: BTreeSet<LockKey> =
            taken.iter().map(|(entry, row)| lock_key(&entry.name, &row.key)).collect();
        if bound {
            self.few_enough(taken.len())?;
        }
        if locking.skips && self.meets(shared, &taken, &tables).await? {
            return Ok(());
        }
        if bound {
            let branch = self.branch.get_or_insert_with(|| Branch::new(crate::ids::branch()));
            for (entry, row) in taken {
                let at = branch.table(&entry);
                branch.changes.push(Change::Locked { table: at, key: row.key, shared });
            }
            if !self.block && tables.is_empty() && !locking.skips {
                // They are registered, and waited for, before anything is given to the client.
                return Ok(());
            }
        }
        if locking.skips {
            // It has been asked whether they are free.
            return Ok(());
        }
        let wait = if locking.waits { self.lock_wait() } else { Duration::ZERO };
        let keys = keys.into_iter().collect();
        let (keys, shared) = if shared { (Vec::new(), keys) } else { (keys, Vec::new()) };
        self.await_free(keys, shared, tables.into_iter().collect(), wait).await
    }

    pub(super) async fn await_free(
        &mut self,
        keys: Vec<LockKey>,
        shared: Vec<LockKey>,
        tables: Vec<String>,
        wait: Duration,
    ) -> Result<(), Failure> {
        let checked = self.ask_free(keys, shared, tables, wait).await?;
        checked.map_err(|error| self.not_free(&error))
    }

    /// What the client is told when the coordinator did not say that all is free.
    pub(super) fn not_free(&self, error: &CallError) -> Failure {
        match self.membership.xid() {
            Some(xid) => Failure::call(xid, error),
            None => Failure::guarded(error),
        }
    }

    pub(super) async fn ask_free(
        &mut self,
        keys: Vec<LockKey>,
        shared: Vec<LockKey>,
        tables: Vec<String>,
        wait: Duration,
    ) -> Result<Result<(), CallError>, Failure> {
        if keys.is_empty() && shared.is_empty() && tables.is_empty() {
            return Ok(Ok(()));
        }
        let xid = self.membership.xid();
        let resource = self.resource.backend.name().to_owned();
        let session = self.number;
        let check = Check { xid, resource, keys, shared, tables, everything: false, wait, session };
        let coordinator = self.resource.coordinator.clone();
        tokio::select! {
            checked = coordinator.check(check) => Ok(checked),
            () = self.client.gone() => Err(Failure::internal("its client has gone")),
        }
    }
}
