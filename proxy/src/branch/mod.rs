//! A local transaction of a global one: what it changed so far, and how it is settled.
//!
//! A branch lives on the application's own database connection; nothing here talks to the application.

mod captured;
mod encounters;
mod images;
mod keys;
mod locks;
mod numbers;
mod plan;
mod recording;
mod settle;

pub use captured::{Branch, Change};
pub use encounters::Encounters;
pub use images::{AfterImages, after_images, read_inserts, read_keys};
pub use locks::{Locks, lock_key};
pub use numbers::{Key, generated, mixes, numbered, resolve};
pub use plan::{NoPlan, Plan, Planner, Statement};
pub use settle::{CHECK_LIMIT, Committing, Local, SettleError, Settlement, Settler, UndoRows};
