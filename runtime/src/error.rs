//! What can go wrong in the runtime, whose fault it is, and the cause chain of a failed subtask.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::CheckpointId;

/// An error of user code.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The runtime's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The graph can't run as it was written: the user's to mend.
    #[error("the graph can't run: {problem}")]
    Graph {
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A setting is out of its range: the user's to mend.
    #[error("setting `{setting}` is {value}, but {rule}")]
    Config {
        /// Name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        rule: String,
    },
    /// A file operation failed: the environment's; a retry may help.
    #[error("can't {action} {}: {source}", path.display())]
    File {
        /// A verb: open, write, sync, rename.
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A durable piece is damaged or of another version.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file, or the piece within a store.
        path: PathBuf,
        /// What was found and expected.
        problem: String,
    },
    /// The state store refused an operation.
    #[error("state store: {problem}")]
    Store {
        /// What the store said.
        problem: String,
    },
    /// A key, record or state value can't be encoded or decoded faithfully.
    #[error("type `{type_name}` does not survive encoding: {problem}")]
    Codec {
        /// The Rust type.
        type_name: &'static str,
        /// What is wrong, naming the serde attribute where it is known.
        problem: String,
    },
    /// The state directory holds something else than this run.
    #[error("{}: {problem}", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What differs and what to do.
        problem: String,
    },
    /// A checkpoint could not be completed.
    #[error("{checkpoint} failed: {problem}")]
    Checkpoint {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        problem: String,
    },
    /// A source, sink or user function reported an error.
    #[error("{0}")]
    User(#[source] BoxError),
    /// The job ended as failed.
    #[error("the job failed: {0}")]
    JobFailed(Box<Failure>),
}

impl Error {
    /// Whether another attempt may go better. A graph that can't run, or a type that does not survive encoding, is the
    /// program's fault, and each attempt would meet it again.
    pub fn restart_help(&self) -> RestartHelp {
        match self {
            Error::Codec { .. } | Error::Graph { .. } => RestartHelp::None,
            _ => RestartHelp::Possible,
        }
    }
}

impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        Error::User(error)
    }
}

/// Why a subtask's attempt ended, with all that is known of where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The operator's name.
    pub operator: String,
    /// The subtask's index.
    pub subtask: u32,
    /// What happened, outermost first.
    pub causes: Vec<String>,
    /// `Debug`-free rendering of the key that was being worked on.
    pub key: Option<String>,
    /// Event time of the element being worked on, in milliseconds.
    pub timestamp_ms: Option<i64>,
    /// `file:line:column` of a panic.
    pub panic_location: Option<String>,
    /// Where the record came from, when the failure is in the source's chain.
    pub source_position: Option<String>,
    /// Whether another attempt may go better.
    #[serde(default)]
    pub restart: RestartHelp,
}

/// Whether a restart can help against a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartHelp {
    /// As far as is known: the restart policy decides.
    #[default]
    Possible,
    /// The program itself must be changed: every attempt would fail in the same way.
    None,
}

impl Failure {
    /// A failure of which only the cause is known.
    pub fn new(operator: impl Into<String>, subtask: u32, cause: impl fmt::Display) -> Self {
        Self { operator: operator.into(), subtask, causes: vec![cause.to_string()], ..Self::default() }
    }

    /// With the causes of `error`, outermost first.
    pub fn of_error(
        operator: impl Into<String>,
        subtask: u32,
        error: &(dyn std::error::Error + 'static),
    ) -> Self {
        let restart = error.downcast_ref().map_or(RestartHelp::Possible, Error::restart_help);
        let mut causes = vec![error.to_string()];
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if causes.last() != Some(&text) {
                causes.push(text);
            }
            next = cause.source();
        }
        Self { operator: operator.into(), subtask, causes, restart, ..Self::default() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operator `{}` subtask {}: {}", self.operator, self.subtask, self.causes.join(": "))?;
        if let Some(key) = &self.key {
            write!(f, "; key {key}")?;
        }
        if let Some(timestamp) = self.timestamp_ms {
            write!(f, "; timestamp {timestamp}")?;
        }
        if let Some(location) = &self.panic_location {
            write!(f, "; panicked at {location}")?;
        }
        if let Some(position) = &self.source_position {
            write!(f, "; source position {position}")?;
        }
        Ok(())
    }
}
