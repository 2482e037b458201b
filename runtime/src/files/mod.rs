//! The one way to durable storage: every open, write, fsync, rename and directory sync goes through `FileLayer`.
//!
//! `RealFiles` is the machine's file system. `FaultyFiles` is a disk in memory that loses and tears what was not
//! synced, which is how crash safety is tested: killing a process keeps the page cache and proves little.

mod faulty;
mod helpers;
mod real;

use std::fmt;
use std::path::Path;

pub use faulty::{Fault, FaultyFiles};
pub use helpers::{
    TEMPORARY_SUFFIX, create_dirs, parent_of, read_all, read_optional, remove_tree, write_atomically,
};
pub use real::RealFiles;

use crate::error::{Error, Result};

/// A file system, real or simulated.
///
/// Every error is an [`Error::File`] that names the action and the path.
pub trait FileLayer: fmt::Debug + Send + Sync + 'static {
    /// Opens a file.
    ///
    /// # Errors
    /// If it can't be opened in this way; `NotFound` and `AlreadyExists` can be told by [`not_found`] and the
    /// source's kind.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Box<dyn FileHandle>>;

    /// Moves a file over `to`, atomically; durable once the directories of both are synced.
    ///
    /// # Errors
    /// If `from` is missing or the file system refuses.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// If the file system refuses.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Removes an empty directory; one that is not there is no error.
    ///
    /// # Errors
    /// If it is not empty or the file system refuses.
    fn remove_dir(&self, path: &Path) -> Result<()>;

    /// Creates a directory and those above it; not durable before their parents are synced, see [`create_dirs`].
    ///
    /// # Errors
    /// If the file system refuses.
    fn create_dir_all(&self, path: &Path) -> Result<()>;

    /// Makes the entries of a directory durable: what was created in it, renamed into it and removed from it.
    ///
    /// # Errors
    /// If it can't be synced: then nothing may be said of its entries.
    fn sync_dir(&self, path: &Path) -> Result<()>;

    /// The entries of a directory, sorted by name; empty where the directory does not exist.
    ///
    /// # Errors
    /// If it can't be read.
    fn list(&self, path: &Path) -> Result<Vec<Entry>>;

    /// The length of a file in bytes, `None` where there is none.
    ///
    /// # Errors
    /// If it can't be looked at.
    fn file_len(&self, path: &Path) -> Result<Option<u64>>;

    /// Takes the exclusive lock of a file, creating it, without waiting; `None` where somebody else holds it. The
    /// lock ends with the process or when the value is dropped, and the file then says who held it.
    ///
    /// # Errors
    /// If the file can't be created or the file system has no locks.
    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn FileLock>>>;
}

/// An open file. Methods take `&self`: reads may come from several threads at once.
pub trait FileHandle: fmt::Debug + Send + Sync {
    /// The path that it was opened by.
    fn path(&self) -> &Path;

    /// Writes all bytes after the end that this handle knows.
    ///
    /// # Errors
    /// If not all could be written; how many were is unknown.
    fn append(&self, bytes: &[u8]) -> Result<()>;

    /// Writes all bytes at an offset.
    ///
    /// # Errors
    /// If not all could be written; how many were is unknown.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Reads up to `out.len()` bytes; fewer only at the end of the file.
    ///
    /// # Errors
    /// If the file can't be read.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize>;

    /// Length in bytes.
    ///
    /// # Errors
    /// If it can't be looked at.
    fn file_len(&self) -> Result<u64>;

    /// Cuts or extends (by zeros) to a length.
    ///
    /// # Errors
    /// If the file system refuses.
    fn set_len(&self, len: u64) -> Result<()>;

    /// Makes content and length durable (fdatasync).
    ///
    /// # Errors
    /// After an error the content may be lost although a later sync succeeds: it must be written anew (case 60).
    fn sync(&self) -> Result<()>;
}

/// A held lock; dropping it gives it back.
pub trait FileLock: fmt::Debug + Send + Sync {}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// To read; it must exist.
    Read,
    /// To read and write; it must exist.
    Write,
    /// To read and write; it is created where it does not exist.
    Create,
    /// To read and write; it must not exist.
    CreateNew,
    /// To read and write, emptied; it is created where it does not exist.
    Truncate,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name within the directory; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A file, or whatever is not a directory.
    File,
    /// A directory.
    Directory,
}

/// Whether an error says that the file does not exist.
pub fn not_found(error: &Error) -> bool {
    matches!(error, Error::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

/// An error of an action on a path.
pub(crate) fn file_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.to_path_buf(), source }
}
