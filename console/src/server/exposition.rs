//! Metrics of a job, made of its topology at the moment of the scrape: as Prometheus' text, and as JSON.

use std::fmt::Write;

use serde::{Serialize, Serializer};
use tidegate_supervisor::{ActorInfo, SubtaskInfo};

use crate::protocol::Picture;
use crate::words::{activity_word, operator_and_index};

/// Media type of the text format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families of a job's metrics, as a body of JSON.
#[derive(Serialize)]
pub(super) struct Metrics<'a> {
    families: Vec<Family<'a>>,
}

#[derive(Serialize)]
struct Family<'a> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    samples: Vec<Sample<'a>>,
}

#[derive(Serialize)]
struct Sample<'a> {
    #[serde(serialize_with = "as_map")]
    labels: Labels<'a>,
    value: f64,
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Counter,
    Gauge,
}

/// A family of samples with one value for each actor that has one.
struct Metric<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> Option<f64>,
}

const fn counter<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Metric<T> {
    Metric { name, kind: Kind::Counter, help, value }
}

const fn gauge<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Metric<T> {
    Metric { name, kind: Kind::Gauge, help, value }
}

static ACTOR_METRICS: [Metric<ActorInfo>; 3] = [
    gauge("tidegate_attempt_number", "Attempt that the actor belongs to.", |a| {
        a.attempt.map(|attempt| attempt as f64)
    }),
    counter("tidegate_restarts_total", "Times that the actor was started again.", |a| {
        Some(a.restarts as f64)
    }),
    gauge("tidegate_mailbox_messages", "Messages in the actor's mailbox.", |a| Some(a.mailbox_depth as f64)),
];

static SUBTASK_METRICS: [Metric<SubtaskInfo>; 10] = [
    counter("tidegate_records_in_total", "Records taken in.", |s| Some(s.records_in as f64)),
    counter("tidegate_records_out_total", "Records sent on.", |s| Some(s.records_out as f64)),
    counter("tidegate_late_records_total", "Records that came too late.", |s| Some(s.late_records as f64)),
    counter("tidegate_replayed_records_total", "Records read again after a restore.", |s| {
        Some(s.replayed_records as f64)
    }),
    counter("tidegate_overshoots_total", "Steps that one user call made longer than the budget.", |s| {
        Some(s.overshoots as f64)
    }),
    gauge("tidegate_batch_fill_records", "Records in a batch taken in, on average.", |s| Some(s.batch_fill)),
    gauge("tidegate_watermark_ms", "Watermark.", |s| s.watermark_ms.map(|ms| ms as f64)),
    gauge("tidegate_watermark_lag_ms", "Highest event time seen minus the watermark.", |s| {
        s.watermark_lag_ms.map(|ms| ms as f64)
    }),
    gauge("tidegate_state_entries", "Entries of keyed state in memory.", |s| Some(s.state_entries as f64)),
    gauge("tidegate_state_bytes", "Bytes of keyed state in memory.", |s| Some(s.state_bytes as f64)),
];

impl<'a> Metrics<'a> {
    /// The metrics of a job.
    pub(super) fn of(picture: &'a Picture) -> Self {
        let mut families: Vec<_> = ACTOR_METRICS.iter().map(|metric| of_actors(picture, metric)).collect();
        families.extend(SUBTASK_METRICS.iter().map(|metric| of_subtasks(picture, metric)));
        families.extend([activities(picture), queued_bytes(picture)]);
        families.extend(checkpoint(picture));
        Self { families }
    }

    /// In Prometheus' text format.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Family { name, kind, help, samples } in &self.families {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            // Writing to a String can't fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for Sample { labels, value } in samples {
                let label = |(label, value): &(&str, &str)| format!("{label}=\"{}\"", escaped(value));
                let labels: Vec<String> = labels.iter().map(label).collect();
                let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
            }
        }
        text
    }
}

fn of_actors<'a>(picture: &'a Picture, metric: &Metric<ActorInfo>) -> Family<'a> {
    let actors = picture.topology.actors.iter();
    let sample = |actor| Some(Sample { labels: labels(picture, actor), value: (metric.value)(actor)? });
    Family {
        name: metric.name,
        kind: metric.kind,
        help: metric.help,
        samples: actors.filter_map(sample).collect(),
    }
}

fn of_subtasks<'a>(picture: &'a Picture, metric: &Metric<SubtaskInfo>) -> Family<'a> {
    let sample =
        |(actor, subtask)| Some(Sample { labels: labels(picture, actor), value: (metric.value)(subtask)? });
    let samples = subtasks(picture).filter_map(sample).collect();
    Family { name: metric.name, kind: metric.kind, help: metric.help, samples }
}

fn activities(picture: &Picture) -> Family<'_> {
    let sample = |(actor, subtask): (_, &SubtaskInfo)| {
        let mut labels = labels(picture, actor);
        labels.push(("activity", activity_word(subtask.activity)));
        Sample { labels, value: 1.0 }
    };
    let help = "1 for what the subtask does, or why it is parked.";
    let samples = subtasks(picture).map(sample).collect();
    Family { name: "tidegate_activity_state", kind: Kind::Gauge, help, samples }
}

fn queued_bytes(picture: &Picture) -> Family<'_> {
    let mut samples = Vec::new();
    for (actor, subtask) in subtasks(picture) {
        for input in &subtask.inputs {
            let mut labels = labels(picture, actor);
            labels.push(("producer", &input.producer));
            samples.push(Sample { labels, value: input.queued_bytes as f64 });
        }
    }
    let help = "Bytes that wait in an input of the subtask.";
    Family { name: "tidegate_queued_bytes", kind: Kind::Gauge, help, samples }
}

/// Of the newest completed checkpoint, if there is one.
fn checkpoint(picture: &Picture) -> Vec<Family<'_>> {
    let Some(last) = &picture.last_checkpoint else { return Vec::new() };
    let figures = [
        ("tidegate_checkpoint_id", "Newest completed checkpoint.", last.checkpoint.0),
        ("tidegate_checkpoint_duration_ms", "From its trigger to its end.", last.duration_ms),
        ("tidegate_checkpoint_bytes", "Bytes written for it.", last.bytes),
    ];
    let family = |(name, help, value)| {
        let sample = Sample { labels: vec![("job", picture.topology.job.as_str())], value: value as f64 };
        Family { name, kind: Kind::Gauge, help, samples: vec![sample] }
    };
    figures.map(family).into()
}

fn subtasks(picture: &Picture) -> impl Iterator<Item = (&ActorInfo, &SubtaskInfo)> {
    let actors = picture.topology.actors.iter();
    actors.filter_map(|actor| actor.subtask.as_ref().map(|subtask| (actor, subtask)))
}

fn labels<'a>(picture: &'a Picture, actor: &'a ActorInfo) -> Labels<'a> {
    let job = ("job", picture.topology.job.as_str());
    if actor.subtask.is_none() {
        return vec![job, ("actor", &actor.path)];
    }
    let (operator, index) = operator_and_index(&actor.path);
    vec![job, ("operator", operator), ("subtask", index)]
}

/// Label values may hold anything, but backslash, quote and line feed are written as escapes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn as_map<S: Serializer>(labels: &Labels<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().copied())
}
