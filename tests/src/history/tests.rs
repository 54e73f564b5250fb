//! Small histories, each with what is wrong with it.

use super::bank::{Balances, Bank, Transfer};
use super::{Anomaly, History, Kind, Outcome, check};

/// The kinds found, each once.
fn kinds(history: &str) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = found(history).into_iter().map(|anomaly| anomaly.kind).collect();
    kinds.dedup();
    kinds
}

fn found(history: &str) -> Vec<Anomaly> {
    check(&history.parse().unwrap())
}

fn stories(history: &str) -> Vec<String> {
    found(history).into_iter().map(|anomaly| anomaly.story).collect()
}

#[test]
fn a_history_is_read_as_it_is_written() {
    let text = "a committed: append x 1, read x [1 2], plain y []\nb rolled-back: \nc blocked: append y 7\n\
                d unknown: append y 8\nend: read x [1 2]\nend: read y []\n";
    assert_eq!(text.parse::<History>().unwrap().to_string(), text);
    for wrong in [
        "a committed",
        "a done: append x 1",
        "a committed: append x",
        "a committed: write x 1",
        "end: append x 1",
    ] {
        assert!(wrong.parse::<History>().is_err(), "{wrong}");
    }
}

#[test]
fn serial_histories_are_clean() {
    for history in [
        "",
        "a committed: append x 1, append y 2\nb committed: read x [1], read y [2], append x 3\nend: read x [1 3], read y [2]",
        // One after the other, and each reads what it wrote itself.
        "a committed: append x 1, read x [1], append x 2, read x [1 2]\nb committed: read x [1 2], append x 3, read x [1 2 3]\n\
         end: read x [1 2 3]",
        // Rolled back, and nobody saw it.
        "a rolled-back: append x 1, read x [1]\nb committed: read x [], append x 2\nend: read x [2]",
        // Two that read first and write then, in turn.
        "a committed: read x [], append x 1\nb committed: read x [1], append x 2\nend: read x [1 2]",
        // Nobody knows of a, and it is there, or it is not.
        "a unknown: append x 1\nb committed: read x [1]\nend: read x [1]",
        "a unknown: append x 1\nb committed: read x []\nend: read x []",
    ] {
        assert_eq!(found(history), [], "{history}");
    }
}

#[test]
fn plain_reads_may_see_what_is_not_decided() {
    let history = "a rolled-back: append x 1\nb committed: append x 2, append x 3\nc committed: plain x [1], plain x [2]\n\
                   end: read x [2 3]";
    assert_eq!(found(history), []);
}

#[test]
fn checked_reads_see_what_is_decided_and_may_be_overtaken() {
    let history = "a rolled-back: append x 1\nb committed: append x 2, append x 3\nc committed: checked x [1], checked x [2]\n\
                   d committed: checked x [], checked x [2 3]\nend: read x [2 3]";
    assert_eq!(kinds(history), [Kind::G1a, Kind::G1b]);
}

#[test]
fn but_not_what_nobody_wrote() {
    assert_eq!(kinds("a committed: append x 1, plain x [7]\nend: read x [1]"), [Kind::Unwritten]);
    assert_eq!(kinds("a committed: append x 1, plain x [1 1]\nend: read x [1]"), [Kind::Duplicate]);
}

#[test]
fn g0_dirty_write() {
    let history = "a committed: append x 1, append y 2\nb committed: append x 3, append y 4\nend: read x [1 3], read y [4 2]";
    assert_eq!(kinds(history), [Kind::G0]);
    let told =
        "b appended 3 to x right behind a (ww),\n  then a appended 2 to y right behind b (ww): a circle";
    assert_eq!(stories(history), [told]);
    assert_eq!(
        found(history)[0].who,
        ["a committed: append x 1, append y 2", "b committed: append x 3, append y 4"]
    );
}

#[test]
fn g0_within_one_list() {
    let history = "a committed: append x 1, append x 2\nb committed: append x 3\nend: read x [1 3 2]";
    assert_eq!(kinds(history), [Kind::G0]);
}

