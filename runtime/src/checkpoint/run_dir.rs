//! The state directory of a run: who may use it, which run it holds, and where its parts are.
//!
//! ```text
//! lock          held by the process that uses the directory; holds its pid
//! run.json      the record: version, lineage, plan, status
//! checkpoints/  manifests          store.redb or store/  state        control.json  where the job can be asked
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manifest::PlanFingerprint;
use crate::error::{Error, Result};
use crate::files::{
    FileLayer, FileLock, TEMPORARY_SUFFIX, create_dirs, read_optional, remove_tree, write_atomically,
};
use crate::id::Lineage;
use crate::time::Timestamp;

const RECORD: &str = "run.json";
const LOCK: &str = "lock";
const CONTROL: &str = "control.json";
const CHECKPOINTS: &str = "checkpoints";
const STORE_FILE: &str = "store.redb";
const STORE_DIRECTORY: &str = "store";
/// The version of the record that is written.
pub const RECORD_VERSION: u32 = 1;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It runs, or was interrupted: it can go on.
    Running,
    /// Its input has ended and all output is committed: the next start is a new run.
    Finished,
    /// It gave up; its last checkpoint is kept and the next start goes on from there.
    Failed,
}

/// What the directory says of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunRecord {
    version: u32,
    lineage: String,
    status: RunStatus,
    created_ms: i64,
    /// How often it was started, so that no attempt's number is ever given twice.
    #[serde(default)]
    starts: u64,
    plan: Vec<(String, String)>,
}

/// What was found when the directory was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A run begins.
    Fresh,
    /// The run of the same plan that was here goes on.
    Resumed,
}

/// A state directory that this process holds.
#[derive(Debug)]
pub struct RunDir {
    files: Arc<dyn FileLayer>,
    path: PathBuf,
    record: RunRecord,
    lineage: Lineage,
    opening: Opening,
    _lock: Box<dyn FileLock>,
}

/// What a run is opened as.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// What it is of.
    pub plan: PlanFingerprint,
    /// Its identity if it begins afresh: a random number.
    pub lineage: Lineage,
    /// Now.
    pub now: Timestamp,
}

impl RunDir {
    /// Takes the directory, creating it, and decides whether its run goes on or a new one begins.
    ///
    /// # Errors
    /// If another process holds it, if it holds an unfinished run of another plan (the message says what differs), if
    /// its record is damaged, or if it can't be written.
    pub fn open(files: Arc<dyn FileLayer>, path: &Path, new: NewRun) -> Result<Self> {
        create_dirs(&*files, path)?;
        let lock = take_lock(&*files, path)?;
        let record = read_record(&*files, path)?;
        match record {
            Some((record, lineage)) if record.status != RunStatus::Finished => {
                let old = PlanFingerprint { parts: record.plan.clone() };
                refuse_differences(path, &old, &new.plan)?;
                let starts = record.starts + 1;
                let dir = Self {
                    files,
                    path: path.to_path_buf(),
                    record: RunRecord { starts, status: RunStatus::Running, ..record },
                    lineage,
                    opening: Opening::Resumed,
                    _lock: lock,
                };
                dir.write_record()?;
                Ok(dir)
            }
            _ => Self::begin(files, path, new, lock),
        }
    }

    fn begin(files: Arc<dyn FileLayer>, path: &Path, new: NewRun, lock: Box<dyn FileLock>) -> Result<Self> {
        // Before the record: a crash in between leaves a finished run's record, or none, and this is done again.
        clear(&*files, path)?;
        let record = RunRecord {
            version: RECORD_VERSION,
            lineage: new.lineage.to_string(),
            status: RunStatus::Running,
            created_ms: new.now.millis(),
            starts: 1,
            plan: new.plan.parts,
        };
        let dir = Self {
            files,
            path: path.to_path_buf(),
            record,
            lineage: new.lineage,
            opening: Opening::Fresh,
            _lock: lock,
        };
        dir.write_record()?;
        Ok(dir)
    }

    /// Whether a run begins or goes on.
    pub fn opening(&self) -> Opening {
        self.opening
    }

    /// The run's identity.
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// How far the run has come.
    pub fn status(&self) -> RunStatus {
        self.record.status
    }

