//! Both directions at once. A side that is slow to take bytes must not keep us from taking the other's: each may be
//! waiting for the other to read.

use super::Packets;
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

/// Bytes held for one direction; then its source waits.
const HELD: usize = 256 << 10;
const READ_SIZE: usize = 16 << 10;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The first side said something.
    FirstSaid,
    /// The second side said something.
    SecondSaid,
    /// Bytes of the first side went on.
    FirstPassed(usize),
    /// Bytes of the second side went on.
    SecondPassed(usize),
    /// The first side has ended.
    FirstEnded,
    /// The second side has ended.
    SecondEnded,
}

/// Moves bytes that are free to go, and reads more, whichever is possible first. `free` bytes of what has arrived from each
/// side may go on to the other. May be dropped while waiting without losing bytes.
pub async fn duplex(first: &mut Packets, second: &mut Packets, free: (usize, usize)) -> io::Result<Event> {
    poll_fn(|cx| {
        if let Poll::Ready(passed) = pass(cx, first, second, free.0) {
            return Poll::Ready(passed.map(Event::FirstPassed));
        }
        if let Poll::Ready(passed) = pass(cx, second, first, free.1) {
            return Poll::Ready(passed.map(Event::SecondPassed));
        }
        if let Poll::Ready(more) = read(cx, second) {
            return Poll::Ready(more.map(|m| if m { Event::SecondSaid } else { Event::SecondEnded }));
        }
        if let Poll::Ready(more) = read(cx, first) {
            return Poll::Ready(more.map(|m| if m { Event::FirstSaid } else { Event::FirstEnded }));
        }
        Poll::Pending
    })
    .await
}

fn pass(cx: &mut Context<'_>, from: &mut Packets, to: &mut Packets, free: usize) -> Poll<io::Result<usize>> {
    // What an encrypted stream holds back must go before anything else can.
    if to.unflushed {
        ready!(Pin::new(&mut to.stream).poll_flush(cx))?;
        to.unflushed = false;
    }
    if free == 0 {
        return Poll::Pending;
    }
    let written = ready!(Pin::new(&mut to.stream).poll_write(cx, &from.buffer[..free]))?;
    if written == 0 {
        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
    }
    to.unflushed = Pin::new(&mut to.stream).poll_flush(cx)?.is_pending();
    drop(from.take(written));
    Poll::Ready(Ok(written))
}

fn read(cx: &mut Context<'_>, from: &mut Packets) -> Poll<io::Result<bool>> {
    if from.buffer.len() >= HELD.max(from.wanted) {
        return Poll::Pending;
    }
    from.make_room(READ_SIZE);
    let read = ready!(poll_read_buf(Pin::new(&mut from.stream), cx, &mut from.buffer))?;
    Poll::Ready(Ok(read > 0))
}
