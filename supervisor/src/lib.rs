//! The supervisor actor tree: it plays the job manager and the task manager around the runtime's step machines.

mod alive;
mod child;
mod directory;
mod error;
mod handle;
mod job;
mod launch;
mod link;
mod message;
mod observer;
mod own_deaths;
mod panics;
mod picture;
mod post;
mod report;
mod root;
mod run;
mod run_storage;
mod signals;
mod source_state;
mod storage;
mod tables;
pub mod testing;
mod timer;
mod topology;
mod worker;

pub use error::{Error, Result};
pub use handle::Job;
pub use job::StopMode;
pub use launch::{launch, launch_on};
pub use observer::JobObserver;
pub use report::{CheckpointRecord, CheckpointStatus, JobReport, JobTotals, StopSignal};
pub use run::{run, run_to_end};
pub use topology::{
    ATTEMPTS_PER_START, ActorInfo, ActorKind, ActorState, EdgeInfo, InputInfo, JobState, SubtaskInfo,
    Topology,
};
