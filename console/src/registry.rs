//! The running jobs of a user: a private directory with an entry per state directory, so that jobs in fresh directories are found.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control_file::{ControlFile, write_private};
use crate::error::{Error, Result};

const ENTRIES_MAX: usize = 10_000; // a directory that is larger is not ours to read through

/// A directory that lists the state directories of running jobs.
///
/// It holds no secrets: an entry points to a state directory, and the token is there.
#[derive(Clone, Debug)]
pub struct Registry {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    state_dir: PathBuf,
}

impl Registry {
    /// The registry of the user who runs this process: below `$XDG_RUNTIME_DIR`, else in the temporary directory.
    pub fn of_user() -> Self {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
        match runtime_dir {
            Some(dir) => Self::at(dir.join("tidegate")),
            None => Self::at(std::env::temp_dir().join(format!("tidegate-{}", user()))),
        }
    }

    /// A registry in a directory of one's own.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Enters a state directory; entering it again changes nothing.
    ///
    /// # Errors
    /// The registry can't be made or written, or others may write to it.
    pub fn enter(&self, state_dir: &Path) -> Result<()> {
        self.make_private()?;
        let state_dir = fs::canonicalize(state_dir).map_err(Error::file("find", state_dir))?;
        let path = self.entry_path(&state_dir);
        let text = serde_json::to_string(&Entry { state_dir }).expect("I40: an entry is plain JSON");
        write_private(&path, &text)
    }

    /// Takes a state directory out.
    pub fn leave(&self, state_dir: &Path) {
        let Ok(state_dir) = fs::canonicalize(state_dir) else { return };
        // Someone else may have cleared it away already.
        let _ = fs::remove_file(self.entry_path(&state_dir));
    }

    /// The state directories that are entered, sorted; entries whose control file is gone are cleared away.
    pub fn state_dirs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        if !self.is_private() {
            return Vec::new();
        }
        let mut state_dirs: Vec<PathBuf> =
            entries.take(ENTRIES_MAX).flatten().filter_map(|entry| read_entry(&entry.path())).collect();
        state_dirs.sort();
        state_dirs
    }

    fn entry_path(&self, state_dir: &Path) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        state_dir.hash(&mut hasher);
        self.dir.join(format!("{:016x}.json", hasher.finish()))
    }

    fn make_private(&self) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.dir).map_err(Error::file("create", &self.dir))?;
        if self.is_private() {
            return Ok(());
        }
        let problem = std::io::Error::other("it is not a directory that only you may write to");
        Err(Error::file("trust", &self.dir)(problem))
    }

    /// Another user may have made the directory first, in a temporary directory that all share.
    fn is_private(&self) -> bool {
        let Ok(metadata) = fs::symlink_metadata(&self.dir) else { return false };
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            if metadata.mode() & 0o022 != 0 || metadata.uid() != user() {
                return false;
            }
        }
        metadata.is_dir()
    }
}

fn read_entry(path: &Path) -> Option<PathBuf> {
    if path.extension()? != "json" {
        return None;
    }
    let entry: Entry = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    if ControlFile::path_in(&entry.state_dir).exists() {
        return Some(entry.state_dir);
    }
    // A killed job in a temporary directory that is gone: without this the registry would only grow.
    let _ = fs::remove_file(path);
    None
}

/// The user's number, by who owns this process's entry, else by who owns the home directory.
fn user() -> u32 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let owned = [Some(PathBuf::from("/proc/self")), home];
        owned.iter().flatten().find_map(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.uid())
    }
    #[cfg(not(unix))]
    0
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::Registry;
    use crate::control_file::{ControlFile, write_private};

    #[test]
    fn a_job_is_listed_from_enter_to_leave() {
        let root = tempfile::tempdir().expect("directory");
        let state_dir = fs::canonicalize(root.path()).expect("path");
        write_private(&ControlFile::path_in(&state_dir), "{}").expect("written");
        let registry = Registry::at(root.path().join("registry"));
        assert_eq!(registry.state_dirs(), Vec::<std::path::PathBuf>::new());
        registry.enter(&state_dir).expect("entered");
        registry.enter(&state_dir).expect("entered again");
        assert_eq!(registry.state_dirs(), std::slice::from_ref(&state_dir));
        let mode = fs::metadata(root.path().join("registry")).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        registry.leave(&state_dir);
        assert_eq!(registry.state_dirs(), Vec::<std::path::PathBuf>::new());
    }

    #[test]
    fn an_entry_whose_control_file_is_gone_is_cleared_away() {
        let root = tempfile::tempdir().expect("directory");
        let state_dir = root.path().join("state");
        fs::create_dir(&state_dir).expect("made");
        let registry = Registry::at(root.path().join("registry"));
        registry.enter(&state_dir).expect("entered");
        assert_eq!(registry.state_dirs(), Vec::<std::path::PathBuf>::new());
        assert_eq!(fs::read_dir(root.path().join("registry")).expect("registry").count(), 0);
    }

    #[test]
    fn a_registry_that_others_may_write_to_is_not_trusted() {
        let root = tempfile::tempdir().expect("directory");
        let dir = root.path().join("registry");
        fs::create_dir(&dir).expect("made");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("opened to all");
        let registry = Registry::at(&dir);
        let error = registry.enter(root.path()).expect_err("not trusted").to_string();
        assert!(error.contains("not a directory that only you may write to"), "{error}");
    }
}
