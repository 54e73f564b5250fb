//! Builds everything in order, serves, and ends in order.

use crate::{
    analyses::Analyses,
    backend::Backend,
    bindings::Bindings,
    config::{Config, Dialect},
    http,
    isolation::Marks,
    metrics::Metrics,
    net::{password_key::PasswordKey, tls},
    phase_two::Runner,
    postgres,
    session::{Door, SIGN_IN_LIMIT, Session},
    stuck::{Statements, run_errands},
    tasks,
    watch::watch,
};
use atone_protocol::{Client, ClientOptions, Resource as Announced};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

/// How long sessions may take to finish their local transactions when we stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// How long a database may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A database as sessions use it.
pub struct Resource {
    /// The proxy's own side of it.
    pub backend: Arc<Backend>,
    /// The coordinator.
    pub coordinator: Client,
    /// Analyses of statements seen before.
    pub analyses: Analyses,
    /// Who is bound to which transaction.
    pub bindings: Arc<Bindings>,
    /// For passwords of clients without TLS.
    pub password_key: Arc<PasswordKey>,
    /// Rows that a local transaction may change.
    pub max_rows: usize,
    /// Writes outside global transactions are checked against their locks.
    pub guards: bool,
    /// How long a COMMIT queues for global locks.
    pub lock_wait: Duration,
    /// Known before reads that must be committed.
    pub marks: Marks,
    /// What runs inside global transactions.
    pub running: Arc<Statements>,
}

/// Starts, serves until a signal, ends. Errors name what to mend.
pub async fn run(config: Config) -> Result<(), String> {
    let acceptor = |protocols: &[&[u8]]| match &config.tls {
        Some(tls) => tls::acceptor(&tls.certificate, &tls.key, protocols).map(Some),
        None => Ok(None),
    };
    // PostgreSQL's clients may begin with TLS at once, if it is agreed on what is spoken inside.
    let acceptors = (acceptor(&[])?, acceptor(&[b"postgresql"])?);
    let connector = tls::connector().map_err(|e| e.to_string())?;
    let mut backends = BTreeMap::new();
    for database in &config.databases {
        let backend = Backend::open(database, database.account()?).await.map_err(|e| e.to_string())?;
        backends.insert(database.name.clone(), Arc::new(backend));
    }
    refuse_twins(&backends)?;
    let (embedded, coordinators) = coordinator(&config).await?;
    let resources = backends
        .values()
        .map(|b| Announced {
            name: b.name().to_owned(),
            primary: b.sight().primary.to_string(),
            lineage: Some(b.lineage()),
            address: format!("{}:{}", b.account().host, b.account().port),
        })
        .collect();
    let (client, phase_two, errands, driver) = Client::new(ClientOptions {
        coordinators,
        proxy: format!("atone-proxy-{}", std::process::id()),
        resources,
    });
    for backend in backends.values() {
        backend.announce_to(client.clone());
    }
    let stop = CancellationToken::new();
    let bindings = Arc::new(Bindings::default());
    let runner = Runner::new(client.clone(), backends.clone(), bindings.clone());
    tasks::spawn("coordinator connection", until(stop.clone(), driver));
    tasks::spawn("phase two", until(stop.clone(), runner.run(phase_two)));
    for backend in backends.values() {
        tasks::spawn("watch of a primary", until(stop.clone(), watch(backend.clone(), client.clone())));
    }

    let accepting = CancellationToken::new();
    let metrics = Arc::new(Metrics::default());
    let password_key = Arc::new(PasswordKey::default());
    let mut ready = String::from("atone-proxy ready");
    let mut databases = BTreeMap::new();
    for database in &config.databases {
        let Some(backend) = backends.get(&database.name) else { continue };
        let resource = Arc::new(Resource {
            backend: backend.clone(),
            coordinator: client.clone(),
            analyses: Analyses::default(),
            bindings: bindings.clone(),
            password_key: password_key.clone(),
            max_rows: config.max_rows,
            guards: database.guards(),
            lock_wait: Duration::from_millis(config.lock_wait_timeout_ms),
            marks: Marks::default(),
            running: Arc::new(Statements::new(backend.name(), client.clone())),
        });
        databases.insert(backend.name().to_owned(), (resource.running.clone(), backend.clone()));
        let waits = resource.running.clone().watch(backend.clone());
        tasks::spawn("watch of waiting statements", until(stop.clone(), waits));
        let listener = bind(database.listen, &format!("database '{}': listen", database.name)).await?;
        ready += &format!(" {}={}", database.name, address(&listener)?);
        let entrance = Entrance {
            resource,
            acceptor: match database.dialect() {
                Dialect::MySql => acceptors.0.clone(),
                Dialect::Postgres => acceptors.1.clone(),
            },
            cancels: Arc::new(postgres::Cancels::new(postgres::Reach {
                connector: connector.clone(),
                host: backend.account().host.clone(),
                port: backend.account().port,
            })),
            connector: connector.clone(),
            metrics: metrics.clone(),
        };
        tasks::spawn("listener", entrance.serve(listener, accepting.clone()));
    }
    tasks::spawn("errands of the coordinator", until(stop.clone(), run_errands(errands, databases)));
    let listener = bind(config.http, "http").await?;
    ready += &format!(" http={}", address(&listener)?);
    let page = http::Page {
        coordinator: client.clone(),
        metrics: metrics.clone(),
        backends: backends.values().cloned().collect(),
    };
    tasks::spawn("http", until(stop.clone(), http::serve(listener, page)));
    say(&ready).map_err(|e| format!("standard output: {e}"))?;

    let failed = wait_for_end(embedded.as_ref()).await?;
    tracing::info!("ending: open local transactions may finish");
    accepting.cancel();
    if !metrics.wait_for_sessions(DRAIN_LIMIT).await {
        tracing::warn!("some sessions did not end in time; the databases roll them back");
    }
    stop.cancel();
    // First, because connections to PostgreSQL are tasks that end when they are closed.
    for backend in backends.values() {
        backend.close().await;
    }
    tasks::drain(Duration::from_secs(2)).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    failed.map_or(Ok(()), Err)
}

