//! The second day of a job: output in the way, bad records, stop and resume, drain, over the public API.

mod support;

use std::path::Path;

use serde::{Deserialize, Serialize};
use support::{bag, config};
use tidegate::prelude::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Payment {
    id: u64,
    amount: f64,
}

#[expect(clippy::disallowed_methods, reason = "the input of a test need not survive a crash")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a test's directory can be written");
}

fn copy(dir: &Path, output: &str) -> Dataflow {
    let flow = Dataflow::new("copy");
    flow.source("lines", files(dir.join("in.txt").display().to_string()))
        .sink("out", lines(dir.join(output).display().to_string()));
    flow.with_config(config(dir))
}

#[test]
fn a_refused_start_leaves_nothing_that_refuses_the_next_one() -> tidegate::Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(&dir.path().join("in.txt"), "a\nb\n");
    copy(dir.path(), "out").run()?;
    // The first run has finished, so a second one is another run: its output is in the way.
    let refusal = copy(dir.path(), "out").run().expect_err("another run's output is there");
    assert!(refusal.to_string().contains("out"), "{refusal}");
    let report = copy(dir.path(), "elsewhere").run()?;
    assert_eq!(report.totals.records_in, 2);
    Ok(())
}

fn payments(dir: &Path, policy: OnBadRecord) -> (Dataflow, Collected<u64>, Collected<String>) {
    let text = "id,amount\n1,10.5\n2,much\n3,7\n";
    write(&dir.join("payments.csv"), text);
    let flow = Dataflow::new("payments");
    let source = files(dir.join("payments.csv").display().to_string()).csv::<Payment>().on_bad_record(policy);
    let (good, bad) = flow.source_with_dead_letters("payments", source);
    let (sink, ids) = collect();
    good.map(|payment| payment.id).sink("ids", sink);
    let (sink, letters) = collect();
    bad.map(|letter| format!("{}: {}", letter.source, String::from_utf8_lossy(&letter.raw)))
        .sink("letters", sink);
    (flow.with_config(config(dir)), ids, letters)
}

