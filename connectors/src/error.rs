//! What can go wrong in a connector, with the file, the place in it and what to do.

use std::path::PathBuf;

/// An error of a source or sink of this crate; the runtime carries it as `Error::User`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A pattern matches nothing: the user's to mend.
    #[error("no file matches `{pattern}`: {problem}")]
    NoFile {
        /// As it was given.
        pattern: String,
        /// What is there instead.
        problem: String,
    },
    /// A file can't be read: the environment's; a retry may help.
    #[error("can't {action} {}: {cause}", path.display())]
    Read {
        /// A verb.
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file is not the one that was being read: nothing after it could be trusted.
    #[error("{} is not the file that this run began to read: {problem}", path.display())]
    FileChanged {
        /// Which.
        path: PathBuf,
        /// What differs, and what to do.
        problem: String,
    },
    /// A record can't be read: the input's fault, or the type's.
    #[error("{}:{line}: {}{cause} (byte offset {offset})", path.display(), in_column(column.as_deref()))]
    BadRecord {
        /// In which file.
        path: PathBuf,
        /// Its first line, counted from 1.
        line: u64,
        /// Its first byte, counted from 0; of a compressed file in what it contains.
        offset: u64,
        /// Name or number of the column, where it is known.
        column: Option<String>,
        /// What is wrong.
        cause: String,
    },
    /// A directory can't take the output: the user's to mend.
    #[error("can't write to {}: {problem}", directory.display())]
    Output {
        /// Which.
        directory: PathBuf,
        /// What is in the way, and what to do.
        problem: String,
    },
    /// A channel can't go on: the program's to mend.
    #[error("channel of `{operator}`: {problem}")]
    Channel {
        /// The source or sink.
        operator: String,
        /// What is wrong.
        problem: String,
    },
    /// A checkpoint's output could not be made durable: the environment's; the attempt begins again.
    #[error("output could not be made durable: {problem}")]
    NotDurable {
        /// What the first failure said.
        problem: String,
    },
    /// A record can't be written in the sink's format: the type's fault.
    #[error("a `{type_name}` can't be written as {format}: {problem}")]
    Encode {
        /// The Rust type.
        type_name: &'static str,
        /// The format.
        format: &'static str,
        /// Why.
        problem: String,
    },
    /// What a checkpoint kept of a sink can't be read.
    #[error("the checkpoint's part of a file sink can't be read: {problem}")]
    SinkState {
        /// Why.
        problem: String,
    },
}

fn in_column(column: Option<&str>) -> String {
    column.map(|column| format!("column {column}: ")).unwrap_or_default()
}

impl Error {
    /// Whether a file is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Read { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound)
    }
}

impl From<Error> for tidegate_runtime::Error {
    fn from(error: Error) -> Self {
        match error {
            // A wrong path stays wrong: no restart helps.
            Error::NoFile { .. } => Self::Graph { problem: error.to_string() },
            _ => Self::User(Box::new(error)),
        }
    }
}
