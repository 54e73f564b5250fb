//! Runs one case.
//!
//! Five schemas have the same rows. In the first the script is run in a global transaction that is rolled back: it must
//! be as it was before. In the second it is run in one that commits, in the third without the proxy: both must answer the same and be
//! the same. A statement that the proxy refused is left out without it, and what the refusal did to the local
//! transaction is done there by hand. In the last two it is run outside any global transaction, through the proxy and without: nobody
//! may be able to tell which was which.

use crate::case::{Case, Finding};
use crate::session::{Answer, Session, Told};
use crate::stage::Stage;
use crate::statement::Statement;
use crate::tally::Tally;
use atone_tests::servers::Kind;

/// What a case was good for.
pub struct Checked {
    /// What its statements came to.
    pub tally: Tally,
    /// Its global transactions.
    pub xids: Vec<String>,
}

/// Runs a case.
pub async fn check(case: &Case) -> Result<Checked, Finding> {
    let stage = Stage::shared();
    let mut schemas = Vec::new();
    for _ in 0..5 {
        schemas.push(stage.schema(case).await?);
    }
    let mut checked = Checked { tally: Tally::default(), xids: Vec::new() };
    let found = match undone(case, &schemas[0], &mut checked).await {
        Ok(()) => committed(case, &schemas[1], &schemas[2], &mut checked).await,
        Err(finding) => Err(finding),
    };
    let found = match found {
        Ok(()) => outside(case, &schemas[3], &schemas[4]).await,
        Err(finding) => Err(finding),
    };
    stage.remove(case.kind, &schemas).await?;
    found.map(|()| checked)
}

async fn undone(case: &Case, schema: &str, checked: &mut Checked) -> Result<(), Finding> {
    let stage = Stage::shared();
    let before = stage.dump(case.kind, schema).await?;
    let mut app = Session::open(case.kind, schema, &case.settings, true).await?;
    let xid = app.one("SELECT atone_begin()").await?;
    checked.xids.push(xid.clone());
    let mut log = String::new();
    for statement in &case.script {
        let told = app.run(statement).await?;
        log += &format!("  {}\n    {told:?}\n", statement.text());
        checked.tally.add(statement, &told.answer);
    }
    // After a script that was cut short a local transaction may be open; it must not outlive the global one.
    app.run(&Statement::plain("control", "ROLLBACK")).await?;
    let answer = app.one("SELECT atone_rollback()").await?;
    let status = stage.finished(&xid).await;
    let status =
        status.map_err(|why| Finding::new("a rollback that does not end", format!("{why}\n{log}")))?;
    if (answer.as_str(), status.as_str()) != ("rolled_back", "rolled_back") {
        return Err(Finding::new(
            "a rollback that is none",
            format!("answered {answer}, is {status}\n{log}"),
        ));
    }
    let after = stage.dump(case.kind, schema).await?;
    same("a rollback that leaves something", "before", &before, "rolled back", &after, &log)
}

async fn committed(case: &Case, schema: &str, twin: &str, checked: &mut Checked) -> Result<(), Finding> {
    let stage = Stage::shared();
    let before = stage.dump(case.kind, schema).await?;
    let twins = stage.dump(case.kind, twin).await?;
    same("the harness: two schemas begin differently", "one", &before, "the other", &twins, "")?;
    let script = case.steady();
    let mut app = Session::open(case.kind, schema, &case.settings, true).await?;
    let xid = app.one("SELECT atone_begin()").await?;
    checked.xids.push(xid.clone());
    let mut told = Vec::new();
    for (place, statement) in script.iter().enumerate() {
        told.push(app.run(statement).await?.without(schema));
        if matches!(told[place].answer, Answer::Refused(_)) {
            stage.count_from(case.kind, schema, 1000 * (place + 1)).await?;
        }
        checked.tally.add(statement, &told[place].answer);
    }
    app.run(&Statement::plain("control", "ROLLBACK")).await?;
    let answer = app.one("SELECT atone_commit()").await;
    let status = stage.finished(&xid).await.map_err(|why| Finding::new("a commit that does not end", why))?;
    let after = stage.dump(case.kind, schema).await?;
    if status != "committed" {
        // A local COMMIT that is refused makes a global transaction that can only be rolled back.
        let refused = told.iter().any(|told| matches!(told.answer, Answer::Refused(_)));
        if !refused || answer.is_ok() {
            let text = format!("answered {answer:?}, is {status}, though nothing was refused: {told:?}");
            return Err(Finding::new("a commit that is none", text));
        }
        checked.tally.not_committed += 1;
        return same("a failed commit that leaves something", "before", &before, "after", &after, "");
    }
    let log = direct(case, twin, &script, &told).await?;
    let twins = stage.dump(case.kind, twin).await?;
    same("a commit that leaves something else", "without the proxy", &twins, "committed", &after, &log)
}

