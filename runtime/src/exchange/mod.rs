//! Channels between subtasks: gates with credits in bytes, the routers that feed them, wake-ups, and who goes first.

mod division;
mod gate;
mod hash_router;
mod lanes;
mod router;
mod turns;
mod wakeup;

#[cfg(all(test, tidegate_loom))]
mod loom_tests;
#[cfg(all(test, not(tidegate_loom)))]
mod tests;

pub use gate::{Gate, GateFigures, Refused};
pub use router::{Control, Partitioning, Routed, Router, RouterFactory, Target, typed_router};
pub use turns::{Turn, Turns};
pub use wakeup::Wakeup;
