//! One run: starts the job, shows how it goes, kills what it is told to kill, and says how it ended.

use std::{error::Error, fmt, path::Path, time::Duration};

use tidegate::{
    prelude::{AfterLastRecord, Dataflow, Execute, Job, JobConfig, JobReport, JobState, RestartPolicy},
    runtime::{
        checkpoint::run_dir::{RunStatus, status_of},
        files::RealFiles,
    },
    supervisor::{CheckpointStatus, Error as JobError},
    testing::Chaos,
};

use crate::{
    committed::Committed,
    input::InputFiles,
    options::Options,
    pace::{Pace, Rows},
    pipeline,
    places::{Found, Places},
    progress::{Figures, Summary},
    unreported::Unreported,
    verify,
};

/// Exit code of a run that failed.
pub(crate) const FAILED: u8 = 1;
/// What fails again and again, such as a bad line in a file, is told within a second; kills don't count.
const RESTART: RestartPolicy = RestartPolicy::FailureRate {
    failures: 4,
    interval: Duration::from_secs(60),
    delay: Duration::from_millis(100),
};
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// A run that is killed more often than it makes checkpoints would never come to its end.
const CHECKPOINTS_PER_KILL: u32 = 2;

/// Why a run came to nothing.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It was not begun: something is in the way, or was asked for wrongly.
    Refused(Box<dyn Error>),
    /// It was begun, or should have been.
    Failed(Box<dyn Error>),
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) | Self::Failed(error) => error.fmt(out),
        }
    }
}

impl<E: Error + 'static> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// Runs the pipeline to its end and returns the exit code.
///
/// # Errors
/// Why there was no run, or no comparison.
pub(crate) fn run(options: &Options) -> Result<u8, Trouble> {
    let input = InputFiles::prepare(&options.input)?;
    let find = |state: &Path| find_run(state, &input, None);
    let places = Places::choose(options.output.as_deref(), options.state.as_deref(), find)?;
    let found = find_run(&places.state, &input, Some(&places.output))
        .map_err(|error| Trouble::Refused(error.into()))?;
    places.refuse_foreign_output(found).map_err(Trouble::Refused)?;
    let report = if found == Found::Unreported {
        print_beginning(&input, &places, found);
        None
    } else {
        Some(run_job(options, &input, &places, found)?)
    };
    let mut code = report.as_ref().map_or(0, |report| u8::try_from(report.exit_code()).unwrap_or(FAILED));
    let is_finished = report.as_ref().is_none_or(|report| report.state == JobState::Finished);
    if options.verify && is_finished {
        code = code.max(compare(&input, &places, report.as_ref())?);
    }
    if is_finished {
        Unreported::in_state(&places.state).settle()?;
    }
    Ok(code)
}

fn run_job(
    options: &Options,
    input: &InputFiles,
    places: &Places,
    found: Found,
) -> Result<JobReport, Trouble> {
    let flow = Dataflow::new("fraud-detection").with_config(config(options, places));
    pipeline::build(&flow, input, pace(options, input)?, &places.output)?;
    let job = flow.launch().map_err(|error| match error {
        JobError::Start { .. } => Trouble::Failed(Box::new(error)),
        _ => Trouble::Refused(Box::new(error)),
    })?;
    print_beginning(input, places, found);
    Unreported::in_state(&places.state).owe(input, places)?;
    watch(&job, options, places)
}

/// What a state directory holds, seen by a run over these files, and into this output if it is chosen.
fn find_run(state: &Path, input: &InputFiles, output: Option<&Path>) -> std::io::Result<Found> {
    Ok(match status_of(&RealFiles, state).map_err(std::io::Error::other)? {
        Some(RunStatus::Running | RunStatus::Failed) => Found::Unfinished,
        Some(RunStatus::Finished) if Unreported::in_state(state).is_owed(input, output)? => Found::Unreported,
        Some(RunStatus::Finished) | None => Found::NothingToResume,
    })
}

fn config(options: &Options, places: &Places) -> JobConfig {
    let after = if options.hold { AfterLastRecord::Hold } else { AfterLastRecord::End };
    let mut interval = options.checkpoint_interval;
    if let Some(kill_every) = options.kill_every {
        interval = interval.min(kill_every / CHECKPOINTS_PER_KILL).max(Duration::from_millis(1));
    }
    let config = JobConfig::new()
        .state_dir(&places.state)
        .seed(options.seed)
        .after_last_record(after)
        .checkpoint_interval(interval)
        .restart(RESTART);
    match options.parallelism {
        Some(parallelism) => config.parallelism(u32::try_from(parallelism.get()).unwrap_or(u32::MAX)),
        None => config,
    }
}

