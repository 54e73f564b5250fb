//! Outside a global transaction nobody can tell the proxy from the database: each session of the battery is played to
//! both, and every message must be the same.

use crate::battery_blocks::{BLOCKS, WELCOME};
use crate::battery_extended::EXTENDED;
use crate::battery_local::LOCAL;
use crate::battery_pipelines::{LOST, LOST_AND_MORE, WITHIN};
use crate::battery_simple::SIMPLE;
use crate::case::{TABLE, room};
use atone_tests::postgres::script::play;
use atone_tests::postgres::{Raw, message, sql};
use atone_tests::servers::Kind;
use atone_tests::servers::database::APP;
use atone_tests::servers::postgres::SHOP;
use atone_tests::wait;
use std::fmt::Write;

/// Plays a session to the database and through the proxy, and tells where they part.
async fn compare(kind: Kind, name: &str, script: &str) -> Result<(), String> {
    let direct = room(kind, "battery", TABLE).await;
    let expected =
        play(script, async || direct.raw(false).await).await.expect("a session that the server knows");
    let right = direct.dump().await;
    let proxied = room(kind, "battery", TABLE).await;
    let got = play(script, async || proxied.raw(true).await).await;
    let got = got.map_err(|error| format!("{name}: {error}"))?;
    for (at, (left, right)) in got.iter().zip(&expected).enumerate() {
        if left != right {
            let before = got[at.saturating_sub(4)..at].join("\n");
            return Err(format!("{name}: after\n{before}\nthrough the proxy:\n{left}\ndirect:\n{right}"));
        }
    }
    if got.len() != expected.len() || proxied.dump().await != right {
        return Err(format!("{name}: the ends differ:\n{got:#?}\nand\n{expected:#?}"));
    }
    Ok(())
}

/// One after the other on a server: they share a room, so that what they say of it is the same.
static TURNS: [tokio::sync::Mutex<()>; 2] = [const { tokio::sync::Mutex::const_new(()) }; 2];

async fn turn(kind: Kind) -> tokio::sync::MutexGuard<'static, ()> {
    TURNS[usize::from(kind == Kind::Pg18)].lock().await
}

/// Plays a collection of sessions, to the end even if some differ.
async fn battery(kind: Kind, sessions: &[(&str, &str)]) {
    let _turn = turn(kind).await;
    let mut failed = Vec::new();
    for (name, script) in sessions {
        failed.extend(compare(kind, name, script).await.err());
    }
    assert!(failed.is_empty(), "{} sessions differ on {kind:?}:\n{}", failed.len(), failed.join("\n---\n"));
}

/// Plays a session directly, and through the proxy with its first connection in a global transaction. Every message must be
/// the same up to a refusal; and when all is rolled back nothing is left.
async fn compare_inside(kind: Kind, name: &str, script: &str) -> Result<Option<String>, String> {
    let direct = room(kind, "battery", TABLE).await;
    let expected =
        play(script, async || direct.raw(false).await).await.expect("a session that the server knows");
    let right = direct.dump().await;
    let proxied = room(kind, "battery", TABLE).await;
    let before = proxied.dump().await;
    let xid = std::sync::Mutex::new(None);
    let got = play(script, async || {
        let mut raw = proxied.raw(true).await?;
        if xid.lock().unwrap().is_none() {
            let begun = raw.one("SELECT atone_begin()").await?;
            *xid.lock().unwrap() = Some(begun);
        }
        Ok(raw)
    })
    .await
    .map_err(|error| format!("{name}: {error}"))?;
    let xid = xid.lock().unwrap().take().expect("a global transaction");
    let left = proxied.dump().await;
    proxied.world.api().rollback(&xid).unwrap();
    let ended = proxied.calm(&xid).await;
    let refused = got.iter().position(|line| line.contains("M=\"atone: "));
    let same = got.iter().zip(&expected).position(|(left, right)| left != right);
    let end = refused.unwrap_or(got.len());
    if let Some(at) = same.filter(|at| *at < end) {
        let before = got[at.saturating_sub(4)..at].join("\n");
        return Err(format!(
            "{name}: after\n{before}\nin a global transaction:\n{}\ndirect:\n{}",
            got[at], expected[at]
        ));
    }
    if refused.is_none() && left != right {
        return Err(format!("{name}: phase one left something else"));
    }
    let several = script.lines().any(|line| line.trim_start().starts_with("2 "));
    if !several && proxied.dump().await != before {
        return Err(format!("{name}: {ended}, but something is left: {}", proxied.dump().await));
    }
    Ok(refused.map(|at| format!("{name}: {}", got[at])))
}

