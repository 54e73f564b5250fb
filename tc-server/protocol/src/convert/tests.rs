//! Everything that can be said comes out of its bytes again.

use super::*;
use crate::{LookedColumn, LookedRow};
use proptest::prelude::*;

fn ids() -> impl Strategy<Value = (Xid, BranchId)> {
    (any::<u128>(), any::<u64>()).prop_map(|(x, b)| (Xid::from_u128(x), BranchId::new(b)))
}

fn key() -> impl Strategy<Value = LockKey> {
    (".{0,9}", ".{0,9}", prop::collection::vec(any::<u8>(), 0..9), ".{0,9}")
        .prop_map(|(table, index, key, shown)| LockKey { table, index, key, shown })
}

fn keys() -> impl Strategy<Value = Vec<LockKey>> {
    prop::collection::vec(key(), 0..4)
}

fn resource() -> impl Strategy<Value = Resource> {
    (".*", ".*", any::<u64>(), ".*").prop_map(|(name, primary, lineage, address)| Resource {
        name,
        primary,
        lineage: Lineage::new(lineage),
        address,
    })
}

fn mark() -> impl Strategy<Value = UndoMark> {
    any::<(u64, u64)>().prop_map(|(run, count)| UndoMark { run, count })
}

fn said() -> impl Strategy<Value = FromProxy> {
    let time = || any::<u64>().prop_map(Duration::from_millis);
    let outcome = prop_oneof![
        Just(TaskOutcome::Done),
        Just(TaskOutcome::Committed),
        Just(TaskOutcome::Guarded),
        ".*".prop_map(TaskOutcome::Blocked),
        ".*".prop_map(TaskOutcome::Retry),
        (".*", any::<u64>(), prop::option::of(".*"), prop::option::of(".*")).prop_map(
            |(record, more, before, current)| {
                let column = LookedColumn { name: "v".into(), before, current, ..Default::default() };
                let row = LookedRow { table: "t".into(), columns: vec![column], ..Default::default() };
                let rows = vec![row];
                TaskOutcome::Looked(Box::new(Looked { record, more, rows, ..Default::default() }))
            }
        ),
    ];
    let request = prop_oneof![
        (ids(), ".*", time()).prop_map(|((xid, _), name, timeout)| Request::Begin { xid, name, timeout }),
        (ids(), ".*", any::<u64>(), keys(), keys(), time(), any::<u64>()).prop_map(
            |((xid, branch), resource, lineage, keys, shared, wait, session)| {
                let lineage = Lineage::new(lineage);
                Request::Register(Register { xid, branch, resource, lineage, keys, shared, wait, session })
            }
        ),
        (
            prop::option::of(ids()),
            ".*",
            keys(),
            keys(),
            prop::collection::vec(".*", 0..3),
            any::<bool>(),
            time(),
            any::<u64>()
        )
            .prop_map(|(ids, resource, keys, shared, tables, everything, wait, session)| {
                let xid = ids.map(|(xid, _)| xid);
                Request::Check(Check { xid, resource, keys, shared, tables, everything, wait, session })
            }),
        (
            prop::option::of(ids()),
            ".*",
            prop::collection::vec(".*", 0..3),
            any::<(bool, bool, u64)>(),
            prop::option::of(mark()),
            time()
        )
            .prop_map(|(ids, resource, tables, (everything, holds_rows, session), since, wait)| {
                let xid = ids.map(|(xid, _)| xid);
                Request::CheckRead(CheckRead {
                    xid,
                    resource,
                    tables,
                    everything,
                    since,
                    wait,
                    session,
                    holds_rows,
                })
            }),
        ids().prop_map(|(xid, branch)| Request::Failed { xid, branch }),
        ids().prop_map(|(xid, _)| Request::Commit { xid }),
        (ids(), ".*", time()).prop_map(|((xid, _), reason, wait)| Request::Rollback { xid, reason, wait }),
        ids().prop_map(|(xid, _)| Request::StatusOf { xid }),
    ];
    prop_oneof![
        (".*", resource()).prop_map(|(proxy, resource)| FromProxy::Hello {
            version: VERSION,
            proxy,
            resources: vec![resource],
        }),
        (any::<u64>(), request).prop_map(|(id, request)| FromProxy::Request(id, request)),
        (ids(), ".*", ".*").prop_map(|((xid, branch), resource, primary)| FromProxy::Settled {
            xid,
            branch,
            resource,
            primary,
        }),
        resource().prop_map(FromProxy::Sees),
        (".*", any::<u64>(), prop::option::of(ids()), prop::collection::vec(any::<u64>(), 0..3)).prop_map(
            |(resource, session, ids, by)| {
                let xid = ids.map(|(xid, _)| xid);
                FromProxy::Stuck(Stuck { resource, session, xid, by })
            }
        ),
        (".*", any::<u64>(), prop::option::of(ids())).prop_map(|(resource, session, ids)| {
            FromProxy::Bound(Bound { resource, session, xid: ids.map(|(xid, _)| xid) })
        }),
        (any::<u64>(), outcome, ".*").prop_map(|(task, outcome, primary)| FromProxy::Report {
            task: TaskId(task),
            outcome,
            primary,
        }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let status = prop::sample::select(vec![
        TxStatus::Active,
        TxStatus::Committed,
        TxStatus::RollingBack,
        TxStatus::Blocked,
        TxStatus::RolledBack,
    ]);
    let refusal = prop_oneof![
        Just(Refusal::Unknown),
        (status.clone(), ".*").prop_map(|(status, reason)| Refusal::Finished { status, reason }),
        (key(), ids(), status.clone(), prop::collection::vec(".*", 0..3)).prop_map(
            |(key, (holder, _), holder_status, deadlock)| {
                Refusal::Conflict { key, holder, holder_status, deadlock }
            }
        ),
        ".*".prop_map(|reason| Refusal::RollbackOnly { reason }),
        ".*".prop_map(Refusal::Invalid),
    ];
    prop_oneof![
        any::<u64>().prop_map(Answer::Registered),
        (status, ".*").prop_map(|(status, reason)| Answer::Status(status, reason)),
        refusal.prop_map(Answer::Refused),
        Just(Answer::Done),
        ".*".prop_map(Answer::Unavailable),
        ".*".prop_map(Answer::NotLeader),
    ]
}

proptest! {
    #[test]
    fn what_is_said_is_understood(said in said()) {
        prop_assert_eq!(proxy_from_wire(proxy_to_wire(said.clone())), Ok(said));
    }

    #[test]
    fn what_is_answered_is_understood(id: u64, answer in answer()) {
        let message = answer_to_wire(id, answer.clone());
        prop_assert_eq!(message.id, id);
        let Some(coordinator_message::Body::Answer(wire)) = message.body else { panic!("no answer") };
        prop_assert_eq!(answer_from_wire(wire), Ok(answer));
    }
}

#[test]
fn every_errand_is_understood() {
    let resource = "orders".to_owned();
    let whose = Errand::Whose { resource: resource.clone(), sessions: vec![1, 2] };
    let Some(coordinator_message::Body::Whose(wire)) = unasked_to_wire(ToProxy::Errand(whose.clone())).body
    else {
        panic!("no question")
    };
    assert_eq!(whose_from_wire(wire), whose);
    let circle = vec!["a".to_owned(), "b".to_owned()];
    let told = Errand::Yield(Yield { resource, xid: Xid::from_u128(8), chain: vec![3, 4], circle });
    let Some(coordinator_message::Body::Yield(wire)) = unasked_to_wire(ToProxy::Errand(told.clone())).body
    else {
        panic!("nobody yields")
    };
    assert_eq!(yield_from_wire(wire.clone()), Ok(told));
    assert!(yield_from_wire(wire::Yield { xid: "x".to_owned(), ..wire }).is_err());
}

#[test]
fn a_message_without_sense_is_an_error() {
    assert!(proxy_from_wire(wire::ProxyMessage { id: 1, body: None }).is_err());
    let commit = wire::Commit { xid: "x".to_owned() };
    let message = wire::ProxyMessage { id: 1, body: Some(proxy_message::Body::Commit(commit)) };
    assert!(proxy_from_wire(message).unwrap_err().to_string().contains("'x'"));
}

#[test]
fn every_task_is_understood() {
    for kind in [
        TaskKind::Resolve,
        TaskKind::RollBack,
        TaskKind::Forget,
        TaskKind::Restore,
        TaskKind::Keep,
        TaskKind::Look { rows: 20, all: true },
    ] {
        let (id, xid, branch) = (TaskId(7), Xid::from_u128(8), BranchId::new(9));
        let task = Task { id, xid, branch, resource: "orders".into(), kind };
        let Some(coordinator_message::Body::Task(wire)) = unasked_to_wire(task.clone().into()).body else {
            panic!("no task")
        };
        assert_eq!(task_from_wire(wire), Ok(task));
    }
}
