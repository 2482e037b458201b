//! A file sink is driven by hand over a disk that loses and tears what was not synced; the published output is compared
//! with the records that went in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate_runtime::Result;
use tidegate_runtime::element::Batch;
use tidegate_runtime::files::{Fault, FaultyFiles, FileLayer, OpenMode, read_all, write_atomically};
use tidegate_runtime::id::{CheckpointId, Lineage};
use tidegate_runtime::sink::{Committable, Committer, RunStart, Sink, SinkContext, SinkWriter};

use super::layout::PartName;
use super::{FileSink, JsonLines, csv, json_lines, lines};
use crate::drive::sink_context;

const RECORDS: u64 = 40;
const OUT: &str = "/out";

/// What is durable besides the sink's files: the last manifest and the counters that never go back.
#[derive(Clone, Default)]
struct Job {
    manifest: Option<Manifest>,
    checkpoints: u64,
    attempts: u64,
    is_started: bool,
    /// Prepared in this attempt and not committed: what an aborted checkpoint prepared goes with the next.
    open: Vec<Committable>,
}

#[derive(Clone)]
struct Manifest {
    checkpoint: CheckpointId,
    state: Vec<u8>,
    committables: Vec<Committable>,
    position: u64,
}

/// What becomes of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Published,
    /// Its job ran, then it was aborted.
    Aborted,
    /// It was aborted before its job ran.
    JobDropped,
    /// The attempt fails right after it was published, before the commit.
    NotCommitted,
}

const FATES: [Fate; 7] = [
    Fate::Published,
    Fate::Aborted,
    Fate::Published,
    Fate::JobDropped,
    Fate::Published,
    Fate::NotCommitted,
    Fate::Published,
];

fn sink(files: &FaultyFiles, roll_at_bytes: Option<u64>) -> FileSink<JsonLines<u64>> {
    let sink = json_lines(OUT).file_layer(Arc::new(files.clone()));
    match roll_at_bytes {
        Some(bytes) => sink.roll_at_bytes(bytes),
        None => sink,
    }
}

fn write(writer: &mut impl SinkWriter<Record = u64>, records: std::ops::Range<u64>) -> Result<()> {
    let mut batch = Batch { records: records.collect(), ..Batch::default() };
    let len = batch.len();
    writer.write(&mut batch, 0..len)
}

impl Job {
    fn context(&mut self) -> SinkContext {
        self.attempts += 1;
        SinkContext {
            restored: self.manifest.as_ref().map(|manifest| manifest.checkpoint),
            ..sink_context(0, self.attempts)
        }
    }

    /// A process starts or resumes the job and runs it to its end, or fails.
    fn run(&mut self, sink: &FileSink<JsonLines<u64>>) -> Result<()> {
        let start = if self.is_started { RunStart::Resumed } else { RunStart::Fresh };
        sink.check(Lineage(7), start)?;
        self.is_started = true;
        while self.attempt(sink)? == Attempt::Failed {}
        Ok(())
    }

    fn attempt(&mut self, sink: &FileSink<JsonLines<u64>>) -> Result<Attempt> {
        let cx = self.context();
        let state: Vec<Vec<u8>> = self.manifest.iter().map(|manifest| manifest.state.clone()).collect();
        let mut writer = sink.writer(&cx, &state)?;
        let mut committer = sink.committer(&cx)?.expect("it commits");
        if let Some(manifest) = &self.manifest {
            committer.commit(manifest.checkpoint, &manifest.committables)?;
        }
        self.open.clear();
        let mut position = self.manifest.as_ref().map_or(0, |manifest| manifest.position);
        while position < RECORDS {
            let until = (position + 3).min(RECORDS);
            write(&mut writer, position..until - 1)?;
            write(&mut writer, until - 1..until)?;
            position = until;
            if position == RECORDS {
                writer.on_end_of_input()?;
            }
            let fate = FATES[self.checkpoints as usize % FATES.len()];
            let fate = if position == RECORDS { Fate::Published } else { fate };
            match self.checkpoint(&mut writer, committer.as_mut(), position, fate)? {
                Attempt::Failed => return Ok(Attempt::Failed),
                Attempt::Went => {}
            }
        }
        Ok(Attempt::Went)
    }

