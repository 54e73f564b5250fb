//! COPY … FROM STDIN inside a global transaction: the client's rows go to the server while that may speak at any moment.

use crate::{
    net::Packets,
    wire::postgres::{
        build,
        message::{LIMIT, Message},
    },
};
use std::io;

/// Rows go on to the server when so many bytes of them wait.
const PASS_ON: usize = 64 << 10;

/// Passes the client's rows on until the server speaks, or the client has no more (None).
pub(super) async fn rows(database: &mut Packets, client: &mut Packets) -> io::Result<Option<Message>> {
    let mut waiting = Vec::new();
    loop {
        if !waiting.is_empty() && (waiting.len() >= PASS_ON || client.arrived().is_empty()) {
            database.write_while_reading(&waiting).await?;
            waiting.clear();
        }
        tokio::select! {
            biased;
            said = database.message(LIMIT) => return said.map(Some),
            message = client.message(LIMIT) => {
                let message = message?;
                match message.tag {
                    b'd' => waiting.extend(&message.frame),
                    b'c' | b'f' => {
                        waiting.extend(&message.frame);
                        // One that came before the rows was passed over.
                        build::flush(&mut waiting);
                        database.write_while_reading(&waiting).await?;
                        return Ok(None);
                    }
                    // Drivers send these before they know that it is a COPY; the server passes over them too.
                    b'H' | b'S' => {}
                    tag => {
                        let what = format!("message '{}' in the middle of a COPY", tag.escape_ascii());
                        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                    }
                }
            }
        }
    }
}
