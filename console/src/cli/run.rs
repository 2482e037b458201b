//! Runs one command line: parses it, finds the job, does the command, says what failed.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::cli::arguments::{Arguments, Command, Format};
use crate::cli::client::Client;
use crate::cli::commands::{self, Session};
use crate::cli::discovery;
use crate::cli::error::{CommandError, ExitStatus};
use crate::protocol::Versioned;
use crate::registry::Registry;

/// What the output is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// A terminal, which can be cleared.
    Terminal,
    /// A file or a pipe.
    Plain,
}

/// Where a command looks for jobs, and what it prints on.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Jobs are searched below its `.tidegate`.
    pub current_dir: PathBuf,
    /// And here.
    pub registry: Registry,
    /// What the output is shown on.
    pub screen: Screen,
}

/// Runs a command line, the program's name first.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    surroundings: &Surroundings,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitStatus {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(asked) if !asked.use_stderr() => {
            // Help or version; who closes the pipe has read enough.
            let _ = write!(out, "{asked}");
            return ExitStatus::Done;
        }
        Err(wrong) => {
            let _ = write!(err, "{wrong}");
            return ExitStatus::Usage;
        }
    };
    let done = perform(&arguments, surroundings, out, err).and_then(|()| Ok(out.flush()?));
    match done {
        Ok(()) => ExitStatus::Done,
        Err(error) => {
            report(&error, format(&arguments.command), out, err);
            error.status()
        }
    }
}

fn perform(
    arguments: &Arguments,
    surroundings: &Surroundings,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), CommandError> {
    let selection = &arguments.selection;
    let (found, skipped) = discovery::find(selection, &surroundings.current_dir, &surroundings.registry)?;
    for reason in skipped {
        writeln!(err, "note: skipped {reason}")?;
    }
    let timeout = Duration::from_secs(selection.timeout);
    let client = Client::new(&found.file, timeout);
    let mut session = Session { client, found: &found, timeout, screen: surroundings.screen, out };
    match &arguments.command {
        Command::Topology(arguments) => session.topology(arguments),
        Command::Checkpoints(format) => session.checkpoints(*format),
        Command::Checkpoint(format) => session.checkpoint(*format),
        Command::Kill(arguments) => session.kill(arguments),
        Command::Stop(arguments) => session.stop(arguments),
        Command::Metrics(format) => session.metrics(*format),
    }
}

fn format(command: &Command) -> Format {
    match command {
        Command::Topology(arguments) => arguments.format,
        Command::Kill(arguments) => arguments.format,
        Command::Stop(arguments) => arguments.format,
        Command::Checkpoints(format) | Command::Checkpoint(format) | Command::Metrics(format) => *format,
    }
}

/// Says what failed, to people on `err` and, where JSON was asked for, to programs on `out`.
fn report(error: &CommandError, format: Format, out: &mut dyn Write, err: &mut dyn Write) {
    if error.status() == ExitStatus::Done {
        return;
    }
    // Nothing is left to say it to if these fail; the exit code still tells.
    let _ = writeln!(err, "{error}");
    if let (true, Some(body)) = (format.json, error.body()) {
        let _ = commands::print_json(out, &Versioned::new(body));
    }
}
