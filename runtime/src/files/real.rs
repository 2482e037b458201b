//! The machine's file system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{Entry, EntryKind, FileHandle, FileLayer, FileLock, OpenMode, file_error};
use crate::error::Result;

/// The files of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl FileLayer for RealFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Box<dyn FileHandle>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(false);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::Truncate => {
                options.write(true).create(true).truncate(true);
            }
        }
        let file = options.open(path).map_err(|source| file_error("open", path, source))?;
        let end = file.metadata().map_err(|source| file_error("open", path, source))?.len();
        Ok(Box::new(RealFile { file, path: path.to_path_buf(), end: Mutex::new(end) }))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that renames")]
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|source| file_error("rename", from, source))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        absent_is_removed(fs::remove_file(path)).map_err(|source| file_error("remove", path, source))
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        absent_is_removed(fs::remove_dir(path)).map_err(|source| file_error("remove directory", path, source))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path).map_err(|source| file_error("create directory", path, source))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        File::open(path)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| file_error("sync directory", path, source))
    }

    fn list(&self, path: &Path) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let read = match fs::read_dir(path) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(entries),
            Err(source) => return Err(file_error("list", path, source)),
        };
        for entry in read {
            let entry = entry.map_err(|source| file_error("list", path, source))?;
            let kind = entry.file_type().map_err(|source| file_error("list", path, source))?;
            let kind = if kind.is_dir() { EntryKind::Directory } else { EntryKind::File };
            entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind });
        }
        entries.sort();
        Ok(entries)
    }

    fn file_len(&self, path: &Path) -> Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file_error("look at", path, source)),
        }
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn FileLock>>> {
        let error = |source| file_error("lock", path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(error)?;
        Ok(Some(Box::new(RealLock { _file: file })))
    }
}

fn absent_is_removed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
    end: Mutex<u64>,
}

impl FileHandle for RealFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        let mut end = self.end.lock().expect("I70: no panic while the end of a file is held");
        self.file.write_all_at(bytes, *end).map_err(|source| file_error("write", &self.path, source))?;
        *end += bytes.len() as u64;
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|source| file_error("write", &self.path, source))?;
        let mut end = self.end.lock().expect("I70: no panic while the end of a file is held");
        *end = (*end).max(offset + bytes.len() as u64);
        Ok(())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < out.len() {
            match self.file.read_at(&mut out[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(file_error("read", &self.path, source)),
            }
        }
        Ok(filled)
    }

    fn file_len(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(|source| file_error("look at", &self.path, source))?.len())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|source| file_error("resize", &self.path, source))?;
        *self.end.lock().expect("I70: no panic while the end of a file is held") = len;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|source| file_error("sync", &self.path, source))
    }
}

/// The lock is the open file's; closing it gives it back.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl FileLock for RealLock {}

#[cfg(test)]
mod tests {
    use super::super::{create_dirs, read_all, read_optional, remove_tree, write_atomically};
    use super::*;

    #[test]
    fn a_file_written_atomically_is_read_back_and_leaves_nothing_beside_it() -> Result<()> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let inner = directory.path().join("a/b");
        create_dirs(&RealFiles, &inner)?;
        let path = inner.join("file");
        write_atomically(&RealFiles, &path, b"one")?;
        write_atomically(&RealFiles, &path, b"second")?;
        assert_eq!(read_all(&RealFiles, &path)?, b"second");
        assert_eq!(RealFiles.list(&inner)?, vec![Entry { name: "file".into(), kind: EntryKind::File }]);
        remove_tree(&RealFiles, &directory.path().join("a"))?;
        assert_eq!(read_optional(&RealFiles, &path)?, None);
        Ok(())
    }

    #[test]
    fn a_lock_is_held_by_one() -> Result<()> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("lock");
        let held = RealFiles.try_lock(&path)?;
        assert!(held.is_some());
        assert!(RealFiles.try_lock(&path)?.is_none());
        assert_eq!(read_all(&RealFiles, &path)?, format!("{}\n", std::process::id()).into_bytes());
        drop(held);
        assert!(RealFiles.try_lock(&path)?.is_some());
        Ok(())
    }

    #[test]
    fn append_follows_what_was_written_at_an_offset() -> Result<()> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = RealFiles.open(&directory.path().join("f"), OpenMode::CreateNew)?;
        file.write_at(2, b"xy")?;
        file.append(b"z")?;
        let mut out = [9; 8];
        assert_eq!(file.read_at(0, &mut out)?, 5);
        assert_eq!(&out[..5], b"\0\0xyz");
        Ok(())
    }
}
