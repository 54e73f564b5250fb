//! Places where a test may make a process die or pause. Compiled in debug builds only; a release build has none.
//!
//! `ATONE_FAILPOINT=name=abort` ends the process at the first time `name` is reached, `name=abort@3` at the third,
//! `name=pause:500` sleeps 500 ms each time, `name=pause:500@2` from the second time on. Several are joined by `;`.

/// Reaches the place `name`.
#[cfg(debug_assertions)]
pub async fn reach(name: &str) {
    use std::sync::atomic::Ordering::SeqCst;
    for point in active::points().iter().filter(|p| p.name == name) {
        let time = point.reached.fetch_add(1, SeqCst) + 1;
        match point.act {
            active::Act::Abort if time == point.from => {
                eprintln!("failpoint {name}: abort");
                std::process::abort();
            }
            active::Act::Pause(ms) if time >= point.from => {
                tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            }
            active::Act::Abort | active::Act::Pause(_) => {}
        }
    }
}

/// Reaches the place `name`: nothing happens in a release build.
#[cfg(not(debug_assertions))]
pub async fn reach(_name: &str) {}

#[cfg(debug_assertions)]
mod active {
    use std::sync::{OnceLock, atomic::AtomicU64};

    pub(super) enum Act {
        Abort,
        Pause(u64),
    }

    pub(super) struct Point {
        pub name: String,
        pub act: Act,
        pub from: u64,
        pub reached: AtomicU64,
    }

    pub(super) fn points() -> &'static [Point] {
        static POINTS: OnceLock<Vec<Point>> = OnceLock::new();
        POINTS.get_or_init(|| {
            let text = std::env::var("ATONE_FAILPOINT").unwrap_or_default();
            text.split(';').filter(|p| !p.trim().is_empty()).map(parse).collect()
        })
    }

    fn parse(text: &str) -> Point {
        read(text.trim())
            .unwrap_or_else(|| panic!("ATONE_FAILPOINT: '{text}' is not name=abort[@N] or name=pause:MS[@N]"))
    }

    fn read(text: &str) -> Option<Point> {
        let (name, act) = text.split_once('=')?;
        let (act, from) = act.split_once('@').unwrap_or((act, "1"));
        let act = match act.split_once(':') {
            None if act == "abort" => Act::Abort,
            Some(("pause", ms)) => Act::Pause(ms.parse().ok()?),
            None | Some(_) => return None,
        };
        Some(Point { name: name.to_owned(), act, from: from.parse().ok()?, reached: AtomicU64::new(0) })
    }
}
