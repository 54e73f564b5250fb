//! The local transaction of a MySQL session, as its settlement needs it.

use super::{Answer, Backside};
use crate::{
    backend::UNDO_LOG,
    branch::{AfterImages, Branch, Committing, Local, SettleError, UndoRows, after_images, read_inserts},
    net::Packets,
};
use atone_undo_log::sql::hex;
use std::io;

/// What a reverse statement needs besides the values: names, at most.
const UNDO_OVERHEAD: usize = 256 << 10;

/// An open local transaction and the statement that commits it.
pub(super) struct LocalTransaction<'a> {
    /// The application's connection.
    pub backside: &'a mut Backside,
    /// The application's end.
    pub client: &'a mut Packets,
    /// The statement.
    pub commit: &'a str,
    /// The largest query the server takes.
    pub max_allowed_packet: usize,
}

impl Local for LocalTransaction<'_> {
    fn keys_are_known(&self, branch: &Branch) -> bool {
        branch.unread(None).is_empty()
            && !branch.relinked
            && (0..branch.tables.len()).all(|t| branch.description(t).is_some_and(|t| t.uniques.is_empty()))
    }

    async fn images(&mut self, branch: &mut Branch) -> Result<AfterImages, SettleError> {
        let fresh = read_inserts(self.backside, branch, None).await?;
        after_images(self.backside, branch, fresh).await
    }

    /// The undo writes a row back in one statement, its bytes in hexadecimal.
    fn row_limit(&self) -> usize {
        self.max_allowed_packet.saturating_sub(UNDO_OVERHEAD) / 2
    }

    fn part_limit(&self) -> usize {
        self.max_allowed_packet.saturating_sub(4096) / 2
    }

    async fn commit(&mut self, undo: &UndoRows<'_>) -> io::Result<Committing> {
        let insert = |(at, part): (usize, &&[u8])| {
            format!(
                "INSERT INTO {UNDO_LOG} (xid, branch_id, part, parts, status, record) VALUES ('{}', {}, {at}, {}, 'NORMAL', {})",
                undo.xid,
                undo.branch.as_u64(),
                undo.parts.len(),
                hex(part)
            )
        };
        let mut inserts: Vec<String> = undo.parts.iter().enumerate().map(insert).collect();
        let first = inserts.remove(0);
        for rest in inserts {
            match self.backside.ask_one(&rest).await {
                Ok(Answer::Ok(..)) => {}
                Ok(Answer::Error(error)) => return Ok(Committing::Refused(error)),
                Ok(Answer::Rows(_) | Answer::TooMany) | Err(_) => return Ok(Committing::LostBefore),
            }
        }
        let answers = self.backside.run_together(&format!("{first}; {}", self.commit)).await?;
        Ok(match answers.as_slice() {
            // The insert failed, so that the commit was not run.
            [Answer::Error(error)] => Committing::Refused(error.clone()),
            [Answer::Ok(..), Answer::Ok(_, payload)] => Committing::Done(payload.clone()),
            // An error as the answer to COMMIT is rare and says little: the database itself is asked.
            [Answer::Ok(..), Answer::Error(_)] => {
                self.undo_locally().await;
                Committing::Doubt
            }
            _ => Committing::Doubt,
        })
    }

    async fn client_gone(&mut self) {
        self.client.gone().await;
    }

    async fn undo_locally(&mut self) {
        // If the connection is lost the server rolls back by itself.
        let _ = self.backside.ask_one("ROLLBACK AND NO CHAIN NO RELEASE").await;
    }
}
