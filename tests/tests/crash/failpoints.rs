//! A death at each named place.

use crate::bank::{Bank, End, bank, transfer};
use atone_tests::{Result, wait};

/// Who dies.
#[derive(Clone, Copy)]
enum Who {
    Proxy,
    Coordinator,
}

impl Who {
    fn restart(self, bank: &mut Bank, failpoints: &str) -> Result<()> {
        match self {
            Self::Proxy => bank.world.proxy.restart_with(failpoints),
            Self::Coordinator => bank.world.coordinator.restart_with(failpoints),
        }
    }

    fn has_ended(self, bank: &mut Bank) -> bool {
        match self {
            Self::Proxy => bank.world.proxy.has_ended(),
            Self::Coordinator => bank.world.coordinator.has_ended(),
        }
    }

    fn wait_for_end(self, bank: &mut Bank) -> Result<()> {
        match self {
            Self::Proxy => bank.world.proxy.wait_for_end(),
            Self::Coordinator => bank.world.coordinator.wait_for_end(),
        }
        .map(drop)
    }
}

/// Dies at the first and at the second time a place is reached (which is the other branch, or the other decision),
/// under clients that commit and under clients that roll back; then all must settle.
async fn dies_at(who: Who, place: &str, ends: &'static [End]) {
    let mut guard = bank().await;
    let bank = guard.as_mut().expect("a bank is open");
    for end in ends {
        'next: for time in [1, 2] {
            let failpoint = format!("{place}=abort@{time}");
            let told = format!("{failpoint}, {end:?}");
            if let Err(early) = who.restart(bank, &failpoint) {
                // Something was left to be done, so that it reached the place before it had said that it is ready.
                println!("{told}: {early}");
                who.restart(bank, "").unwrap();
                bank.settle(&told).await;
                who.restart(bank, &failpoint).unwrap();
            }
            for round in 0..6 {
                let ports = bank.ports();
                let client = tokio::spawn(async move { transfer(ports, round % 4, *end).await });
                // The dead one is brought back at once, with the client still in the middle of its transfer.
                let mut died = false;
                while !client.is_finished() {
                    tokio::time::sleep(wait::STEP).await;
                    if !died && who.has_ended(bank) {
                        died = true;
                        who.restart(bank, "").unwrap();
                    }
                }
                bank.attempts.extend(client.await.expect("the client does not panic"));
                if died {
                    bank.settle(&told).await;
                    continue 'next;
                }
            }
            // Places of phase two are reached some time after the client's answer.
            who.wait_for_end(bank).unwrap_or_else(|error| panic!("{told} was never reached: {error}"));
            who.restart(bank, "").unwrap();
            bank.settle(&told).await;
        }
    }
    let after = transfer(bank.ports(), 0, End::Commit).await.expect("transfers begin again");
    assert_eq!(after.told.as_deref(), Some("committed"), "after {place}: {after:?}");
    bank.attempts.push(after);
    bank.settle(place).await;
}

macro_rules! deaths {
    ($($test:ident: $who:ident at $place:literal while $($end:ident),+;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                dies_at(Who::$who, $place, &[$(End::$end),+]).await;
            }
        )+
    };
}

deaths! {
    proxy_before_register: Proxy at "proxy.before_register" while Commit;
    proxy_after_register: Proxy at "proxy.after_register" while Commit;
    proxy_before_local_commit: Proxy at "proxy.before_local_commit" while Commit;
    proxy_after_local_commit: Proxy at "proxy.after_local_commit" while Commit, Rollback;
    proxy_in_phase_two_before_its_commit: Proxy at "proxy.phase_two_before_commit" while Rollback, Vanish;
    proxy_in_phase_two_after_its_commit: Proxy at "proxy.phase_two_after_commit" while Rollback, Vanish;
    coordinator_before_register: Coordinator at "tc.before_register" while Commit;
    coordinator_after_register: Coordinator at "tc.after_register" while Commit;
    coordinator_before_decide: Coordinator at "tc.before_decide" while Commit, Rollback;
    coordinator_after_decide: Coordinator at "tc.after_decide" while Commit, Rollback;
    coordinator_before_dispatch: Coordinator at "tc.before_dispatch" while Commit, Rollback;
}
