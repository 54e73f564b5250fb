//! Parents of foreign keys are held as long as an undo may need them, or their going; by those who begin or cease to refer to them
//! together.

use crate::case::{error_of, room};
use atone_tests::references::{CASES, Case, TABLES};
use atone_tests::servers::Kind;

#[tokio::test]
async fn what_a_foreign_key_refers_to_is_held_with_it() {
    for kind in Kind::POSTGRES {
        for Case { held, waits, free } in &CASES {
            let room = room(kind, "references", TABLES).await;
            let mut holder = room.raw(true).await.unwrap();
            let (mut local, mut global) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
            holder.one("SELECT atone_begin()").await.unwrap();
            assert_eq!(error_of(&mut holder, held).await, Default::default(), "{kind:?}: {held}");
            for other in *waits {
                let (state, message) = error_of(&mut local, other).await;
                assert_eq!(state, "55P03", "{kind:?}: {held}, then {other} outside: {message}");
                global.one("SELECT atone_begin()").await.unwrap();
                let (state, message) = error_of(&mut global, other).await;
                assert_eq!(state, "55P03", "{kind:?}: {held}, then {other}: {message}");
                global.one("SELECT atone_rollback()").await.unwrap();
            }
            for other in *free {
                global.one("SELECT atone_begin()").await.unwrap();
                let told = error_of(&mut global, other).await;
                assert_eq!(told, Default::default(), "{kind:?}: {held}, then {other}");
                assert_eq!(global.one("SELECT atone_rollback()").await.unwrap(), "rolled_back");
                let told = error_of(&mut local, other).await;
                assert_eq!(told, Default::default(), "{kind:?}: {held}, then {other} outside");
            }
            assert_eq!(
                holder.one("SELECT atone_rollback()").await.unwrap(),
                "rolled_back",
                "{kind:?}: {held}"
            );
        }
    }
}

/// Integers of two sizes, texts of two types, columns in another order, NULL in one of them, partitions.
#[tokio::test]
async fn the_two_columns_of_a_foreign_key_may_differ() {
    let tables = "CREATE TABLE p (a bigint, b varchar(9), PRIMARY KEY (a, b)) PARTITION BY LIST (a);
        CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1, 2, 3); INSERT INTO p VALUES (1, 'x'), (2, 'y');
        CREATE TABLE c (id int PRIMARY KEY, t text, n int, FOREIGN KEY (t, n) REFERENCES p (b, a));
        INSERT INTO c VALUES (1, 'x', 1), (2, NULL, 2);
        CREATE DOMAIN exact AS numeric CHECK (VALUE > 0); CREATE TYPE color AS ENUM ('red', 'green');
        CREATE TABLE q (a exact, b color[], PRIMARY KEY (a, b)); INSERT INTO q VALUES (1, '{red}');
        CREATE TABLE d (id int PRIMARY KEY, b color[], a exact, FOREIGN KEY (b, a) REFERENCES q (b, a))";
    for kind in Kind::POSTGRES {
        let room = room(kind, "references_differ", tables).await;
        for (held, other, waits) in [
            ("INSERT INTO p VALUES (3, 'z')", "INSERT INTO c VALUES (3, 'z', 3)", true),
            ("INSERT INTO p1 VALUES (3, 'z')", "INSERT INTO c VALUES (3, 'z', 3)", true),
            ("DELETE FROM c WHERE id = 1", "DELETE FROM p WHERE b = 'x'", true),
            ("DELETE FROM c WHERE id = 1", "DELETE FROM p1 WHERE b = 'x'", true),
            ("DELETE FROM c WHERE id = 2", "DELETE FROM p WHERE b = 'y'", false),
            (
                "INSERT INTO q VALUES (2.50, '{green,red}')",
                "INSERT INTO d VALUES (1, '{green,red}', 2.5)",
                true,
            ),
            ("INSERT INTO q VALUES (3, '{}')", "INSERT INTO d VALUES (1, '{red}', 1.00)", false),
        ] {
            let before = room.dump().await;
            let (mut holder, mut global) = (room.raw(true).await.unwrap(), room.raw(true).await.unwrap());
            holder.one("SELECT atone_begin()").await.unwrap();
            assert_eq!(error_of(&mut holder, held).await, Default::default(), "{kind:?}: {held}");
            global.one("SELECT atone_begin()").await.unwrap();
            let (state, message) = error_of(&mut global, other).await;
            let wanted = if waits { "55P03" } else { "" };
            assert_eq!(state, wanted, "{kind:?}: {held}, then {other}: {message}");
            for mut session in [global, holder] {
                assert_eq!(
                    session.one("SELECT atone_rollback()").await.unwrap(),
                    "rolled_back",
                    "{kind:?}: {held}"
                );
            }
            assert_eq!(room.dump().await, before, "{kind:?}: {held}");
        }
    }
}
