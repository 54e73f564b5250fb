//! A person has decided how a blocked branch ends; whoever dies then, it ends so.

use crate::bank::bank;
use atone_tests::postgres::{PgRoom, PgWorld};
use atone_tests::servers::Kind;
use serde_json::json;

const NAME: &str = "resolved";
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 10), (2, 20)";

fn room(world: &PgWorld, kind: Kind) -> PgRoom<'_> {
    PgRoom { world, kind, schema: format!("shop_{NAME}") }
}

/// A blocked transaction: its xid and its only branch.
async fn blocked(room: &PgRoom<'_>) -> (String, String) {
    let mut app = room.raw(true).await.unwrap();
    let xid = app.one("SELECT atone_begin()").await.unwrap();
    app.query("UPDATE t SET v = v + 1").await.unwrap();
    room.raw(false).await.unwrap().query("UPDATE t SET v = 99 WHERE id = 1").await.unwrap();
    assert_eq!(app.one("SELECT atone_rollback()").await.unwrap(), "blocked");
    let (_, body) = room.world.api().transaction(&xid).unwrap();
    (xid, body["branches"][0]["branch"].as_str().unwrap().to_owned())
}

/// The proxy dies in the middle of what was decided, just before its local commit or just after it; and so does the
/// coordinator, before the proxy is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_decided_is_done_whoever_dies_meanwhile() {
    let mut guard = bank().await;
    let bank = guard.as_mut().expect("a bank is open");
    for (kind, how, place) in [
        (Kind::Pg15, "restore", "proxy.phase_two_before_commit"),
        (Kind::Pg18, "restore", "proxy.phase_two_after_commit"),
        (Kind::Pg18, "keep-current", "proxy.phase_two_before_commit"),
        (Kind::Pg15, "keep-current", "proxy.phase_two_after_commit"),
    ] {
        let told = format!("{kind:?}, {how}, {place}");
        let before = bank.world.room(kind, NAME, TABLE).await.dump().await;
        let (xid, branch) = blocked(&room(&bank.world, kind)).await;
        let strange = room(&bank.world, kind).dump().await;
        bank.world.proxy.restart_with(&format!("{place}=abort")).unwrap();
        let api = bank.world.api();
        let page = format!("/v1/transactions/{xid}/branches/{branch}/resolve");
        let asked = tokio::task::spawn_blocking(move || {
            api.post(&page, &json!({ "how": how, "by": "anna", "reason": "counted by hand" }))
        });
        bank.world.proxy.wait_for_end().unwrap_or_else(|error| panic!("{told}: {error}"));
        let right = if how == "restore" { &before } else { &strange };
        let left = if place.ends_with("before_commit") { &strange } else { right };
        assert_eq!(&room(&bank.world, kind).dump().await, left, "{told}: nothing is half done");
        bank.world.coordinator.restart().unwrap();
        // Whoever asked may have lost the answer with the coordinator.
        let _ = asked.await.expect("the asker does not panic");
        let (_, body) = bank.world.api().transaction(&xid).unwrap();
        let word = if how == "restore" { "restoring" } else { "keeping" };
        assert_eq!(body["branches"][0]["status"], word, "{told}: {body}");
        bank.world.proxy.restart().unwrap();
        assert_eq!(room(&bank.world, kind).calm(&xid).await, "rolled_back", "{told}");
        assert_eq!(&room(&bank.world, kind).dump().await, right, "{told}");
    }
}
