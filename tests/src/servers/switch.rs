//! A loopback port that leads to a server, and can be made to lead to another, as the address of a database does after
//! a failover. It can also change what clients say, frame by frame, to say what no driver at hand says.

use crate::{Context, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Makes another frame of a client's frame, both with their headers.
pub type Edit = Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;

/// The port; closed when dropped.
pub struct Switch {
    port: u16,
    target: Arc<AtomicU16>,
    cut: watch::Sender<()>,
    /// Its own: a test that waits for a process to start must not keep it from starting.
    runtime: Option<Runtime>,
}

impl Switch {
    /// A port that leads to `target`.
    pub fn to(target: u16) -> Result<Self> {
        // Bytes, not frames: what is said under TLS has none that can be read here.
        Self::start(target, None)
    }

    /// A port that leads to `target`, and changes what clients say on the way.
    pub fn editing(target: u16, edit: Edit) -> Result<Self> {
        Self::start(target, Some(edit))
    }

    fn start(target: u16, edit: Option<Edit>) -> Result<Self> {
        let port = super::ports::free();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.or_fail("a switch")?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).or_fail("a switch")?;
        listener.set_nonblocking(true).or_fail("a switch")?;
        let target = Arc::new(AtomicU16::new(target));
        let cut = watch::channel(()).0;
        let (now, cuts) = (target.clone(), cut.clone());
        runtime.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((client, _)) = listener.accept().await {
                let (target, mut cut, edit) = (now.load(Relaxed), cuts.subscribe(), edit.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        _ = cut.changed() => {}
                        _ = frames(from_client, to_server, edit) => {}
                        _ = bytes(from_server, to_client) => {}
                    }
                });
            }
        });
        Ok(Self { port, target, cut, runtime: Some(runtime) })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// New connections go to `target`; those that are there stay where they are.
    pub fn turn(&self, target: u16) {
        self.target.store(target, Relaxed);
    }

    /// New connections go to `target`, and those that are there break.
    pub fn fail_over(&self, target: u16) {
        self.turn(target);
        self.cut.send_replace(());
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn frames(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, edit: Option<Edit>) -> std::io::Result<()> {
    let Some(edit) = edit else { return bytes(from, to).await };
    loop {
        let mut header = [0; 4];
        from.read_exact(&mut header).await?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        let mut frame = header.to_vec();
        frame.resize(4 + length, 0);
        from.read_exact(&mut frame[4..]).await?;
        to.write_all(&edit(frame)).await?;
    }
}

async fn bytes(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await.map(drop)
}
