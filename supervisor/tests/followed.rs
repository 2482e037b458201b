//! A source that finds splits for ever: what a checkpoint keeps of those that were read to their ends is bounded, and
//! none is read twice.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Controls, add_pipeline_from, config, numbers, until};
use serde::{Deserialize, Serialize};
use tidegate_runtime::Result as RuntimeResult;
use tidegate_runtime::checkpoint::storage::CheckpointStorage;
use tidegate_runtime::files::RealFiles;
use tidegate_runtime::graph::Graph;
use tidegate_runtime::source::{
    Discovered, ErasedSource, Polled, ReaderContext, Source, SourceOutput, SourceReader, Split,
};
use tidegate_supervisor::{JobState, Result, StopMode, launch};

/// A file of one number in a directory that is followed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Small(u64);

impl Split for Small {
    fn id(&self) -> String {
        format!("/some/directory/file-{:08}.log", self.0)
    }
}

/// Which files the directory lists.
#[derive(Default)]
struct Listing {
    first: AtomicU64,
    end: AtomicU64,
}

struct Directory(Arc<Listing>);

struct SmallReader(Vec<Small>);

impl Source for Directory {
    type Record = u64;
    type Split = Small;
    type Reader = SmallReader;

    fn discover(&self, _: u32) -> RuntimeResult<Discovered<Small>> {
        let listed = self.0.first.load(Ordering::Acquire)..self.0.end.load(Ordering::Acquire);
        Ok(Discovered { splits: listed.map(Small).collect(), again_after: Some(Duration::from_millis(2)) })
    }

    fn reader(&self, _: &ReaderContext) -> RuntimeResult<SmallReader> {
        Ok(SmallReader(Vec::new()))
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl SourceReader for SmallReader {
    type Record = u64;
    type Split = Small;

    fn add_split(&mut self, split: Small) -> RuntimeResult<()> {
        self.0.push(split);
        Ok(())
    }

    fn poll(&mut self, out: &mut SourceOutput<'_, u64>) -> RuntimeResult<Polled> {
        let Some(split) = self.0.pop() else { return Ok(Polled::NoSplit) };
        out.emit(split.0);
        Ok(Polled::SplitFinished(split.id()))
    }

    fn snapshot(&self) -> Vec<Small> {
        self.0.clone()
    }

    fn position(&self) -> Option<String> {
        None
    }
}

fn graph(controls: &Arc<Controls>, listing: &Arc<Listing>) -> Graph {
    let mut graph = Graph::new("followed");
    let source: Arc<dyn ErasedSource> = Arc::new(Directory(Arc::clone(listing)));
    add_pipeline_from(&mut graph, "", source, controls);
    graph
}

#[test]
fn a_followed_directory_does_not_make_checkpoints_grow_and_no_file_is_read_twice() -> Result<()> {
    const FILES: u64 = 12_000;
    const LISTED: u64 = 500;
    let dir = tempfile::tempdir().expect("a directory");
    let (controls, listing) = (Controls::open(), Arc::new(Listing::default()));
    let job = launch(&graph(&controls, &listing), config(&dir))?;
    // Files come and go; each is read, and in a checkpoint, before it goes.
    for end in (LISTED..=FILES).step_by(LISTED as usize) {
        job.checkpoint()?;
        listing.first.store(end - LISTED, Ordering::Release);
        listing.end.store(end, Ordering::Release);
        until(&job, "all that is listed is read", |job| job.totals().records_in == end);
    }
    job.kill("numbers/0")?;
    until(&job, "it is back", |job| job.totals().restarts == 1 && job.state() == JobState::Running);
    until(&job, "what the checkpoint did not have is read again", |job| job.totals().records_in == FILES);
    // One checkpoint is made of what finished before, and the next without it.
    job.checkpoint()?;
    job.checkpoint()?;
    job.stop(StopMode::Suspend)?;
    assert_eq!(job.wait()?.state, JobState::Stopped);
    assert_eq!(controls.output(), numbers(FILES));
    let storage =
        CheckpointStorage::open(Arc::new(RealFiles), &dir.path().join("checkpoints"), job.lineage())?;
    let bytes = storage.latest()?.expect("the last checkpoint").encode()?.len();
    assert!(bytes < 4_096 * 50, "{bytes} bytes of a manifest after {FILES} files");
    drop(job);
    // The next start finds files that were moved back, and new ones.
    listing.first.store(FILES - 4_000, Ordering::Release);
    listing.end.store(FILES + LISTED, Ordering::Release);
    let job = launch(&graph(&controls, &listing), config(&dir))?;
    until(&job, "the new files are read", |job| job.totals().records_in >= FILES + LISTED);
    job.stop(StopMode::Drain)?;
    assert_eq!(job.wait()?.state, JobState::Finished);
    assert_eq!(controls.output(), numbers(FILES + LISTED));
    Ok(())
}
