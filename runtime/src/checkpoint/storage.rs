//! Where manifests are kept: one file each, written last and atomically, listed, retained, cleaned.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::Manifest;
use crate::error::{Error, Result};
use crate::files::{EntryKind, FileLayer, TEMPORARY_SUFFIX, create_dirs, read_all, write_atomically};
use crate::id::{CheckpointId, Lineage};
use crate::sync::{Mutex, lock};

const SUFFIX: &str = ".manifest";

/// The checkpoints of one run in one directory.
///
/// Nothing here skips a checkpoint or falls back to an older one: sinks may have committed the newest, so going back
/// would double their output (case 63). What can't be read now is an error (case 13).
#[derive(Debug)]
pub struct CheckpointStorage {
    files: Arc<dyn FileLayer>,
    directory: PathBuf,
    lineage: Lineage,
    /// A checkpoint that is being published, or was not and may still exist.
    open: Mutex<Option<CheckpointId>>,
}

impl CheckpointStorage {
    /// Opens the directory, creating it, and removes what a crash has left half written. What it lists is durable: a
    /// process that ended between a rename and its sync leaves a name that the next power loss would take away.
    ///
    /// # Errors
    /// If the directory can't be created, read or synced.
    pub fn open(files: Arc<dyn FileLayer>, directory: &Path, lineage: Lineage) -> Result<Self> {
        create_dirs(&*files, directory)?;
        for entry in files.list(directory)? {
            if entry.kind == EntryKind::File && entry.name.ends_with(TEMPORARY_SUFFIX) {
                files.remove(&directory.join(&entry.name))?;
            }
        }
        files.sync_dir(directory)?;
        Ok(Self { files, directory: directory.to_path_buf(), lineage, open: Mutex::new(None) })
    }

    /// Makes a checkpoint exist. All that its manifest refers to is durable before.
    ///
    /// # Errors
    /// If it can't be written durably. Unless the disk fails three times in a row it then does not exist (case 12);
    /// [`settle`](Self::settle) must have come back before anything relies on that.
    pub fn publish(&self, manifest: &Manifest) -> Result<()> {
        let path = self.path_of(manifest.checkpoint);
        self.check_lineage(&path, manifest)?;
        let bytes = manifest.encode()?;
        self.settle()?;
        *lock(&self.open) = Some(manifest.checkpoint);
        let Err(error) = write_atomically(&*self.files, &path, &bytes) else {
            self.close();
            return Ok(());
        };
        if matches!(self.files.file_len(&path), Ok(None)) {
            self.close();
            return Err(error);
        }
        // Only the directory could not be synced: the name is seen, and a crash may take it away under the output that
        // was committed for it. Written again it is durable; or else it must go.
        if write_atomically(&*self.files, &path, &bytes).is_ok() {
            self.close();
            return Ok(());
        }
        // If it can't be removed now it stays open, and who publishes settles it later.
        drop(self.settle());
        Err(error)
    }

    /// Decides what a failed publication has left open: once this comes back the checkpoint does not exist, whatever a
    /// crash does. Until then it may or may not, so nothing may be restored, and none of what it refers to given up.
    ///
    /// # Errors
    /// If the disk still fails: a retry may help.
    pub fn settle(&self) -> Result<()> {
        let Some(checkpoint) = *lock(&self.open) else { return Ok(()) };
        self.files.remove(&self.path_of(checkpoint))?;
        self.files.sync_dir(&self.directory)?;
        self.close();
        Ok(())
    }

    fn close(&self) {
        *lock(&self.open) = None;
    }

    /// The ids of all checkpoints, rising.
    ///
    /// # Errors
    /// If the directory can't be read.
    pub fn list(&self) -> Result<Vec<CheckpointId>> {
        let entries = self.files.list(&self.directory)?;
        let mut ids: Vec<CheckpointId> = entries.iter().filter_map(|entry| id_of(&entry.name)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// One checkpoint.
    ///
    /// # Errors
    /// If it can't be read, is damaged, or is another run's.
    pub fn read(&self, checkpoint: CheckpointId) -> Result<Manifest> {
        let path = self.path_of(checkpoint);
        let manifest = Manifest::decode(&path, &read_all(&*self.files, &path)?)?;
        self.check_lineage(&path, &manifest)?;
        if manifest.checkpoint != checkpoint {
            let problem = format!("it is the manifest of {}", manifest.checkpoint);
            return Err(Error::Damaged { path, problem });
        }
        Ok(manifest)
    }

    /// The newest checkpoint, `None` if there is none.
    ///
    /// # Errors
    /// If it can't be read or is damaged; never an older one instead (case 63).
    pub fn latest(&self) -> Result<Option<Manifest>> {
        self.list()?.last().map(|checkpoint| self.read(*checkpoint)).transpose()
    }

    /// All checkpoints, oldest first.
    ///
    /// # Errors
    /// If one can't be read or is damaged.
    pub fn all(&self) -> Result<Vec<Manifest>> {
        self.list()?.into_iter().map(|checkpoint| self.read(checkpoint)).collect()
    }

    /// Removes all but the newest `retained` checkpoints (at least one stays) and returns the ids of those that stay.
    /// State may be dropped only after this: a manifest never outlives what it refers to (case 19).
    ///
    /// # Errors
    /// If a file can't be removed durably; what stays is still a row of the newest.
    pub fn retain(&self, retained: usize) -> Result<Vec<CheckpointId>> {
        let mut ids = self.list()?;
        let surplus = ids.len().saturating_sub(retained.max(1));
        // Oldest first: a crash in between leaves no gap.
        for checkpoint in &ids[..surplus] {
            self.files.remove(&self.path_of(*checkpoint))?;
        }
        if surplus > 0 {
            self.files.sync_dir(&self.directory)?;
        }
        Ok(ids.split_off(surplus))
    }

    /// The file of a checkpoint.
    pub fn path_of(&self, checkpoint: CheckpointId) -> PathBuf {
        self.directory.join(format!("{:020}{SUFFIX}", checkpoint.0))
    }

    fn check_lineage(&self, path: &Path, manifest: &Manifest) -> Result<()> {
        if manifest.lineage == self.lineage {
            return Ok(());
        }
        let problem = format!("it is of run {}, this is run {}", manifest.lineage, self.lineage);
        Err(Error::StateDir { path: path.to_path_buf(), problem })
    }
}

fn id_of(name: &str) -> Option<CheckpointId> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 20).then(|| digits.parse().ok().map(CheckpointId))?
}

#[cfg(test)]
mod tests;
