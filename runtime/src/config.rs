//! Settings of a job: a builder whose defaults are right for a laptop.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where keyed state is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateBackend {
    /// Tables in memory, deltas in one redb file per worker; may exceed memory.
    #[default]
    Redb,
    /// Tables in memory, full snapshots in the checkpoint directory.
    Memory,
}

/// When a failed region is started again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RestartPolicy {
    /// Never: the first failure fails the job.
    None,
    /// After the same delay each time, at most `attempts` times in a row; a run of failures ends when a checkpoint
    /// completes.
    FixedDelay {
        /// Restarts in a row.
        attempts: u32,
        /// Wait before each.
        delay: Duration,
    },
    /// After a delay that grows by `multiplier` from `initial` to `max`, spread by `jitter` (a part of the delay, 0 to
    /// 1); it starts over after `reset_after` without a failure.
    ExponentialBackoff {
        /// First wait.
        initial: Duration,
        /// Longest wait.
        max: Duration,
        /// Growth, at least 1.
        multiplier: f64,
        /// Random part, 0 to 1.
        jitter: f64,
        /// Quiet time that ends a run of failures.
        reset_after: Duration,
        /// Restarts in a row.
        attempts: u32,
    },
    /// At most `failures` within `interval`.
    FailureRate {
        /// Failures allowed.
        failures: u32,
        /// Within this time.
        interval: Duration,
        /// Wait before each restart.
        delay: Duration,
    },
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self::ExponentialBackoff {
            initial: Duration::from_millis(50),
            max: Duration::from_secs(30),
            multiplier: 2.0,
            jitter: 0.1,
            reset_after: Duration::from_secs(60),
            attempts: 10,
        }
    }
}

/// When and how checkpoints are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointConfig {
    /// Time between triggers; `None` makes none but the final one.
    pub interval: Option<Duration>,
    /// A checkpoint that takes longer is aborted.
    pub timeout: Duration,
    /// Time from the end of one to the trigger of the next.
    pub min_pause: Duration,
    /// Aborted or failed ones in a row, over which the job fails over.
    pub tolerable_failures: u32,
    /// Completed ones that are kept.
    pub retained: u32,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            interval: Some(Duration::from_secs(1)),
            timeout: Duration::from_secs(600),
            min_pause: Duration::ZERO,
            tolerable_failures: 3,
            retained: 2,
        }
    }
}

/// What sources do after their last record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterLastRecord {
    /// The input ends; the job finishes.
    #[default]
    End,
    /// Stay open, checkpoints going on, until the job is stopped. A subtask with nothing left to read is idle: it holds
    /// no event time back.
    Hold,
}

/// Settings of a job.
///
/// ```
/// use tidegate_runtime::config::JobConfig;
/// use tidegate_runtime::time::millis;
/// let config = JobConfig::new().parallelism(2).checkpoint_interval(millis(100));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct JobConfig {
    /// Subtasks per operator unless the operator says otherwise; default: the cores.
    pub parallelism: Option<u32>,
    /// Directory of state, checkpoints and the control endpoint; default `./.tidegate/<job>`.
    pub state_dir: Option<PathBuf>,
    /// Where keyed state is kept.
    pub backend: StateBackend,
    /// Checkpoints.
    pub checkpoint: CheckpointConfig,
    /// Restarts.
    pub restart: RestartPolicy,
    /// Number of key groups; fixed for the life of the state.
    pub key_groups: Option<u16>,
    /// Bytes that a gate may queue; default 256 KiB: more would not stay in the processor's cache until it is read.
    pub gate_bytes: Option<usize>,
    /// Entries of keyed state that each table keeps in memory; default: no limit.
    pub table_entries_max: Option<usize>,
    /// A step that takes longer is taken as hung and its attempt is abandoned; default 30 s.
    pub step_timeout: Option<Duration>,
    /// Seed of all randomness; default: from the run's lineage.
    pub seed: Option<u64>,
    /// What sources do after their last record.
    pub after_last_record: AfterLastRecord,
    /// Whether the control endpoint is served, where the `console` feature is on.
    pub endpoint: Endpoint,
}

/// Whether the control endpoint is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Endpoint {
    /// On a loopback port, found through the state directory.
    #[default]
    Loopback,
    /// Not at all.
    Off,
}

