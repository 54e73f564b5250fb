//! The rows of a transaction's branches: asked for one branch after the other, and printed column by column.

use super::http::{Server, segment};
use super::table::{cell, lines};
use serde_json::{Value, json};

/// Adds `rows` to blocked branches; where a number of rows is named, to all that can still be undone. A branch whose rows
/// cannot be read says why.
pub(super) fn add(server: &Server, transaction: &mut Value, rows: Option<u32>, all: bool) {
    let xid = cell(&transaction["xid"]);
    let open = ["blocked", "registered", "restoring", "keeping"];
    let limit = rows.map(|rows| rows.to_string());
    let Some(branches) = transaction["branches"].as_array_mut() else { return };
    for branch in branches {
        let status = cell(&branch["status"]);
        let wanted = if rows.is_some() { open.contains(&status.as_str()) } else { status == "blocked" };
        if !wanted {
            continue;
        }
        let path =
            format!("/v1/transactions/{}/branches/{}/rows", segment(&xid), segment(&cell(&branch["branch"])));
        let query = [("limit", limit.as_deref()), ("all", all.then_some("true"))];
        branch["rows"] = match server.get(&path, &query) {
            Ok(answer) => answer,
            Err(error) => json!({ "error": error.to_string() }),
        };
    }
}

/// A branch with its rows.
pub(super) fn shown(branch: &Value) -> String {
    let rows = &branch["rows"];
    let mut text = format!("rows of branch {} on {}\n", cell(&branch["branch"]), cell(&branch["resource"]));
    if rows["error"].is_string() {
        text.push_str(&format!("  {}\n", cell(&rows["error"])));
        return text;
    }
    match rows["record"].as_str() {
        Some("normal") => text.push_str(&format!("  {}\n", counted(rows))),
        Some("undone") => text.push_str("  it is undone already\n"),
        Some("guard") => text.push_str("  it never committed locally: there is nothing to undo\n"),
        _ => text.push_str("  there is no undo record of it\n"),
    }
    if rows["trouble"].as_str().is_some_and(|trouble| !trouble.is_empty()) {
        text.push_str(&format!("  {}\n", cell(&rows["trouble"])));
    }
    for row in rows["rows"].as_array().into_iter().flatten() {
        text.push_str(&format!("\n{}", one(row)));
    }
    if let Some(more @ 1..) = rows["more"].as_u64() {
        text.push_str(&format!("\n  and {more} more; --rows N shows N of them\n"));
    }
    if branch["status"] == "blocked" {
        let xid = cell(&rows["xid"]);
        let id = cell(&branch["branch"]);
        text.push_str(&format!(
            "\n  end it: atone tx resolve {xid} --branch {id} --retry | --restore | --keep-current\n"
        ));
    }
    text
}

fn counted(rows: &Value) -> String {
    let count = |field: &str, what: &str| {
        let count = rows[field].as_u64().filter(|count| *count > 0)?;
        Some(format!("{count} {} {what}", if count == 1 { "row" } else { "rows" }))
    };
    let parts = [
        count("in_the_way", "in the way"),
        count("unknown", "that cannot be compared"),
        count("as_left", "as the branch left them"),
        count("as_before", "as before the branch"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// One row: what happened to it, and its columns before, after and now.
fn one(row: &Value) -> String {
    let what = match row["state"].as_str() {
        Some("changed") => "was changed by someone else",
        Some("deleted") => "was deleted by someone else",
        Some("inserted") => "was inserted again by someone else",
        Some("as_left") => "is as the branch left it",
        Some("as_before") => "is as before the branch",
        _ => "cannot be compared",
    };
    let columns = row["columns"].as_array().map(Vec::as_slice).unwrap_or_default();
    let header = ["", "column", "before", "after", "now"].map(str::to_uppercase).to_vec();
    let line = |column: &Value| {
        let mark = if column["differs"] == true { "*" } else { "" };
        let value = |image: &str| match column.get(image) {
            None => "-".to_owned(),
            Some(Value::Null) => "NULL".to_owned(),
            Some(value) => cell(value),
        };
        vec![mark.to_owned(), cell(&column["column"]), value("before"), value("after"), value("current")]
    };
    let table = lines(header, columns.iter().map(line));
    let table: String = table.lines().map(|line| format!("  {line}\n")).collect();
    format!("  {} {} {what}\n{table}", cell(&row["table"]), cell(&row["key"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_values_stand_side_by_side_and_null_is_no_text() {
        let columns = json!([
            { "column": "id", "before": "1", "after": "1", "current": "1", "differs": false },
            { "column": "v", "before": "10", "after": null, "current": "'a\u{1b}[2J'", "differs": true },
        ]);
        let changed = json!({ "table": "shop.t", "key": "1", "state": "changed", "columns": columns });
        let gone = json!([{ "column": "id", "before": "2", "after": "2", "differs": false }]);
        let gone = json!({ "table": "shop.t", "key": "2", "state": "deleted", "columns": gone });
        let rows =
            json!({ "record": "normal", "in_the_way": 2, "as_left": 1, "rows": [changed, gone], "more": 3 });
        let text = shown(&json!({ "branch": "B", "resource": "orders", "rows": rows }));
        let lines: Vec<_> =
            text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[1], "2 rows in the way, 1 row as the branch left them");
        assert_eq!(lines[3], "shop.t 1 was changed by someone else");
        assert_eq!(lines[6], "* v 10 NULL 'a [2J'");
        assert_eq!(lines[10], "id 2 2 -");
        assert_eq!(lines[12], "and 3 more; --rows N shows N of them");
    }
}
