//! Why a command failed, what to do next, and the exit code that says so.

use std::fmt;
use std::io;

use crate::cli::client::AskError;
use crate::protocol::ErrorBody;

/// What the command tells the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It was done.
    Done,
    /// The job refused it, or tried and failed.
    Refused,
    /// The command line is wrong, or does not say which of several jobs.
    Usage,
    /// No job answers.
    NoJob,
}

impl ExitStatus {
    /// 0 done, 1 refused, 2 usage, 3 no job.
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Done => 0,
            ExitStatus::Refused => 1,
            ExitStatus::Usage => 2,
            ExitStatus::NoJob => 3,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The job said no.
    Refused(ErrorBody),
    /// Which of several jobs?
    Ambiguous(ErrorBody),
    /// No job answers.
    NoJob(ErrorBody),
    /// What was asked for could not be printed.
    Output(io::Error),
}

impl CommandError {
    pub(crate) fn status(&self) -> ExitStatus {
        match self {
            CommandError::Refused(_) => ExitStatus::Refused,
            CommandError::Ambiguous(_) => ExitStatus::Usage,
            CommandError::NoJob(_) => ExitStatus::NoJob,
            // Who closes a pipe has read enough.
            CommandError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitStatus::Done,
            CommandError::Output(_) => ExitStatus::Refused,
        }
    }
}

impl CommandError {
    /// What is wrong and what to do, if it is about a job.
    pub(crate) fn body(&self) -> Option<&ErrorBody> {
        match self {
            CommandError::Refused(body) | CommandError::Ambiguous(body) | CommandError::NoJob(body) => {
                Some(body)
            }
            CommandError::Output(_) => None,
        }
    }
}

impl From<AskError> for CommandError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(body) => CommandError::Refused(body),
            AskError::Absent(problem) => CommandError::NoJob(ErrorBody {
                error: format!("the job went away: {problem}"),
                hint: "it may have ended: see its log, or run the command again to look for it anew"
                    .to_owned(),
            }),
            AskError::Silent(time) => CommandError::NoJob(ErrorBody {
                error: format!("the job did not answer within {} s", time.as_secs()),
                hint: "wait longer with `--timeout SECONDS`, or see whether its process is stopped"
                    .to_owned(),
            }),
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        CommandError::Output(error)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Refused(body) | CommandError::Ambiguous(body) | CommandError::NoJob(body) => {
                write!(f, "error: {}\nhint: {}", body.error, body.hint)
            }
            CommandError::Output(error) => {
                write!(f, "error: can't print: {error}\nhint: check where the output goes")
            }
        }
    }
}
