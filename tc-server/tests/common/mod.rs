//! A coordinator in this process or in its own, and proxies that are nothing but a client and answers to tasks.
#![allow(dead_code, missing_docs)] // Each test uses its part.

use atone_protocol::{
    BranchId, Client, ClientOptions, Errands, Lineage, LockKey, Register, Resource, Task, TaskOutcome, Tasks,
    Xid,
};
use atone_tc_server::{Config, Running};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub const LONG: Duration = Duration::from_secs(30);

pub fn config(data_dir: &Path) -> Config {
    let any = || "127.0.0.1:0".to_owned();
    Config { listen: any(), http: any(), data_dir: data_dir.to_owned(), ..Config::default() }
}

pub async fn start(data_dir: &Path) -> Running {
    atone_tc_server::start(config(data_dir)).await.unwrap()
}

pub fn xid() -> Xid {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Xid::new(now as u64, rand::random())
}

pub fn branch() -> BranchId {
    BranchId::new(rand::random())
}

pub fn key(n: u64) -> LockKey {
    LockKey {
        table: "shop.item".into(),
        index: "PRIMARY".into(),
        key: n.to_be_bytes().to_vec(),
        shown: n.to_string(),
    }
}

pub fn register(xid: Xid, branch: BranchId, keys: &[u64], wait: Duration) -> Register {
    let keys = keys.iter().copied().map(key).collect();
    let (resource, lineage) = ("orders".into(), None);
    Register { xid, branch, resource, lineage, keys, shared: Vec::new(), wait, session: 0 }
}

/// A proxy whose tasks the test answers by hand.
pub struct Proxy {
    pub client: Client,
    pub tasks: Tasks,
    pub errands: Errands,
    primary: String,
    connection: JoinHandle<()>,
}

impl Proxy {
    pub fn new(coordinator: &str, resources: &[&str], primary: &str) -> Self {
        Self::of(coordinator, resources, primary, None)
    }

    /// One whose databases have this identity.
    pub fn of(coordinator: &str, resources: &[&str], primary: &str, lineage: Option<Lineage>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let resources = resources
            .iter()
            .map(|name| Resource {
                name: (*name).to_owned(),
                primary: primary.to_owned(),
                lineage,
                address: format!("{primary}:3306"),
            })
            .collect();
        let proxy = format!("proxy {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let (client, tasks, errands, connection) =
            Client::new(ClientOptions { coordinators: vec![coordinator.to_owned()], proxy, resources });
        Self { client, tasks, errands, primary: primary.to_owned(), connection: tokio::spawn(connection) }
    }

    pub async fn task(&mut self) -> Task {
        tokio::time::timeout(LONG, self.tasks.next()).await.expect("a task").expect("a connection")
    }

    /// The stream breaks, as when the proxy dies.
    pub fn kill(self) {
        self.connection.abort();
    }

    /// From now on every task is answered by `answer` and shown to the test.
    pub fn answering(
        self,
        answer: impl Fn(&Task) -> TaskOutcome + Send + 'static,
    ) -> (Client, mpsc::UnboundedReceiver<Task>) {
        let (seen, shown) = mpsc::unbounded_channel();
        let client = self.client.clone();
        let Self { client: reporter, mut tasks, primary, .. } = self;
        tokio::spawn(async move {
            while let Some(task) = tasks.next().await {
                reporter.report(task.id, answer(&task), &primary);
                let _ = seen.send(task);
            }
        });
        (client, shown)
    }
}

/// Begins a transaction with a default timeout.
pub async fn begin(client: &Client) -> Xid {
    let xid = xid();
    client.begin(xid, "test", Duration::from_secs(60)).await.unwrap();
    xid
}

/// Asks the HTTP API: status and body.
pub async fn http(method: &'static str, url: String, body: Option<String>) -> (u16, String) {
    let ask = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(LONG))
            .build()
            .into();
        let mut answer = match method {
            "GET" => agent.get(&url).call().unwrap(),
            _ => agent.post(&url).send(body.unwrap_or_default()).unwrap(),
        };
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

pub async fn get(running: &Running, path: &str) -> (u16, serde_json::Value) {
    let (status, body) = http("GET", format!("http://{}{path}", running.http), None).await;
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}")))
}

pub async fn post(running: &Running, path: &str, body: &str) -> (u16, serde_json::Value) {
    let (status, body) = http("POST", format!("http://{}{path}", running.http), Some(body.to_owned())).await;
    (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}")))
}

/// Looks again until it is so. For states that nothing announces; how long it takes is not judged.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, looking).await.unwrap_or_else(|_| panic!("never: {what}"))
}
