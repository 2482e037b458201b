//! Looks at a running job: the control endpoint that a job serves on the loopback interface, and the `tidegate` command that reads it.
//!
//! A job that is served writes `control.json` into its state directory and an entry into a registry of its user, so
//! that the command finds it without being told where. Feature `server` is the endpoint, feature `cli` the command.

#[cfg(feature = "cli")]
pub mod cli;
mod control_file;
mod error;
mod job_view;
mod protocol;
mod registry;
#[cfg(feature = "server")]
mod server;
mod token;
#[cfg(any(feature = "server", feature = "cli"))]
mod words;

pub use control_file::ControlFile;
pub use error::{Error, Result};
pub use job_view::{JobView, Refusal, RefusalKind};
pub use protocol::{Checkpoints, ErrorBody, JobIdentity, PROTOCOL_VERSION, Picture, Versioned};
pub use registry::Registry;
#[cfg(feature = "server")]
pub use server::{ControlEndpoint, serve, serve_in};
pub use token::Token;
