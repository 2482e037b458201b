//! What each command asks the job, and how its answer is printed.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use tidegate_runtime::time::Clock;
use tidegate_supervisor::{CheckpointRecord, JobState};

use crate::cli::arguments::{Format, KillArguments, StopArguments, TopologyArguments};
use crate::cli::client::{AskError, Client, Method, query_value};
use crate::cli::discovery::{Found, has_ended};
use crate::cli::error::CommandError;
use crate::cli::render;
use crate::cli::run::Screen;
use crate::cli::watch::{self, pause};
use crate::control_file::ControlFile;
use crate::protocol::{Checkpoints, Done, ErrorBody, JobIdentity, Picture, Versioned, route};

const STOP_POLL: Duration = Duration::from_millis(50); // a stopped job is noticed within the blink of an eye

/// One command against one job.
pub(crate) struct Session<'a> {
    pub(crate) client: Client,
    pub(crate) found: &'a Found,
    pub(crate) timeout: Duration,
    pub(crate) screen: Screen,
    pub(crate) out: &'a mut dyn Write,
}

impl Session<'_> {
    pub(crate) fn topology(&mut self, arguments: &TopologyArguments) -> Result<(), CommandError> {
        if arguments.watch {
            return watch::watch(self, arguments);
        }
        let picture = self.ask_topology()?;
        self.print_topology(&picture, arguments)
    }

    pub(crate) fn ask_topology(&self) -> Result<Picture, AskError> {
        self.client.ask(Method::Get, route::TOPOLOGY)
    }

    pub(crate) fn print_topology(
        &mut self,
        picture: &Picture,
        arguments: &TopologyArguments,
    ) -> Result<(), CommandError> {
        if arguments.format.json {
            return print_json(self.out, &Versioned::new(picture));
        }
        let text = if arguments.dot { render::dot(&picture.topology) } else { render::tree(picture) };
        self.out.write_all(text.as_bytes())?;
        Ok(())
    }

    pub(crate) fn checkpoints(&mut self, format: Format) -> Result<(), CommandError> {
        let answer: Checkpoints = self.client.ask(Method::Get, route::CHECKPOINTS)?;
        if format.json {
            return print_json(self.out, &Versioned::new(answer));
        }
        self.out.write_all(render::checkpoints(&answer.checkpoints).as_bytes())?;
        Ok(())
    }

    pub(crate) fn checkpoint(&mut self, format: Format) -> Result<(), CommandError> {
        let report: CheckpointRecord = self.client.ask(Method::Post, route::CHECKPOINT)?;
        if format.json {
            return print_json(self.out, &Versioned::new(report));
        }
        self.out.write_all(render::completed(&report).as_bytes())?;
        Ok(())
    }

    pub(crate) fn kill(&mut self, arguments: &KillArguments) -> Result<(), CommandError> {
        let target = format!("{}?actor={}", route::KILL, query_value(&arguments.actor));
        let Done { done: actor } = self.client.ask(Method::Post, &target)?;
        if arguments.format.json {
            return print_json(self.out, &Versioned::new(Killed { killed: actor }));
        }
        writeln!(self.out, "killed {actor}")?;
        Ok(())
    }

    pub(crate) fn stop(&mut self, arguments: &StopArguments) -> Result<(), CommandError> {
        let target = format!("{}?drain={}", route::STOP, arguments.drain);
        match self.client.ask::<Done>(Method::Post, &target) {
            Ok(_) => {}
            // So fast that the answer was lost with the endpoint: what counts is that the job took its file away.
            Err(AskError::Absent(_)) if !ControlFile::path_in(&self.found.state_dir).exists() => {}
            Err(error) => return Err(error.into()),
        }
        let ended = if arguments.no_wait { None } else { Some(self.wait_for_end()?) };
        self.print_stopped(arguments, ended)
    }

    fn print_stopped(&mut self, arguments: &StopArguments, ended: Option<Ended>) -> Result<(), CommandError> {
        let job = &self.found.file.job;
        let asked = if arguments.drain { "drain" } else { "stop" };
        let state = match ended {
            Some(Ended::As(state)) => Some(state),
            Some(Ended::Gone) | None => None,
        };
        if state == Some(JobState::Failed) {
            let error = format!("{job} was told to {asked}, and has failed");
            let hint = "its program says why".to_owned();
            return Err(CommandError::Refused(ErrorBody { error, hint }));
        }
        if arguments.format.json {
            let stopped = Stopped { job: job.clone(), asked, ended: ended.is_some(), state };
            return print_json(self.out, &Versioned::new(stopped));
        }
        let how = state.map(|state| format!(": {state}")).unwrap_or_default();
        let ended = if ended.is_some() { format!(", and has ended{how}") } else { String::new() };
        writeln!(self.out, "{job} was told to {asked}{ended}")?;
        Ok(())
    }

    pub(crate) fn metrics(&mut self, format: Format) -> Result<(), CommandError> {
        if format.json {
            let target = format!("{}?json=true", route::METRICS);
            let families: serde_json::Value = self.client.ask(Method::Get, &target)?;
            return print_json(self.out, &families);
        }
        let text = self.client.ask_text(Method::Get, route::METRICS)?;
        self.out.write_all(text.as_bytes())?;
        Ok(())
    }

    fn wait_for_end(&self) -> Result<Ended, CommandError> {
        let clock = Clock::system();
        while clock.elapsed() < self.timeout {
            match self.client.ask::<JobIdentity>(Method::Get, route::JOB) {
                Ok(identity) if has_ended(identity.state) => return Ok(Ended::As(identity.state)),
                Err(AskError::Absent(_)) => return Ok(Ended::Gone),
                Ok(_) | Err(AskError::Silent(_) | AskError::Refused(_)) => pause(STOP_POLL),
            }
        }
        Err(CommandError::Refused(ErrorBody {
            error: format!("the job is still stopping after {} s", self.timeout.as_secs()),
            hint: "see `tidegate topology` for what it waits for; `--timeout SECONDS` waits longer"
                .to_owned(),
        }))
    }
}

/// How the end of a job was seen.
#[derive(Clone, Copy)]
enum Ended {
    /// It says so itself.
    As(JobState),
    /// Its endpoint is gone with it.
    Gone,
}

#[derive(Serialize)]
struct Killed {
    killed: String,
}

#[derive(Serialize)]
struct Stopped {
    job: String,
    asked: &'static str,
    ended: bool,
    state: Option<JobState>,
}

/// Prints one JSON object.
pub(crate) fn print_json(out: &mut dyn Write, body: &impl Serialize) -> Result<(), CommandError> {
    serde_json::to_writer_pretty(&mut *out, body).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
