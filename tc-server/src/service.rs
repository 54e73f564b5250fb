//! gRPC: one bidirectional stream per proxy. Requests of a stream run in its own task, side by side; answers and tasks
//! that are ready together leave in one frame.

use crate::dispatch::{Caller, SessionId};
use crate::drain::Spawner;
use atone_protocol::messages::{Answer, FromProxy, ToProxy};
use atone_protocol::wire::coordinator_server::Coordinator;
use atone_protocol::wire::{self, CoordinatorMessage};
use atone_protocol::{Refusal, VERSION, convert};
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable, BoxFuture, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Requests of one stream under way at once; more are not read from it until some are answered.
const UNDER_WAY: usize = 16_384;
/// Messages in one frame.
const FRAME: usize = 512;
/// Frames handed to the transport and not yet written.
const FRAMES: usize = 8;
/// Tasks and errands handed to a stream and not yet written.
const OUTBOX: usize = 512;
/// A new stream must say hello within this.
const HELLO: Duration = Duration::from_secs(5);

/// The service.
pub struct Service {
    leader: Caller,
    spawner: Spawner,
}

impl Service {
    /// A service that answers from `leader`.
    pub fn new(leader: Caller, spawner: Spawner) -> Self {
        Self { leader, spawner }
    }
}

#[tonic::async_trait]
impl Coordinator for Service {
    type SessionStream = ReceiverStream<Result<wire::ToProxy, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::FromProxy>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut inbound = request.into_inner();
        let first = tokio::time::timeout(HELLO, inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello"))??
            .ok_or_else(|| Status::invalid_argument("no hello"))?;
        let mut messages = first.messages.into_iter();
        let hello = messages.next().ok_or_else(|| Status::invalid_argument("an empty first frame"))?;
        let invalid = |error: convert::WireError| Status::invalid_argument(error.to_string());
        let FromProxy::Hello { version, proxy, resources } =
            convert::proxy_from_wire(hello).map_err(invalid)?
        else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        if version != VERSION {
            let why = format!(
                "this coordinator speaks contract version {VERSION}, the proxy {version}: run the same release of both"
            );
            return Err(Status::failed_precondition(why));
        }
        let (frames, outbound) = mpsc::channel(FRAMES);
        let (outbox, unasked) = mpsc::channel(OUTBOX);
        let names: Vec<_> = resources.iter().map(|resource| resource.name.as_str()).collect();
        let names = names.join(", ");
        let id = match self.leader.connect(proxy.clone(), resources, outbox) {
            Ok(id) => id,
            Err(why) => {
                tracing::error!(proxy, "a proxy is refused: {why}");
                return Err(Status::failed_precondition(why));
            }
        };
        tracing::info!(proxy, resources = names, "proxy connected");
        let session = Session {
            connected: Connected { leader: Caller::clone(&self.leader), id, proxy },
            under_way: FuturesUnordered::new(),
            handles: HashMap::new(),
            ready: messages.collect(),
            unasked,
            frames,
        };
        self.spawner.spawn("session", session.run(inbound));
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}

/// Whatever ends a session, its tasks go to others.
struct Connected {
    leader: Caller,
    id: SessionId,
    proxy: String,
}

impl Drop for Connected {
    fn drop(&mut self) {
        tracing::info!(proxy = self.proxy, "proxy disconnected");
        self.leader.disconnect(self.id);
    }
}

struct Session {
    connected: Connected,
    under_way: FuturesUnordered<Abortable<BoxFuture<'static, CoordinatorMessage>>>,
    /// By which those under way can be given up.
    handles: HashMap<u64, AbortHandle>,
    /// Messages that came in the hello's frame.
    ready: Vec<wire::ProxyMessage>,
    unasked: mpsc::Receiver<ToProxy>,
    frames: mpsc::Sender<Result<wire::ToProxy, Status>>,
}

impl Session {
    async fn run(mut self, mut inbound: Streaming<wire::FromProxy>) {
        for message in std::mem::take(&mut self.ready) {
            if self.take(message).is_err() {
                return;
            }
        }
        loop {
            let first = tokio::select! {
                frame = inbound.message(), if self.under_way.len() < UNDER_WAY => {
                    let Ok(Some(frame)) = frame else { return };
                    for message in frame.messages {
                        if let Err(status) = self.take(message) {
                            let _ = self.frames.send(Err(status)).await;
                            return;
                        }
                    }
                    continue;
                }
                Some(answer) = self.under_way.next() => match answer {
                    Ok(answer) => answer,
                    // It was given up.
                    Err(_) => continue,
                },
                Some(said) = self.unasked.recv() => convert::unasked_to_wire(said),
                () = self.frames.closed() => return,
            };
            let frame = self.gather(first).await;
            for message in &frame.messages {
                self.handles.remove(&message.id);
            }
            if self.frames.send(Ok(frame)).await.is_err() {
                return;
            }
        }
    }

    /// Takes a message: requests are begun, the rest is done at once, in order of arrival.
    fn take(&mut self, message: wire::ProxyMessage) -> Result<(), Status> {
        let (id, leader) = (message.id, &self.connected.leader);
        match convert::proxy_from_wire(message) {
            Ok(FromProxy::Request(0, _)) => return Err(Status::invalid_argument("a request without an id")),
            Ok(FromProxy::Request(id, request)) => {
                let leader = Caller::clone(leader);
                let answer = async move { convert::answer_to_wire(id, leader.answer(request).await) };
                let (answer, handle) = abortable(answer.boxed());
                self.under_way.push(answer);
                self.handles.insert(id, handle);
            }
            Ok(FromProxy::Settled { xid, branch, resource, primary }) => {
                leader.settled(xid, branch, &resource, &primary);
            }
            Ok(FromProxy::Stuck(stuck)) => leader.stuck(self.connected.id, stuck),
            Ok(FromProxy::Bound(bound)) => leader.bound(self.connected.id, bound),
            Ok(FromProxy::GiveUp(request)) => {
                if let Some(handle) = self.handles.remove(&request) {
                    handle.abort();
                }
            }
            Ok(FromProxy::Sees(resource)) => leader.sees(self.connected.id, resource),
            Ok(FromProxy::Report { task, outcome, primary }) => {
                leader.report(self.connected.id, task, outcome, &primary);
            }
            Ok(FromProxy::Hello { .. }) => return Err(Status::invalid_argument("a second hello")),
            Err(error) if id != 0 => {
                let refusal = Answer::Refused(Refusal::Invalid(error.to_string()));
                let answer = std::future::ready(convert::answer_to_wire(id, refusal)).boxed();
                self.under_way.push(abortable(answer).0);
            }
            Err(error) => return Err(Status::invalid_argument(error.to_string())),
        }
        Ok(())
    }

    /// One frame of everything that is ready.
    async fn gather(&mut self, first: CoordinatorMessage) -> wire::ToProxy {
        // One applied command answers many requests: let all of them get here first.
        if !self.under_way.is_empty() {
            tokio::task::yield_now().await;
        }
        let mut messages = vec![first];
        while messages.len() < FRAME
            && let Some(Some(answer)) = self.under_way.next().now_or_never()
        {
            messages.extend(answer);
        }
        while messages.len() < FRAME
            && let Ok(said) = self.unasked.try_recv()
        {
            messages.push(convert::unasked_to_wire(said));
        }
        wire::ToProxy { messages }
    }
}
