//! The HTTP API, page by page, as the contract has it.

mod common;

use atone_protocol::TxStatus;
use common::*;
use serde_json::json;
use std::time::Duration;

fn keys(page: &serde_json::Value) -> Vec<&str> {
    page.as_object().unwrap().keys().map(String::as_str).collect()
}

/// `2026-01-02T03:04:05.678Z`
fn is_time(text: &serde_json::Value) -> bool {
    let text = text.as_str().unwrap();
    text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.' && text.as_bytes()[10] == b'T'
}

#[tokio::test]
async fn health_names_leader_and_proxies() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let proxy = Proxy::new(&running.grpc.to_string(), &["orders", "stock"], "p1");
    begin(&proxy.client).await;
    let (code, page) = get(&running, "/v1/health").await;
    let name = page["proxies"][0]["name"].clone();
    let proxies = json!([{ "name": name, "resources": ["orders", "stock"] }]);
    assert_eq!(code, 200);
    assert_eq!(page, json!({ "status": "ready", "node_id": 1, "leader": 1, "proxies": proxies }));
    running.stop().await;
}

#[tokio::test]
async fn a_transaction_is_begun_listed_shown_and_committed() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let (code, page) = post(&running, "/v1/transactions", r#"{"name":"order","timeout_ms":5000}"#).await;
    let xid = page["xid"].as_str().unwrap().to_owned();
    assert_eq!(code, 201);
    assert_eq!(page, json!({ "xid": xid, "status": "active", "name": "order", "timeout_ms": 5000 }));
    let (code, second) = post(&running, "/v1/transactions", "").await;
    assert_eq!((code, &second["timeout_ms"]), (201, &json!(60_000)));

    let (code, page) = get(&running, "/v1/transactions?status=active&limit=1").await;
    assert_eq!((code, page["transactions"].as_array().unwrap().len()), (200, 1));
    let (_, page) = get(&running, "/v1/transactions").await;
    let rows = page["transactions"].as_array().unwrap();
    let row = rows.iter().find(|row| row["xid"] == xid.as_str()).unwrap();
    let mut all = vec!["xid", "name", "status", "reason", "begun_at", "deadline_at", "branches", "locks"];
    all.sort_unstable();
    assert_eq!(keys(row), all);
    assert!(is_time(&row["begun_at"]) && is_time(&row["deadline_at"]));

    let (code, page) = post(&running, &format!("/v1/transactions/{xid}/commit"), "").await;
    assert_eq!((code, page), (200, json!({ "xid": xid, "status": "committed" })));
    let (code, page) = post(&running, &format!("/v1/transactions/{xid}/rollback"), "").await;
    assert_eq!((code, &page["status"]), (409, &json!("committed")));
    let (_, page) = get(&running, "/v1/transactions?status=committed").await;
    assert_eq!(page["transactions"][0]["xid"], xid.as_str());
    running.stop().await;
}

#[tokio::test]
async fn branches_locks_and_the_timeline_are_shown() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let proxy = Proxy::new(&running.grpc.to_string(), &[], "");
    let (xid, b) = (begin(&proxy.client).await, branch());
    proxy.client.register(register(xid, b, &[41, 42], Duration::ZERO)).await.unwrap();
    let (code, page) = get(&running, &format!("/v1/transactions/{xid}")).await;
    assert_eq!(code, 200);
    let shown = json!({ "branch": b.to_string(), "resource": "orders", "sequence": 1, "status": "registered",
        "reason": "", "keys": 2 });
    assert_eq!(page["branches"], json!([shown]));
    let lock = |key: &str| json!({ "resource": "orders", "table": "shop.item", "index": "PRIMARY", "key": key, "mode": "exclusive" });
    assert_eq!(page["locks"], json!([lock("41"), lock("42")]));
    let events: Vec<_> = page["timeline"].as_array().unwrap().iter().map(|e| &e["event"]).collect();
    assert_eq!(events, ["begin", "register"]);
    assert!(is_time(&page["timeline"][1]["at"]) && page["timeline"][1]["branch"] == b.to_string());

    for query in ["?table=item&key=42", "?table=shop.item&key=42", "?database=orders&key=42"] {
        let (code, page) = get(&running, &format!("/v1/locks{query}&xid={xid}")).await;
        assert_eq!((code, page["locks"].as_array().unwrap().len()), (200, 1), "{query}: {page}");
        let row = &page["locks"][0];
        assert_eq!((&row["xid"], &row["branch"]), (&json!(xid.to_string()), &json!(b.to_string())));
        assert!(is_time(&row["since"]) && row["waiting"] == 0);
    }
    for query in ["?table=tem", "?database=stock", "?key=4"] {
        assert_eq!(get(&running, &format!("/v1/locks{query}")).await.1["locks"], json!([]), "{query}");
    }
    assert_eq!(get(&running, "/v1/locks?limit=1").await.1["locks"].as_array().unwrap().len(), 1);
    // Nobody reaches the database: the rollback is decided and goes on.
    assert_eq!(proxy.client.rollback(xid, "asked", Duration::ZERO).await, Ok(TxStatus::RollingBack));
    let (_, page) = get(&running, "/v1/transactions?status=rolling_back").await;
    assert_eq!(
        (&page["transactions"][0]["reason"], &page["transactions"][0]["locks"]),
        (&json!("asked"), &json!(2))
    );
    running.stop().await;
}

#[tokio::test]
async fn nonsense_is_400_and_the_unknown_is_404() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let unknown = xid();
    for path in [
        "/v1/transactions/xyz",
        "/v1/transactions?limit=0",
        "/v1/transactions?limit=x",
        "/v1/transactions?status=odd",
        "/v1/transactions?stauts=active",
        "/v1/locks?xid=1",
        "/v1/locks?limit=99999",
    ] {
        let (code, page) = get(&running, path).await;
        assert!(code == 400 && page["error"].is_string(), "{path}: {code} {page}");
    }
    for (path, body) in [
        ("/v1/transactions", "{"),
        ("/v1/transactions", r#"{"timeout_ms":600001}"#),
        ("/v1/transactions", r#"{"nmae":"x"}"#),
        ("/v1/transactions/xyz/commit", ""),
    ] {
        let (code, page) = post(&running, path, body).await;
        assert!(code == 400 && page["error"].is_string(), "{path}: {code} {page}");
    }
    let (code, page) = get(&running, &format!("/v1/transactions/{unknown}")).await;
    assert!(code == 404 && page["error"].as_str().unwrap().contains(&unknown.to_string()));
    for act in ["commit", "rollback"] {
        assert_eq!(post(&running, &format!("/v1/transactions/{unknown}/{act}"), "").await.0, 404);
    }
    assert_eq!(get(&running, "/v2").await.0, 404);
    assert_eq!(post(&running, "/v1/locks", "").await.0, 405);
    running.stop().await;
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let (_, page) = post(&running, "/v1/transactions", "").await;
    post(&running, &format!("/v1/transactions/{}/commit", page["xid"].as_str().unwrap()), "").await;
    post(&running, "/v1/transactions", "").await;
    let (code, text) = http("GET", format!("http://{}/metrics", running.http), None).await;
    assert_eq!(code, 200);
    for line in [
        "atone_transactions_begun_total 2",
        "atone_transactions_total{outcome=\"committed\"} 1",
        "atone_transactions_active 1",
        "atone_locks 0",
        "atone_proxies 0",
        "atone_lock_waiters 0",
    ] {
        assert!(text.lines().any(|found| found == line), "no '{line}' in\n{text}");
    }
    running.stop().await;
}
