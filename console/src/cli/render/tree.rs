//! The actor tree as an aligned table: a branch for each actor, its figures beside it.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_runtime::time::Timestamp;
use tidegate_supervisor::{ActorInfo, InputInfo, SubtaskInfo};

use crate::cli::render::figures::{attempt, bytes, duration_ms, rate};
use crate::cli::render::table::{Align, Table};
use crate::cli::render::words::{kind_word, state_word};
use crate::protocol::Picture;
use crate::words::activity_word;

const INPUTS_SHOWN_MAX: usize = 4; // the fullest; all are in --json

const COLUMNS: [(&str, Align); 17] = [
    ("ACTOR", Align::Left),
    ("KIND", Align::Left),
    ("STATE", Align::Left),
    ("ACTIVITY", Align::Left),
    ("ATTEMPT", Align::Right),
    ("RESTARTS", Align::Right),
    ("MAILBOX", Align::Right),
    ("IN", Align::Right),
    ("IN/S", Align::Right),
    ("OUT", Align::Right),
    ("OUT/S", Align::Right),
    ("FILL", Align::Right),
    ("WATERMARK", Align::Right),
    ("LAG", Align::Right),
    ("STATE SIZE", Align::Right),
    ("CHECKPOINT", Align::Right),
    ("QUEUED", Align::Left),
];

/// The live actor tree.
pub(crate) fn tree(picture: &Picture) -> String {
    let mut table = Table::new(&COLUMNS);
    for (branch, actor) in branches(&picture.topology.actors) {
        table.row(row(branch, actor));
    }
    format!("{}\n{}", head(picture), table.text())
}

fn head(picture: &Picture) -> String {
    let topology = &picture.topology;
    let checkpoint = match &picture.last_checkpoint {
        None => "no checkpoint yet".to_owned(),
        Some(last) => {
            let took_ms = i64::try_from(last.duration_ms).unwrap_or(i64::MAX);
            let ago_ms = topology.at_ms.saturating_sub(last.triggered_ms).saturating_sub(took_ms).max(0);
            let (ago, took) = (duration_ms(ago_ms), duration_ms(took_ms));
            format!("last checkpoint {} {ago} ago in {took}, {}", last.checkpoint.0, bytes(last.bytes))
        }
    };
    format!("{}: {}, {checkpoint}", topology.job, topology.state)
}

fn row(branch: String, actor: &ActorInfo) -> Vec<String> {
    let activity = actor.subtask.as_ref().map(|subtask| activity_word(subtask.activity));
    let mut cells = vec![
        branch,
        kind_word(actor.kind).to_owned(),
        state_word(actor.state).to_owned(),
        activity.unwrap_or_default().to_owned(),
        actor.attempt.map(attempt).unwrap_or_default(),
        actor.restarts.to_string(),
        actor.mailbox_depth.to_string(),
    ];
    if let Some(subtask) = &actor.subtask {
        cells.extend(subtask_cells(subtask));
    }
    cells
}

fn subtask_cells(subtask: &SubtaskInfo) -> [String; 10] {
    [
        subtask.records_in.to_string(),
        rate(subtask.records_in_per_second),
        subtask.records_out.to_string(),
        rate(subtask.records_out_per_second),
        if subtask.inputs.is_empty() { String::new() } else { rate(subtask.batch_fill) },
        Timestamp(subtask.watermark_ms.unwrap_or(i64::MIN)).to_string(),
        subtask.watermark_lag_ms.map(duration_ms).unwrap_or_default(),
        format!("{} / {}", subtask.state_entries, bytes(subtask.state_bytes)),
        subtask.last_checkpoint.map(|id| id.to_string()).unwrap_or_default(),
        queued(&subtask.inputs),
    ]
}

/// The sum, and the fullest inputs; an input that waits for an alignment is shown even if it is empty.
fn queued(inputs: &[InputInfo]) -> String {
    if inputs.is_empty() {
        return String::new();
    }
    let mut shown: Vec<&InputInfo> =
        inputs.iter().filter(|input| input.queued_bytes > 0 || input.is_blocked).collect();
    shown.sort_by_key(|input| (std::cmp::Reverse(input.queued_bytes), &input.producer));
    let more = shown.len().saturating_sub(INPUTS_SHOWN_MAX);
    shown.truncate(INPUTS_SHOWN_MAX);
    let mut parts: Vec<String> = shown.into_iter().map(input).collect();
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    let sum = bytes(inputs.iter().map(|input| input.queued_bytes).sum());
    if parts.is_empty() { sum } else { format!("{sum}: {}", parts.join(", ")) }
}

fn input(input: &InputInfo) -> String {
    let blocked = if input.is_blocked { " blocked" } else { "" };
    format!("{} {}{blocked}", input.producer, bytes(input.queued_bytes))
}

/// Every actor once, behind the branches that lead to it, each below its supervisor.
fn branches(actors: &[ActorInfo]) -> Vec<(String, &ActorInfo)> {
    let paths: BTreeSet<&str> = actors.iter().map(|actor| actor.path.as_str()).collect();
    let mut children: BTreeMap<&str, Vec<&ActorInfo>> = BTreeMap::new();
    for actor in actors {
        // An actor whose supervisor is gone for the moment stands at the top.
        let is_child = actor.parent != actor.path && paths.contains(actor.parent.as_str());
        children.entry(if is_child { &actor.parent } else { "" }).or_default().push(actor);
    }
    let mut rows = Vec::with_capacity(actors.len());
    // Depth first without recursion: (what leads to the actor, what leads to its children, actor), next on top.
    let mut pending: Vec<(String, String, &ActorInfo)> = Vec::new();
    for root in children.remove("").unwrap_or_default().into_iter().rev() {
        pending.push((String::new(), String::new(), root));
    }
    while let Some((lead, below, actor)) = pending.pop() {
        rows.push((format!("{lead}{}", actor.path), actor));
        for (later, child) in
            children.remove(actor.path.as_str()).unwrap_or_default().into_iter().rev().enumerate()
        {
            let (branch, trunk) = if later == 0 { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            pending.push((format!("{below}{branch}"), format!("{below}{trunk}"), child));
        }
    }
    rows
}
