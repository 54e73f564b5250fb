//! A person ends a blocked branch over the HTTP API: what is asked of proxies, what is refused, and what is noted.

mod common;

use atone_protocol::{
    BranchId, Client, Looked, LookedColumn, LookedRow, Task, TaskKind, TaskOutcome, TxStatus, Xid,
};
use atone_tc_server::Running;
use common::*;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// A transaction whose only branch is blocked, and the page of that branch.
async fn blocked(client: &Client) -> (Xid, BranchId, String) {
    let (xid, b) = (begin(client).await, branch());
    client.register(register(xid, b, &[41], Duration::ZERO)).await.unwrap();
    assert_eq!(client.rollback(xid, "asked", LONG).await, Ok(TxStatus::Blocked));
    (xid, b, format!("/v1/transactions/{xid}/branches/{b}"))
}

fn body(how: &str) -> String {
    json!({ "how": how, "by": "anna", "reason": "counted\u{1b} by hand" }).to_string()
}

fn is_blocked(task: &Task) -> TaskOutcome {
    match task.kind {
        TaskKind::RollBack => TaskOutcome::Blocked("shop.item row 41 was changed".into()),
        _ => TaskOutcome::Done,
    }
}

fn proxy(running: &Running) -> Proxy {
    Proxy::new(&running.grpc.to_string(), &["orders"], "p1")
}

async fn status(running: &Running, xid: Xid) -> (Value, Value) {
    let (_, page) = get(running, &format!("/v1/transactions/{xid}")).await;
    (page["status"].clone(), page["branches"][0]["status"].clone())
}

