//! Live figures of a subtask: a cell of atomics that is written by one subtask and read by anyone.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::id::AttemptId;
use crate::time::Timestamp;

/// What a subtask is doing, or why it is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Building its state.
    Restoring,
    /// In a step, or about to be.
    Running,
    /// Nothing to do: waits for input.
    Idle,
    /// Waits for room downstream.
    BackPressured,
    /// Waits for the barrier on other inputs.
    Aligning,
    /// Waits for a timer or for input that comes later.
    Waiting,
    /// All its input has ended; it still takes part in checkpoints.
    Finished,
    /// Its attempt failed.
    Failed,
    /// It ended.
    Stopped,
}

const ACTIVITIES: [Activity; 9] = [
    Activity::Restoring,
    Activity::Running,
    Activity::Idle,
    Activity::BackPressured,
    Activity::Aligning,
    Activity::Waiting,
    Activity::Finished,
    Activity::Failed,
    Activity::Stopped,
];

/// A counter or gauge; relaxed, because each stands for itself.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes away.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Sets.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    fn carried(&self) -> Self {
        Self(AtomicU64::new(self.get()))
    }

    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The live figures of one attempt of a subtask. The next attempt begins with what they came to, in a cell of its own: a
/// step that hung, was given up and comes back writes to the cell of nobody.
#[derive(Debug)]
pub struct SubtaskStatus {
    activity: AtomicU8,
    watermark: AtomicI64,
    emitted_watermark: AtomicI64,
    event_time: AtomicI64,
    /// Records taken from inputs, or read by a source.
    pub records_in: Figure,
    /// Records that this attempt emitted on all outputs; see `sent`.
    pub records_out: Figure,
    sent_before: u64,
    /// Batches with records that were taken from inputs.
    pub batches_in: Figure,
    /// Steps made.
    pub steps: Figure,
    /// Time spent in steps.
    pub busy_ns: Figure,
    /// When the step under way began, in nanoseconds of the clock plus 1; 0 between steps. For the watchdog.
    pub step_began_ns: Figure,
    /// Steps that one user call made longer than the budget.
    pub overshoots: Figure,
    /// Records that came after their windows or timers had fired, by the late output or dropped.
    pub late_records: Figure,
    /// Records that a source could not read and left out by policy.
    pub skipped_records: Figure,
    /// Records whose disorder was above the watermark strategy's bound.
    pub disordered_records: Figure,
    /// Records read again after a restore.
    pub replayed_records: Figure,
    /// Records that a resumed source counts in `records_in`, though an earlier process read them.
    pub resumed_records: Figure,
    /// Entries of keyed state in memory.
    pub state_entries: Figure,
    /// Bytes of keyed state in memory.
    pub state_bytes: Figure,
    /// The newest checkpoint that it has frozen.
    pub last_checkpoint: Figure,
    /// Bytes waiting in its gate.
    pub queued_bytes: Figure,
    /// The attempt that is running.
    pub attempt: Figure,
    /// How often it was restarted.
    pub restarts: Figure,
    /// Messages in its mailbox.
    pub mailbox_depth: Figure,
}

impl Default for SubtaskStatus {
    fn default() -> Self {
        Self {
            activity: AtomicU8::new(0),
            watermark: AtomicI64::new(i64::MIN),
            emitted_watermark: AtomicI64::new(i64::MIN),
            event_time: AtomicI64::new(i64::MIN),
            records_in: Figure::default(),
            records_out: Figure::default(),
            sent_before: 0,
            batches_in: Figure::default(),
            steps: Figure::default(),
            busy_ns: Figure::default(),
            step_began_ns: Figure::default(),
            overshoots: Figure::default(),
            late_records: Figure::default(),
            skipped_records: Figure::default(),
            disordered_records: Figure::default(),
            replayed_records: Figure::default(),
            resumed_records: Figure::default(),
            state_entries: Figure::default(),
            state_bytes: Figure::default(),
            last_checkpoint: Figure::default(),
            queued_bytes: Figure::default(),
            attempt: Figure::default(),
            restarts: Figure::default(),
            mailbox_depth: Figure::default(),
        }
    }
}

impl SubtaskStatus {
    /// The cell of the attempt after this one: it restores, and counts on.
    #[must_use]
    pub fn next_attempt(&self, attempt: AttemptId) -> Self {
        let next = Self {
            activity: AtomicU8::new(0),
            watermark: AtomicI64::new(self.watermark.load(Ordering::Relaxed)),
            emitted_watermark: AtomicI64::new(self.emitted_watermark.load(Ordering::Relaxed)),
            event_time: AtomicI64::new(self.event_time.load(Ordering::Relaxed)),
            records_in: self.records_in.carried(),
            sent_before: self.sent(),
            batches_in: self.batches_in.carried(),
            steps: self.steps.carried(),
            busy_ns: self.busy_ns.carried(),
            overshoots: self.overshoots.carried(),
            late_records: self.late_records.carried(),
            skipped_records: self.skipped_records.carried(),
            disordered_records: self.disordered_records.carried(),
            replayed_records: self.replayed_records.carried(),
            resumed_records: self.resumed_records.carried(),
            state_entries: self.state_entries.carried(),
            state_bytes: self.state_bytes.carried(),
            last_checkpoint: self.last_checkpoint.carried(),
            restarts: self.restarts.carried(),
            mailbox_depth: self.mailbox_depth.carried(),
            ..Self::default()
        };
        next.attempt.set(attempt.0);
        next
    }

    /// Records emitted on all outputs by all attempts, those that were emitted again after a restore too.
    pub fn sent(&self) -> u64 {
        self.sent_before + self.records_out.get()
    }

    /// What it is doing.
    pub fn activity(&self) -> Activity {
        let index = usize::from(self.activity.load(Ordering::Relaxed));
        ACTIVITIES.get(index).copied().unwrap_or(Activity::Restoring)
    }

    /// Sets what it is doing.
    pub fn set_activity(&self, activity: Activity) {
        let index = ACTIVITIES.iter().position(|each| *each == activity).unwrap_or(0);
        self.activity.store(index as u8, Ordering::Relaxed);
    }

    /// Its combined watermark.
    pub fn watermark(&self) -> Timestamp {
        Timestamp(self.watermark.load(Ordering::Relaxed))
    }

    /// Sets its combined watermark.
    pub fn set_watermark(&self, watermark: Timestamp) {
        self.watermark.store(watermark.0, Ordering::Relaxed);
    }

    /// The newest watermark that it has made itself: a source has no other.
    pub fn emitted_watermark(&self) -> Timestamp {
        Timestamp(self.emitted_watermark.load(Ordering::Relaxed))
    }

    /// Sets the newest watermark that it has made itself.
    pub fn set_emitted_watermark(&self, watermark: Timestamp) {
        self.emitted_watermark.store(watermark.0, Ordering::Relaxed);
    }

    /// The highest event time seen.
    pub fn event_time(&self) -> Timestamp {
        Timestamp(self.event_time.load(Ordering::Relaxed))
    }

    /// Raises the highest event time seen.
    pub fn raise_event_time(&self, timestamp: Timestamp) {
        self.event_time.fetch_max(timestamp.0, Ordering::Relaxed);
    }
}
