//! The one stream to a coordinator: connect, gather what is ready into frames, match answers, reconnect.
//!
//! Calls stay in `waiting` until answered and are sent again, under the same ids and in the same order, on the next
//! stream. Notes (hints, reports) are sent once.

use super::{ClientOptions, MAX_REQUEST, Shared};
use crate::VERSION;
use crate::convert::{answer_from_wire, proxy_to_wire, task_from_wire, whose_from_wire, yield_from_wire};
use crate::messages::{Answer, Errand, FromProxy, Task, TaskOutcome};
use crate::wire::coordinator_client::CoordinatorClient;
use crate::wire::{self, coordinator_message, proxy_message::Body};
use prost::Message;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

/// Messages in a frame, and about how many bytes: a frame must stay far under the receiver's limit.
const FRAME_MESSAGES: usize = 256;
const FRAME_BYTES: usize = 1 << 20;
/// Frames handed to the transport and not yet written.
const FRAMES: usize = 8;
const CONNECT: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(3);

pub(super) enum Outgoing {
    /// To be answered; the reply is closed when nobody waits any more.
    Call { id: u64, body: Body, reply: oneshot::Sender<Answer> },
    /// Not answered.
    Note(wire::ProxyMessage),
}

/// The bytes of a request on the wire.
pub(super) fn size(body: &Body) -> usize {
    body.encoded_len()
}

/// 50 ms doubling to 2 s, each anywhere between its half and its whole.
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.0;
        self.0 = (whole * 2).min(Duration::from_secs(2));
        whole.mul_f64(rand::random_range(0.5..1.0))
    }
}

struct Waiting {
    body: Body,
    reply: oneshot::Sender<Answer>,
}

/// What the coordinator says unasked goes here: tasks and errands.
type Unasked = (mpsc::Sender<Task>, mpsc::Sender<Errand>);

type Calls = Mutex<BTreeMap<u64, Waiting>>;

pub(super) struct Connection {
    options: ClientOptions,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Outgoing>,
    unasked: Unasked,
    waiting: Calls,
}

/// How a stream ended.
enum End {
    /// The last client is gone.
    NoClient,
    Broken(String),
}

impl Connection {
    pub(super) fn new(
        options: ClientOptions,
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Outgoing>,
        unasked: Unasked,
    ) -> Self {
        Self { options, shared, queue, unasked, waiting: Mutex::default() }
    }

    /// Connects, converses, and again, until no client is left.
    pub(super) async fn run(mut self) {
        let addresses = self.options.coordinators.clone();
        let mut backoff = Backoff::default();
        // What was said of each address last.
        let mut told = BTreeMap::new();
        loop {
            for address in &addresses {
                let why = match self.converse(address, &mut backoff, &mut told).await {
                    End::NoClient => return,
                    End::Broken(why) => why,
                };
                // One line when the trouble begins, or is another; the tries that follow are for who asks for them.
                self.shared.trouble().clone_from(&why);
                if told.get(address) == Some(&why) {
                    tracing::debug!(%address, "no coordinator: {why}");
                } else {
                    tracing::warn!(%address, "no coordinator: {why}; trying again");
                    told.insert(address.clone(), why);
                }
            }
            if self.queue.is_closed() && self.queue.is_empty() {
                return;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn converse(
        &mut self,
        address: &str,
        backoff: &mut Backoff,
        told: &mut BTreeMap<String, String>,
    ) -> End {
        let (frames, written) = mpsc::channel(FRAMES);
        let inbound = match self.open(address, &frames, written).await {
            Ok(inbound) => inbound,
            Err(why) => return End::Broken(why),
        };
        tracing::info!(%address, "connected to the coordinator");
        *backoff = Backoff::default();
        told.clear();
        self.shared.connected.store(true, Ordering::Release);
        let end = tokio::select! {
            end = write(&mut self.queue, &self.waiting, &frames) => end,
            end = read(inbound, &self.waiting, &self.unasked, &frames) => end,
        };
        self.shared.connected.store(false, Ordering::Release);
        end
    }

    /// The stream is open once the coordinator has read and accepted our hello.
    async fn open(
        &self,
        address: &str,
        frames: &mpsc::Sender<wire::FromProxy>,
        written: mpsc::Receiver<wire::FromProxy>,
    ) -> Result<Streaming<wire::ToProxy>, String> {
        let hello = FromProxy::Hello {
            version: VERSION,
            proxy: self.options.proxy.clone(),
            resources: self.shared.primaries.now(tokio::time::Instant::now()),
        };
        let hello = wire::FromProxy { messages: vec![proxy_to_wire(hello)] };
        frames.try_send(hello).map_err(|error| error.to_string())?;
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| format!("'{address}' is not host:port ({error})"))?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .connect_lazy();
        let mut client = CoordinatorClient::new(channel)
            .max_decoding_message_size(4 * MAX_REQUEST)
            .max_encoding_message_size(4 * MAX_REQUEST);
        match tokio::time::timeout(2 * CONNECT, client.session(ReceiverStream::new(written))).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err("it does not answer".to_owned()),
        }
    }
}

fn locked(calls: &Calls) -> std::sync::MutexGuard<'_, BTreeMap<u64, Waiting>> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(
    queue: &mut mpsc::Receiver<Outgoing>,
    waiting: &Calls,
    frames: &mpsc::Sender<wire::FromProxy>,
) -> End {
    let gone = || End::Broken("the stream was closed".to_owned());
    for frame in unanswered(waiting) {
        if frames.send(frame).await.is_err() {
            return gone();
        }
    }
    loop {
        let Some(first) = queue.recv().await else { return End::NoClient };
        let busy = !locked(waiting).is_empty() || !queue.is_empty();
        let mut frame = wire::FromProxy { messages: admit(first, waiting).into_iter().collect() };
        // The first of several callers wakes this task before the others have run: let them, and send one frame.
        // A call is in `waiting` before anything is awaited here, so a stream that breaks now loses none.
        if busy {
            tokio::task::yield_now().await;
        }
        let mut bytes = frame.encoded_len();
        let mut next = queue.try_recv().ok();
        while let Some(outgoing) = next.take() {
            if let Some(message) = admit(outgoing, waiting) {
                bytes += message.encoded_len();
                frame.messages.push(message);
            }
            if frame.messages.len() < FRAME_MESSAGES && bytes < FRAME_BYTES {
                next = queue.try_recv().ok();
            }
        }
        if !frame.messages.is_empty() && frames.send(frame).await.is_err() {
            return gone();
        }
    }
}