/// The same without the proxy; gives what was done.
async fn direct(case: &Case, twin: &str, script: &[Statement], told: &[Told]) -> Result<String, Finding> {
    let mut direct = Session::open(case.kind, twin, &case.settings, false).await?;
    let (mut log, mut state, mut local) = (String::new(), 'I', false);
    for (place, (statement, told)) in script.iter().zip(told).enumerate() {
        log += &format!("  {}\n    {told:?}\n", statement.text());
        if matches!(told.answer, Answer::Refused(_)) {
            for instead in instead(case.kind, statement, told, state, local) {
                log += &format!("    without the proxy instead: {}\n", instead.text());
                state = direct.run(&instead).await?.state;
            }
            local &= !told.answer.ended() && statement.text() != "COMMIT";
            Stage::shared().count_from(case.kind, twin, 1000 * (place + 1)).await?;
            continue;
        }
        let right = direct.run(statement).await?.without(twin);
        state = right.state;
        local = match statement.text().as_str() {
            "BEGIN" => true,
            "COMMIT" | "ROLLBACK" => false,
            _ => local,
        };
        if right != *told {
            let text = format!("{log}    without the proxy:\n    {right:?}");
            return Err(Finding::new("another answer", text));
        }
    }
    direct.run(&Statement::plain("control", "ROLLBACK")).await?;
    Ok(log)
}

/// Outside any global transaction, through the proxy and without.
async fn outside(case: &Case, schema: &str, twin: &str) -> Result<(), Finding> {
    let stage = Stage::shared();
    let mut app = Session::open(case.kind, schema, &case.settings, true).await?;
    let mut direct = Session::open(case.kind, twin, &case.settings, false).await?;
    let mut log = String::new();
    for statement in &case.steady() {
        let told = app.run(statement).await?.without(schema);
        let right = direct.run(statement).await?.without(twin);
        log += &format!("  {}\n    {told:?}\n", statement.text());
        if told != right {
            let text = format!("{log}    without the proxy:\n    {right:?}");
            return Err(Finding::new("another answer outside a global transaction", text));
        }
    }
    for session in [&mut app, &mut direct] {
        session.run(&Statement::plain("control", "ROLLBACK")).await?;
    }
    let (left, right) = (stage.dump(case.kind, schema).await?, stage.dump(case.kind, twin).await?);
    same(
        "something else is left outside a global transaction",
        "without the proxy",
        &right,
        "through it",
        &left,
        &log,
    )
}

/// What has the effect of a refusal.
fn instead(kind: Kind, statement: &Statement, told: &Told, state: char, local: bool) -> Vec<Statement> {
    let control = |text: &str| Statement::plain("control", text);
    if let Kind::Pg15 | Kind::Pg18 = kind {
        return match (state, told.state) {
            ('T', 'E') => vec![control("SELECT 1/0")],
            ('T' | 'E', 'I') => vec![control("ROLLBACK")],
            _ => vec![],
        };
    }
    // What was refused after it had run has counted, and still counts after the rollback.
    let ran = told.answer.ended() && statement.writes();
    match (told.answer.ended() || statement.text() == "COMMIT", ran) {
        (true, true) if local => vec![statement.clone(), control("ROLLBACK")],
        (true, true) => vec![control("BEGIN"), statement.clone(), control("ROLLBACK")],
        (true, false) => vec![control("ROLLBACK")],
        _ => vec![],
    }
}

fn same(
    sort: &'static str,
    left: &str,
    one: &str,
    right: &str,
    other: &str,
    log: &str,
) -> Result<(), Finding> {
    if one == other {
        return Ok(());
    }
    let only = |of: &str, not: &str| {
        let lines = of.lines().filter(|line| !not.lines().any(|other| other == *line));
        lines.map(|line| format!("    {line}\n")).collect::<String>()
    };
    Err(Finding::new(
        sort,
        format!("  only {left}:\n{}  only {right}:\n{}{log}", only(one, other), only(other, one)),
    ))
}
