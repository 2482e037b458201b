//! Finds the running job that a command is about: by a state directory, by name, or because there is only one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_supervisor::JobState;

use crate::cli::arguments::Selection;
use crate::cli::client::{AskError, Client, Method};
use crate::cli::error::CommandError;
use crate::control_file::ControlFile;
use crate::error::Error;
use crate::protocol::{ErrorBody, JobIdentity, route};
use crate::registry::Registry;

const JOBS_DIR: &str = ".tidegate"; // where jobs keep their state unless told otherwise
const STATE_DIR_LEVELS: usize = 3; // JOB, JOB/state, JOB/RUN/state
const DIRS_MAX: usize = 10_000; // of a level; a directory that is larger is not ours to read through
const PROBE_TIME_MAX: Duration = Duration::from_secs(2); // of a live job on a busy machine

/// A running job.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) file: ControlFile,
    pub(crate) state_dir: PathBuf,
}

/// What was found; `skipped` says why a control file was left out.
#[derive(Debug)]
pub(crate) struct Discovery {
    pub(crate) running: Vec<Found>,
    pub(crate) skipped: Vec<String>,
}

/// The one job that is meant.
pub(crate) fn find(
    selection: &Selection,
    current_dir: &Path,
    registry: &Registry,
) -> Result<(Found, Vec<String>), CommandError> {
    let discovery = match &selection.state {
        Some(state_dir) => probe_all(vec![state_dir.clone()], Choice::Named),
        None => probe_all(candidates(current_dir, registry), Choice::Searched),
    };
    let Discovery { running, skipped } = discovery;
    let named = |found: &Found| selection.job.as_ref().is_none_or(|job| *job == found.file.job);
    let (mut meant, others): (Vec<Found>, Vec<Found>) = running.into_iter().partition(named);
    match (meant.pop(), meant.is_empty()) {
        (Some(found), true) => Ok((found, skipped)),
        (Some(found), false) => {
            meant.push(found);
            Err(CommandError::Ambiguous(ambiguous(&meant)))
        }
        (None, _) => Err(CommandError::NoJob(none(selection, &others, &skipped))),
    }
}

/// Every state directory that may hold a running job's control file, each once.
fn candidates(current_dir: &Path, registry: &Registry) -> Vec<PathBuf> {
    let all = below(&current_dir.join(JOBS_DIR)).into_iter().chain(registry.state_dirs());
    let mut dirs: Vec<PathBuf> = all.filter_map(|dir| fs::canonicalize(dir).ok()).collect();
    dirs.sort();
    dirs.dedup();
    dirs
}

/// The directories below one, a few levels deep: some programs keep a directory for each run.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut level = vec![dir.to_path_buf()];
    for _ in 0..STATE_DIR_LEVELS {
        let entries = level.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        level = dirs.map(|entry| entry.path()).take(DIRS_MAX).collect();
        found.extend(level.iter().cloned());
    }
    found
}

/// How a directory came to be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// By search: what holds no job, or one that has ended, is not meant.
    Searched,
    /// By the user: what it holds is meant, and told.
    Named,
}

fn probe_all(dirs: Vec<PathBuf>, choice: Choice) -> Discovery {
    let mut discovery = Discovery { running: Vec::new(), skipped: Vec::new() };
    for state_dir in dirs {
        let problem = match ControlFile::read(&state_dir) {
            Ok(file) => match probe(&file) {
                Ok(state) if choice == Choice::Named || !has_ended(state) => {
                    discovery.running.push(Found { file, state_dir });
                    continue;
                }
                Ok(state) => {
                    format!("{}: its job has ended: {state}", ControlFile::path_in(&state_dir).display())
                }
                Err(problem) => format!("{}: {problem}", ControlFile::path_in(&state_dir).display()),
            },
            Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                match choice {
                    Choice::Searched => continue,
                    Choice::Named => format!("{} holds no control.json", state_dir.display()),
                }
            }
            Err(error) => error.to_string(),
        };
        discovery.skipped.push(problem);
    }
    discovery
}

/// Where the job of a control file stands, if it answers to its own token; the reason if not.
fn probe(file: &ControlFile) -> Result<JobState, String> {
    let answer = Client::new(file, PROBE_TIME_MAX).ask::<JobIdentity>(Method::Get, route::JOB);
    match answer {
        Ok(identity) => Ok(identity.state),
        Err(AskError::Absent(problem)) => Err(format!("stale, process {} is gone: {problem}", file.pid)),
        Err(AskError::Silent(time)) => {
            Err(format!("process {} does not answer within {} s", file.pid, time.as_secs()))
        }
        Err(AskError::Refused(body)) => Err(format!("process {} answers: {}", file.pid, body.error)),
    }
}

/// Whether a job has ended, and its program still holds the handle.
pub(crate) fn has_ended(state: JobState) -> bool {
    matches!(state, JobState::Finished | JobState::Stopped | JobState::Failed)
}

fn ambiguous(found: &[Found]) -> ErrorBody {
    let same_name = found.iter().all(|each| each.file.job == found[0].file.job);
    let choose = if same_name { "`--state DIR`" } else { "`--job NAME` or `--state DIR`" };
    ErrorBody {
        error: format!("{} jobs are running:{}", found.len(), list(found)),
        hint: format!("choose one by {choose}"),
    }
}

fn none(selection: &Selection, others: &[Found], skipped: &[String]) -> ErrorBody {
    let mut error = match (&selection.job, &selection.state) {
        (Some(job), Some(dir)) => format!("no job called `{job}` is running in {}", dir.display()),
        (Some(job), None) => format!("no job called `{job}` is running"),
        (None, Some(dir)) => format!("no job is running in {}", dir.display()),
        (None, None) => "no running job was found".to_owned(),
    };
    for reason in skipped {
        error.push_str(&format!("\n  skipped {reason}"));
    }
    let hint = if !others.is_empty() {
        format!("these are running:{}", list(others))
    } else if selection.state.is_some() {
        "start the job, or name the state directory that it runs in".to_owned()
    } else {
        "start a job, or point to its state directory with `--state DIR`".to_owned()
    };
    ErrorBody { error, hint }
}

fn list(found: &[Found]) -> String {
    let line = |each: &Found| {
        format!("\n  {} (process {}) in {}", each.file.job, each.file.pid, each.state_dir.display())
    };
    found.iter().map(line).collect()
}
