//! Parents of foreign keys are held as long as an undo may need them, or their going; by those who begin or cease to refer to them
//! together.

use crate::case::room;
use atone_tests::references::{CASES, Case, TABLES};
use atone_tests::servers::Kind;
use atone_tests::sql;
use mysql_async::prelude::Queryable;

#[tokio::test]
async fn what_a_foreign_key_refers_to_is_held_with_it() {
    for kind in Kind::ALL {
        for Case { held, waits, free } in &CASES {
            let room = room("references", TABLES).await;
            let (mut holder, mut local, mut global) =
                (room.app(kind).await, room.app(kind).await, room.app(kind).await);
            for conn in [&mut local, &mut global] {
                conn.query_drop("SET @atone_lock_wait_ms = 100").await.unwrap();
            }
            sql::begin(&mut holder).await.unwrap();
            assert_eq!(sql::error_of(&mut holder, held).await.0, 0, "{kind:?}: {held}");
            for other in *waits {
                let (code, message) = sql::error_of(&mut local, other).await;
                assert_eq!(code, 1205, "{kind:?}: {held}, then {other} outside: {message}");
                sql::begin(&mut global).await.unwrap();
                let (code, message) = sql::error_of(&mut global, other).await;
                assert_eq!(code, 1205, "{kind:?}: {held}, then {other}: {message}");
                sql::rollback(&mut global).await.unwrap();
            }
            for other in *free {
                sql::begin(&mut global).await.unwrap();
                let told = sql::error_of(&mut global, other).await;
                assert_eq!(told.0, 0, "{kind:?}: {held}, then {other}: {told:?}");
                assert_eq!(sql::rollback(&mut global).await.unwrap(), "rolled_back");
                let told = sql::error_of(&mut local, other).await;
                assert_eq!(told.0, 0, "{kind:?}: {held}, then {other} outside: {told:?}");
            }
            assert_eq!(sql::rollback(&mut holder).await.unwrap(), "rolled_back", "{kind:?}: {held}");
        }
    }
}
