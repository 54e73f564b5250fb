//! Deaths of the proxy at each named place, and of the databases under clients that go on.

use crate::bank::{ACCOUNTS, End, bank, transfer};
use atone_tests::servers::Kind;
use atone_tests::wait;

/// Dies at the first and at the second time a place is reached (which is the other branch, or the other decision),
/// under clients that commit and under clients that roll back; then all must settle.
async fn proxy_dies_at(place: &str, ends: &'static [End]) {
    let mut guard = bank().await;
    let bank = guard.as_mut().expect("a bank is open");
    for end in ends {
        'next: for time in [1, 2] {
            let failpoint = format!("{place}=abort@{time}");
            bank.world.proxy.restart_with(&failpoint).unwrap();
            let told = format!("{failpoint}, {end:?}");
            for round in 0..6 {
                let ports = bank.ports();
                let client = tokio::spawn(async move { transfer(ports, round % ACCOUNTS, *end).await });
                // The dead one is brought back at once, with the client still in the middle of its transfer.
                let mut died = false;
                while !client.is_finished() {
                    tokio::time::sleep(wait::STEP).await;
                    if !died && bank.world.proxy.has_ended() {
                        died = true;
                        bank.world.proxy.restart().unwrap();
                    }
                }
                bank.attempts.extend(client.await.expect("the client does not panic"));
                if died {
                    bank.settle(&told).await;
                    continue 'next;
                }
            }
            // Places of phase two are reached some time after the client's answer.
            let ended = bank.world.proxy.wait_for_end();
            ended.unwrap_or_else(|error| panic!("{told} was never reached: {error}"));
            bank.world.proxy.restart().unwrap();
            bank.settle(&told).await;
        }
    }
    let after = transfer(bank.ports(), 0, End::Commit).await.expect("transfers begin again");
    assert_eq!(after.told.as_deref(), Some("committed"), "after {place}: {after:?}");
    bank.attempts.push(after);
    bank.settle(place).await;
}

macro_rules! deaths {
    ($($test:ident at $place:literal while $($end:ident),+;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                proxy_dies_at($place, &[$(End::$end),+]).await;
            }
        )+
    };
}

deaths! {
    before_register at "proxy.before_register" while Commit;
    after_register at "proxy.after_register" while Commit;
    before_local_commit at "proxy.before_local_commit" while Commit;
    after_local_commit at "proxy.after_local_commit" while Commit, Rollback;
    in_phase_two_before_its_commit at "proxy.phase_two_before_commit" while Rollback, Vanish;
    in_phase_two_after_its_commit at "proxy.phase_two_after_commit" while Rollback, Vanish;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_dies() {
    let mut guard = bank().await;
    let bank = guard.as_mut().expect("a bank is open");
    for kind in [Kind::Pg15, Kind::Pg18, Kind::Pg15, Kind::Pg18] {
        let ports = bank.ports();
        let clients: Vec<_> = (0..ACCOUNTS)
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
        bank.world.database_mut(kind).restart().unwrap();
        for client in clients {
            bank.attempts.extend(client.await.expect("the client does not panic"));
        }
        bank.settle(&format!("{kind:?} was killed")).await;
    }
    // The first try after a death may find a connection that broke.
    let after =
        wait::until("transfers work again", async || match transfer(bank.ports(), 0, End::Commit).await {
            Some(attempt) if attempt.told.as_deref() == Some("committed") => Ok(attempt),
            other => Err(other),
        })
        .await;
    bank.attempts.push(after);
    bank.settle("after the deaths").await;
}
