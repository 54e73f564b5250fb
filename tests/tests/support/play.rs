//! Plays a row: in a global transaction that is rolled back, then in one that commits; and where it is refused, directly.
//!
//! What the row itself says about its outcome is nothing: what can be dumped before and after decides.

use super::outcome::{Outcome, Told};
use super::rows::{Row, Section};
use std::time::Duration;

/// A statement that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server as the play needs it.
pub trait Server {
    /// A client's connection.
    type Session;

    /// Makes a new room with these tables, and forgets the one before.
    async fn room(&mut self, tables: &str) -> Result<(), Told>;

    /// All that is in the room, and what of the server's own a statement might have changed.
    async fn dump(&mut self) -> String;

    /// Connects to the room.
    async fn session(&mut self, row: &Row, way: Way) -> Self::Session;

    /// Runs a statement, and gives the first value that it answers.
    async fn run(&mut self, session: &mut Self::Session, statement: &str) -> Result<Option<String>, Told>;

    /// Runs a statement directly, by the account that may do everything.
    async fn clean(&mut self, statement: &str);
}

/// How a session reaches the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Direct,
    Proxy,
}

/// Plays every row of all sections; for each row the outcomes of its statements, or the one of all of them.
pub async fn play_all(mut server: impl Server, sections: &[Section]) -> Vec<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for section in sections {
        for row in &section.rows {
            outcomes.push(play(&mut server, row).await);
            for statement in &row.cleanup {
                server.clean(statement).await;
            }
        }
    }
    outcomes
}

async fn play(server: &mut impl Server, row: &Row) -> Vec<Outcome> {
    match tokio::time::timeout(PATIENCE * 2, story(server, row)).await {
        Ok(outcomes) => outcomes,
        Err(_) => vec![Outcome::Wrong("it hangs".into())],
    }
}

/// What became of the statements of one play.
type Answers = Vec<Result<(), Told>>;

async fn story(server: &mut impl Server, row: &Row) -> Vec<Outcome> {
    if let Err(told) = server.room(&row.tables).await {
        return vec![Outcome::Absent(told.text)];
    }
    let undone = match once(server, row, "SELECT atone_rollback()", "rolled_back").await {
        Ok(play) => play,
        Err(what) => return vec![Outcome::Wrong(what)],
    };
    if row.limit {
        let passed = undone.answers.iter().all(Result::is_ok) && undone.after != undone.before;
        let now = format!("it is no limit any more: {:?}", undone.answers);
        return vec![if passed { Outcome::Unseen } else { Outcome::Wrong(now) }];
    }
    if undone.after != undone.before {
        return vec![Outcome::Wrong(format!("a rollback does not restore: {}", undone.difference()))];
    }
    if row.each { by_statement(server, row, &undone).await } else { vec![of_all(server, row, &undone).await] }
}

/// The outcome of a row whose statements belong together.
async fn of_all(server: &mut impl Server, row: &Row, undone: &Play) -> Outcome {
    match undone.answers.iter().find_map(|answer| answer.as_ref().err()) {
        Some(told) => refused(server, row, told).await,
        None => passed(server, row, undone).await,
    }
}

/// The outcomes of a row that tells its statements apart. What passed, passed together.
async fn by_statement(server: &mut impl Server, row: &Row, undone: &Play) -> Vec<Outcome> {
    let mut together = None;
    let mut outcomes = Vec::new();
    for answer in &undone.answers {
        outcomes.push(match (answer, &together) {
            (Err(told), _) => refused(server, row, told).await,
            (Ok(()), Some(known)) => Outcome::clone(known),
            (Ok(()), None) => together.insert(passed(server, row, undone).await).clone(),
        });
    }
    outcomes
}

/// One global transaction around a row's statements.
struct Play {
    before: String,
    /// When all statements were done, and nothing was decided.
    between: String,
    after: String,
    answers: Answers,
}

impl Play {
    fn difference(&self) -> String {
        let lines = |from: &str, than: &str, mark: &str| {
            let than: Vec<&str> = than.lines().collect();
            let lines = from.lines().filter(|line| !than.contains(line));
            lines.map(|line| format!("\n    {mark} {line}")).collect::<String>()
        };
        lines(&self.before, &self.after, "-") + &lines(&self.after, &self.before, "+")
    }
}