/// Plays a collection of sessions inside. Refused, or otherwise known to differ, are those of `refused`, for a reason with these
/// words, and no others.
async fn battery_inside(kind: Kind, sessions: &[(&str, &str)], refused: &[(&str, &str)]) {
    let _turn = turn(kind).await;
    let mut failed = Vec::new();
    for (name, script) in sessions {
        let known = refused.iter().find(|(session, _)| session == name);
        match (compare_inside(kind, name, script).await, known) {
            (Ok(Some(why)) | Err(why), Some((_, words))) if why.contains(words) => {}
            (Ok(None), None) => {}
            (Ok(None), Some((_, words))) => failed.push(format!("{name}: not refused as {words}")),
            (Ok(Some(why)) | Err(why), _) => failed.push(why),
        }
    }
    assert!(failed.is_empty(), "{} sessions differ on {kind:?}:\n{}", failed.len(), failed.join("\n---\n"));
}

#[tokio::test]
async fn simple_queries_inside() {
    for kind in Kind::POSTGRES {
        let refused = [
            ("notices", "CALL or DO"),
            ("quotes", "a string that is not closed"),
            ("cursors", "WITH HOLD"),
            ("notifications", "NOTIFY"),
            ("notifications of a transaction", "pg_notify()"),
            ("writes and what they return", "TRUNCATE"),
            ("definitions", "CREATE"),
            ("two phases", "PREPARE TRANSACTION"),
            // The other session, which is in none.
            ("a lock that is not free", "is locked by global transaction"),
        ];
        battery_inside(kind, SIMPLE, &refused).await;
    }
}

#[tokio::test]
async fn extended_queries_inside() {
    for kind in Kind::POSTGRES {
        battery_inside(kind, EXTENDED, &[("a table that changes under a statement", "ALTER")]).await;
    }
}

#[tokio::test]
async fn simple_queries_on_15() {
    battery(Kind::Pg15, SIMPLE).await;
}

#[tokio::test]
async fn simple_queries_on_18() {
    battery(Kind::Pg18, SIMPLE).await;
}

#[tokio::test]
async fn extended_queries_on_15() {
    battery(Kind::Pg15, EXTENDED).await;
}

#[tokio::test]
async fn extended_queries_on_18() {
    battery(Kind::Pg18, EXTENDED).await;
}

#[tokio::test]
async fn local_writes_on_15() {
    battery(Kind::Pg15, LOCAL).await;
}

#[tokio::test]
async fn local_writes_on_18() {
    battery(Kind::Pg18, LOCAL).await;
}

#[tokio::test]
async fn blocks_on_15() {
    battery(Kind::Pg15, BLOCKS).await;
    battery(Kind::Pg15, WELCOME).await;
}

#[tokio::test]
async fn blocks_on_18() {
    battery(Kind::Pg18, BLOCKS).await;
    battery(Kind::Pg18, WELCOME).await;
}