#[test]
fn g0_over_three_transactions() {
    let history = "a committed: append x 1, append z 6\nb committed: append x 2, append y 3\nc committed: append y 4, append z 5\n\
                   end: read x [1 2], read y [3 4], read z [5 6]";
    let all = found(history);
    assert_eq!(
        all.iter().map(|anomaly| (anomaly.kind, anomaly.who.len())).collect::<Vec<_>>(),
        [(Kind::G0, 3)]
    );
}

#[test]
fn g1a_aborted_read() {
    let history = "a rolled-back: append x 1\nb committed: read x [1]\nend: read x []";
    assert_eq!(kinds(history), [Kind::G1a]);
    assert_eq!(stories(history), ["b read x with 1 in it, of a, which did not commit"]);
}

#[test]
fn g1a_of_a_reader_that_was_rolled_back_too() {
    assert_eq!(kinds("a rolled-back: append x 1\nb rolled-back: read x [1]\nend: read x []"), [Kind::G1a]);
}

#[test]
fn g1a_what_was_rolled_back_is_there_in_the_end() {
    assert_eq!(kinds("a rolled-back: append x 1\nend: read x [1]"), [Kind::G1a]);
}

#[test]
fn g1b_intermediate_read() {
    let history = "a committed: append x 1, append x 2\nb rolled-back: read x [1]\nend: read x [1 2]";
    assert_eq!(kinds(history), [Kind::G1b]);
    assert_eq!(stories(history), ["b read x up to 1 of a, which appended 2 there afterwards"]);
    // Committed, it depends on a, and a on it: it did not see the second.
    let committed = history.replace("rolled-back", "committed");
    assert_eq!(kinds(&committed), [Kind::G1b, Kind::GSingle]);
}

#[test]
fn g1c_circular_information_flow() {
    let history = "a committed: append x 1, read y [2]\nb committed: append y 2, read x [1]\nend: read x [1], read y [2]";
    assert_eq!(kinds(history), [Kind::G1c]);
    let told = "b read x with 1 of a in it (wr),\n  then a read y with 2 of b in it (wr): a circle";
    assert_eq!(stories(history), [told]);
}

#[test]
fn g1c_of_a_write_and_a_read() {
    let history = "a committed: append x 1, append y 2\nb committed: read x [1], append y 3\nend: read x [1], read y [3 2]";
    assert_eq!(kinds(history), [Kind::G1c]);
}

#[test]
fn g_single_read_skew() {
    let history = "a committed: read x [], read y [2]\nb committed: append x 1, append y 2\nend: read x [1], read y [2]";
    assert_eq!(kinds(history), [Kind::GSingle]);
    let told = "a read x without 1, which b appended (rw),\n  then a read y with 2 of b in it (wr): a circle";
    assert_eq!(stories(history), [told]);
}

#[test]
fn g2_write_skew() {
    let history =
        "a committed: read x [], append y 2\nb committed: read y [], append x 1\nend: read x [1], read y [2]";
    assert_eq!(kinds(history), [Kind::G2]);
}

#[test]
fn lost_update() {
    let history = "a committed: read x [], append x 1\nb committed: read x [], append x 2\nend: read x [1 2]";
    assert_eq!(kinds(history), [Kind::GSingle, Kind::LostUpdate]);
    assert!(stories(history).contains(&"b read x without 1 of a, and appended 2 behind it".to_owned()));
}

#[test]
fn lost_append() {
    let history = "a committed: read x [], append x 1\nb committed: append x 2\nend: read x [1]";
    assert_eq!(kinds(history), [Kind::LostAppend]);
    assert_eq!(stories(history), ["b appended 2 to x and committed, and in the end it is not there"]);
}

#[test]
fn dirty_update() {
    let history = "a rolled-back: append x 1\nb committed: append x 2\nend: read x [1 2]";
    assert_eq!(kinds(history), [Kind::G1a, Kind::DirtyUpdate]);
    assert!(stories(history).contains(&"b appended 2 to x on 1 of a, which did not commit".to_owned()));
}

