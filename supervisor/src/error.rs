//! What can go wrong between a program and its running job.

use std::path::PathBuf;

/// The supervisor's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a job's handle.
///
/// Its `Debug` form is its message, because that is what a `main` that returns it prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Of the runtime: graph, settings, state directory, or the failure that ended the job.
    #[error(transparent)]
    Runtime(#[from] tidegate_runtime::Error),
    /// No live actor has this path: the caller's to mend.
    #[error("no actor is called `{path}`; see the topology for the paths")]
    UnknownActor {
        /// What was asked for.
        path: String,
    },
    /// The job has ended, so it can't do what was asked.
    #[error("the job has ended: it is {state}")]
    Ended {
        /// The state that it ended in.
        state: String,
    },
    /// A checkpoint that was asked for did not complete; a retry may help.
    #[error("no checkpoint was made: {cause}")]
    Checkpoint {
        /// Why.
        cause: String,
    },
    /// A thread or an async runtime could not be started: the environment's.
    #[error("can't start {what}: {source}")]
    Start {
        /// A thread, or a runtime.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Programs built with `panic = "abort"` can't catch the failure of a subtask.
    #[error(
        "the program is built with `panic = \"abort\"`: a failed subtask would end it; set `panic = \"unwind\"`"
    )]
    PanicAborts,
    /// Output or state is in the way.
    #[error("{}: {problem}", path.display())]
    InTheWay {
        /// Where.
        path: PathBuf,
        /// What it is, and what to do.
        problem: String,
    },
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