/// Definitions outside of blocks are said by another session, in no global transaction: inside they are refused.
fn aside(script: &str) -> String {
    let mut block = false;
    let mut told = String::new();
    for line in script.lines().map(str::trim) {
        let text = line.strip_prefix("Q ").unwrap_or_default();
        let is = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
        block = !is(&["COMMIT", "ROLLBACK"]) && (block || is(&["BEGIN"]));
        let defines = is(&["CREATE", "ALTER TABLE", "DROP", "GRANT", "REVOKE"]) && !text.contains("TEMP");
        told += if defines && !block { "2 " } else { "" };
        told += line;
        told.push('\n');
    }
    told
}

#[tokio::test]
async fn local_writes_inside() {
    for kind in Kind::POSTGRES {
        let sessions: Vec<_> = LOCAL.iter().map(|(name, script)| (*name, aside(script))).collect();
        let sessions: Vec<_> = sessions.iter().map(|(name, script)| (*name, script.as_str())).collect();
        let refused = [
            ("views and rules", "something other than a table"),
            // In the server's words: what an account may not read it cannot have returned.
            ("tables that hide their rows", "violates row-level security policy"),
            ("temporary tables and new ones", "CREATE"),
            ("columns and tables of odd kinds", "no binary form"),
            ("definitions among writes", "CREATE"),
            ("procedures that end transactions", "CALL or DO"),
            // DISCARD ALL ends the binding; what is written behind it is not undone.
            ("names that are used again", "something is left"),
            ("two phases of a writer", "PREPARE TRANSACTION"),
            ("other settings of the session", "client_encoding is not UTF8"),
            ("functions over the protocol among writes", "NOTIFY"),
        ];
        battery_inside(kind, &sessions, &refused).await;
    }
}

#[tokio::test]
async fn blocks_inside() {
    for kind in Kind::POSTGRES {
        let refused = [
            ("what refuses blocks, behind a write", "VACUUM"),
            ("what refuses blocks, before a write", "VACUUM"),
            ("what refuses blocks, among local transactions of a text", "VACUUM"),
            ("what refuses blocks, in blocks", "VACUUM"),
            ("what refuses blocks, in pipelines", "VACUUM"),
            ("what needs blocks, among others of a text", "LOCK TABLE"),
            ("procedures among others of a text", "CREATE"),
        ];
        battery_inside(kind, BLOCKS, &refused).await;
        battery_inside(kind, WELCOME, &[]).await;
    }
}

#[tokio::test]
async fn queries_within_pipelines() {
    for kind in Kind::POSTGRES {
        for sessions in [WITHIN, LOST, LOST_AND_MORE] {
            battery(kind, sessions).await;
        }
    }
}

#[tokio::test]
async fn queries_within_pipelines_inside() {
    for kind in Kind::POSTGRES {
        let refused = [("what refuses blocks", "VACUUM"), ("what needs blocks", "LOCK TABLE")];
        battery_inside(kind, WITHIN, &refused).await;
        battery_inside(kind, LOST, &[]).await;
        // A branch that was not committed though its client was told so: the global transaction can only be rolled back.
        let refused = [("more writes", "failed")];
        battery_inside(kind, LOST_AND_MORE, if kind == Kind::Pg18 { &refused } else { &[] }).await;
    }
}

#[tokio::test]
async fn many_columns_and_many_messages() {
    let mut columns = String::from("Q SELECT 0 AS c0");
    (1..1600).for_each(|n| write!(columns, ", {n} AS c{n}").unwrap());
    let mut pipeline = String::from("P ins INSERT INTO t VALUES ($1, $2, $3) RETURNING v\n");
    for n in 100..600 {
        writeln!(pipeline, "B - ins {n} | {n} | row {n}\nE -\ns").unwrap();
    }
    pipeline += &"< Z\n".repeat(500);
    let script = format!("{columns}\n{pipeline}Q SELECT count(*), sum(v) FROM t");
    for kind in Kind::POSTGRES {
        let room_of = async |proxied| {
            let room = room(kind, "many", TABLE).await;
            play(&script, async || room.raw(proxied).await).await.unwrap()
        };
        let (expected, got) = (room_of(false).await, room_of(true).await);
        assert!(got == expected, "{kind:?}: {:?}", got.iter().zip(&expected).find(|(a, b)| a != b));
    }
}

