//! Prometheus text, rendered by hand: a dozen numbers need no registry.

use super::{Problem, Ready, leader};
use atone_protocol::TxStatus;
use axum::extract::State as Shared;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::fmt::Write;

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str, values: &[(&str, u64)]) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (label, value) in values {
            let _ = writeln!(self.0, "{name}{label} {value}");
        }
    }
}

pub(super) async fn render(Shared(ready): Shared<Ready>) -> Response {
    let leader = match leader(&ready) {
        Ok(leader) => leader,
        Err(problem) => return Problem::into_response(problem),
    };
    let (totals, (known, active), blocked, unfinished, locks) = leader.node().read(|state| {
        let blocked = state.unfinished().filter(|(_, tx)| tx.status() == TxStatus::Blocked).count();
        (state.totals(), state.counts(), blocked, state.unfinished().count(), state.locks().len())
    });
    let seen = leader.seen();
    let mut text = Text(String::new());
    text.family(
        "atone_transactions_begun_total",
        "counter",
        "Global transactions begun.",
        &[("", totals.begun)],
    );
    text.family(
        "atone_transactions_total",
        "counter",
        "Global transactions decided, by outcome.",
        &[("{outcome=\"committed\"}", totals.committed), ("{outcome=\"rolled_back\"}", totals.rolled_back)],
    );
    text.family(
        "atone_transactions_timed_out_total",
        "counter",
        "Of those rolled back, by their deadline.",
        &[("", totals.timed_out)],
    );
    text.family(
        "atone_transactions_active",
        "gauge",
        "Undecided global transactions.",
        &[("", active as u64)],
    );
    text.family(
        "atone_transactions_unfinished",
        "gauge",
        "Decided global transactions whose phase two goes on.",
        &[("", unfinished as u64)],
    );
    text.family(
        "atone_transactions_blocked",
        "gauge",
        "Rollbacks that need a person.",
        &[("", blocked as u64)],
    );
    text.family("atone_transactions_known", "gauge", "Global transactions in memory.", &[("", known as u64)]);
    text.family("atone_branches_total", "counter", "Branches registered.", &[("", totals.branches)]);
    text.family("atone_locks", "gauge", "Global locks held.", &[("", locks as u64)]);
    text.family("atone_lock_waiters", "gauge", "Requests waiting for a lock.", &[("", seen.waiters as u64)]);
    text.family("atone_proxies", "gauge", "Connected proxies.", &[("", seen.proxies as u64)]);
    text.family("atone_tasks", "gauge", "Tasks of phase two under way.", &[("", seen.tasks as u64)]);
    text.family(
        "atone_raft_commits_total",
        "counter",
        "Raft commands committed by this process.",
        &[("", leader.node().proposer.commands())],
    );
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response()
}
