//! Laws of the replicated state over random histories.

use atone_protocol::{BranchId, Lineage, LockKey, Refusal, TxStatus, Xid};
use atone_tc_server::raft::Image;
use atone_tc_server::state::{
    BranchStatus, Decision, Entry, HORIZON_MS, Hold, KEEP_MS, Reply, Resolution, State,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const T0: u64 = 1_800_000_000_000;

fn xid(n: u64) -> Xid {
    Xid::new(T0, u128::from(n))
}

fn key(n: u8) -> LockKey {
    LockKey { table: "shop.item".into(), index: "PRIMARY".into(), key: vec![n], shown: n.to_string() }
}

fn how() -> impl Strategy<Value = Resolution> {
    prop::sample::select(vec![
        Resolution::Retry,
        Resolution::Restore,
        Resolution::KeepCurrent,
        Resolution::Gone,
    ])
}

fn resolve(xid: Xid, branch: BranchId, how: Resolution) -> Entry {
    Entry::Resolve { xid, branch, how, by: "anna".into(), reason: "counted".into() }
}

fn entry() -> impl Strategy<Value = Entry> {
    let tx = || (0..4u64).prop_map(xid);
    let branch = || (0..5u64).prop_map(BranchId::new);
    let resource = || prop_oneof![Just("orders".to_owned()), Just("stock".to_owned())];
    let keys = || prop::collection::vec((0..5u8).prop_map(key), 0..4);
    let branches =
        || prop::collection::btree_set(branch(), 0..4).prop_map(|b| b.into_iter().collect::<Vec<_>>());
    prop_oneof![
        3 => (tx(), 1..90_000u64).prop_map(|(xid, timeout_ms)| Entry::Begin { xid, name: String::new(), timeout_ms }),
        5 => (tx(), branch(), resource(), keys())
            .prop_map(|(xid, branch, resource, keys)| Entry::Register { xid, branch, resource, keys }),
        4 => (tx(), branch(), resource(), keys(), keys()).prop_map(|(xid, branch, resource, keys, shared)| {
            Entry::RegisterShared { xid, branch, resource, keys, shared }
        }),
        3 => (tx(), branch(), resource(), 1..3u64, keys(), keys()).prop_map(|(xid, branch, resource, n, keys, shared)| {
            let lineage = Lineage::new(n).unwrap();
            Entry::RegisterOn { xid, branch, resource, lineage, keys, shared }
        }),
        1 => (tx(), branch()).prop_map(|(xid, branch)| Entry::Failed { xid, branch }),
        3 => (tx(), branches()).prop_map(|(xid, branches)| Entry::Commit { xid, branches }),
        2 => tx().prop_map(|xid| Entry::Rollback { xid, reason: "asked".into() }),
        4 => (tx(), branches()).prop_map(|(xid, branches)| Entry::Done { xid, branches }),
        2 => (tx(), branch()).prop_map(|(xid, branch)| Entry::Blocked { xid, branch, reason: "dirty".into() }),
        1 => tx().prop_map(|xid| Entry::Retry { xid }),
        2 => (tx(), branch(), how()).prop_map(|(xid, branch, how)| resolve(xid, branch, how)),
        1 => Just(Entry::Tick),
    ]
}

/// Entries with the time each is proposed at; clocks may run backwards.
fn history() -> impl Strategy<Value = Vec<(u64, Entry)>> {
    prop::collection::vec((0..120_000u64, entry()), 0..120)
        .prop_map(|entries| entries.into_iter().map(|(at, entry)| (T0 + at, entry)).collect())
}

/// Commits name what is registered more often than chance would.
fn sharpen(state: &State, entry: Entry) -> Entry {
    match entry {
        Entry::Commit { xid, branches } if branches.len() != 1 => {
            let tx = state.transaction(xid);
            Entry::Commit {
                xid,
                branches: tx.map(|tx| tx.registered().map(|b| b.0).collect()).unwrap_or_default(),
            }
        }
        other => other,
    }
}

fn run(history: Vec<(u64, Entry)>) -> (State, Vec<(u64, Entry)>) {
    let (mut state, mut log) = (State::default(), Vec::new());
    for (at, entry) in history {
        let entry = sharpen(&state, entry);
        log.push((at, entry.clone()));
        state.apply(at, entry);
    }
    (state, log)
}

fn decisions(state: &State) -> BTreeMap<Xid, Decision> {
    state.transactions().filter_map(|(xid, tx)| Some((xid, tx.decision.clone()?))).collect()
}

proptest! {
    #[test]
    fn locks_and_files_agree_and_decisions_never_change(history in history()) {
        let mut state = State::default();
        let mut decided = BTreeMap::new();
        for (at, entry) in history {
            let entry = sharpen(&state, entry);
            let (_, effects) = state.apply(at, entry.clone());
            prop_assert_eq!(state.check(), Ok(()), "after {:?}", entry);
            for (resource, keys) in &effects.freed {
                for key in keys.iter() {
                    let hold = state.locks().hold(resource, &key.to_lock_key());
                    prop_assert!(hold.is_none_or(Hold::is_shared), "{key:?} after {entry:?}");
                }
            }
            let now = decisions(&state);
            for (xid, decision) in &decided {
                prop_assert_eq!(now.get(xid), Some(decision), "after {:?}", entry);
            }
            decided = now;
        }
    }

    #[test]
    fn applying_an_entry_again_changes_nothing(history in history()) {
        let mut state = State::default();
        for (at, entry) in history {
            let entry = sharpen(&state, entry);
            // A retry un-blocks by intention each time; a repeated Blocked or Done after it is another event.
            let (first, _) = state.apply(at, entry.clone());
            let hash = state.hash();
            let (second, effects) = state.apply(at, entry.clone());
            prop_assert_eq!(state.hash(), hash, "{:?}", entry);
            prop_assert!(effects.is_empty());
            // A commit that itself rolled back says so once, and "finished" from then on.
            let rolled_back = matches!(first, Reply::Refused(Refusal::RollbackOnly { .. }))
                && matches!(entry, Entry::Commit { .. });
            prop_assert!(first == second || rolled_back, "{:?}: {:?} then {:?}", entry, first, second);
        }
    }

    #[test]
    fn the_same_log_gives_the_same_state_and_so_does_a_snapshot_in_between(history in history(), cut: prop::sample::Index) {
        let (state, log) = run(history);
        let cut = cut.index(log.len() + 1);
        let mut again = State::default();
        for (place, (at, entry)) in log.into_iter().enumerate() {
            if place == cut {
                let image = Image { meta: Default::default(), state: again };
                again = Image::decode(&image.encode().unwrap()).unwrap().state;
            }
            again.apply(at, entry);
        }
        prop_assert_eq!(again.hash(), state.hash());
        prop_assert_eq!(again.check(), Ok(()));
    }

    #[test]
    fn a_committed_transaction_holds_no_lock_and_everything_is_forgotten_in_the_end(history in history()) {
        let (mut state, _) = run(history);
        for xid in (0..4).map(xid) {
            if state.transaction(xid).is_some_and(|tx| tx.decision == Some(Decision::Commit)) {
                prop_assert!(state.locks_of(xid).is_empty());
            }
        }
        // Deadlines fall, proxies finish, an hour passes.
        state.apply(T0 + 1_000_000, Entry::Tick);
        for xid in (0..4).map(xid) {
            state.apply(T0 + 1_000_000, Entry::Done { xid, branches: (0..5).map(BranchId::new).collect() });
        }
        prop_assert!(state.locks().is_empty());
        let known = state.transactions().count();
        state.apply(T0 + 1_000_000 + KEEP_MS + HORIZON_MS, Entry::Tick);
        prop_assert_eq!(state.transactions().count(), 0);
        // And none of them can begin again.
        if known > 0 {
            let (reply, _) = state.apply(T0, Entry::Begin { xid: xid(0), name: String::new(), timeout_ms: 1 });
            prop_assert!(matches!(reply, Reply::Refused(Refusal::Invalid(_))));
        }
    }

    #[test]
    fn a_damaged_snapshot_is_refused(history in history(), place: prop::sample::Index, bit in 0..8u8) {
        let (state, _) = run(history);
        let mut bytes = Image { meta: Default::default(), state }.encode().unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        prop_assert!(Image::decode(&bytes).is_err());
        bytes.truncate(place);
        prop_assert!(Image::decode(&bytes).is_err());
    }
}

#[test]
fn a_snapshot_whose_version_became_another_is_refused() {
    for version in [0, 1, 2, 4] {
        let mut bytes = Image::default().encode().unwrap();
        bytes[0] = version;
        assert!(Image::decode(&bytes).is_err(), "{version}");
    }
}

fn begin(state: &mut State, n: u64) {
    assert_eq!(
        state.apply(T0, Entry::Begin { xid: xid(n), name: "t".into(), timeout_ms: 60_000 }).0,
        Reply::Done
    );
}

fn register(state: &mut State, n: u64, branch: u64, keys: &[u8]) -> Reply {
    let keys = keys.iter().map(|n| key(*n)).collect();
    let entry =
        Entry::Register { xid: xid(n), branch: BranchId::new(branch), resource: "orders".into(), keys };
    state.apply(T0, entry).0
}

#[test]
fn a_late_register_of_a_failed_branch_is_refused() {
    let mut state = State::default();
    begin(&mut state, 1);
    state.apply(T0, Entry::Failed { xid: xid(1), branch: BranchId::new(7) });
    assert!(matches!(register(&mut state, 1, 7, &[1]), Reply::Refused(Refusal::RollbackOnly { .. })));
    let (reply, _) = state.apply(T0, Entry::Commit { xid: xid(1), branches: vec![] });
    assert!(matches!(reply, Reply::Refused(Refusal::RollbackOnly { .. })));
    assert_eq!(state.transaction(xid(1)).unwrap().status(), TxStatus::RolledBack);
}

#[test]
fn a_key_of_two_branches_is_freed_with_the_second() {
    let mut state = State::default();
    begin(&mut state, 1);
    begin(&mut state, 2);
    assert_eq!(register(&mut state, 1, 1, &[1]), Reply::Registered(1));
    assert_eq!(register(&mut state, 1, 2, &[1]), Reply::Registered(2));
    state.apply(T0, Entry::Rollback { xid: xid(1), reason: String::new() });
    let (_, effects) = state.apply(T0, Entry::Done { xid: xid(1), branches: vec![BranchId::new(2)] });
    assert!(effects.freed.is_empty());
    let Reply::Refused(Refusal::Conflict { holder, holder_status, .. }) = register(&mut state, 2, 3, &[1])
    else {
        panic!("not a conflict")
    };
    assert_eq!((holder, holder_status), (xid(1), TxStatus::RollingBack));
    let (_, effects) = state.apply(T0, Entry::Done { xid: xid(1), branches: vec![BranchId::new(1)] });
    assert_eq!(effects.freed.len(), 1);
    assert_eq!(register(&mut state, 2, 3, &[1]), Reply::Registered(1));
}

#[test]
fn a_shared_key_is_held_by_many_and_by_nobody_alone() {
    let mut state = State::default();
    (1..=3).for_each(|n| begin(&mut state, n));
    let ask = |state: &mut State, n: u64, branch: u64, keys: &[u8], shared: &[u8]| {
        let of = |keys: &[u8]| keys.iter().map(|n| key(*n)).collect();
        let (xid, branch, resource) = (xid(n), BranchId::new(branch), "orders".into());
        state.apply(T0, Entry::RegisterShared { xid, branch, resource, keys: of(keys), shared: of(shared) }).0
    };
    let conflict = |reply: &Reply, with: u64| matches!(reply, Reply::Refused(Refusal::Conflict { holder, .. }) if *holder == xid(with));
    assert_eq!(ask(&mut state, 1, 1, &[], &[1]), Reply::Registered(1));
    assert_eq!(ask(&mut state, 2, 2, &[9], &[1]), Reply::Registered(1));
    let refused = ask(&mut state, 3, 3, &[1], &[]);
    assert!(conflict(&refused, 1), "{refused:?}");
    // Not even one of those who share it.
    let refused = ask(&mut state, 2, 4, &[1], &[]);
    assert!(conflict(&refused, 1), "{refused:?}");
    let (_, effects) = state.apply(T0, Entry::Commit { xid: xid(1), branches: vec![BranchId::new(1)] });
    assert_eq!(effects.freed.len(), 1);
    // Now alone, it may change it; when that branch is undone, it shares it again.
    assert_eq!(ask(&mut state, 2, 4, &[1], &[]), Reply::Registered(2));
    let refused = ask(&mut state, 3, 3, &[], &[1]);
    assert!(conflict(&refused, 2), "{refused:?}");
    state.apply(T0, Entry::Rollback { xid: xid(2), reason: String::new() });
    let (_, effects) = state.apply(T0, Entry::Done { xid: xid(2), branches: vec![BranchId::new(4)] });
    assert_eq!(effects.freed.len(), 1);
    assert_eq!(state.check(), Ok(()));
    assert_eq!(ask(&mut state, 3, 3, &[], &[1]), Reply::Registered(1));
    assert_eq!(state.locks().len(), 2);
    state.apply(T0, Entry::Done { xid: xid(2), branches: vec![BranchId::new(2)] });
    assert_eq!((state.locks().len(), state.check()), (1, Ok(())));
}

#[test]
fn a_commit_after_the_deadline_is_a_rollback_even_before_a_tick() {
    let mut state = State::default();
    begin(&mut state, 1);
    let (reply, _) = state.apply(T0 + 60_000, Entry::Commit { xid: xid(1), branches: vec![] });
    let Reply::Refused(Refusal::Finished { status, reason }) = reply else { panic!("{reply:?}") };
    assert_eq!((status, reason.as_str()), (TxStatus::RolledBack, "timed out after 60 s"));
}

#[test]
fn a_blocked_branch_keeps_its_locks_until_a_retry_succeeds() {
    let mut state = State::default();
    begin(&mut state, 1);
    register(&mut state, 1, 1, &[1]);
    state.apply(T0, Entry::Rollback { xid: xid(1), reason: String::new() });
    state.apply(T0, Entry::Blocked { xid: xid(1), branch: BranchId::new(1), reason: "row changed".into() });
    assert_eq!(state.transaction(xid(1)).unwrap().status(), TxStatus::Blocked);
    assert_eq!(state.locks().len(), 1);
    assert_eq!(
        state.apply(T0, Entry::Retry { xid: xid(1) }).0,
        Reply::Status(TxStatus::RollingBack, String::new())
    );
    state.apply(T0, Entry::Done { xid: xid(1), branches: vec![BranchId::new(1)] });
    assert_eq!(state.transaction(xid(1)).unwrap().status(), TxStatus::RolledBack);
    assert!(state.locks().is_empty());
}

#[test]
fn a_blocked_branch_ends_as_a_person_decides_and_keeps_its_locks_until_then() {
    for (how, mode) in [
        (Resolution::Retry, BranchStatus::Registered),
        (Resolution::Restore, BranchStatus::Restoring),
        (Resolution::KeepCurrent, BranchStatus::Keeping),
    ] {
        let mut state = State::default();
        let b = BranchId::new(1);
        let status = |state: &State| state.transaction(xid(1)).unwrap().branches[&b].status;
        let refused = |state: &mut State, branch, how, word: &str| {
            let Reply::Refused(Refusal::Invalid(why)) = state.apply(T0, resolve(xid(1), branch, how)).0
            else {
                panic!("not refused: {word}")
            };
            assert!(why.contains(word) && why.contains(&branch.to_string()), "{why}");
        };
        assert_eq!(state.apply(T0, resolve(xid(1), b, how)).0, Reply::Refused(Refusal::Unknown));
        begin(&mut state, 1);
        refused(&mut state, b, how, "has no branch");
        register(&mut state, 1, 1, &[1]);
        refused(&mut state, b, how, "not blocked");
        state.apply(T0, Entry::Rollback { xid: xid(1), reason: String::new() });
        let blocked = || Entry::Blocked { xid: xid(1), branch: b, reason: "row changed".into() };
        state.apply(T0, blocked());

        let rolling_back = Reply::Status(TxStatus::RollingBack, String::new());
        let (reply, effects) = state.apply(T0, resolve(xid(1), b, how));
        assert_eq!((reply, effects.moved), (rolling_back.clone(), vec![xid(1)]));
        assert_eq!((status(&state), state.locks().len()), (mode, 1));
        // The same again changes nothing, another decision is refused.
        let hash = state.hash();
        assert_eq!(state.apply(T0, resolve(xid(1), b, how)).0, rolling_back);
        let other = if how == Resolution::Retry { Resolution::Restore } else { Resolution::Retry };
        refused(&mut state, b, other, "branch");
        assert_eq!(state.hash(), hash);
        // A snapshot keeps the decision.
        let image = Image { meta: Default::default(), state: state.clone() };
        assert_eq!(Image::decode(&image.encode().unwrap()).unwrap().state.hash(), hash);

        // It may be blocked again, and then waits for another decision.
        state.apply(T0, blocked());
        assert_eq!((status(&state), state.locks().len()), (BranchStatus::Blocked, 1));
        state.apply(T0, resolve(xid(1), b, how));
        assert_eq!(status(&state), mode);
        state.apply(T0, Entry::Done { xid: xid(1), branches: vec![b] });
        let tx = state.transaction(xid(1)).unwrap();
        assert_eq!((tx.status(), state.locks().is_empty()), (TxStatus::RolledBack, true));
        let told: Vec<_> = tx.timeline.iter().filter(|e| e.kind.as_str() == "resolve").collect();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].detail, format!("{} by anna: counted", how.as_str()));
        assert_eq!(
            state.apply(T0, resolve(xid(1), b, how)).0,
            Reply::Status(TxStatus::RolledBack, String::new())
        );
        refused(&mut state, b, other, "done already");
        assert_eq!(state.check(), Ok(()));
    }
}
