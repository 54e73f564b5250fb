//! Savepoints inside a branch: what is rolled back to one is neither recorded nor locked.

use crate::case::{Mode, TABLE, check_modes, error_of, room};
use atone_tests::servers::Kind;

const LOCAL: [Mode; 2] = [Mode::Local, Mode::PreparedLocal];

#[tokio::test]
async fn nested_and_of_the_same_name() {
    let statements = [
        "UPDATE t SET v = 1 WHERE id = 1",
        "SAVEPOINT a",
        "UPDATE t SET v = 2 WHERE id = 1",
        "SAVEPOINT \"A\"",
        "INSERT INTO t VALUES (7, 7)",
        "SAVEPOINT a",
        "DELETE FROM t WHERE id = 2",
        "ROLLBACK TO SAVEPOINT a",
        "UPDATE t SET v = 4 WHERE id = 3",
        "RELEASE a",
        "ROLLBACK TO \"A\"",
        "UPDATE t SET s = 'after' WHERE id = 3",
        "ROLLBACK TRANSACTION TO a",
        "INSERT INTO t VALUES (8, 8)",
        "SAVEPOINT b",
        "UPDATE t SET v = v + 1",
        "RELEASE SAVEPOINT b",
    ];
    check_modes("savepoints", TABLE, &statements, &LOCAL).await;
}

#[tokio::test]
async fn an_error_and_back() {
    let statements = [
        "INSERT INTO t VALUES (7, 7)",
        "SAVEPOINT a",
        "INSERT INTO t VALUES (8, 8)",
        "INSERT INTO t VALUES (1, 1)",
        "SELECT 1",
        "UPDATE t SET v = 100",
        "ROLLBACK TO a",
        "UPDATE t SET v = 9 WHERE id = 7",
        "SELEC",
        "ROLLBACK TO a",
        "SAVEPOINT a",
        "DELETE FROM t WHERE id = 2",
        "ROLLBACK TO nope",
        "ROLLBACK TO a",
        "DELETE FROM t WHERE id = 3",
    ];
    check_modes("savepoint_error", TABLE, &statements, &LOCAL).await;
}

#[tokio::test]
async fn rows_rolled_back_are_not_locked() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "savepoint_locks", TABLE).await;
        let mut raw = room.raw(true).await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        for statement in [
            "BEGIN",
            "UPDATE t SET v = 1 WHERE id = 2",
            "SAVEPOINT a",
            "UPDATE t SET v = 2 WHERE id = 3",
            "INSERT INTO t VALUES (9)",
            "ROLLBACK TO a",
            "COMMIT",
        ] {
            assert_eq!(error_of(&mut raw, statement).await, Default::default(), "{kind:?}: {statement}");
        }
        let locks = room.world.api().locks(&format!("xid={xid}")).unwrap();
        assert_eq!(locks.len(), 1, "{kind:?}: {locks:?}");
        assert_eq!(raw.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
        room.calm(&xid).await;
    }
}

#[tokio::test]
async fn all_rolled_back_leaves_no_branch() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "savepoint_none", TABLE).await;
        let mut raw = room.raw(true).await.unwrap();
        let xid = raw.one("SELECT atone_begin()").await.unwrap();
        for statement in ["BEGIN", "SAVEPOINT a", "UPDATE t SET v = 2", "ROLLBACK TO a", "COMMIT"] {
            assert_eq!(error_of(&mut raw, statement).await, Default::default(), "{kind:?}: {statement}");
        }
        assert!(room.world.api().locks(&format!("xid={xid}")).unwrap().is_empty(), "{kind:?}");
        assert_eq!(raw.one("SELECT atone_commit()").await.unwrap(), "committed");
        assert_eq!(room.calm(&xid).await, "committed");
    }
}