    fn checkpoint(
        &mut self,
        writer: &mut impl SinkWriter,
        committer: &mut dyn Committer,
        position: u64,
        fate: Fate,
    ) -> Result<Attempt> {
        self.checkpoints += 1;
        let checkpoint = CheckpointId(self.checkpoints);
        let (state, job) = writer.freeze(checkpoint)?;
        let job = job.expect("a file sink prepares");
        if fate == Fate::JobDropped {
            return Ok(Attempt::Went);
        }
        self.open.extend(job()?);
        if fate == Fate::Aborted {
            return Ok(Attempt::Went);
        }
        let committables = self.open.clone();
        self.manifest = Some(Manifest { checkpoint, state, committables: committables.clone(), position });
        if fate == Fate::NotCommitted {
            return Ok(Attempt::Failed);
        }
        committer.commit(checkpoint, &committables)?;
        self.open.clear();
        Ok(Attempt::Went)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Went,
    Failed,
}

fn published(files: &FaultyFiles) -> Result<Vec<u64>> {
    let mut records = Vec::new();
    for entry in files.list(Path::new(OUT))? {
        if PartName::parse(&entry.name).is_some() {
            let bytes = read_all(files, &Path::new(OUT).join(&entry.name))?;
            let text = String::from_utf8(bytes).expect("the output is text");
            records.extend(text.lines().map(|line| line.parse::<u64>().expect("a record is whole")));
        }
    }
    records.sort_unstable();
    Ok(records)
}

fn unpublished(files: &FaultyFiles) -> Result<Vec<String>> {
    let entries = files.list(&Path::new(OUT).join(".pending"))?;
    Ok(entries.into_iter().map(|entry| entry.name).filter(|name| PartName::parse(name).is_some()).collect())
}

fn check_output(files: &FaultyFiles, what: &str) -> Result<()> {
    assert_eq!(published(files)?, (0..RECORDS).collect::<Vec<_>>(), "{what}");
    assert_eq!(unpublished(files)?, Vec::<String>::new(), "{what}");
    Ok(())
}

/// Operations of a run without a crash.
fn operations(roll: Option<u64>) -> Result<u64> {
    let files = FaultyFiles::new();
    Job::default().run(&sink(&files, roll))?;
    check_output(&files, "without a crash")?;
    Ok(files.operations())
}

const ROLLS: [Option<u64>; 3] = [None, Some(20), Some(1_000_000)];

#[test]
fn power_lost_at_any_operation_loses_and_doubles_nothing() -> Result<()> {
    // Cases 58, 59, 66, 77, 78, 94, 95, 96, 98.
    for roll in ROLLS {
        for crash in 0..operations(roll)? {
            for seed in 0..3 {
                let what = format!("roll {roll:?}, power lost at operation {crash}, seed {seed}");
                let files = FaultyFiles::new();
                let mut job = Job::default();
                files.crash_at(crash);
                assert!(job.run(&sink(&files, roll)).is_err(), "{what}");
                files.crash(seed);
                // And again while it recovers.
                files.crash_at(files.operations() + (crash * 7 + seed * 3) % 23);
                let recovered = job.run(&sink(&files, roll)).is_ok();
                if !recovered {
                    files.crash(seed + 100);
                    job.run(&sink(&files, roll)).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
                check_output(&files, &what)?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_failing_operation_fails_the_attempt_and_leaves_nothing_half() -> Result<()> {
    // Cases 60 and 61: the process lives on, the next attempts try again.
    for fault in [Fault::Io, Fault::Full] {
        for roll in ROLLS {
            for operation in 0..operations(roll)? {
                let what = format!("{fault:?} at operation {operation}, roll {roll:?}");
                let files = FaultyFiles::new();
                files.fail(operation..operation + 2, fault);
                let sink = sink(&files, roll);
                let mut job = Job::default();
                let mut tries = 0;
                while let Err(error) = job.run(&sink) {
                    tries += 1;
                    assert!(tries <= 3, "{what}: {error}");
                }
                // What a failed sync dropped must be gone from the output too once the power is lost.
                files.crash(0);
                check_output(&files, &what)?;
            }
        }
    }
    Ok(())
}

#[test]
fn records_are_visible_only_after_their_checkpoint_is_published() -> Result<()> {
    let files = FaultyFiles::new();
    let sink = sink(&files, None);
    sink.check(Lineage(7), RunStart::Fresh)?;
    let cx = sink_context(0, 1);
    let (mut writer, mut committer) = (sink.writer(&cx, &[])?, sink.committer(&cx)?.expect("it commits"));
    write(&mut writer, 0..5)?;
    let (_, job) = writer.freeze(CheckpointId(1))?;
    let committables = job.expect("a file sink prepares")()?;
    assert_eq!(published(&files)?, Vec::<u64>::new());
    committer.commit(CheckpointId(1), &committables)?;
    committer.commit(CheckpointId(1), &committables)?;
    assert_eq!(published(&files)?, (0..5).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_published_part_that_a_reader_took_away_is_no_trouble() -> Result<()> {
    let files = FaultyFiles::new();
    let sink = sink(&files, None);
    let mut job = Job::default();
    job.run(&sink)?;
    for entry in files.list(Path::new(OUT))?.into_iter().filter(|entry| entry.name.starts_with("part")) {
        files.remove(&Path::new(OUT).join(entry.name))?;
    }
    let manifest = job.manifest.clone().expect("it has run");
    let mut committer = sink.committer(&job.context())?.expect("it commits");
    committer.commit(manifest.checkpoint, &manifest.committables)?;
    assert_eq!(published(&files)?, Vec::<u64>::new());
    Ok(())
}

/// Somebody has cleaned up: what was prepared and never published can't be published any more.
#[test]
fn a_prepared_part_that_was_removed_is_lost_output_and_an_error() -> Result<()> {
    let files = FaultyFiles::new();
    let sink = sink(&files, None);
    sink.check(Lineage(7), RunStart::Fresh)?;
    let cx = sink_context(0, 1);
    let (mut writer, mut committer) = (sink.writer(&cx, &[])?, sink.committer(&cx)?.expect("it commits"));
    for checkpoint in [1, 2] {
        write(&mut writer, checkpoint..checkpoint + 1)?;
        let (_, job) = writer.freeze(CheckpointId(checkpoint))?;
        let committables = job.expect("a file sink prepares")()?;
        if checkpoint == 2 {
            for name in unpublished(&files)? {
                files.remove(&Path::new(OUT).join(".pending").join(name))?;
            }
            for _ in 0..2 {
                let error =
                    committer.commit(CheckpointId(2), &committables).expect_err("it is lost").to_string();
                assert!(error.contains("part-0-1-1.jsonl is gone before it was published"), "{error}");
            }
        } else {
            committer.commit(CheckpointId(1), &committables)?;
        }
    }
    assert_eq!(published(&files)?, [1]);
    Ok(())
}

#[test]
fn a_checkpoint_older_than_the_output_is_refused() -> Result<()> {
    // Case 86.
    let files = FaultyFiles::new();
    let sink = sink(&files, None);
    let mut job = Job::default();
    job.run(&sink)?;
    let cx = SinkContext { restored: Some(CheckpointId(1)), ..job.context() };
    let error = sink.writer(&cx, &[]).err().expect("it is refused").to_string();
    assert!(error.contains("/out") && error.contains("goes on from checkpoint-1"), "{error}");
    Ok(())
}

fn refusal(files: &FaultyFiles, lineage: u128, start: RunStart) -> String {
    let refused = sink(files, None).check(Lineage(lineage), start);
    refused.expect_err("it is refused").to_string()
}

#[test]
fn a_directory_with_other_output_is_refused() -> Result<()> {
    let files = FaultyFiles::new();
    Job::default().run(&sink(&files, None))?;
    let another = refusal(&files, 8, RunStart::Fresh);
    assert!(another.contains("/out") && another.contains("output of another run"), "{another}");
    assert!(refusal(&files, 8, RunStart::Resumed).contains("output of another run"));
    assert!(refusal(&files, 7, RunStart::Fresh).contains("whose state is gone"));
    sink(&files, None).check(Lineage(7), RunStart::Resumed)?;

    let foreign = FaultyFiles::new();
    foreign.create_dir_all(Path::new(OUT))?;
    foreign.open(Path::new("/out/important.txt"), OpenMode::CreateNew)?;
    assert!(refusal(&foreign, 7, RunStart::Fresh).contains("files that no run of this job wrote"));
    assert_eq!(foreign.list(Path::new(OUT))?.len(), 1, "nothing is added to it");
    Ok(())
}

#[test]
fn a_directory_is_taken_over_only_if_nothing_was_published_and_nobody_writes() -> Result<()> {
    let files = FaultyFiles::new();
    files.create_dir_all(Path::new("/out/unknown"))?;
    let first = sink(&files, None);
    first.check(Lineage(7), RunStart::Fresh)?;
    let mut writer = first.writer(&sink_context(0, 1), &[])?;
    write(&mut writer, 0..5)?;
    let (_, job) = writer.freeze(CheckpointId(1))?;
    job.expect("a file sink prepares")()?;
    assert_eq!(unpublished(&files)?.len(), 1);
    assert!(refusal(&files, 7, RunStart::Fresh).contains("another sink of this job"));
    assert!(refusal(&files, 8, RunStart::Fresh).contains("another running job"));
    drop(first);
    let second = sink(&files, None);
    second.check(Lineage(8), RunStart::Fresh)?;
    assert_eq!(unpublished(&files)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn orphans_of_dead_attempts_are_removed_and_needed_files_are_kept() -> Result<()> {
    // Case 95.
    let files = FaultyFiles::new();
    let sink = sink(&files, Some(1_000_000));
    sink.check(Lineage(7), RunStart::Fresh)?;
    let mut job = Job::default();
    let mut writer = sink.writer(&job.context(), &[])?;
    write(&mut writer, 0..5)?;
    let (state, prepare) = writer.freeze(CheckpointId(1))?;
    let committables = prepare.expect("a file sink prepares")()?;
    for name in ["part-0-1-9.jsonl", "part-1-1-0.jsonl", "part-0-9-0.jsonl", "notes"] {
        write_atomically(&files, &Path::new("/out/.pending").join(name), b"half")?;
    }
    job.manifest = Some(Manifest { checkpoint: CheckpointId(1), state, committables, position: 5 });
    let mut writer =
        sink.writer(&job.context(), std::slice::from_ref(&job.manifest.as_ref().expect("set").state))?;
    let kept = ["part-0-1-0.jsonl", "part-0-2-0.jsonl", "part-0-9-0.jsonl", "part-1-1-0.jsonl"];
    assert_eq!(unpublished(&files)?, kept);
    // The copied part is needed until the next checkpoint is published.
    let (_, prepare) = writer.freeze(CheckpointId(2))?;
    let committables = prepare.expect("a file sink prepares")()?;
    assert!(unpublished(&files)?.contains(&"part-0-1-0.jsonl".to_owned()));
    let mut committer = sink.committer(&sink_context(0, 2))?.expect("it commits");
    committer.commit(CheckpointId(2), &committables)?;
    assert_eq!(unpublished(&files)?, kept[1..]);
    Ok(())
}

#[test]
fn a_new_attempt_goes_on_with_a_copy() -> Result<()> {
    let files = FaultyFiles::new();
    let sink = sink(&files, Some(1_000_000));
    sink.check(Lineage(7), RunStart::Fresh)?;
    let mut writer = sink.writer(&sink_context(0, 1), &[])?;
    write(&mut writer, 0..5)?;
    let (state, _) = writer.freeze(CheckpointId(1))?;
    // The old attempt is not aware that it was abandoned, and goes on writing.
    write(&mut writer, 5..900)?;
    let _ = writer.freeze(CheckpointId(2))?;
    let cx = SinkContext { restored: Some(CheckpointId(1)), ..sink_context(0, 2) };
    let mut writer = sink.writer(&cx, &[state])?;
    write(&mut writer, 5..RECORDS)?;
    writer.on_end_of_input()?;
    let (_, job) = writer.freeze(CheckpointId(3))?;
    let committables = job.expect("a file sink prepares")()?;
    sink.committer(&cx)?.expect("it commits").commit(CheckpointId(3), &committables)?;
    check_output(&files, "with a zombie")
}

#[test]
fn files_roll_by_size_and_by_age() -> Result<()> {
    let files = FaultyFiles::new();
    let sink = sink(&files, None).roll_after(Duration::from_millis(100)).roll_at_bytes(50);
    sink.check(Lineage(7), RunStart::Fresh)?;
    let cx = sink_context(0, 1);
    let mut writer = sink.writer(&cx, &[])?;
    let mut parts_of = |records: std::ops::Range<u64>, checkpoint: u64| -> Result<usize> {
        write(&mut writer, records)?;
        let (_, job) = writer.freeze(CheckpointId(checkpoint))?;
        let committables = job.expect("a file sink prepares")()?;
        sink.committer(&cx)?.expect("it commits").commit(CheckpointId(checkpoint), &committables)?;
        Ok(files.list(Path::new(OUT))?.len() - 1)
    };
    assert_eq!(parts_of(0..10, 1)?, 0, "neither large nor old");
    assert_eq!(parts_of(10..30, 2)?, 1, "large");
    assert_eq!(parts_of(30..31, 3)?, 1, "a new one");
    cx.clock.advance(Duration::from_millis(100));
    assert_eq!(parts_of(31..31, 4)?, 2, "old");
    assert_eq!(published(&files)?, (0..31).collect::<Vec<_>>());
    Ok(())
}

/// Writes records into a real directory, in two checkpoints, and returns the files.
fn written<S: Sink>(sink: &S, directory: &Path, batches: Vec<Vec<S::Record>>) -> Result<Vec<String>> {
    sink.check(Lineage(7), RunStart::Fresh)?;
    let cx = sink_context(0, 1);
    let mut writer = sink.writer(&cx, &[])?;
    let mut committer = sink.committer(&cx)?.expect("it commits");
    for (checkpoint, records) in batches.into_iter().enumerate() {
        let mut batch = Batch { records, ..Batch::default() };
        let len = batch.len();
        writer.write(&mut batch, 0..len)?;
        let checkpoint = CheckpointId(checkpoint as u64 + 1);
        let (_, job) = writer.freeze(checkpoint)?;
        committer.commit(checkpoint, &job.expect("a file sink prepares")()?)?;
    }
    let mut contents = Vec::new();
    for entry in tidegate_runtime::files::RealFiles.list(directory)? {
        if PartName::parse(&entry.name).is_some() {
            let text = std::fs::read_to_string(directory.join(&entry.name)).expect("it can be read");
            contents.push(format!("{}\n{text}", entry.name));
        }
    }
    Ok(contents)
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Row {
    id: u64,
    text: Option<String>,
}

#[test]
fn every_format_is_written_to_real_files() -> Result<()> {
    let root = tempfile::tempdir().expect("a temporary directory");
    let dir = |name: &str| root.path().join(name).join("deep");
    let row = |id: u64, text: &str| Row { id, text: Some(text.to_owned()) };
    let rows = || vec![vec![row(1, "a,b"), Row { id: 2, text: None }], Vec::new(), vec![row(3, "\"")]];
    let json = written(&json_lines(dir("json")), &dir("json"), rows())?;
    let first = "part-0-1-0.jsonl\n{\"id\":1,\"text\":\"a,b\"}\n{\"id\":2,\"text\":null}\n";
    assert_eq!(json, [first, "part-0-1-1.jsonl\n{\"id\":3,\"text\":\"\\\"\"}\n"]);
    let rows = written(&csv(dir("csv")).delimiter(b';'), &dir("csv"), rows())?;
    assert_eq!(rows, ["part-0-1-0.csv\nid;text\n1;a,b\n2;\n", "part-0-1-1.csv\nid;text\n3;\"\"\"\"\n"]);
    let text = written(&lines(dir("txt")), &dir("txt"), vec![vec!["x".to_owned(), "é".to_owned()]])?;
    assert_eq!(text, ["part-0-1-0.txt\nx\né\n"]);
    Ok(())
}

#[test]
fn a_large_part_does_not_stay_in_memory() -> Result<()> {
    let root = tempfile::tempdir().expect("a temporary directory");
    let out = root.path().join("out");
    let sink = lines(&out);
    sink.check(Lineage(7), RunStart::Fresh)?;
    let mut writer = sink.writer(&sink_context(0, 1), &[])?;
    for _ in 0..3 {
        let mut batch = Batch { records: vec!["x".repeat(999); 700], ..Batch::default() };
        writer.write(&mut batch, 0..700)?;
    }
    let bytes = std::fs::metadata(out.join(".pending/part-0-1-0.txt")).map(|found| found.len());
    assert_eq!(bytes.ok(), Some(1_400_000));
    Ok(())
}

#[test]
fn a_record_that_the_format_can_t_hold_is_an_error() -> Result<()> {
    type Nested = (u64, Vec<(u64, u64)>);
    let files = FaultyFiles::new();
    let sink = csv::<std::collections::BTreeMap<String, Nested>>(OUT).file_layer(Arc::new(files));
    sink.check(Lineage(7), RunStart::Fresh)?;
    let mut writer = sink.writer(&sink_context(0, 1), &[])?;
    let record = std::iter::once(("a".to_owned(), (1, vec![(1, 2)]))).collect();
    let mut batch = Batch { records: vec![record], ..Batch::default() };
    let error = writer.write(&mut batch, 0..1).expect_err("CSV has no maps").to_string();
    assert!(error.contains("can't be written as csv"), "{error}");
    Ok(())
}