#[tokio::test]
async fn large_values() {
    let big = vec![0xa5; 20_000_000];
    for kind in Kind::POSTGRES {
        let mut answers = Vec::new();
        for proxied in [false, true] {
            let room = room(kind, "large", "CREATE TABLE big (id int PRIMARY KEY, b bytea)").await;
            let mut raw = room.raw(proxied).await.unwrap();
            let insert = message::parse("", "INSERT INTO big VALUES (1, $1) RETURNING length(b)", &[]);
            let bind = message::bind("", "", &[(1, Some(big.clone()))], &[]);
            let sync = message::message(b'S', b"");
            raw.send(&[insert, bind, message::execute("", 0), sync].concat()).await.unwrap();
            let mut all = raw.until(b'Z').await.unwrap();
            all.extend(raw.query("SELECT b FROM big").await.unwrap());
            let text = format!("INSERT INTO big VALUES (2, '\\x{}')", "a5".repeat(big.len()));
            all.extend(raw.query(&text).await.unwrap());
            all.extend(raw.prepared("SELECT b FROM big WHERE id = 2", 1).await.unwrap());
            assert!(all.iter().any(|message| message.body.len() > big.len()), "{kind:?}: nothing large came");
            answers.push(message::line(&all));
        }
        assert_eq!(answers[1], answers[0], "{kind:?}: the left is through the proxy");
    }
}

#[tokio::test]
async fn a_cancel_request_reaches_the_statement() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "cancel", TABLE).await;
        let watcher = room.service().await.unwrap();
        for text in ["SELECT pg_sleep(600)", "BEGIN; SELECT pg_sleep(600)"] {
            let mut raw = room.raw(true).await.unwrap();
            raw.send(&message::message(b'Q', &message::texts(&[text]))).await.unwrap();
            wait::until("the statement sleeps", async || {
                let sql =
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = 'app'";
                match sql::one(&watcher, sql).await.unwrap().as_deref() {
                    Some("1") => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
            raw.cancel().await.unwrap();
            let answers = raw.until(b'Z').await.unwrap();
            let error = answers.iter().find(|answer| answer.kind == b'E').expect("an error");
            assert_eq!(error.field('C'), "57014", "{kind:?}: {error}");
        }
    }
}

#[tokio::test]
async fn startup_parameters_and_bad_logins_are_the_servers_own() {
    for kind in Kind::POSTGRES {
        let room = room(kind, "startup", TABLE).await;
        let ports = [room.world.database(kind).port(), room.world.proxy.port(kind)];
        let parameters = [
            ("application_name", "näme"),
            ("client_encoding", "LATIN1"),
            ("DateStyle", "German"),
            ("TimeZone", "Asia/Tokyo"),
        ];
        let mut told = Vec::new();
        for port in ports {
            let mut raw = Raw::connect(port, APP, SHOP, &parameters).await.unwrap();
            let mut log = message::line(&raw.greeting);
            log += &message::line(
                &raw.query("SELECT current_setting('DateStyle'), now() > '1.1.2020'").await.unwrap(),
            );
            for (user, database, more) in [
                ((APP.0, "wrong"), SHOP, ("application_name", "x")),
                (("nobody", "x"), SHOP, ("application_name", "x")),
                (APP, "nowhere", ("application_name", "x")),
                (APP, SHOP, ("no_such_setting", "1")),
                (APP, SHOP, ("client_encoding", "klingon")),
            ] {
                let refused = Raw::connect(port, user, database, &[more]).await;
                log += &format!("\n{}", refused.err().map(|error| error.to_string()).unwrap_or_default());
            }
            told.push(log);
        }
        assert_eq!(told[1], told[0], "{kind:?}: the left is through the proxy");
    }
}