#[test]
fn a_bad_line_fails_the_job_and_the_error_names_where_it_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (flow, _, _) = payments(dir.path(), OnBadRecord::Fail);
    let error = flow.run().expect_err("line 3 is bad").to_string();
    for part in ["payments.csv:3", "byte offset 17", "column `amount`", "`much` is not a number"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn a_bad_line_is_skipped_and_counted_or_sent_to_its_own_stream() -> tidegate::Result<()> {
    for (policy, expected) in
        [(OnBadRecord::Skip, vec![]), (OnBadRecord::DeadLetter, vec!["payments: 2,much"])]
    {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (flow, ids, letters) = payments(dir.path(), policy);
        let report = flow.run()?;
        assert_eq!(bag(ids.take()), bag([1, 3]));
        let letters: Vec<String> = letters.take().iter().map(|letter| letter.trim_end().to_owned()).collect();
        assert_eq!(letters, expected);
        assert_eq!(report.totals.skipped_records, u64::from(letters.is_empty()));
    }
    Ok(())
}

/// Counts of a paced stream of numbers by their last digit.
fn counts(dir: &Path) -> Dataflow {
    let flow = Dataflow::new("counts");
    flow.source("numbers", generate(|index| index).count(4_000).rate(8_000))
        .key_by(|n| n % 10)
        .stateful_map("count", |count: &mut u64, n| {
            *count += 1;
            (n % 10, *count)
        })
        .sink("out", json_lines(dir.join("out").display().to_string()));
    flow.with_config(config(dir))
}

fn committed(dir: &Path) -> Vec<(u64, u64)> {
    let entries = std::fs::read_dir(dir.join("out")).map(|entries| entries.flatten().collect::<Vec<_>>());
    let files =
        entries.unwrap_or_default().into_iter().map(|entry| entry.path()).filter(|path| path.is_file());
    files
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("a committed file is readable");
            text.lines()
                .map(|line| serde_json::from_str(line).expect("a committed line is whole"))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_stopped_job_goes_on_where_it_stood_and_every_result_is_there_once() -> tidegate::Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let job = counts(dir.path()).launch()?;
    job.checkpoint()?;
    job.stop(StopMode::Suspend)?;
    assert_eq!(job.wait()?.state, JobState::Stopped);
    drop(job);
    let before = committed(dir.path()).len();
    assert!(before < 4_000, "it was stopped in the middle");
    assert_eq!(counts(dir.path()).run()?.state, JobState::Finished);
    let expected = (0..10).flat_map(|digit| (1..=400).map(move |count| (digit, count)));
    assert_eq!(bag(committed(dir.path())), bag(expected));
    Ok(())
}

#[test]
fn a_drained_job_is_finished_and_its_windows_have_fired() -> tidegate::Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let flow = Dataflow::new("drain");
    let (sink, sums) = collect();
    flow.source("numbers", generate(|index| index).rate(2_000))
        .event_time(WatermarkStrategy::monotonic(), |n| *n as i64)
        .key_by(|_| 0_u64)
        .window(Tumbling::of(hours(1)))
        .reduce("largest", |largest, n| *largest = n.max(*largest))
        .sink("sums", sink);
    let job = flow.with_config(config(dir.path())).launch()?;
    job.checkpoint()?;
    job.stop(StopMode::Drain)?;
    assert_eq!(job.wait()?.state, JobState::Finished);
    let largest = sums.take();
    assert_eq!(largest.len(), 1, "the one open window fired: {largest:?}");
    Ok(())
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Inner {
    x: u32,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    A { x: u32 },
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Flat {
    id: u32,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Skipping {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u32>,
    last: u32,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct OnlyWritten {
    #[serde(skip_deserializing)]
    seen: u32,
    last: u32,
}

/// Runs with a thousand restarts allowed: what no restart helps must not use one.
fn refusal(flow: Dataflow, dir: &Path) -> String {
    let restart = RestartPolicy::FixedDelay { attempts: 1_000, delay: millis(0) };
    let flow = flow.with_config(config(dir).checkpoint_interval(millis(5)).restart(restart));
    let text = match flow.launch() {
        Err(error) => return error.to_string(),
        Ok(job) => job.wait().expect_err("its type does not survive").to_string(),
    };
    assert!(text.contains("not restarted: every attempt would fail in the same way"), "{text}");
    text
}

/// As a record between two operators, as what a sink gets, as state that a value is put into, and as a default.
fn refusals<T>(value: impl Fn() -> T + Clone + Send + Sync + 'static) -> [String; 3]
where
    T: Clone + Send + Sync + Serialize + serde::de::DeserializeOwned + 'static,
{
    let dir = tempfile::tempdir().expect("a temporary directory");
    let numbers = |flow: &Dataflow| flow.source("numbers", generate(|index| index).rate(2_000));
    let make = value.clone();
    let flow = Dataflow::new("records");
    let (sink, _) = collect();
    numbers(&flow).map(move |_| make()).rebalance().map(|_| 1_u64).sink("out", sink);
    let record = refusal(flow, &dir.path().join("records"));
    let make = value.clone();
    let flow = Dataflow::new("output");
    let (sink, _) = collect();
    numbers(&flow).map(move |_| make()).sink("out", sink);
    let output = refusal(flow, &dir.path().join("output"));
    let flow = Dataflow::new("state");
    let keep = move |state: &mut Option<T>, n| {
        *state = Some(value());
        n
    };
    let (sink, _) = collect();
    numbers(&flow).key_by(|n| n % 10).stateful_map("keep", keep).sink("out", sink);
    [record, output, refusal(flow, &dir.path().join("state"))]
}

#[test]
fn a_type_that_does_not_survive_encoding_fails_the_job_at_once_wherever_it_is_used() {
    let all = [
        ("Tagged", "tag`", refusals(|| Tagged::A { x: 1 })),
        ("Untagged", "`untagged`", refusals(|| Untagged::Number(1))),
        ("Flat", "`flatten`", refusals(Flat::default)),
        ("Skipping", "`skip_serializing_if`", refusals(|| Skipping { first: None, last: 300 })),
        ("OnlyWritten", "`skip_deserializing`", refusals(OnlyWritten::default)),
    ];
    for (name, attribute, texts) in all {
        for text in texts {
            assert!(text.contains(name) && text.contains("does not survive encoding"), "{name}: {text}");
            assert!(text.contains(attribute), "{name}: {text}");
        }
    }
}

#[test]
fn a_key_and_a_default_that_do_not_survive_encoding_are_refused_before_any_record_is_kept() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let flow = Dataflow::new("defaults");
    let (sink, _) = collect();
    flow.source("numbers", generate(|index| index).rate(2_000))
        .key_by(|n| n % 10)
        .stateful_map("keep", |_: &mut Flat, n| n)
        .sink("out", sink);
    let text = refusal(flow, dir.path());
    assert!(text.contains("`keep`") && text.contains("Flat` does not survive encoding"), "{text}");

    #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Name {
        Number(u64),
    }
    let flow = Dataflow::new("keys");
    let (sink, _) = collect();
    flow.source("numbers", generate(|index| index).rate(2_000))
        .key_by(|n| Name::Number(n % 10))
        .stateful_map("keep", |_: &mut u64, n| n)
        .sink("out", sink);
    let text = refusal(flow, &dir.path().join("keys"));
    assert!(text.contains("Name` does not survive encoding") && text.contains("`untagged`"), "{text}");
}

/// Keeps what does not survive encoding: from the start on, or from the first record on.
struct Keep<A>(fn() -> A, fn() -> A);

impl<A> Aggregate for Keep<A>
where
    A: Clone + Send + Sync + Serialize + serde::de::DeserializeOwned + 'static,
{
    type In = u64;
    type Acc = A;
    type Out = u64;

    fn create(&self) -> A {
        (self.0)()
    }

    fn add(&self, acc: &mut A, _: u64) {
        *acc = (self.1)();
    }

    fn merge(&self, acc: &mut A, later: A) {
        *acc = later;
    }

    fn finish(&self, _: &A) -> u64 {
        0
    }
}

#[test]
fn an_accumulator_of_a_window_must_survive_encoding_before_any_record_and_as_a_sum_between_subtasks() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let windows: [(&str, tidegate::operators::WindowSpec); 2] = [
        ("sliced", Tumbling::of(seconds(3_600)).into()),
        ("session", Session::with_gap(seconds(3_600)).into()),
    ];
    for (name, window) in windows {
        let flow = Dataflow::new("start");
        let (sink, _) = collect();
        flow.source("numbers", generate(|index| index))
            .event_time(WatermarkStrategy::monotonic(), |n| *n as i64)
            .key_by(|n| n % 10)
            .window(window)
            .aggregate("keep", Keep(Flat::default, Flat::default))
            .sink("out", sink);
        let text = refusal(flow, &dir.path().join(format!("start-{name}")));
        assert!(text.contains("`keep`") && text.contains("::Flat` does not survive encoding"), "{text}");

        // What the stage before the exchange has added up is seen before any state is.
        let flow = Dataflow::new("sums");
        let (sink, _) = collect();
        flow.source("numbers", generate(|index| index))
            .event_time(WatermarkStrategy::monotonic(), |n| *n as i64)
            .key_by(|n| n % 2)
            .window(window)
            .aggregate("keep", Keep(|| None, || Some(Untagged::Number(1))))
            .sink("out", sink);
        let text = refusal(flow, &dir.path().join(format!("sums-{name}")));
        assert!(text.contains("`keep`") && text.contains("does not survive encoding"), "{text}");
        assert!(text.contains("Partial<") && text.contains("`untagged`"), "{text}");
    }
}

#[test]
fn a_source_whose_path_matches_nothing_fails_at_once_and_says_where_it_looked() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let flow = Dataflow::new("typo");
    let (sink, _) = collect::<String>();
    flow.source("lines", files(dir.path().join("dota/*.txt").display().to_string())).sink("out", sink);
    let text = refusal(flow, dir.path());
    assert!(text.contains("operator `lines`") && text.contains("no file matches `"), "{text}");
}
