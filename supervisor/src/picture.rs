//! Makes the picture of the live actor tree from the directory's cells: nobody is asked and nobody waits.

use std::sync::atomic::Ordering;

use tidegate_runtime::graph::{Plan, PlanEdge};
use tidegate_runtime::sync::lock;
use tidegate_runtime::time::Timestamp;

use crate::directory::{Directory, Entry, SubtaskEntry};
use crate::topology::{ActorInfo, EdgeInfo, InputInfo, SubtaskInfo};

/// The edges of a plan as data.
pub(crate) fn edges(plan: &Plan) -> Vec<EdgeInfo> {
    let name = |operator| plan.vertex(operator).name.clone();
    let info = |edge: &PlanEdge| EdgeInfo {
        from: name(edge.from),
        to: name(edge.to),
        partitioning: format!("{:?}", edge.partitioning).to_lowercase(),
    };
    plan.edges.iter().map(info).collect()
}

impl Directory {
    /// All actors as data.
    pub(crate) fn actors(&self) -> Vec<ActorInfo> {
        let entries = self.all();
        let subtasks = entries.iter().filter_map(|entry| entry.subtask.as_ref());
        let newest = subtasks.map(|subtask| subtask.status().event_time()).max().unwrap_or(Timestamp::MIN);
        entries.iter().map(|entry| actor_info(entry, newest)).collect()
    }

    /// Measures rates since the last call.
    pub(crate) fn sample_rates(&self, seconds: f64) {
        for entry in self.all() {
            if let Some(subtask) = &entry.subtask {
                let status = subtask.status();
                // Without what an earlier process read.
                let read = status.records_in.get().saturating_sub(status.resumed_records.get());
                let now = (read, status.sent());
                let mut rates = lock(&subtask.rates);
                // A restored source counts again from an earlier position.
                let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
                rates.records_in = rate(now.0, rates.sampled.0);
                rates.records_out = rate(now.1, rates.sampled.1);
                rates.sampled = now;
            }
        }
    }
}

fn actor_info(entry: &Entry, newest: Timestamp) -> ActorInfo {
    let attempt = entry.attempt.load(Ordering::Relaxed);
    ActorInfo {
        path: entry.path.clone(),
        kind: entry.kind,
        parent: entry.parent.clone(),
        state: entry.state(),
        attempt: (attempt > 0).then_some(attempt),
        restarts: entry.restarts(),
        mailbox_depth: entry.mailbox_depth(),
        subtask: entry.subtask.as_ref().map(|subtask| subtask_info(subtask, newest)),
    }
}

fn subtask_info(subtask: &SubtaskEntry, newest: Timestamp) -> SubtaskInfo {
    let status = subtask.status();
    let rates = *lock(&subtask.rates);
    let watermark = match status.watermark() {
        Timestamp::MIN => status.emitted_watermark(),
        taken_in => taken_in,
    };
    let has_watermark = watermark != Timestamp::MIN && watermark != Timestamp::MAX;
    let has_lag = has_watermark && newest != Timestamp::MIN;
    let lag = has_lag.then(|| newest.0.saturating_sub(watermark.0).max(0));
    let batches = status.batches_in.get();
    SubtaskInfo {
        activity: status.activity(),
        records_in: status.records_in.get(),
        records_out: status.sent(),
        records_in_per_second: rates.records_in,
        records_out_per_second: rates.records_out,
        batch_fill: if batches == 0 { 0.0 } else { status.records_in.get() as f64 / batches as f64 },
        inputs: inputs(subtask),
        watermark_ms: (watermark != Timestamp::MIN).then_some(watermark.0),
        watermark_lag_ms: lag,
        state_entries: status.state_entries.get(),
        state_bytes: status.state_bytes.get(),
        last_checkpoint: Some(status.last_checkpoint.get()).filter(|id| *id > 0),
        overshoots: status.overshoots.get(),
        late_records: status.late_records.get(),
        replayed_records: status.replayed_records.get(),
    }
}

fn inputs(subtask: &SubtaskEntry) -> Vec<InputInfo> {
    let Some((gate, producers)) = lock(&subtask.gate).clone() else { return Vec::new() };
    let figures = gate.figures();
    producers
        .iter()
        .enumerate()
        .map(|(lane, producer)| InputInfo {
            producer: producer.clone(),
            queued_bytes: figures.lane_bytes.get(lane).copied().unwrap_or(0) as u64,
            queued_elements: figures.lane_elements.get(lane).copied().unwrap_or(0) as u64,
            is_blocked: figures.blocked.get(lane).copied().unwrap_or(false),
        })
        .collect()
}
