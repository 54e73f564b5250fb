//! Payloads that need several packets, in both directions, and values that make a large undo record.

use crate::case::room;
use atone_tests::servers::Kind;
use atone_tests::sql;
use mysql_async::prelude::Queryable;

/// The largest payload of one packet.
const FULL: usize = 0xFF_FFFF;

#[tokio::test]
async fn queries_around_and_over_a_full_packet() {
    let room = room("payload_up", "").await;
    for kind in Kind::ALL {
        let mut conn = room.app(kind).await;
        let around = "SELECT LENGTH('')".len() + 1;
        for size in [FULL - 1, FULL, FULL + 1, 2 * FULL, FULL + 5_000_000] {
            let text = "x".repeat(size - around);
            let length: Option<usize> = conn.query_first(format!("SELECT LENGTH('{text}')")).await.unwrap();
            assert_eq!(length, Some(size - around), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn answers_around_and_over_a_full_packet() {
    let room = room("payload_down", "").await;
    for kind in Kind::ALL {
        let mut conn = room.app(kind).await;
        for size in [FULL - 4, FULL, FULL + 1, 2 * FULL - 4, FULL + 5_000_000] {
            let value: Option<Vec<u8>> =
                conn.query_first(format!("SELECT REPEAT('y', {size})")).await.unwrap();
            let value = value.unwrap();
            assert!(
                value.len() == size && value.iter().all(|byte| *byte == b'y'),
                "{kind:?}: {}",
                value.len()
            );
            let value: Option<Vec<u8>> = conn.exec_first("SELECT REPEAT('z', ?)", (size,)).await.unwrap();
            assert_eq!(value.unwrap().len(), size, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_value_over_a_full_packet_in_a_global_transaction() {
    let tables = "CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB);
        INSERT INTO big VALUES (1, REPEAT('old', 6000000)), (2, 'small');\n";
    let room = room("payload_global", tables).await;
    let hashes = "SELECT GROUP_CONCAT(CONCAT(id, ':', SHA2(b, 256)) ORDER BY id) FROM big";
    for kind in Kind::ALL {
        let mut direct = room.direct(kind).await;
        let before = sql::one(&mut direct, hashes).await.unwrap();
        let mut conn = room.app(kind).await;
        let xid = sql::begin(&mut conn).await.unwrap();
        let bytes: Vec<u8> =
            (0..18_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        conn.exec_drop("UPDATE big SET b = ? WHERE id = 1", (&bytes,)).await.unwrap();
        conn.exec_drop("INSERT INTO big VALUES (3, ?)", (&bytes,)).await.unwrap();
        conn.query_drop("DELETE FROM big WHERE id = 2").await.unwrap();
        assert_ne!(sql::one(&mut direct, hashes).await.unwrap(), before);
        assert_eq!(sql::rollback(&mut conn).await.unwrap(), "rolled_back", "{kind:?}");
        assert_eq!(sql::one(&mut direct, hashes).await.unwrap(), before, "{kind:?}");
        room.calm(&xid).await;
    }
}
