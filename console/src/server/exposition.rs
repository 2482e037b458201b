//! Metrics of a job in Prometheus' text format, written from its topology at the moment of the scrape.

use std::fmt::{Display, Write};

use tidegate_supervisor::{ActorInfo, SubtaskInfo};

use crate::protocol::Picture;
use crate::words::{activity_word, operator_and_index};

/// Media type of the text format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of a job.
pub(super) fn exposition(picture: &Picture) -> String {
    let mut page = Page { text: String::new(), picture };
    for metric in &ACTOR_METRICS {
        page.actor_metric(metric);
    }
    for metric in &SUBTASK_METRICS {
        page.subtask_metric(metric);
    }
    page.activities();
    page.inputs();
    page.checkpoint();
    page.text
}

#[derive(Clone, Copy)]
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

struct Page<'a> {
    text: String,
    picture: &'a Picture,
}

impl<'a> Page<'a> {
    fn actor_metric(&mut self, metric: &Metric<ActorInfo>) {
        self.family(metric.name, metric.kind, metric.help);
        for actor in &self.picture.topology.actors {
            if let Some(value) = (metric.value)(actor) {
                self.sample(metric.name, &labels(actor), value);
            }
        }
    }

    fn subtask_metric(&mut self, metric: &Metric<SubtaskInfo>) {
        self.family(metric.name, metric.kind, metric.help);
        for (actor, subtask) in self.subtasks() {
            if let Some(value) = (metric.value)(subtask) {
                self.sample(metric.name, &labels(actor), value);
            }
        }
    }

    fn activities(&mut self) {
        let name = "tidegate_activity_state";
        self.family(name, Kind::Gauge, "1 for what the subtask does, or why it is parked.");
        for (actor, subtask) in self.subtasks() {
            let mut labels = labels(actor);
            labels.push(("activity", activity_word(subtask.activity)));
            self.sample(name, &labels, 1);
        }
    }

    fn inputs(&mut self) {
        let name = "tidegate_queued_bytes";
        self.family(name, Kind::Gauge, "Bytes that wait in an input of the subtask.");
        for (actor, subtask) in self.subtasks() {
            for input in &subtask.inputs {
                let mut labels = labels(actor);
                labels.push(("producer", &input.producer));
                self.sample(name, &labels, input.queued_bytes);
            }
        }
    }

    fn checkpoint(&mut self) {
        let Some(last) = &self.picture.last_checkpoint else { return };
        let figures = [
            ("tidegate_checkpoint_id", "Newest completed checkpoint.", last.checkpoint.0),
            ("tidegate_checkpoint_duration_ms", "From its trigger to its end.", last.duration_ms),
            ("tidegate_checkpoint_bytes", "Bytes written for it.", last.bytes),
        ];
        for (name, help, value) in figures {
            self.family(name, Kind::Gauge, help);
            self.sample(name, &[], value);
        }
    }

    fn subtasks(&self) -> impl Iterator<Item = (&'a ActorInfo, &'a SubtaskInfo)> + use<'a> {
        let actors = self.picture.topology.actors.iter();
        actors.filter_map(|actor| actor.subtask.as_ref().map(|subtask| (actor, subtask)))
    }

    // Writing to a String can't fail.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{name}{{job=\"{}\"", escaped(&self.picture.topology.job));
        for (label, value) in labels {
            let _ = write!(self.text, ",{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}

fn labels(actor: &ActorInfo) -> Vec<(&str, &str)> {
    if actor.subtask.is_none() {
        return vec![("actor", &actor.path)];
    }
    let (operator, index) = operator_and_index(&actor.path);
    vec![("operator", operator), ("subtask", index)]
}

/// Label values may hold anything, but backslash, quote and line feed are written as escapes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