fn pace(options: &Options, input: &InputFiles) -> std::io::Result<Option<Pace>> {
    let rows = || Rows::count(&input.transactions, &input.accounts);
    Ok(match (options.rate, options.kill_every) {
        (Some(rate), _) => Some(rows()?.at_rate(rate)),
        (None, Some(interval)) => Some(rows()?.for_kills_every(interval)),
        (None, None) => None,
    })
}

fn print_beginning(input: &InputFiles, places: &Places, found: Found) {
    let what = match found {
        Found::NothingToResume => "beginning a run",
        Found::Unfinished => "going on with a run",
        Found::Unreported => "a run is finished, though its process was ended before it said so,",
    };
    println!("{what} over {} and {}", input.transactions.display(), input.accounts.display());
    println!("output: {}", places.output.display());
    println!("state:  {}", places.state.display());
}

/// The run can be resumed, but by nobody who does not know where it is.
fn print_how_to_go_on(options: &Options, places: &Places) {
    println!("the run is not finished: to go on, start the same command with");
    println!("  --output {} --state {}", places.output.display(), places.state.display());
    if options.verify {
        println!("verify: left out until then");
    }
}

/// Shows progress until the job has ended, by itself or by a signal, then the summary.
fn watch(job: &Job, options: &Options, places: &Places) -> Result<JobReport, Trouble> {
    let killing =
        options.kill_every.map(|every| Chaos::new(options.seed).kill_random(job, every)).transpose()?;
    let mut committed = Committed::new(places.output.clone());
    let ended = std::thread::scope(|scope| {
        let progress = scope.spawn(|| show_progress(job, &mut committed));
        let ended = job.wait_with_signals();
        let shown = progress.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        shown.map_err(Trouble::from).and_then(|()| Ok(ended?))
    });
    drop(killing);
    if let Some(report) = job.report() {
        let figures = figures(job, report.elapsed, committed.count()?);
        print!("{}", Summary { ending: report.state.to_string(), figures: &figures, places });
        if report.state != JobState::Finished {
            print_how_to_go_on(options, places);
        }
    }
    ended
}

fn show_progress(job: &Job, committed: &mut Committed) -> std::io::Result<()> {
    let mut before = Figures::default();
    let mut elapsed = Duration::ZERO;
    loop {
        // The failure that ended the job is told by who waits for its report.
        drop(job.wait_for(PROGRESS_INTERVAL));
        if job.report().is_some() {
            return Ok(());
        }
        elapsed += PROGRESS_INTERVAL;
        let now = figures(job, elapsed, committed.count()?);
        println!("{}", now.line(&before));
        before = now;
    }
}

fn figures(job: &Job, elapsed: Duration, alerts: u64) -> Figures {
    let totals = job.totals();
    let checkpoints = job.checkpoints();
    let completed = |status: &CheckpointStatus| *status == CheckpointStatus::Completed;
    let watermark = |path: &str| path.starts_with("deduplicate/");
    let actors = job.topology().actors;
    let mut watermarks =
        actors.iter().filter(|actor| watermark(&actor.path)).filter_map(|actor| actor.subtask.as_ref());
    Figures {
        elapsed,
        records: totals.records_in,
        resumed: totals.resumed_records,
        replayed: totals.replayed_records,
        watermark_ms: watermarks
            .try_fold(i64::MAX, |low, subtask| subtask.watermark_ms.map(|at| low.min(at))),
        last_checkpoint: checkpoints.iter().rev().find(|c| completed(&c.status)).map(|c| c.checkpoint.0),
        checkpoints: totals.checkpoints_completed,
        kills: totals.kills,
        restarts: totals.restarts,
        alerts,
        late: totals.late_records,
        disordered: totals.disordered_records,
    }
}

/// Compares what a finished run has committed with the sequential computation; returns the exit code.
fn compare(input: &InputFiles, places: &Places, report: Option<&JobReport>) -> Result<u8, Trouble> {
    let verdict = verify::verify(&input.transactions, &input.accounts, &places.output)?;
    if let Some(read) = report.map(|report| report.totals.records_in).filter(|read| *read < verdict.records())
    {
        let all = verdict.records();
        println!(
            "verify: the run was drained after {read} of {all} records, and is compared with what all demand"
        );
    }
    print!("{verdict}");
    Ok(u8::from(!verdict.holds()))
}

#[cfg(test)]
mod tests;
