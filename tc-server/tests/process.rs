//! The real binaries: `kill -9` under load, the HTTP API's shapes, the command line, and start-up errors.

mod common;

use atone_protocol::{CallError, TaskOutcome, TxStatus};
use common::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Coordinator {
    process: Child,
    grpc: String,
    http: String,
}

fn configuration(directory: &Path, grpc: &str) -> std::path::PathBuf {
    let file = directory.join("tc.toml");
    let text =
        format!("listen = \"{grpc}\"\nhttp = \"127.0.0.1:0\"\ndata_dir = {:?}\n", directory.join("data"));
    std::fs::write(&file, text).unwrap();
    file
}

impl Coordinator {
    fn spawn(directory: &Path, grpc: &str) -> Self {
        Self::spawn_with(directory, grpc, "")
    }

    fn spawn_with(directory: &Path, grpc: &str, failpoint: &str) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_atone-tc")), directory, grpc, failpoint)
    }

    fn run(mut command: Command, directory: &Path, grpc: &str, failpoint: &str) -> Self {
        let mut process = command
            .arg("--config")
            .arg(configuration(directory, grpc))
            .env("RUST_LOG", "warn")
            .env("ATONE_FAILPOINT", failpoint)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[..2], ["atone-tc", "ready"], "{line}");
        let grpc = words[2].strip_prefix("grpc=").unwrap().to_owned();
        let http = words[3].strip_prefix("http=").unwrap().to_owned();
        Self { process, grpc, http }
    }

    /// Waits until it ends by itself.
    async fn ended(mut self) -> std::process::ExitStatus {
        tokio::task::spawn_blocking(move || self.process.wait().unwrap()).await.unwrap()
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a writer was told about its transactions.
type Told = Arc<Mutex<BTreeMap<String, Vec<&'static str>>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_loses_nothing_that_was_answered() {
    let directory = tempfile::tempdir().unwrap();
    let mut coordinator = Coordinator::spawn(directory.path(), "127.0.0.1:0");
    let grpc = coordinator.grpc.clone();
    let (client, _) = Proxy::new(&grpc, &["orders"], "p1").answering(|task| match task.kind {
        atone_protocol::TaskKind::Resolve => TaskOutcome::Committed,
        _ => TaskOutcome::Done,
    });
    let told: Told = Arc::default();
    let writers: Vec<_> = (0..8u64)
        .map(|writer| {
            let (client, told) = (client.clone(), Arc::clone(&told));
            tokio::spawn(async move {
                for n in 0.. {
                    let (xid, b) = (xid(), branch());
                    let note = |what| told.lock().unwrap().entry(xid.to_string()).or_default().push(what);
                    if client.begin(xid, "load", Duration::from_secs(300)).await.is_ok() {
                        note("begun");
                    }
                    let keys = [writer * 1_000_000 + n];
                    if client.register(register(xid, b, &keys, Duration::ZERO)).await.is_ok() {
                        note("registered");
                    }
                    client.settled(xid, b, "orders", "p1");
                    match n % 3 {
                        0 if client.commit(xid).await == Ok(TxStatus::Committed) => note("committed"),
                        1 if client.rollback(xid, "asked", LONG).await == Ok(TxStatus::RolledBack) => {
                            note("rolled_back");
                        }
                        _ => {}
                    }
                }
            })
        })
        .collect();
    // Three deaths, each after some more answers: by the count of what was answered, not by the clock.
    for death in 1..=3 {
        until("enough is answered", || async { (told.lock().unwrap().len() >= death * 150).then_some(()) })
            .await;
        coordinator.kill();
        coordinator = Coordinator::spawn(directory.path(), &grpc);
    }
    until("enough is answered", || async { (told.lock().unwrap().len() >= 600).then_some(()) }).await;
    coordinator.kill();
    writers.iter().for_each(tokio::task::JoinHandle::abort);
    let coordinator = Coordinator::spawn(directory.path(), &grpc);
    let told = told.lock().unwrap().clone();
    for (xid, answers) in told {
        let (code, body) =
            http("GET", format!("http://{}/v1/transactions/{xid}", coordinator.http), None).await;
        assert_eq!(code, 200, "{xid} was answered {answers:?} and is gone");
        let page: serde_json::Value = serde_json::from_str(&body).unwrap();
        let last = *answers.last().unwrap();
        match last {
            "committed" | "rolled_back" => assert_eq!(page["status"], last, "{xid} {answers:?}"),
            "registered" => assert_eq!(page["branches"].as_array().unwrap().len(), 1, "{xid} {answers:?}"),
            _ => {}
        }
    }
}

/// Dies at `failpoint`, comes back, and finishes a transaction as if nothing had happened.
async fn survives(failpoint: &str) {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::spawn_with(directory.path(), "127.0.0.1:0", failpoint);
    let grpc = coordinator.grpc.clone();
    let (client, mut tasks) = Proxy::new(&grpc, &["orders"], "p1").answering(|task| match task.kind {
        atone_protocol::TaskKind::Resolve => TaskOutcome::Committed,
        _ => TaskOutcome::Done,
    });
    let work = tokio::spawn(async move {
        let (xid, b) = (begin(&client).await, branch());
        assert_eq!(client.register(register(xid, b, &[1], Duration::ZERO)).await, Ok(1));
        client.settled(xid, b, "orders", "p1");
        assert_eq!(client.commit(xid).await, Ok(TxStatus::Committed));
    });
    // The process dies by itself; the calls go on at the next one.
    coordinator.ended().await;
    let _coordinator = Coordinator::spawn(directory.path(), &grpc);
    work.await.unwrap();
    // Phase two is taken up wherever it was.
    let mut kind = None;
    while kind != Some(atone_protocol::TaskKind::Forget) {
        kind = tokio::time::timeout(LONG, tasks.recv()).await.unwrap().map(|task| task.kind);
    }
}

