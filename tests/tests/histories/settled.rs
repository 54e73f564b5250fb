//! What became of global transactions, by the coordinator's word: waited for, and compared with what clients were told.

use crate::stage::Stage;
use atone_tests::history::Outcome;
use atone_tests::wait;

/// A global transaction, as far as its client knows.
#[derive(Clone, Debug)]
pub struct Told {
    pub xid: String,
    pub told: Option<String>,
}

/// Waits until it is committed, rolled back, or needs a person.
pub async fn outcome(stage: &Stage, transaction: &Told) -> Outcome {
    let Told { xid, told } = transaction;
    let api = stage.api();
    let outcome = wait::until(&format!("{xid} has ended"), async || {
        let (code, body) = api.transaction(xid).map_err(|error| error.to_string())?;
        match (code, body["status"].as_str()) {
            (200, Some("committed")) => Ok(Outcome::Committed),
            (200, Some("rolled_back")) => Ok(Outcome::RolledBack),
            (200, Some("blocked")) => {
                let reasons = body["branches"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|branch| branch["reason"].to_string());
                println!("{xid} is blocked: {}", reasons.collect::<Vec<_>>().join(" "));
                Ok(Outcome::Blocked)
            }
            _ => Err(format!("{code} {body}")),
        }
    })
    .await;
    let right = match told.as_deref() {
        Some("committed") => outcome == Outcome::Committed,
        Some("rolled_back") => outcome == Outcome::RolledBack,
        // Not decided when it was told, or an error.
        Some(_) | None => true,
    };
    assert!(right, "{xid}: its client was told {told:?}, and it is {outcome}");
    outcome
}
