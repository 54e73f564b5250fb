//! kill -9 of a database server under clients that go on: its commits are on disk, everything else is Atone's to mend.

use crate::bank::{End, bank, transfer};
use atone_tests::servers::Kind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_dies() {
    let mut guard = bank().await;
    let bank = guard.as_mut().expect("a bank is open");
    for kind in [Kind::MySql, Kind::Maria, Kind::MySql, Kind::Maria] {
        let ports = bank.ports();
        let clients: Vec<_> = (0..4)
            .map(|client| {
                tokio::spawn(async move {
                    let mut attempts = Vec::new();
                    for round in 0..12 {
                        let end = if round % 3 == 2 { End::Rollback } else { End::Commit };
                        attempts.extend(transfer(ports, client, end).await);
                    }
                    attempts
                })
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        match kind {
            Kind::MySql => bank.world.orders.restart().unwrap(),
            _ => bank.world.accounts.restart().unwrap(),
        }
        for client in clients {
            bank.attempts.extend(client.await.expect("the client does not panic"));
        }
        bank.settle(&format!("{kind:?} was killed")).await;
    }
    let after = transfer(bank.ports(), 0, End::Commit).await.expect("transfers begin again");
    assert_eq!(after.told.as_deref(), Some("committed"), "{after:?}");
    bank.attempts.push(after);
    bank.settle("after the deaths").await;
}