async fn once(server: &mut impl Server, row: &Row, end: &str, wanted: &str) -> Result<Play, String> {
    let before = server.dump().await;
    let mut session = server.session(row, Way::Proxy).await;
    for statement in &row.outside {
        let told = server.run(&mut session, statement).await;
        told.map_err(|told| format!("{statement}: {told:?}"))?;
    }
    let told = |told: Told| format!("the transaction itself: {told:?}");
    server.run(&mut session, "SELECT atone_begin()").await.map_err(told)?;
    let mut answers = Vec::new();
    for statement in &row.inside {
        let answer = server.run(&mut session, statement).await.map(drop);
        let failed = answer.is_err();
        answers.push(answer);
        if failed && !row.each {
            // What the row opened is not to stand in the way of the decision.
            let _ = server.run(&mut session, "ROLLBACK").await;
            break;
        }
    }
    let between = server.dump().await;
    let status = server.run(&mut session, end).await.map_err(told)?;
    if status.as_deref() != Some(wanted) {
        return Err(format!("{end} answered {status:?} after {answers:?}"));
    }
    let after = server.dump().await;
    Ok(Play { before, between, after, answers })
}

/// What passed: was anything written, and does a commit keep it?
async fn passed(server: &mut impl Server, row: &Row, undone: &Play) -> Outcome {
    if undone.between == undone.before {
        return relayed(server, row).await;
    }
    // A room of its own: that the one before is the same again was proved, but not its generated numbers.
    if let Err(told) = server.room(&row.tables).await {
        return Outcome::Wrong(format!("{told:?}"));
    }
    match once(server, row, "SELECT atone_commit()", "committed").await {
        Err(what) => Outcome::Wrong(what),
        Ok(play) if play.answers.iter().map(Result::is_ok).ne(undone.answers.iter().map(Result::is_ok)) => {
            Outcome::Wrong(format!(
                "before a rollback {:?}, before a commit {:?}",
                undone.answers, play.answers
            ))
        }
        Ok(play) if play.after != play.between => {
            Outcome::Wrong(format!("a commit changes rows: {}", play.difference()))
        }
        Ok(play) if play.after == play.before => Outcome::Wrong("a commit keeps nothing".into()),
        Ok(_) => Outcome::Captured,
    }
}

/// It passed and wrote nothing: neither may it write anything directly.
async fn relayed(server: &mut impl Server, row: &Row) -> Outcome {
    if let Err(told) = server.room(&row.tables).await {
        return Outcome::Wrong(format!("{told:?}"));
    }
    let before = server.dump().await;
    match directly(server, row).await {
        Err(told) => Outcome::Wrong(format!("it passes, but directly {told:?}")),
        Ok(()) if server.dump().await != before => {
            Outcome::Wrong("it changes nothing, but directly it does".into())
        }
        Ok(()) => Outcome::Relayed,
    }
}

/// It failed: by Atone's word, of a statement that the server takes; or by the server's, which says the same directly.
async fn refused(server: &mut impl Server, row: &Row, told: &Told) -> Outcome {
    if !row.checked {
        return match told.ours() {
            Some(why) => Outcome::Refused(why.to_owned()),
            None => Outcome::Wrong(format!("{told:?}")),
        };
    }
    if let Err(told) = server.room(&row.tables).await {
        return Outcome::Wrong(format!("{told:?}"));
    }
    match (told.ours(), directly(server, row).await) {
        (Some(why), Ok(())) => Outcome::Refused(why.to_owned()),
        (Some(_), Err(error)) => Outcome::Absent(error.text),
        (None, Err(error)) if error == *told => Outcome::Absent(error.text),
        (None, direct) => Outcome::Wrong(format!("{told:?}, but directly {direct:?}")),
    }
}

/// All of a row without Atone, up to the first error.
async fn directly(server: &mut impl Server, row: &Row) -> Result<(), Told> {
    let mut session = server.session(row, Way::Direct).await;
    for statement in row.outside.iter().chain(&row.inside) {
        server.run(&mut session, statement).await?;
    }
    Ok(())
}
