//! Passing a command on and its reply back, byte for byte.

use super::{Backside, Command, End, guard::outside, yielding::INTERRUPTED};
use crate::{
    net::{Packet, Packets},
    wire::{
        command::{self, expect},
        packet::{HEADER, MAX_PAYLOAD, header},
        reply::{Expect, OkPacket, Outcome, Progress, Tracker},
    },
};
use std::io;

/// A frame that ends a reply is never larger.
const END_LIMIT: usize = 1 << 20;
/// A command too large to look into: it may hold anything.
const LARGE: &[u8] = b"\x03;;";

/// Commands whose answers tell how the local transaction fares.
const TOLD: [u8; 5] =
    [command::QUERY, command::STMT_EXECUTE, command::PING, command::INIT_DB, command::STMT_RESET];

/// What was relayed.
pub(crate) struct Relayed {
    /// What the reply said.
    pub outcome: Outcome,
    /// How many rows it had.
    pub rows: u64,
}

/// Relays a whole command and its reply.
pub(crate) async fn relay(
    client: &mut Packets,
    backside: &mut Backside,
    command: &Command,
) -> Result<Relayed, End> {
    backside.restore_multi_statements(&command.payload).await?;
    backside.packets.write(&command.frames).await?;
    let code = command.code();
    let Some(expect) = expect(code) else { return Err(blindly(client, backside).await) };
    if TOLD.contains(&code) && !backside.tracked.is_quiet() {
        let (relayed, end) = reply_but_end(client, backside, expect, false).await?;
        if end.payload.first() == Some(&0xfe) {
            backside.tracked.read();
        }
        let told = backside.tracked.tell(&end.payload);
        client.send(&told, end.sequence).await?;
        return Ok(relayed);
    }
    let relayed = reply(client, backside, expect).await?;
    if let Some(state) = relayed.outcome.transaction {
        backside.tracked.relayed(state);
    }
    if code == command::SET_OPTION && relayed.outcome.error.is_none() {
        backside.multi_statements = command.payload.get(1..3) == Some(&[0, 0]);
        backside.server_multi = Some(backside.multi_statements);
    }
    Ok(relayed)
}

/// The same of a command of which the last frame of the reply, which says how it ended, is not passed on yet but given
/// back: the payload and its number. What is `ours` is told as if no local transaction were open.
pub(crate) async fn relay_but_end(
    client: &mut Packets,
    backside: &mut Backside,
    command: &Command,
    ours: bool,
) -> Result<(Relayed, Packet), End> {
    backside.restore_multi_statements(&command.payload).await?;
    backside.packets.write(&command.frames).await?;
    reply_but_end(client, backside, Expect::Results, ours).await
}

/// The same of a large command whose first frame is announced but not read yet.
pub(crate) async fn relay_large_but_end(
    client: &mut Packets,
    backside: &mut Backside,
    first: usize,
) -> Result<(Relayed, Packet), End> {
    pass_frames(client, backside, first).await?;
    reply_but_end(client, backside, Expect::Results, true).await
}

async fn reply_but_end(
    client: &mut Packets,
    backside: &mut Backside,
    expect: Expect,
    ours: bool,
) -> Result<(Relayed, Packet), End> {
    let mut tracker = Tracker::new(expect, backside.capabilities);
    loop {
        let progress = tracker.advance(backside.packets.arrived());
        let count = match progress {
            Progress::End(_) => tracker.last,
            Progress::More(count) | Progress::File(count) => count,
            Progress::Malformed(_) => 0,
        };
        let mut bytes = backside.packets.take(count).to_vec();
        for at in tracker.statuses.iter().filter(|at| ours && **at + 2 <= count) {
            let status = outside(u16::from_le_bytes([bytes[*at], bytes[*at + 1]]));
            bytes[*at..*at + 2].copy_from_slice(&status.to_le_bytes());
        }
        client.write(&bytes).await?;
        match progress {
            Progress::End(_) => {
                let end = end(backside, &mut tracker).await?;
                if let Some(ok) = OkPacket::read(&end.payload).filter(|_| end.payload.first() != Some(&0xff))
                {
                    backside.tracked.heard(&end.payload, &ok, false);
                }
                return Ok((Relayed { rows: tracker.rows, outcome: tracker.outcome }, end));
            }
            Progress::File(_) => progressed(Progress::File(0), &mut tracker, client, backside).await?,
            Progress::More(_) => progressed(Progress::More(0), &mut tracker, client, backside).await?,
            wrong @ Progress::Malformed(_) => progressed(wrong, &mut tracker, client, backside).await?,
        }
    }
}

/// The last packet of a reply.
async fn end(backside: &mut Backside, tracker: &mut Tracker) -> io::Result<Packet> {
    let mut end = backside.packets.packet(END_LIMIT).await?;
    if let Some(code) = tracker.outcome.error {
        let error = backside.spoken(code, end.payload).await;
        (tracker.outcome.error, end.payload) = (Some(error.code), error.payload);
    }
    Ok(end)
}

/// Relays a command whose first frame is announced but not read yet.
pub(crate) async fn relay_large(
    client: &mut Packets,
    backside: &mut Backside,
    first: usize,
) -> Result<Relayed, End> {
    client.fill_to(HEADER + 1).await?;
    let expect = expect(client.arrived()[HEADER]);
    pass_frames(client, backside, first).await?;
    match expect {
        Some(expect) => reply(client, backside, expect).await,
        None => Err(blindly(client, backside).await),
    }
}

/// Moves a large command from the client to the server.
async fn pass_frames(client: &mut Packets, backside: &mut Backside, first: usize) -> io::Result<()> {
    backside.restore_multi_statements(LARGE).await?;
    let mut length = first;
    loop {
        pass_frame(client, &mut backside.packets, length).await?;
        if length < MAX_PAYLOAD {
            return Ok(());
        }
        client.fill_to(HEADER).await?;
        length = header(client.arrived()).map_or(0, |h| h.0);
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
                if tracker.outcome.error == Some(INTERRUPTED) && backside.gate.is_some() {
                    backside.packets.pass_on(tracker.last, client).await?;
                    let end = end(backside, &mut tracker).await?;
                    client.send(&end.payload, end.sequence).await?;
                } else {
                    backside.packets.pass_on(count, client).await?;
                }
                return Ok(Relayed { rows: tracker.rows, outcome: tracker.outcome });
            }
            progress => progressed(progress, &mut tracker, client, backside).await?,
        }
    }
}

/// Passes on what is not the end.
async fn progressed(
    progress: Progress,
    tracker: &mut Tracker,
    client: &mut Packets,
    backside: &mut Backside,
) -> Result<(), End> {
    match progress {
        Progress::More(count) | Progress::End(count) => {
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
    Ok(())
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
