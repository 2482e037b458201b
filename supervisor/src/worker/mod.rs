//! The owning side: what runs in this process.

mod actor;
mod attempt;
mod build;
mod data_plane;
mod deployment;
mod ending;
mod give_way;
mod progress;
mod shared;
mod snapshots;
mod subtask;
mod threads;
mod watchdog;

pub(crate) use actor::{WorkerActor, WorkerMessage};
pub(crate) use data_plane::DataPlane;
pub(crate) use shared::WorkerShared;
pub(crate) use watchdog::watch;
