//! A disk whose operations a test can hold up, fail or let panic, one by one.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_runtime::error::{Error, Result};
use tidegate_runtime::files::{Entry, FaultyFiles, FileHandle, FileLayer, FileLock, OpenMode};

/// Called with the name and the path of an operation before it is done.
type Hook = Arc<dyn Fn(&'static str, &Path) -> Result<()> + Send + Sync>;

/// A simulated disk with a hook before operations on whole files and directories.
#[derive(Clone, Default)]
pub struct HookedFiles {
    pub disk: FaultyFiles,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl HookedFiles {
    pub fn before_each(&self, hook: impl Fn(&'static str, &Path) -> Result<()> + Send + Sync + 'static) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    fn before(&self, action: &'static str, path: &Path) -> Result<()> {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        hook.map_or(Ok(()), |hook| hook(action, path))
    }
}

/// What a broken disk says.
pub fn broken(action: &'static str, path: &Path) -> Error {
    Error::File { action, path: path.to_path_buf(), source: std::io::Error::from_raw_os_error(5) }
}

/// Whether this is the renaming that gives a manifest its name.
pub fn renames_manifest(action: &str, path: &Path) -> bool {
    action == "rename" && path.extension().is_some_and(|end| end == "manifest")
}

/// Whether this is the sync that makes a manifest's name durable.
pub fn syncs_manifests(action: &str, path: &Path) -> bool {
    action == "sync directory" && path.ends_with("checkpoints")
}

impl fmt::Debug for HookedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl FileLayer for HookedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Box<dyn FileHandle>> {
        self.before("open", path)?;
        self.disk.open(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.before("rename", to)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.before("remove", path)?;
        self.disk.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.before("remove directory", path)?;
        self.disk.remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.before("create directory", path)?;
        self.disk.create_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.before("sync directory", path)?;
        self.disk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<Entry>> {
        self.disk.list(path)
    }

    fn file_len(&self, path: &Path) -> Result<Option<u64>> {
        self.disk.file_len(path)
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn FileLock>>> {
        self.disk.try_lock(path)
    }
}