impl JobConfig {
    /// Room for queued bytes in a gate, unless set.
    pub const GATE_BYTES_DEFAULT: usize = 256 << 10;
    /// Longest step, unless set.
    pub const STEP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The defaults, changed by the environment: `TIDEGATE_PARALLELISM`, `TIDEGATE_STATE_DIR`,
    /// `TIDEGATE_CHECKPOINT_INTERVAL_MS`.
    ///
    /// # Errors
    /// A variable that is not a number of its kind, by name.
    pub fn from_env() -> Result<Self> {
        let mut config = Self::new();
        if let Some(parallelism) = env_number("TIDEGATE_PARALLELISM")? {
            config.parallelism = Some(u32::try_from(parallelism).unwrap_or(u32::MAX));
        }
        if let Some(dir) = std::env::var_os("TIDEGATE_STATE_DIR") {
            config.state_dir = Some(dir.into());
        }
        if let Some(interval) = env_number("TIDEGATE_CHECKPOINT_INTERVAL_MS")? {
            config.checkpoint.interval = Some(Duration::from_millis(interval));
        }
        config.validate()?;
        Ok(config)
    }

    /// Subtasks per operator.
    pub fn parallelism(mut self, subtasks: u32) -> Self {
        self.parallelism = Some(subtasks);
        self
    }

    /// Directory of state and checkpoints.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// Where keyed state is kept.
    pub fn backend(mut self, backend: StateBackend) -> Self {
        self.backend = backend;
        self
    }

    /// Time between checkpoints.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint.interval = Some(interval);
        self
    }

    /// All settings of checkpoints.
    pub fn checkpoints(mut self, checkpoint: CheckpointConfig) -> Self {
        self.checkpoint = checkpoint;
        self
    }

    /// Makes no checkpoint but the final one.
    pub fn without_checkpoints(mut self) -> Self {
        self.checkpoint.interval = None;
        self
    }

    /// When a failed region is started again.
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.restart = policy;
        self
    }

    /// Number of key groups.
    pub fn key_groups(mut self, groups: u16) -> Self {
        self.key_groups = Some(groups);
        self
    }

    /// Bytes that a gate may queue.
    pub fn gate_bytes(mut self, bytes: usize) -> Self {
        self.gate_bytes = Some(bytes);
        self
    }

    /// Entries of keyed state that each table keeps in memory.
    pub fn table_entries_max(mut self, entries: usize) -> Self {
        self.table_entries_max = Some(entries);
        self
    }

    /// Longest step before its attempt is abandoned as hung.
    pub fn step_timeout(mut self, timeout: Duration) -> Self {
        self.step_timeout = Some(timeout);
        self
    }

    /// Seed of all randomness.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// What sources do after their last record.
    pub fn after_last_record(mut self, after: AfterLastRecord) -> Self {
        self.after_last_record = after;
        self
    }

    /// Whether the control endpoint is served.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Parallelism, resolved: the setting or the cores.
    pub fn parallelism_or_cores(&self) -> u32 {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        self.parallelism.unwrap_or_else(cores)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The first that is out of its range, by name.
    pub fn validate(&self) -> Result<()> {
        let groups = u32::from(self.key_groups.unwrap_or(crate::key::KeyGroups::DEFAULT.count()));
        let parallelism = self.parallelism_or_cores();
        check("parallelism", parallelism, (parallelism < 1).then_some("must be at least 1"))?;
        check("key_groups", groups, (groups < 1).then_some("must be at least 1"))?;
        let above_groups = (parallelism > groups).then_some("must not be above `key_groups`");
        check("parallelism", parallelism, above_groups)?;
        let interval = self.checkpoint.interval.unwrap_or(Duration::from_secs(1)).as_millis();
        check("checkpoint.interval (ms)", interval, (interval == 0).then_some("must be above 0"))?;
        let retained = self.checkpoint.retained;
        check("checkpoint.retained", retained, (retained < 1).then_some("must be at least 1"))?;
        let timeout = self.checkpoint.timeout.as_millis();
        check("checkpoint.timeout (ms)", timeout, (timeout == 0).then_some("must be above 0"))?;
        let gate = self.gate_bytes.unwrap_or(Self::GATE_BYTES_DEFAULT);
        check("gate_bytes", gate, (gate < 1_024).then_some("must be at least 1024"))?;
        if let RestartPolicy::ExponentialBackoff { multiplier, jitter, .. } = self.restart {
            check("restart.multiplier", multiplier, (multiplier < 1.0).then_some("must be at least 1"))?;
            let out_of_range = !(0.0..=1.0).contains(&jitter);
            check("restart.jitter", jitter, out_of_range.then_some("must be within 0 and 1"))?;
        }
        Ok(())
    }
}

fn check(setting: &'static str, value: impl ToString, broken: Option<&'static str>) -> Result<()> {
    match broken {
        None => Ok(()),
        Some(rule) => Err(Error::Config { setting, value: value.to_string(), rule: rule.to_owned() }),
    }
}

fn env_number(name: &'static str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Err(_) => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|_| Error::Config {
            setting: name,
            value: text,
            rule: "must be a whole number".to_owned(),
        }),
    }
}
