//! How long a session queues for global locks, if it says so: `SET @atone_lock_wait_ms = 2000` on MySQL, `SET
//! atone.lock_wait = '2s'` on PostgreSQL.

use std::time::Duration;

/// Below the databases' own wait for row locks: the coordinator waits no longer.
pub const MOST: Duration = Duration::from_secs(3);

/// The setting's value: milliseconds, or a number with the unit `ms` or `s`. None: it is not set.
pub fn read(name: &str, text: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number = number.parse::<u64>().ok();
    let wait = match (number, unit.trim()) {
        (Some(ms), "" | "ms") => Some(Duration::from_millis(ms)),
        (Some(s), "s") => s.checked_mul(1000).map(Duration::from_millis),
        _ => None,
    };
    match wait.filter(|wait| *wait <= MOST) {
        Some(wait) => Ok(Some(wait)),
        None => Err(format!("{name} is '{text}'; set it to milliseconds from 0 to {}", MOST.as_millis())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_a_bound() {
        let read = |text| read("x", Some(text));
        assert_eq!(super::read("x", None), Ok(None));
        assert_eq!(read(" "), Ok(None));
        for (text, ms) in [("0", 0), ("1500", 1500), (" 20 ms ", 20), ("2s", 2000), ("3 s", 3000)] {
            assert_eq!(read(text), Ok(Some(Duration::from_millis(ms))), "{text}");
        }
        for text in ["-1", "3001", "4s", "1min", "s", "abc", "1.5s", "99999999999999999999"] {
            assert!(read(text).unwrap_err().contains(text), "{text}");
        }
    }
}