    /// When the run began.
    pub fn created(&self) -> Timestamp {
        Timestamp(self.record.created_ms)
    }

    /// How often the run was started, this time included.
    pub fn starts(&self) -> u64 {
        self.record.starts
    }

    /// Writes down how far the run has come, durably.
    ///
    /// # Errors
    /// If the record can't be written.
    pub fn set_status(&mut self, status: RunStatus) -> Result<()> {
        if self.record.status == status {
            return Ok(());
        }
        self.record.status = status;
        self.write_record()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the manifests are.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// The file of the redb store.
    pub fn store_file(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }

    /// The directory of the memory store's snapshots.
    pub fn store_directory(&self) -> PathBuf {
        self.path.join(STORE_DIRECTORY)
    }

    /// The file that says where the running job can be asked.
    pub fn control_file(&self) -> PathBuf {
        control_file(&self.path)
    }

    fn write_record(&self) -> Result<()> {
        let path = self.path.join(RECORD);
        let mut bytes = serde_json::to_vec_pretty(&self.record)
            .map_err(|error| Error::StateDir { path: path.clone(), problem: error.to_string() })?;
        bytes.push(b'\n');
        write_atomically(&*self.files, &path, &bytes)
    }
}

/// The file in a state directory that says where the running job can be asked.
pub fn control_file(directory: &Path) -> PathBuf {
    directory.join(CONTROL)
}

/// How far the run in a state directory has come, without taking the directory; `None` if it holds no run.
///
/// # Errors
/// If its record is damaged or can't be read.
pub fn status_of(files: &dyn FileLayer, path: &Path) -> Result<Option<RunStatus>> {
    Ok(read_record(files, path)?.map(|(record, _)| record.status))
}

fn take_lock(files: &dyn FileLayer, path: &Path) -> Result<Box<dyn FileLock>> {
    let file = path.join(LOCK);
    if let Some(lock) = files.try_lock(&file)? {
        return Ok(lock);
    }
    let pid = read_optional(files, &file)?.unwrap_or_default();
    let pid = String::from_utf8_lossy(&pid).trim().to_owned();
    let who = if pid.is_empty() { "another process".to_owned() } else { format!("process {pid}") };
    let problem =
        format!("the state directory is in use by {who}; stop it, or choose another with `--state DIR`");
    Err(Error::StateDir { path: path.to_path_buf(), problem })
}

fn read_record(files: &dyn FileLayer, path: &Path) -> Result<Option<(RunRecord, Lineage)>> {
    let file = path.join(RECORD);
    let Some(bytes) = read_optional(files, &file)? else { return Ok(None) };
    let damaged = |problem: String| Error::Damaged { path: file.clone(), problem };
    let record: RunRecord = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if record.version != RECORD_VERSION {
        let problem =
            format!("a record of version {}; this program reads version {RECORD_VERSION}", record.version);
        return Err(damaged(problem));
    }
    let lineage = u128::from_str_radix(&record.lineage, 16)
        .map_err(|_| damaged(format!("lineage `{}` is not a number", record.lineage)))?;
    Ok(Some((record, Lineage(lineage))))
}

fn refuse_differences(path: &Path, old: &PlanFingerprint, new: &PlanFingerprint) -> Result<()> {
    let differences = old.differences(new);
    if differences.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "the directory holds an unfinished run of something else:\n  {}\nstart that again to finish it, choose \
         another directory with `--state DIR`, or delete {} to give it up",
        differences.join("\n  "),
        path.display()
    );
    Err(Error::StateDir { path: path.to_path_buf(), problem })
}

/// Removes what a finished run has left.
fn clear(files: &dyn FileLayer, path: &Path) -> Result<()> {
    remove_tree(files, &path.join(CHECKPOINTS))?;
    remove_tree(files, &path.join(STORE_DIRECTORY))?;
    for name in [STORE_FILE, CONTROL] {
        files.remove(&path.join(name))?;
    }
    for entry in files.list(path)? {
        if entry.name.ends_with(TEMPORARY_SUFFIX) {
            files.remove(&path.join(&entry.name))?;
        }
    }
    files.sync_dir(path)
}

#[cfg(test)]
mod tests;
