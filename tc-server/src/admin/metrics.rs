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
    let (totals, active, blocked, rolling_back, known, locks) = leader.node().read(|state| {
        let unfinished: Vec<_> =
            state.unfinished().filter_map(|xid| state.transaction(xid).map(|tx| tx.status())).collect();
        let count = |status| unfinished.iter().filter(|s| **s == status).count() as u64;
        let (blocked, rolling_back) = (count(TxStatus::Blocked), count(TxStatus::RollingBack));
        let known = state.transactions().count() as u64;
        let (active, locks) = (state.count(TxStatus::Active) as u64, state.locks().len() as u64);
        (state.totals(), active, blocked, rolling_back, known, locks)
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
    text.family("atone_transactions_active", "gauge", "Undecided global transactions.", &[("", active)]);
    text.family(
        "atone_transactions_unfinished",
        "gauge",
        "Rollbacks that are not finished.",
        &[("{status=\"rolling_back\"}", rolling_back), ("{status=\"blocked\"}", blocked)],
    );
    text.family("atone_transactions_known", "gauge", "Global transactions in memory.", &[("", known)]);
    text.family("atone_branches_total", "counter", "Branches registered.", &[("", totals.branches)]);
    text.family("atone_locks", "gauge", "Global locks held.", &[("", locks)]);
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
