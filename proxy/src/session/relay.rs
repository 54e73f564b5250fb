//! Passing a command on and its reply back, byte for byte.

use super::{Backside, Command, End};
use crate::{
    net::Packets,
    wire::{
        command::{self, expect},
        packet::{HEADER, MAX_PAYLOAD, header},
        reply::{Expect, Outcome, Progress, Tracker},
    },
};
use std::io;

/// What was relayed.
pub(crate) struct Relayed {
    /// What the reply said.
    pub outcome: Outcome,
}

/// Relays a whole command and its reply.
pub(crate) async fn relay(
    client: &mut Packets,
    backside: &mut Backside,
    command: &Command,
) -> Result<Relayed, End> {
    backside.packets.write(&command.frames).await?;
    let code = command.code();
    let Some(expect) = expect(code) else { return Err(blindly(client, backside).await) };
    let relayed = reply(client, backside, expect).await?;
    if code == command::SET_OPTION && relayed.outcome.error.is_none() {
        backside.multi_statements = command.payload.get(1..3) == Some(&[0, 0]);
    }
    Ok(relayed)
}

/// Relays a command whose first frame is announced but not read yet.
pub(crate) async fn relay_large(
    client: &mut Packets,
    backside: &mut Backside,
    first: usize,
) -> Result<Relayed, End> {
    client.fill_to(HEADER + 1).await?;
    let expect = expect(client.arrived()[HEADER]);
    let mut length = first;
    loop {
        pass_frame(client, &mut backside.packets, length).await?;
        if length < MAX_PAYLOAD {
            break;
        }
        client.fill_to(HEADER).await?;
        length = header(client.arrived()).map_or(0, |h| h.0);
    }
    match expect {
        Some(expect) => reply(client, backside, expect).await,
        None => Err(blindly(client, backside).await),
    }
}

/// Moves one frame from the front of `from`, as it arrives.
async fn pass_frame(from: &mut Packets, to: &mut Packets, length: usize) -> io::Result<()> {
    let mut left = HEADER + length;
    while left > 0 {
        if from.arrived().is_empty() && !from.fill().await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = from.arrived().len().min(left);
        from.pass_on(now, to).await?;
        left -= now;
    }
    Ok(())
}

async fn reply(client: &mut Packets, backside: &mut Backside, expect: Expect) -> Result<Relayed, End> {
    let mut tracker = Tracker::new(expect, backside.capabilities);
    loop {
        match tracker.advance(backside.packets.arrived()) {
            Progress::End(count) => {
                backside.packets.pass_on(count, client).await?;
                return Ok(Relayed { outcome: tracker.outcome });
            }
            Progress::More(count) => {
                backside.packets.pass_on(count, client).await?;
                if !backside.packets.fill().await? {
                    let rest = backside.packets.arrived().len();
                    backside.packets.pass_on(rest, client).await?;
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
            Progress::File(count) => {
                backside.packets.pass_on(count, client).await?;
                send_file(client, backside).await?;
                tracker.file_sent();
            }
            Progress::Malformed(what) => return Err(io::Error::new(io::ErrorKind::InvalidData, what).into()),
        }
    }
}

/// LOCAL INFILE: the client's frames up to an empty one.
async fn send_file(client: &mut Packets, backside: &mut Backside) -> io::Result<()> {
    loop {
        client.fill_to(HEADER).await?;
        let length = header(client.arrived()).map_or(0, |h| h.0);
        pass_frame(client, &mut backside.packets, length).await?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// After a command we do not know (replication, cloning) both directions are copied until one side ends.
async fn blindly(client: &mut Packets, backside: &mut Backside) -> End {
    loop {
        let (waiting, said) = (client.arrived().len(), backside.packets.arrived().len());
        let passed = async {
            client.pass_on(waiting, &mut backside.packets).await?;
            backside.packets.pass_on(said, client).await?;
            tokio::select! {
                more = client.fill() => more,
                more = backside.packets.fill() => more,
            }
        };
        match passed.await {
            Ok(true) => {}
            Ok(false) => return End::Done,
            Err(error) => return End::Broken(error),
        }
    }
}
