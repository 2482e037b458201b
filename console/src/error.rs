//! What can go wrong when a job's control endpoint is opened.

use std::path::PathBuf;

/// The console's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The control endpoint could not be opened or found; the environment's fault, and a retry may help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the endpoint could not be read or written.
    #[error("can't {action} {}: {source}", path.display())]
    File {
        /// A verb: create, write, rename, read.
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A control file is not what a job writes.
    #[error("{} is no control file: {problem}; remove it if no job runs in this directory", path.display())]
    NotAControlFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        problem: String,
    },
    /// The job is of another release.
    #[error("{} speaks control protocol {found}, this release {expected}: use the command of the job's release", path.display())]
    Protocol {
        /// The control file.
        path: PathBuf,
        /// What the job speaks.
        found: u32,
        /// What this release speaks.
        expected: u32,
    },
    /// The job has ended before it could be served: the caller's to mend.
    #[error("can't serve the control endpoint: {problem}; serve it while its handle is held")]
    Gone {
        /// What the job said.
        problem: String,
    },
    /// No port on the loopback interface, or no thread to serve it.
    #[error(
        "can't serve the control endpoint on the loopback interface: {source}; turn feature `console` off to run without it"
    )]
    Serve {
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }
}