#[tokio::test]
async fn a_death_around_registering_is_no_death_of_the_transaction() {
    survives("tc.before_register=abort").await;
    survives("tc.after_register=abort").await;
}

#[tokio::test]
async fn a_death_around_deciding_is_no_death_of_the_transaction() {
    survives("tc.before_decide=abort").await;
    survives("tc.after_decide=abort").await;
}

#[tokio::test]
async fn a_death_before_dispatch_is_no_death_of_the_transaction() {
    survives("tc.before_dispatch=abort").await;
}

#[tokio::test]
async fn a_full_disk_ends_the_process_and_what_was_answered_is_there_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    // No file may grow over 6 MiB: room for the log's first zeros, not for the second.
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 6144; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_atone-tc")]);
    let coordinator = Coordinator::run(limited, directory.path(), "127.0.0.1:0", "");
    let grpc = coordinator.grpc.clone();
    let proxy = Proxy::new(&grpc, &["orders"], "p1");
    let client = proxy.client.clone();
    let mut registered = Vec::new();
    let refused = loop {
        let xid = begin(&client).await;
        let mut large = register(xid, branch(), &[registered.len() as u64], Duration::ZERO);
        large.keys[0].key.resize(900_000, 7);
        let client = client.clone();
        let call = tokio::spawn(async move { client.register(large).await });
        match call.await.unwrap() {
            Ok(_) => registered.push(xid),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CallError::Unavailable(_)), "{refused}");
    assert!(!registered.is_empty());
    assert_eq!(coordinator.ended().await.code(), Some(1));
    let _coordinator = Coordinator::spawn(directory.path(), &grpc);
    for xid in registered {
        assert_eq!(client.status(xid).await.unwrap().unwrap().0, TxStatus::Active);
    }
}

#[tokio::test]
async fn nobody_there_means_outcome_unknown_and_the_address_is_named() {
    let proxy = Proxy::new("127.0.0.1:1", &["orders"], "p1");
    let error = proxy.client.failed(xid(), branch()).await.unwrap_err();
    assert!(matches!(&error, CallError::Unavailable(why) if why.contains("127.0.0.1:1")), "{error}");
}

fn atone(http: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_atone"))
        .args(["--server", &format!("http://{http}")])
        .args(arguments)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn the_command_line_shows_and_decides() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::spawn(directory.path(), "127.0.0.1:0");
    let http = coordinator.http.as_str();
    assert!(printed(&atone(http, &["tx", "list"])).contains("no transactions"));
    let xid = printed(&atone(http, &["tx", "begin", "--name", "order"])).trim().to_owned();
    let list = printed(&atone(http, &["tx", "list", "--status", "active"]));
    assert!(list.contains("XID") && list.contains(&xid) && list.contains("order"), "{list}");
    let json: serde_json::Value =
        serde_json::from_str(&printed(&atone(http, &["--json", "tx", "show", &xid]))).unwrap();
    assert_eq!(json["status"], "active");
    assert_eq!(printed(&atone(http, &["tx", "commit", &xid])), format!("{xid} committed\n"));
    let refused = atone(http, &["tx", "rollback", &xid]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("already committed"), "{refused:?}");
    assert!(printed(&atone(http, &["tx", "show", &xid])).contains("finished"));
    assert!(printed(&atone(http, &["locks", "list", "--table", "item", "--key", "42"])).contains("no locks"));
    assert!(printed(&atone(http, &["health"])).starts_with("ready (node 1, leader 1)"));
    let silent = atone("127.0.0.1:1", &["health"]);
    assert_eq!(silent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&silent.stderr).contains("127.0.0.1:1"), "{silent:?}");
}

#[test]
fn start_up_errors_name_file_key_and_mend() {
    let directory = tempfile::tempdir().unwrap();
    let run = |text: &str| {
        let file = directory.path().join("bad.toml");
        std::fs::write(&file, text).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_atone-tc")).arg("--config").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("bad.toml"), "{error}");
        error
    };
    assert!(run("lisen = 1").contains("lisen"));
    assert!(run("listen = \"127.0.0.1:99999\"").contains("listen"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = run(&format!("http = \"{}\"\nlisten = \"127.0.0.1:0\"", taken.local_addr().unwrap()));
    assert!(error.contains("http =") && error.contains("choose a free address"), "{error}");
    let usage = Command::new(env!("CARGO_BIN_EXE_atone-tc")).arg("--nonsense").output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

#[tokio::test]
async fn sigterm_ends_it_in_good_order() {
    let directory = tempfile::tempdir().unwrap();
    let coordinator = Coordinator::spawn(directory.path(), "127.0.0.1:0");
    let proxy = Proxy::new(&coordinator.grpc, &["orders"], "p1");
    begin(&proxy.client).await;
    let killed = Command::new("kill").arg(coordinator.process.id().to_string()).status().unwrap();
    assert!(killed.success());
    let status = coordinator.ended().await;
    assert_eq!(status.code(), Some(0));
}
