//! A local transaction of a global one: what it changed so far, and how it is settled.
//!
//! A branch lives on the application's own database connection; nothing here talks to the application.

mod captured;
mod plan;
mod settle;

pub use captured::Branch;
pub use plan::{NoPlan, Plan, Planner, Statement};
pub(crate) use settle::read_inserts;
pub use settle::{SettleError, Settlement, Settler};
