//! Checkpoints as a table, and one as a sentence.

use tidegate_runtime::checkpoint::manifest::CheckpointKind;
use tidegate_supervisor::{CheckpointRecord, CheckpointStatus};

use crate::cli::render::figures::{bytes, duration_ms, utc};
use crate::cli::render::table::{Align, Table};

/// The latest checkpoints, oldest first.
pub(crate) fn checkpoints(records: &[CheckpointRecord]) -> String {
    if records.is_empty() {
        return "no checkpoint yet\n".to_owned();
    }
    let mut table = Table::new(&[
        ("CHECKPOINT", Align::Right),
        ("STATUS", Align::Left),
        ("DURATION", Align::Right),
        ("SIZE", Align::Right),
        ("KIND", Align::Left),
        ("TRIGGERED (UTC)", Align::Left),
        ("CAUSE", Align::Left),
    ]);
    for record in records {
        let (status, cause) = match &record.status {
            CheckpointStatus::InProgress => ("in_progress", ""),
            CheckpointStatus::Completed => ("completed", ""),
            CheckpointStatus::Aborted { cause } => ("aborted", cause.as_str()),
        };
        table.row(vec![
            record.checkpoint.0.to_string(),
            status.to_owned(),
            duration(record),
            bytes(record.bytes),
            kind(record.kind).to_owned(),
            utc(record.triggered_ms),
            cause.to_owned(),
        ]);
    }
    table.text()
}

/// What became of a triggered checkpoint.
pub(crate) fn completed(record: &CheckpointRecord) -> String {
    format!(
        "checkpoint {} completed in {}, {} written\n",
        record.checkpoint.0,
        duration(record),
        bytes(record.bytes)
    )
}

fn duration(record: &CheckpointRecord) -> String {
    duration_ms(i64::try_from(record.duration_ms).unwrap_or(i64::MAX))
}

fn kind(kind: CheckpointKind) -> &'static str {
    match kind {
        CheckpointKind::Periodic => "periodic",
        CheckpointKind::Stop => "stop",
        CheckpointKind::Final => "final",
    }
}
