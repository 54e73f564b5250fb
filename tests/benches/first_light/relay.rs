//! The least that any proxy must do: accept, connect, copy bytes both ways.

use atone_tests::{Context, Result};
use tokio::net::{TcpListener, TcpStream};

/// Relays from a port to another until the process is killed.
pub async fn run(port: &str, target: &str) -> Result<()> {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await.or_fail("relay: listening")?;
    let target = format!("127.0.0.1:{target}");
    loop {
        let (client, _) = listener.accept().await.or_fail("relay: accepting")?;
        let target = target.clone();
        tokio::spawn(async move {
            // An error ends this connection, as its end does.
            let _ = copy(client, &target).await;
        });
    }
}

async fn copy(mut client: TcpStream, target: &str) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}
