//! What a person sees: the HTTP API and the `atone` command line.

use crate::case::{both, room};
use atone_tests::api::atone;
use atone_tests::{sql, wait};
use mysql_async::prelude::Queryable;

const TABLES: &str = "CREATE TABLE item (id INT PRIMARY KEY, v INT);
INSERT INTO item VALUES (42, 0), (43, 0);
";

#[tokio::test]
async fn transactions_and_locks_are_listed() {
    let room = room("operator", TABLES).await;
    let api = room.world.api();
    let server = room.world.coordinator.url();
    let (mut orders, mut accounts) = both(&room).await;
    let xid = sql::one(&mut orders, "SELECT atone_begin('place order', 60000)").await.unwrap().unwrap();
    sql::join(&mut accounts, &xid).await.unwrap();
    orders.query_drop("UPDATE item SET v = 1 WHERE id = 42").await.unwrap();
    accounts.query_drop("UPDATE item SET v = 1").await.unwrap();

    let (_, body) = api.transaction(&xid).unwrap();
    assert_eq!((&body["status"], &body["name"]), (&"active".into(), &"place order".into()), "{body}");
    assert_eq!(body["branches"].as_array().unwrap().len(), 2, "{body}");
    assert!(body["timeline"].as_array().unwrap().iter().any(|entry| entry["event"] == "register"), "{body}");
    let (_, body) = api.get("/v1/transactions?status=active&limit=1000").unwrap();
    assert!(body["transactions"].as_array().unwrap().iter().any(|one| one["xid"] == *xid), "{body}");

    let of_table = api.locks("database=orders&table=shop_operator.item&key=42").unwrap();
    assert_eq!(of_table.len(), 1, "{of_table:?}");
    assert_eq!(of_table[0]["xid"], *xid);
    assert!(api.locks("database=orders&table=shop_operator.item&key=43").unwrap().is_empty());
    assert_eq!(api.locks("database=accounts&table=shop_operator.item").unwrap().len(), 2);
    assert!(api.locks(&format!("xid={xid}&table=item")).unwrap().len() >= 3);

    for (args, wanted) in [
        (vec!["tx", "list"], vec![xid.as_str(), "active", "place order"]),
        (vec!["tx", "show", &xid], vec![xid.as_str(), "orders", "accounts", "shop_operator.item"]),
        (vec!["locks", "list", "--table", "shop_operator.item"], vec![xid.as_str(), "42", "43"]),
        (vec!["health"], vec!["ready"]),
    ] {
        let (code, out, err) = atone(&server, &args).unwrap();
        assert_eq!(code, 0, "atone {args:?}: {out}{err}");
        for wanted in wanted {
            assert!(out.contains(wanted), "atone {args:?} shows no {wanted}:\n{out}");
        }
    }
    let (code, out, _) = atone(&server, &["--json", "tx", "show", &xid]).unwrap();
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["xid"], *xid);

    let (code, out, err) =
        atone(&server, &["tx", "rollback", &xid, "--reason", "the customer called"]).unwrap();
    assert!(code == 0 && out.contains("rolled"), "{out}{err}");
    assert_eq!(room.calm(&xid).await, "rolled_back");
    let (_, body) = api.transaction(&xid).unwrap();
    assert!(body.to_string().contains("the customer called"), "{body}");
}

#[tokio::test]
async fn mistakes_are_told_apart() {
    let room = room("mistakes", TABLES).await;
    let api = room.world.api();
    assert_eq!(api.get("/v1/transactions/nonsense").unwrap().0, 400);
    assert_eq!(api.get("/v1/transactions?limit=x").unwrap().0, 400);
    let mut conn = room.app(atone_tests::servers::Kind::Maria).await;
    let xid = sql::begin(&mut conn).await.unwrap();
    let last = if xid.ends_with('0') { '1' } else { '0' };
    let stranger = format!("{}{last}", &xid[..xid.len() - 1]);
    for (code, body) in [
        api.transaction(&stranger).unwrap(),
        api.commit(&stranger).unwrap(),
        api.rollback(&stranger).unwrap(),
    ] {
        assert!(code == 404 && body["error"].is_string(), "{code} {body}");
    }
    sql::rollback(&mut conn).await.unwrap();
    let (code, _, err) = atone("http://127.0.0.1:1", &["tx", "list"]).unwrap();
    assert!(code == 1 && err.contains("127.0.0.1:1"), "{code} {err}");
}

#[tokio::test]
async fn health_and_metrics() {
    let room = room("health", TABLES).await;
    wait::until("both resources are served", async || {
        let (code, body) = room.world.api().get("/v1/health").map_err(|error| error.to_string())?;
        let text = body.to_string();
        let good =
            code == 200 && body["status"] == "ready" && text.contains("orders") && text.contains("accounts");
        if good { Ok(()) } else { Err(text) }
    })
    .await;
    assert_eq!(room.world.proxy.http().get_text("/v1/health").unwrap().0, 200);
    for api in [room.world.api(), room.world.proxy.http()] {
        let (code, text) = api.get_text("/metrics").unwrap();
        assert!(code == 200 && text.contains("# TYPE atone"), "{code} {text}");
    }
}
