//! Outside a global transaction nobody can tell the proxy from the database: each session of the battery is played to
//! both, by an old client and a new one, and every packet must be the same, byte for byte.

use crate::battery_binary::BINARY;
use crate::battery_guard::GUARDED;
use crate::battery_text::TEXT;
use crate::battery_transactions::{TRACKED, TRANSACTIONS};
use crate::case::room;
use atone_tests::Result;
use atone_tests::mysql::Raw;
use atone_tests::mysql::answer::Answer;
use atone_tests::mysql::raw::Abilities;
use atone_tests::mysql::script::play;
use atone_tests::servers::Kind;
use atone_tests::servers::database::APP;
use atone_tests::sql;
use atone_tests::world::Room;
use futures_util::future::join_all;
use std::fmt::Write;

/// What the optimizer does, and tells in the status, is not to depend on when the server counts rows.
pub const TABLES: &str = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v INT, s VARCHAR(20), UNIQUE KEY vs (v, s)) STATS_AUTO_RECALC=0;
INSERT INTO t VALUES (1, 10, 'ten'), (2, 20, 'twänty'), (3, NULL, NULL);
CREATE TABLE c (id INT PRIMARY KEY, t_id INT NOT NULL, FOREIGN KEY (t_id) REFERENCES t (id), CHECK (id > 0)) STATS_AUTO_RECALC=0;
INSERT INTO c VALUES (1, 1);
CREATE TABLE l (id INT AUTO_INCREMENT PRIMARY KEY, b LONGBLOB) STATS_AUTO_RECALC=0;
CREATE TABLE k (id INT PRIMARY KEY, i8 TINYINT, u8 TINYINT UNSIGNED, i16 SMALLINT, i24 MEDIUMINT, i64 BIGINT, u64 BIGINT UNSIGNED,
 f FLOAT, d DOUBLE, n DECIMAL(20,5), z INT(8) ZEROFILL, bits BIT(10), da DATE, ti TIME(3), dt DATETIME(6), ts TIMESTAMP NULL,
 y YEAR, ch CHAR(5), vc VARCHAR(9) CHARACTER SET latin1, bi BINARY(4), vb VARBINARY(4), tx TEXT, bl BLOB, e ENUM('a','ü'),
 se SET('x','y','z'), j JSON, g GEOMETRY) STATS_AUTO_RECALC=0;
INSERT INTO k (id) VALUES (1);
INSERT INTO k VALUES (2, -128, 255, -32768, 8388607, -9223372036854775808, 18446744073709551615, 1.5, -2.5e100, 12345.67891, 42,
 b'1010', '2024-02-29', '-838:59:59', '2024-02-29 12:34:56.789012', NULL, 1999, 'äöü', 'é', x'00ff', x'', 'text', x'deadbeef',
 'ü', 'x,z', '{\"a\": [1, null]}', ST_GeomFromText('POINT(1 2)'));
CREATE PROCEDURE two() BEGIN SELECT id FROM t ORDER BY id; SELECT 'second' AS b, v FROM t WHERE id = 1; END;
CREATE PROCEDURE sums(IN a INT, INOUT b INT, OUT s VARCHAR(20)) BEGIN SET b = a + b; SET s = CONCAT('is ', b); SELECT a; END;
CREATE PROCEDURE fails() BEGIN SELECT 1; UPDATE t SET v = 5 WHERE id = 1; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no', MYSQL_ERRNO = 4711; END;
CREATE VIEW w AS SELECT id, s FROM t;
";

/// A connection whose statuses do not say that a statement was slow: machines that run tests are busy.
pub async fn connect(room: &Room<'_>, port: u16, able: Abilities) -> Result<Raw> {
    let mut raw = Raw::connect(port, APP, &room.schema, able).await?;
    let patient = raw.query(b"SET long_query_time = 3600");
    raw.command(&patient).await?;
    raw.answer(Answer::Results).await?;
    Ok(raw)
}

/// Plays a session to a database and through the proxy, and tells where they part.
async fn compare(
    room: &Room<'_>,
    kind: Kind,
    able: Abilities,
    name: &str,
    script: &str,
) -> std::result::Result<(), String> {
    let name = format!("{name}, {able:?}");
    let mut told = Vec::new();
    for port in [room.world.database(kind).port(), room.world.proxy.port(kind)] {
        room.prepare(kind, TABLES).await.expect("a fresh schema");
        let log = play(script, async || connect(room, port, able).await).await;
        let log = log.map_err(|error| format!("{name}: {error}"))?;
        told.push((log, room.dump(kind).await));
    }
    let ((expected, right), (got, left)) = (&told[0], &told[1]);
    for (at, (left, right)) in got.iter().zip(expected).enumerate() {
        if left != right {
            let before = got[at.saturating_sub(4)..at].join("\n");
            return Err(format!("{name}: after\n{before}\nthrough the proxy:\n{left}\ndirect:\n{right}"));
        }
    }
    if got.len() != expected.len() || left != right {
        return Err(format!("{name}: the ends differ:\n{got:#?}\nand\n{expected:#?}\n{left}\nand\n{right}"));
    }
    Ok(())
}

