//! What is done with files in several places: whole reads, atomic writes, durable directories.

use std::path::{Path, PathBuf};

use super::{EntryKind, FileHandle, FileLayer, OpenMode, file_error, not_found};
use crate::error::Result;

/// The end of the name of a file that is still being written; what a crash leaves of it may be removed.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// The directory that a path is in.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// All bytes of a file.
///
/// # Errors
/// If it is missing or can't be read.
pub fn read_all(files: &dyn FileLayer, path: &Path) -> Result<Vec<u8>> {
    let file = files.open(path, OpenMode::Read)?;
    let mut bytes = Vec::new();
    read_rest(&*file, &mut bytes)?;
    Ok(bytes)
}

/// All bytes of a file, `None` where there is none.
///
/// # Errors
/// If it can't be read.
pub fn read_optional(files: &dyn FileLayer, path: &Path) -> Result<Option<Vec<u8>>> {
    match read_all(files, path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_rest(file: &dyn FileHandle, bytes: &mut Vec<u8>) -> Result<()> {
    let len = usize::try_from(file.file_len()?).map_err(|_| {
        file_error("read", file.path(), std::io::Error::other("longer than the address space"))
    })?;
    bytes.resize(len, 0);
    let mut filled = 0;
    while filled < len {
        let read = file.read_at(filled as u64, &mut bytes[filled..])?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    bytes.truncate(filled);
    Ok(())
}

/// Replaces a file by these bytes so that a crash leaves the old content or the new, never a mixture: written beside
/// it, synced, renamed over it, and the directory synced (cases 58, 59).
///
/// # Errors
/// If any step fails; the old content is then still there, or the new if only the last sync failed.
pub fn write_atomically(files: &dyn FileLayer, path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary_of(path);
    let written = write_synced(files, &temporary, bytes).and_then(|()| files.rename(&temporary, path));
    if written.is_err() {
        // A half file must not stay for ever (case 61); a failing removal is left to the next clean-up.
        let _ = files.remove(&temporary);
    }
    written?;
    files.sync_dir(parent_of(path))
}

fn write_synced(files: &dyn FileLayer, path: &Path, bytes: &[u8]) -> Result<()> {
    let file = files.open(path, OpenMode::Truncate)?;
    file.append(bytes)?;
    file.sync()
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

/// Creates a directory and those above it, durably: each new one's parent is synced.
///
/// # Errors
/// If the file system refuses.
pub fn create_dirs(files: &dyn FileLayer, path: &Path) -> Result<()> {
    files.create_dir_all(path)?;
    let mut child = path;
    // A parent outside of our reach can't always be opened; its own creator answers for it.
    while let Some(parent) = child.parent() {
        let parent = parent_of_child(parent);
        match files.sync_dir(parent) {
            Ok(()) => {}
            Err(error) if child == path => return Err(error),
            Err(_) => break,
        }
        if parent == Path::new(".") || parent == child {
            break;
        }
        child = parent;
    }
    Ok(())
}

fn parent_of_child(parent: &Path) -> &Path {
    if parent.as_os_str().is_empty() { Path::new(".") } else { parent }
}

/// Removes a directory with all that it contains; one that is not there is no error.
///
/// # Errors
/// If something can't be removed; what was removed before stays removed.
pub fn remove_tree(files: &dyn FileLayer, path: &Path) -> Result<()> {
    for entry in files.list(path)? {
        let child = path.join(&entry.name);
        match entry.kind {
            EntryKind::File => files.remove(&child)?,
            EntryKind::Directory => remove_tree(files, &child)?,
        }
    }
    files.remove_dir(path)
}