/// The message to send, noted as waiting for its answer; none when its caller has given up.
fn admit(outgoing: Outgoing, waiting: &Calls) -> Option<wire::ProxyMessage> {
    match outgoing {
        Outgoing::Note(message) => Some(message),
        Outgoing::Call { reply, .. } if reply.is_closed() => None,
        Outgoing::Call { id, body, reply } => {
            let message = wire::ProxyMessage { id, body: Some(body.clone()) };
            let mut waiting = locked(waiting);
            if waiting.len() >= 2 * super::CALLS {
                waiting.retain(|_, call| !call.reply.is_closed());
            }
            waiting.insert(id, Waiting { body, reply });
            Some(message)
        }
    }
}

/// The calls that an earlier stream left unanswered.
fn unanswered(waiting: &Calls) -> Vec<wire::FromProxy> {
    let mut waiting = locked(waiting);
    waiting.retain(|_, call| !call.reply.is_closed());
    let mut frames = Vec::new();
    let mut bytes = FRAME_BYTES;
    for (id, call) in waiting.iter() {
        if bytes >= FRAME_BYTES {
            frames.push(wire::FromProxy::default());
            bytes = 0;
        }
        bytes += call.body.encoded_len();
        if let Some(frame) = frames.last_mut() {
            frame.messages.push(wire::ProxyMessage { id: *id, body: Some(call.body.clone()) });
        }
    }
    frames
}

async fn read(
    mut inbound: Streaming<wire::ToProxy>,
    waiting: &Calls,
    (tasks, errands): &Unasked,
    frames: &mpsc::Sender<wire::FromProxy>,
) -> End {
    // What does not fit is said again while it is of use.
    let ask = |errand| drop(errands.try_send(errand));
    loop {
        let frame = match inbound.message().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return End::Broken("it closed the stream".to_owned()),
            Err(status) => return End::Broken(status.message().to_owned()),
        };
        for message in frame.messages {
            let handled = match message.body {
                Some(coordinator_message::Body::Answer(answer)) => answer_from_wire(answer).map(|answer| {
                    if let Some(call) = locked(waiting).remove(&message.id) {
                        let _ = call.reply.send(answer);
                    }
                }),
                Some(coordinator_message::Body::Task(task)) => {
                    task_from_wire(task).map(|task| give(task, tasks, frames))
                }
                Some(coordinator_message::Body::Whose(whose)) => {
                    ask(whose_from_wire(whose));
                    Ok(())
                }
                Some(coordinator_message::Body::Yield(told)) => yield_from_wire(told).map(ask),
                None => Ok(()),
            };
            if let Err(error) = handled {
                return End::Broken(error.to_string());
            }
        }
    }
}

/// Hands a task over; a full queue must not hold up the answers behind it.
fn give(task: Task, tasks: &mpsc::Sender<Task>, frames: &mpsc::Sender<wire::FromProxy>) {
    if let Err(refused) = tasks.try_send(task) {
        let task = refused.into_inner().id;
        let busy = TaskOutcome::Retry("this proxy has too many tasks waiting".to_owned());
        let report = proxy_to_wire(FromProxy::Report { task, outcome: busy, primary: String::new() });
        let _ = frames.try_send(wire::FromProxy { messages: vec![report] });
    }
}