/// Sessions that are played at the same time: most of what they do is to wait.
const LANES: usize = 3;

/// Plays a collection of sessions, in some rooms at once, to the end even if some fail; gives what `play` says of them.
/// The room's schema is in what some of them are told.
pub async fn in_lanes(
    kind: Kind,
    schema: &str,
    sessions: &[(&str, &str)],
    play: impl AsyncFn(&Room<'_>, &str, &str) -> Option<String>,
) -> Vec<String> {
    let lane = async |lane: usize| {
        let room = met_room(kind, &format!("{schema}_{lane}")).await;
        let mut failed = Vec::new();
        for (name, script) in sessions.iter().skip(lane).step_by(LANES) {
            failed.extend(play(&room, name, &script.replace("$SCHEMA", &room.schema)).await);
        }
        failed
    };
    join_all((0..LANES.min(sessions.len())).map(lane)).await.concat()
}

/// A room in which the proxy has met the account, so that its grants stay as they are.
async fn met_room(kind: Kind, schema: &str) -> Room<'static> {
    let room = room(schema, TABLES).await;
    let mut app = room.app(kind).await;
    sql::begin(&mut app).await.unwrap();
    sql::rollback(&mut app).await.unwrap();
    app.disconnect().await.unwrap();
    room
}

/// Plays a collection of sessions, each by an old client and by a new one.
async fn battery(kind: Kind, schema: &str, sessions: &[(&str, &str)]) {
    let play = async |room: &Room<'_>, name: &str, script: &str| {
        let old = compare(room, kind, Abilities::Old, name, script).await;
        old.and(compare(room, kind, Abilities::New, name, script).await).err()
    };
    let failed = in_lanes(kind, schema, sessions, play).await;
    assert!(failed.is_empty(), "{} sessions differ on {kind:?}:\n{}", failed.len(), failed.join("\n---\n"));
}

#[tokio::test]
async fn text_on_mysql() {
    battery(Kind::MySql, "battery_text_mysql", TEXT).await;
}

#[tokio::test]
async fn text_on_mariadb() {
    battery(Kind::Maria, "battery_text_mariadb", TEXT).await;
}

#[tokio::test]
async fn binary_on_mysql() {
    battery(Kind::MySql, "battery_binary_mysql", BINARY).await;
}

#[tokio::test]
async fn binary_on_mariadb() {
    battery(Kind::Maria, "battery_binary_mariadb", BINARY).await;
}

#[tokio::test]
async fn guarded_on_mysql() {
    battery(Kind::MySql, "battery_guard_mysql", GUARDED).await;
}

#[tokio::test]
async fn guarded_on_mariadb() {
    battery(Kind::Maria, "battery_guard_mariadb", GUARDED).await;
}

#[tokio::test]
async fn transactions_on_mysql() {
    battery(Kind::MySql, "battery_transactions_mysql", TRANSACTIONS).await;
}

#[tokio::test]
async fn transactions_on_mariadb() {
    battery(Kind::Maria, "battery_transactions_mariadb", TRANSACTIONS).await;
}

#[tokio::test]
async fn tracked_on_both() {
    for kind in Kind::ALL {
        // MariaDB leaves a flag standing for clients that it cannot tell.
        let play = async |room: &Room<'_>, name: &str, script: &str| {
            compare(room, kind, Abilities::New, name, script).await.err()
        };
        let failed = in_lanes(kind, "battery_tracked", TRACKED, play).await;
        assert!(failed.is_empty(), "{kind:?}:\n{}", failed.join("\n---\n"));
    }
}

#[tokio::test]
async fn many_columns_and_parameters() {
    let mut columns = String::from("SELECT 0 AS c0");
    (1..3000).for_each(|n| write!(columns, ", {n} AS c{n}").unwrap());
    let marks = vec!["?"; 2000].join(", ");
    let values = (0..2000).map(|n| n.to_string()).collect::<Vec<_>>().join(" | ");
    let script = format!("Q {columns}\nP c {columns}\nE c\nP p SELECT {marks}\nE p {values}\nE p 1");
    for kind in Kind::ALL {
        battery(kind, "battery_wide", &[("wide", &script)]).await;
    }
}