#[test]
fn incompatible_order() {
    let history =
        "a committed: append x 1\nb committed: append x 2\nc committed: read x [2 1]\nend: read x [1 2]";
    assert!(kinds(history).contains(&Kind::IncompatibleOrder), "{:?}", found(history));
    // Where the end is not known the longest read is the order.
    let history = "a committed: append x 1\nb committed: append x 2\nc committed: read x [2 1]\nd committed: read x [1]";
    assert!(kinds(history).contains(&Kind::IncompatibleOrder), "{:?}", found(history));
}

#[test]
fn internal() {
    for (ops, end) in [
        ("append x 1, read x []", "[1]"),
        ("read x [], read x [2]", "[2]"),
        ("append x 1, read x [1 2]", "[1 2]"),
    ] {
        let history = format!("a committed: {ops}\nb committed: append x 2\nend: read x {end}");
        assert!(kinds(&history).contains(&Kind::Internal), "{ops}: {:?}", found(&history));
    }
}

#[test]
fn blocked() {
    let history = "a blocked: append x 1\nb committed: append x 2\nend: read x [1 2]";
    assert_eq!(kinds(history), [Kind::G1a, Kind::DirtyUpdate, Kind::Blocked]);
}

#[test]
#[should_panic(expected = "1 is appended to x twice")]
fn a_value_is_appended_once() {
    found("a committed: append x 1\nb committed: append x 1");
}

#[test]
fn long_histories_are_walked_without_recursion() {
    let count = 1_000;
    let one = |n: usize| format!("t{n} committed: append x {n}");
    let lines: Vec<String> = (0..count).map(one).collect();
    let all: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    let clean = format!("{}\nend: read x [{}]", lines.join("\n"), all.join(" "));
    assert_eq!(found(&clean), []);
    // The first comes back at the end.
    let closed = format!("{clean}, read y [0 1]").replace("append x 0\n", "append x 0, append y 1\n");
    let closed = closed
        .replace(&format!("append x {}\n", count - 1), &format!("append x {}, append y 0\n", count - 1));
    assert_eq!(kinds(&closed), [Kind::G0]);
}

fn bank() -> Bank {
    let balances = |a, b| Balances::from([("a".to_owned(), a), ("b".to_owned(), b)]);
    let transfer = |name: &str, amount: i64, outcome| Transfer {
        name: name.to_owned(),
        moves: vec![("a".to_owned(), -amount), ("b".to_owned(), amount)],
        outcome,
    };
    Bank {
        opening: balances(10, 10),
        transfers: vec![transfer("t1", 3, Outcome::Committed), transfer("t2", 5, Outcome::RolledBack)],
        audits: vec![("t3".to_owned(), balances(7, 13))],
        closing: balances(7, 13),
    }
}

#[test]
fn a_bank_without_loss_is_clean() {
    assert_eq!(bank().check(), []);
}

#[test]
fn money_that_is_lost_moved_or_miscounted_is_found() {
    let stories = |bank: Bank| bank.check().into_iter().map(|anomaly| anomaly.story).collect::<Vec<_>>();
    let mut lost = bank();
    lost.closing.insert("b".to_owned(), 12);
    assert_eq!(stories(lost).len(), 2);
    let mut moved = bank();
    moved.closing = Balances::from([("a".to_owned(), 2), ("b".to_owned(), 18)]);
    assert_eq!(stories(moved)[0], "a should hold 7 in the end, and holds Some(2)");
    let mut miscounted = bank();
    miscounted.audits[0].1.insert("a".to_owned(), 10);
    assert_eq!(stories(miscounted), ["t3 counted 23 and not 20: {\"a\": 10, \"b\": 13}"]);
    let mut blocked = bank();
    blocked.transfers[1].outcome = Outcome::Blocked;
    assert_eq!(stories(blocked), ["t2 cannot be rolled back"]);
}