/// One server under two names would have two sets of locks.
fn refuse_twins(backends: &BTreeMap<String, Arc<Backend>>) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for backend in backends.values() {
        if let Some(other) = seen.insert(backend.sight().primary, backend.name()) {
            return Err(format!(
                "databases '{other}' and '{}' are one server; keep one of them",
                backend.name()
            ));
        }
    }
    Ok(())
}

/// The coordinator inside this process, if no other is configured, and the addresses to use.
async fn coordinator(config: &Config) -> Result<(Option<atone_tc_server::Running>, Vec<String>), String> {
    if !config.coordinators.is_empty() {
        return Ok((None, config.coordinators.clone()));
    }
    let own = atone_tc_server::Config {
        listen: "127.0.0.1:0".into(),
        http: config.coordinator_http.to_string(),
        data_dir: config.data_dir.clone(),
        ..atone_tc_server::Config::default()
    };
    let running =
        atone_tc_server::start(own).await.map_err(|e| format!("the coordinator inside this process: {e}"))?;
    tracing::info!(http = %running.http, "coordinator inside this process");
    let address = running.grpc.to_string();
    Ok((Some(running), vec![address]))
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|e| format!("{key} {address}: {e}; choose another address"))
}

fn address(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|e| e.to_string())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

async fn until(stop: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = task => {}
    }
}

/// A signal ends us well; a coordinator inside this process that cannot go on ends us badly.
async fn wait_for_end(embedded: Option<&atone_tc_server::Running>) -> Result<Option<String>, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let broken = async {
        match embedded {
            Some(running) => running.failed().await,
            None => std::future::pending().await,
        }
    };
    Ok(tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        why = broken => Some(format!("the coordinator inside this process stopped: {why}")),
    })
}

/// Where clients of one database come in.
struct Entrance {
    resource: Arc<Resource>,
    acceptor: Option<TlsAcceptor>,
    cancels: Arc<postgres::Cancels>,
    connector: TlsConnector,
    metrics: Arc<Metrics>,
}

impl Entrance {
    async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let this = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => {
                    let (this, stop) = (this.clone(), stop.clone());
                    tasks::spawn("session", async move { Box::pin(this.session(socket, stop)).await });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: existing sessions go on, new ones wait.
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn session(&self, socket: TcpStream, stop: CancellationToken) {
        match self.resource.backend.account().dialect {
            Dialect::MySql => self.mysql(socket, stop).await,
            Dialect::Postgres => self.postgres(socket, stop).await,
        }
    }

    async fn postgres(&self, socket: TcpStream, stop: CancellationToken) {
        let name = self.resource.backend.name();
        // Latency matters more than full segments; a failure only costs speed.
        let _ = socket.set_nodelay(true);
        let door = postgres::Door { acceptor: self.acceptor.as_ref(), cancels: &self.cancels };
        match tokio::time::timeout(SIGN_IN_LIMIT, Box::pin(door.sign_in(socket))).await {
            Ok(Ok(Some(c))) => {
                let _counted = self.metrics.session();
                let session = postgres::Session::new(self.resource.clone(), &self.cancels, c);
                Box::pin(session.run(stop)).await;
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::debug!(resource = %name, %error, "a client did not sign in"),
            Err(_) => tracing::debug!(resource = %name, "a client took too long to sign in"),
        }
    }

    async fn mysql(&self, socket: TcpStream, stop: CancellationToken) {
        let Some(mysql) = self.resource.backend.mysql().cloned() else { return };
        let name = self.resource.backend.name();
        let account = self.resource.backend.account();
        let connect = TcpStream::connect((account.host.as_str(), account.port));
        let database = match tokio::time::timeout(CONNECT_LIMIT, connect).await {
            Ok(Ok(database)) => database,
            Ok(Err(error)) => return refuse_absent(socket, name, &error.to_string()).await,
            Err(_) => return refuse_absent(socket, name, "no answer").await,
        };
        // Latency matters more than full segments; a failure only costs speed.
        let _ = (socket.set_nodelay(true), database.set_nodelay(true));
        let door = Door {
            acceptor: self.acceptor.as_ref(),
            connector: &self.connector,
            key: &self.resource.password_key,
            host: &account.host,
        };
        match tokio::time::timeout(SIGN_IN_LIMIT, door.sign_in(socket, database)).await {
            Ok(Ok(Some(c))) => {
                let _counted = self.metrics.session();
                Box::pin(Session::new(self.resource.clone(), mysql, c).run(stop)).await;
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::debug!(resource = %name, %error, "a client did not sign in"),
            Err(_) => tracing::debug!(resource = %name, "a client took too long to sign in"),
        }
    }
}

/// The client is told in its protocol that the database is not there.
async fn refuse_absent(socket: TcpStream, name: &str, why: &str) {
    let message = format!("atone: database '{name}' cannot be reached: {why}");
    tracing::warn!(resource = %name, why, "database cannot be reached");
    let mut client = crate::net::Packets::new(crate::net::Stream::Plain(socket));
    // Before the greeting an error has no SQLSTATE.
    let mut payload = vec![0xff];
    payload.extend(2003_u16.to_le_bytes());
    payload.extend(message.as_bytes());
    let _ = client.send(&payload, 0).await;
    client.close().await;
}
