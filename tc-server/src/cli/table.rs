//! Answers of the API as tables for people. Text from elsewhere is stripped of control characters: a transaction's
//! name must not drive somebody's terminal.

use comfy_table::{Table, presets};
use serde_json::Value;

pub(super) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn table(rows: &Value, columns: &[&str], none: &str) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let header = columns.iter().map(|column| column.to_uppercase()).collect();
    lines(header, rows.iter().map(|row| columns.iter().map(|column| cell(&row[*column])).collect()))
}

/// Cells in columns.
pub(super) fn lines(header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let lines = table.to_string();
    lines.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

pub(super) fn transactions(answer: &Value) -> String {
    let columns = ["xid", "status", "name", "branches", "locks", "begun_at", "deadline_at", "reason"];
    table(&answer["transactions"], &columns, "no transactions")
}

pub(super) fn locks(answer: &Value) -> String {
    let columns = ["resource", "table", "index", "key", "mode", "xid", "branch", "since", "waiting"];
    table(&answer["locks"], &columns, "no locks")
}

pub(super) fn transaction(answer: &Value) -> String {
    let mut text = String::new();
    for field in ["xid", "name", "status", "reason", "begun_at", "deadline_at"] {
        let value = cell(&answer[field]);
        if !value.is_empty() {
            text.push_str(&format!("{field:<12} {value}\n"));
        }
    }
    let branches = ["branch", "resource", "sequence", "status", "keys", "reason"];
    text.push_str(&format!("\nbranches\n{}", table(&answer["branches"], &branches, "none")));
    for branch in answer["branches"].as_array().into_iter().flatten() {
        if !branch["rows"].is_null() {
            text.push_str(&format!("\n{}", super::rows::shown(branch)));
        }
    }
    let locks = ["resource", "table", "index", "key", "mode"];
    text.push_str(&format!("\nlocks\n{}", table(&answer["locks"], &locks, "none")));
    let timeline = ["at", "event", "branch", "detail"];
    text.push_str(&format!("\ntimeline\n{}", table(&answer["timeline"], &timeline, "none")));
    text
}

pub(super) fn audit(answer: &Value) -> String {
    let columns = ["at", "action", "xid", "branch", "who", "peer", "outcome", "why"];
    table(&answer["audit"], &columns, "nobody has begun, decided or resolved anything by hand here")
}

pub(super) fn resolved(answer: &Value) -> String {
    let [xid, status, branch, now, how] =
        ["xid", "status", "branch", "branch_status", "how"].map(|field| cell(&answer[field]));
    let still = if now == "done" { "" } else { "; it goes on, atone tx show tells how" };
    format!("{xid} {status}: branch {branch} is {now} ({how}){still}\n")
}

pub(super) fn begun(answer: &Value) -> String {
    format!("{}\n", cell(&answer["xid"]))
}

pub(super) fn decided(answer: &Value) -> String {
    format!("{} {}\n", cell(&answer["xid"]), cell(&answer["status"]))
}

pub(super) fn health(answer: &Value) -> String {
    let mut text = format!(
        "{} (node {}, leader {})\n\nproxies\n",
        cell(&answer["status"]),
        cell(&answer["node_id"]),
        cell(&answer["leader"])
    );
    let proxies = answer["proxies"].as_array().map(Vec::as_slice).unwrap_or_default();
    for proxy in proxies {
        let resources = proxy["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names: Vec<_> = resources.iter().map(cell).collect();
        text.push_str(&format!("{}  {}\n", cell(&proxy["name"]), names.join(", ")));
    }
    if proxies.is_empty() {
        text.push_str("none\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_cannot_drive_the_terminal() {
        let answer = json!({ "transactions": [{ "xid": "X", "name": "a\u{1b}[2Jb\nc" }] });
        let text = transactions(&answer);
        assert!(!text.contains('\u{1b}') && text.lines().count() == 2, "{text:?}");
    }
}
