//! New connections to a PostgreSQL server.

use crate::{
    net::{Packets, Stream, tls},
    wire::postgres::startup::TLS_REQUEST,
};
use std::io;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where the database is.
pub struct Reach {
    /// For TLS.
    pub connector: TlsConnector,
    /// Its host name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Reach {
    /// A new connection to the server, with TLS if it offers it.
    pub async fn connect(&self, encrypt: bool) -> io::Result<Packets> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        // Latency matters more than full segments; a failure only costs speed.
        let _ = stream.set_nodelay(true);
        let mut database = Packets::new(Stream::Plain(stream));
        if !encrypt {
            return Ok(database);
        }
        database.write(&TLS_REQUEST).await?;
        database.fill_to(1).await?;
        match database.take(1)[0] {
            b'S' => {
                let stream =
                    database.into_stream().ok_or_else(|| invalid("bytes before the TLS handshake"))?;
                let Stream::Plain(stream) = stream else { return Err(invalid("TLS inside TLS")) };
                let stream = self.connector.connect(tls::server_name(&self.host), stream).await?;
                Ok(Packets::new(Stream::Database(Box::new(stream))))
            }
            b'N' => Ok(database),
            // An error: too many connections. It comes again, in full, behind the startup packet.
            _ => Box::pin(self.connect(false)).await,
        }
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
