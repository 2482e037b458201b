//! Durable storage of a run in its state directory: the lock, the record, manifests, and what they refer to.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tidegate_runtime::checkpoint::manifest::{Manifest, PlanFingerprint};
use tidegate_runtime::checkpoint::run_dir::{NewRun, Opening, RunDir, RunStatus};
use tidegate_runtime::checkpoint::storage::CheckpointStorage;
use tidegate_runtime::config::JobConfig;
use tidegate_runtime::error::{Error, Result};
use tidegate_runtime::files::FileLayer;
use tidegate_runtime::graph::Plan;
use tidegate_runtime::id::Lineage;
use tidegate_runtime::sink::RunStart;
use tidegate_runtime::sync::lock;
use tidegate_runtime::time::Clock;

use crate::panics::catching;
use crate::storage::{ManifestStore, RunEnd};
use crate::tables::StoreTables;

/// A state directory that this process holds until the run ends.
pub(crate) struct RunStorage {
    held: Mutex<Option<Held>>,
    retained: usize,
}

struct Held {
    dir: RunDir,
    checkpoints: CheckpointStorage,
    tables: Arc<StoreTables>,
}

/// What was found in the directory.
pub(crate) struct Opened {
    pub(crate) storage: RunStorage,
    pub(crate) tables: Arc<StoreTables>,
    pub(crate) path: PathBuf,
    pub(crate) lineage: Lineage,
    pub(crate) start: RunStart,
    /// How often the run was started, this time included.
    pub(crate) starts: u64,
    pub(crate) latest: Option<Manifest>,
}

impl RunStorage {
    /// Takes the directory.
    ///
    /// # Errors
    /// If another process holds it, or it holds something else, or it can't be read or written.
    pub(crate) fn open(
        files: &Arc<dyn FileLayer>,
        plan: &Plan,
        config: &JobConfig,
        clock: &Clock,
    ) -> Result<Opened> {
        let path = config.state_dir.clone().unwrap_or_else(|| Path::new(".tidegate").join(&plan.job));
        let new = NewRun {
            plan: PlanFingerprint { parts: plan.identity() },
            lineage: random_lineage(clock),
            now: clock.now(),
        };
        let dir = RunDir::open(Arc::clone(files), &path, new)?;
        let checkpoints = CheckpointStorage::open(Arc::clone(files), &dir.checkpoints(), dir.lineage())?;
        let mut manifests = checkpoints.all()?;
        let tables = StoreTables::open(files, &dir, config, &manifests)?;
        let latest = manifests.pop();
        let start = match dir.opening() {
            Opening::Fresh => RunStart::Fresh,
            Opening::Resumed => RunStart::Resumed,
        };
        let (lineage, starts) = (dir.lineage(), dir.starts());
        let retained = config.checkpoint.retained as usize;
        let held = Held { dir, checkpoints, tables: Arc::clone(&tables) };
        let storage = Self { held: Mutex::new(Some(held)), retained };
        Ok(Opened { storage, tables, path, lineage, start, starts, latest })
    }
}

impl ManifestStore for RunStorage {
    fn publish(&self, manifest: &Manifest) -> Result<()> {
        let held = lock(&self.held);
        let Some(Held { checkpoints, tables, .. }) = &*held else {
            let problem = "the run has ended".to_owned();
            return Err(Error::Checkpoint { checkpoint: manifest.checkpoint, problem });
        };
        checkpoints.publish(manifest)?;
        // It exists from here on, whatever becomes of the old ones.
        let cleaned = catching(|| {
            let retained = checkpoints.retain(self.retained)?;
            tables.published(manifest.checkpoint, &retained);
            Ok(())
        });
        let cleaned: Result<()> = cleaned.unwrap_or_else(|panicked| Err(panicked.into_error()));
        if let Err(error) = cleaned {
            tracing::warn!(%error, "old checkpoints were not removed; they are tried again after the next");
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        lock(&self.held).as_ref().map_or(Ok(()), |held| held.checkpoints.settle())
    }

    fn close(&self, end: Option<RunEnd>) -> Result<()> {
        let Some(Held { mut dir, checkpoints, tables }) = lock(&self.held).take() else { return Ok(()) };
        tables.close();
        // What the report calls the last checkpoint is what the next start goes on from.
        checkpoints.settle()?;
        match end {
            Some(RunEnd::Finished) => dir.set_status(RunStatus::Finished),
            Some(RunEnd::Failed) => dir.set_status(RunStatus::Failed),
            None => Ok(()),
        }
    }
}

/// Different for every run: the wall clock, the process, and the address space's randomness.
fn random_lineage(clock: &Clock) -> Lineage {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let part = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_i64(clock.now().millis());
        hasher.write_u32(std::process::id());
        u128::from(hasher.finish())
    };
    Lineage((part() << 64) | part())
}