#[tokio::test]
async fn each_way_ends_the_branch_and_is_told_and_noted() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let (client, mut tasks) = proxy(&running).answering(is_blocked);
    for (how, kind) in [("restore", TaskKind::Restore), ("keep-current", TaskKind::Keep)] {
        let (xid, b, page) = blocked(&client).await;
        let (code, answer) = post(&running, &format!("{page}/resolve"), &body(how)).await;
        let done = json!({ "xid": xid.to_string(), "branch": b.to_string(), "how": how,
            "status": "rolled_back", "branch_status": "done" });
        assert_eq!((code, answer), (200, done));
        let given: Vec<_> = std::iter::from_fn(|| tasks.try_recv().ok()).map(|task| task.kind).collect();
        assert_eq!(given.last(), Some(&kind));
        let (_, shown) = get(&running, &format!("/v1/transactions/{xid}")).await;
        assert_eq!(shown["locks"], json!([]));
        let told = shown["timeline"].as_array().unwrap().iter().find(|e| e["event"] == "resolve").unwrap();
        assert_eq!(told["detail"], format!("{how} by anna: counted  by hand"));
        let (_, audit) = get(&running, &format!("/v1/audit?xid={xid}")).await;
        let deed = &audit["audit"][0];
        let seen = ["action", "who", "why", "outcome"].map(|field| deed[field].as_str().unwrap_or_default());
        assert_eq!(seen, [&format!("resolve {how}"), "anna", "counted  by hand", "done"]);
        assert!(deed["peer"].as_str().unwrap().starts_with("127.0.0.1:") && deed["branch"] == b.to_string());
        // The same again is answered the same, another decision comes too late.
        assert_eq!(post(&running, &format!("{page}/resolve"), &body(how)).await.0, 200);
        let (code, late) = post(&running, &format!("{page}/resolve"), &body("retry")).await;
        assert!(code == 409 && late["error"].as_str().unwrap().contains("done already"), "{late}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_retry_that_is_blocked_again_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let (client, _tasks) = proxy(&running).answering(is_blocked);
    let (xid, b, page) = blocked(&client).await;
    let (code, answer) = post(&running, &format!("{page}/resolve"), r#"{"how":"retry","by":"anna"}"#).await;
    let why = answer["error"].as_str().unwrap();
    assert!(code == 409 && why.contains("row 41 was changed") && why.contains(&b.to_string()), "{answer}");
    assert_eq!(status(&running, xid).await, (json!("blocked"), json!("blocked")));
    let (_, audit) = get(&running, "/v1/audit?limit=1").await;
    assert!(audit["audit"][0]["outcome"].as_str().unwrap().starts_with("409: retry of branch"), "{audit}");
    running.stop().await;
}

#[tokio::test]
async fn a_decision_outlives_the_coordinator_and_its_proxies() {
    let directory = tempfile::tempdir().unwrap();
    for (how, kind, word) in
        [("restore", TaskKind::Restore, "restoring"), ("keep-current", TaskKind::Keep, "keeping")]
    {
        let running = start(directory.path()).await;
        let mut first = proxy(&running);
        let client = first.client.clone();
        let blocking = async {
            let task = first.task().await;
            client.report(task.id, is_blocked(&task), "p1");
            first
        };
        let ((xid, b, page), first) = tokio::join!(blocked(&client), blocking);
        // The proxy dies before it is told; nobody is there when the person decides.
        first.kill();
        drop(client);
        until("the proxy is gone", async || {
            let (_, page) = get(&running, "/v1/health").await;
            (page["proxies"] == json!([])).then_some(())
        })
        .await;
        let url = format!("http://{}{page}/resolve", running.http);
        let asked = tokio::spawn(http("POST", url, Some(body(how))));
        until("the decision is noted", async || {
            (status(&running, xid).await == (json!("rolling_back"), json!(word))).then_some(())
        })
        .await;
        asked.abort();
        running.stop().await;
        let running = start(directory.path()).await;
        assert_eq!(status(&running, xid).await, (json!("rolling_back"), json!(word)));
        let mut second = proxy(&running);
        let task = second.task().await;
        assert_eq!((task.branch, task.kind), (b, kind));
        // That one dies with the task; the next gets the same.
        second.kill();
        let mut third = proxy(&running);
        let task = third.task().await;
        assert_eq!((task.branch, task.kind), (b, kind));
        third.client.report(task.id, TaskOutcome::Done, "p1");
        until("it is rolled back", async || {
            (status(&running, xid).await == (json!("rolled_back"), json!("done"))).then_some(())
        })
        .await;
        running.stop().await;
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let (client, _tasks) = proxy(&running).answering(is_blocked);
    let (xid, b, page) = blocked(&client).await;
    let refused = async |page: &str, body: &str, code: u16, word: &str| {
        let (found, answer) = post(&running, &format!("{page}/resolve"), body).await;
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(found == code && why.contains(word), "{body}: {found} {answer}");
    };
    refused(&page, "", 400, "say how").await;
    refused(&page, r#"{"how":"undo","by":"anna"}"#, 400, "keep-current").await;
    refused(&page, r#"{"how":"retry"}"#, 400, "--by").await;
    refused(&page, r#"{"how":"restore","by":"anna"}"#, 400, "--reason").await;
    refused(&page, r#"{"how":"keep-current","by":"anna","reason":" \n"}"#, 400, "--reason").await;
    let long = json!({ "how": "retry", "by": "a".repeat(129) }).to_string();
    refused(&page, &long, 400, "129 bytes").await;
    let stranger = branch();
    let other = format!("/v1/transactions/{xid}/branches/{stranger}");
    refused(&other, &body("retry"), 404, &stranger.to_string()).await;
    let nobody = format!("/v1/transactions/{}/branches/{b}", common::xid());
    refused(&nobody, &body("retry"), 404, "no global transaction").await;
    refused(&format!("/v1/transactions/{xid}/branches/zz"), &body("retry"), 400, "").await;
    assert_eq!(status(&running, xid).await, (json!("blocked"), json!("blocked")));

    let (active, b) = (begin(&client).await, branch());
    client.register(register(active, b, &[43], Duration::ZERO)).await.unwrap();
    let page = format!("/v1/transactions/{active}/branches/{b}");
    refused(&page, &body("keep-current"), 409, "not blocked").await;
    assert_eq!(status(&running, active).await, (json!("active"), json!("registered")));
    running.stop().await;
}

fn looked(task: &Task) -> TaskOutcome {
    let TaskKind::Look { rows, all } = task.kind else { return is_blocked(task) };
    let column = |name: &str, current: Option<&str>, differs| LookedColumn {
        name: name.into(),
        before: Some("10".into()),
        after: None,
        current: current.map(str::to_owned),
        differs,
    };
    let row = LookedRow {
        table: "shop.item".into(),
        key: "41".into(),
        state: "changed".into(),
        before: true,
        after: true,
        current: false,
        columns: vec![column("v", None, true)],
    };
    let (in_the_way, more) = (u64::from(rows), u64::from(all));
    let rows = vec![row];
    TaskOutcome::Looked(Box::new(Looked {
        record: "normal".into(),
        rows,
        in_the_way,
        more,
        ..Looked::default()
    }))
}

#[tokio::test]
async fn rows_are_told_by_a_proxy_that_reaches_them() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let (client, _tasks) = proxy(&running).answering(looked);
    let (xid, b, page) = blocked(&client).await;
    let (code, told) = get(&running, &format!("{page}/rows?limit=7&all=true")).await;
    // A row that is not there has no value, not even NULL.
    let column = json!({ "column": "v", "before": "10", "after": null, "differs": true });
    let row = json!({ "table": "shop.item", "key": "41", "state": "changed", "columns": [column] });
    let wanted = json!({ "xid": xid.to_string(), "branch": b.to_string(), "resource": "orders", "status": "blocked",
        "reason": "shop.item row 41 was changed", "record": "normal", "in_the_way": 7, "as_left": 0, "as_before": 0,
        "unknown": 0, "trouble": "", "rows": [row], "more": 1 });
    assert_eq!((code, told), (200, wanted));
    assert_eq!(get(&running, &format!("{page}/rows")).await.1["in_the_way"], 20);
    for (path, code) in [
        (format!("{page}/rows?limit=0"), 400),
        (format!("{page}/rows?all=maybe"), 400),
        (format!("/v1/transactions/{xid}/branches/{}/rows", branch()), 404),
        (format!("/v1/transactions/{}/branches/{b}/rows", common::xid()), 404),
    ] {
        let (found, answer) = get(&running, &path).await;
        assert!(found == code && answer["error"].is_string(), "{path}: {found} {answer}");
    }
    // The look is no part of the story.
    let (_, shown) = get(&running, &format!("/v1/transactions/{xid}")).await;
    assert_eq!(shown["timeline"].as_array().unwrap().len(), 4, "{shown}");
    running.stop().await;
}

#[tokio::test]
async fn rows_that_nobody_can_read_are_an_error_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let stranger = Proxy::new(&running.grpc.to_string(), &["stock"], "p1");
    let (xid, b) = (begin(&stranger.client).await, branch());
    stranger.client.register(register(xid, b, &[41], Duration::ZERO)).await.unwrap();
    let page = format!("/v1/transactions/{xid}/branches/{b}/rows");
    let failed = async |word: &str| {
        let (code, answer) = get(&running, &page).await;
        assert!(code == 503 && answer["error"].as_str().unwrap().contains(word), "{code} {answer}");
    };
    failed("no proxy that reaches 'orders' is connected").await;
    let mut near = proxy(&running);
    begin(&near.client).await;
    let dies = async {
        near.task().await;
        near.kill();
    };
    tokio::join!(failed("has gone"), dies);
    let mut near = proxy(&running);
    begin(&near.client).await;
    let cannot = async {
        let task = near.task().await;
        near.client.report(task.id, TaskOutcome::Retry("table is locked".into()), "");
    };
    tokio::join!(failed("table is locked"), cannot);
    // What was seen on a primary of former times is nothing.
    let late = async {
        let task = near.task().await;
        near.client.report(task.id, looked(&task), "p0");
    };
    tokio::join!(failed("another primary"), late);
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_done_by_force_that_cannot_be_noted() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let (client, _tasks) = proxy(&running).answering(is_blocked);
    let (xid, _, page) = blocked(&client).await;
    let active = begin(&client).await;
    let log: &Path = &directory.path().join("audit.log");
    std::fs::create_dir(log).unwrap();
    for (path, body) in [
        (format!("{page}/resolve"), body("keep-current")),
        (format!("/v1/transactions/{active}/rollback"), String::new()),
        (format!("/v1/transactions/{active}/commit"), String::new()),
        ("/v1/transactions".to_owned(), String::new()),
    ] {
        let (code, answer) = post(&running, &path, &body).await;
        let why = answer["error"].as_str().unwrap();
        assert!(
            code == 503 && why.contains("audit.log") && why.contains("was not begun"),
            "{path}: {answer}"
        );
    }
    assert_eq!(status(&running, xid).await, (json!("blocked"), json!("blocked")));
    assert_eq!(status(&running, active).await.0, "active");
    let (_, page) = get(&running, "/v1/transactions?status=active").await;
    assert_eq!(page["transactions"].as_array().unwrap().len(), 1);
    // With room for it again all goes on.
    std::fs::remove_dir(log).unwrap();
    assert_eq!(post(&running, &format!("/v1/transactions/{active}/rollback"), "").await.0, 200);
    let text = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "before and after: {text}");
    assert!(
        lines[0]["outcome"].is_null()
            && lines[1]["outcome"] == "rolled_back"
            && lines[0]["id"] == lines[1]["id"]
    );
    running.stop().await;
}
