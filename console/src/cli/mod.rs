//! The `tidegate` command: finds a running job, asks its control endpoint, and prints what it says.

mod arguments;
mod client;
mod commands;
mod discovery;
mod error;
mod render;
mod run;
mod watch;

pub use error::ExitStatus;
pub use run::{Screen, Surroundings, run};
