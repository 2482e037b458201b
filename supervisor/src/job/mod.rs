//! The deciding side: the job's life, its checkpoints, its regions and its splits.

mod actor;
mod checkpoints;
mod children;
mod cut;
mod enumerator;
mod lifecycle;
mod manifests;
mod outcome;
mod publishing;
mod region;
mod reports;
mod shared;
mod splits;

pub(crate) use actor::{JobActor, JobMessage};
pub(crate) use lifecycle::JobEnd;
pub use lifecycle::StopMode;
pub(crate) use manifests::ManifestThread;
pub(crate) use outcome::Outcome;
pub(crate) use shared::JobShared;
