//! A disk in memory that forgets what was not synced, and fails when it is told to.
//!
//! The model is the one of crash-consistency research (ALICE): of the writes to a file since its last sync any may
//! be lost, kept or torn at any byte; of the changes to a directory since its last sync any may be undone; a failed
//! sync drops what it should have written, although reads still see it (case 60).

mod disk;

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use disk::{Disk, InodeId};

use super::{Entry, FileHandle, FileLayer, FileLock, OpenMode, file_error};
use crate::error::Result;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO: the device failed.
    Io,
    /// ENOSPC: the disk is full. Only what needs space fails: growth and creation.
    Full,
}

/// A simulated disk for tests; clones share it.
#[derive(Clone, Debug, Default)]
pub struct FaultyFiles(Arc<Mutex<Machine>>);

#[derive(Debug, Default)]
struct Machine {
    disk: Disk,
    /// Mutating operations so far.
    operations: u64,
    /// From this operation on all fail, until the machine is started again.
    crash_at: Option<u64>,
    faults: Vec<(Range<u64>, Fault)>,
    failing_reads: u64,
    locks: Vec<PathBuf>,
    /// How often the machine was started: handles of an earlier start are dead.
    generation: u64,
}

impl FaultyFiles {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Mutating operations so far: each is a point where a crash or a fault can be put.
    pub fn operations(&self) -> u64 {
        self.machine().operations
    }

    /// The machine loses power at this operation (0 is the first ever): it and all later ones fail.
    pub fn crash_at(&self, operation: u64) {
        self.machine().crash_at = Some(operation);
    }

    /// Lets the operations of a range fail.
    pub fn fail(&self, operations: Range<u64>, fault: Fault) {
        self.machine().faults.push((operations, fault));
    }

    /// Forgets all faults that were asked for.
    pub fn heal(&self) {
        let mut machine = self.machine();
        machine.faults.clear();
        machine.failing_reads = 0;
    }

    /// Lets the next reads fail with EIO.
    pub fn fail_reads(&self, count: u64) {
        self.machine().failing_reads = count;
    }

    /// Loses power and starts again: what was not synced is kept, lost or torn by chance of the seed, open handles
    /// are dead and locks are free. Threads that used the disk must have ended: stop them with
    /// [`crash_at`](Self::crash_at) first.
    pub fn crash(&self, seed: u64) {
        let mut machine = self.machine();
        machine.disk.lose_power(seed);
        machine.crash_at = None;
        machine.locks.clear();
        machine.generation += 1;
    }

    /// A disk with the same durable content, on a machine that was just started.
    #[must_use]
    pub fn copy(&self) -> Self {
        let machine = Machine { disk: self.machine().disk.durable_copy(), ..Machine::default() };
        Self(Arc::new(Mutex::new(machine)))
    }

    /// Changes bits of a byte of a file, on the platter too.
    ///
    /// # Errors
    /// If there is no such byte.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> Result<()> {
        self.machine().disk.flip(path, offset, mask).map_err(|source| file_error("flip", path, source))
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().expect("I70: no panic while the simulated disk is held")
    }

    /// Performs one mutating operation, or the fault that was put there.
    fn mutate<R>(
        &self,
        (action, path): (&'static str, &Path),
        kind: Mutation,
        perform: impl FnOnce(&mut Disk) -> io::Result<R>,
    ) -> Result<R> {
        let mut machine = self.machine();
        let number = machine.operations;
        machine.operations += 1;
        let crashed = machine.crash_at;
        if crashed.is_some_and(|at| number > at) {
            return Err(file_error(action, path, power_lost()));
        }
        let fault = machine.faults.iter().find(|(range, _)| range.contains(&number)).map(|(_, fault)| *fault);
        match (fault, kind) {
            (Some(Fault::Io), Mutation::Sync(inode)) => {
                machine.disk.drop_unsynced(inode);
                return Err(file_error(action, path, io::Error::from_raw_os_error(5)));
            }
            (Some(Fault::Io), _) => return Err(file_error(action, path, io::Error::from_raw_os_error(5))),
            (Some(Fault::Full), kind) if kind.needs_space(&machine.disk) => {
                return Err(file_error(action, path, io::Error::from_raw_os_error(28)));
            }
            _ => {}
        }
        if crashed == Some(number) {
            // What the operation changes in the cache may or may not reach the platter; a sync promises nothing.
            if !matches!(kind, Mutation::Sync(_) | Mutation::SyncDirectory) {
                let _ = perform(&mut machine.disk);
            }
            return Err(file_error(action, path, power_lost()));
        }
        perform(&mut machine.disk).map_err(|source| file_error(action, path, source))
    }

    fn look<R>(
        &self,
        action: &'static str,
        path: &Path,
        perform: impl FnOnce(&Disk) -> io::Result<R>,
    ) -> Result<R> {
        let mut machine = self.machine();
        if machine.crash_at.is_some_and(|at| machine.operations > at) {
            return Err(file_error(action, path, power_lost()));
        }
        if machine.failing_reads > 0 {
            machine.failing_reads -= 1;
            return Err(file_error(action, path, io::Error::from_raw_os_error(5)));
        }
        perform(&machine.disk).map_err(|source| file_error(action, path, source))
    }
}

#[derive(Clone, Copy)]
enum Mutation {
    /// A new name.
    Create,
    /// A file that is at least this long afterwards.
    Reach(InodeId, u64),
    /// Needs no space.
    Change,
    Sync(InodeId),
    SyncDirectory,
}

impl Mutation {
    fn needs_space(self, disk: &Disk) -> bool {
        match self {
            Mutation::Create => true,
            Mutation::Reach(inode, end) => disk.file_len(inode).is_ok_and(|len| end > len),
            Mutation::Change | Mutation::Sync(_) | Mutation::SyncDirectory => false,
        }
    }
}

fn power_lost() -> io::Error {
    io::Error::other("the power is lost")
}

impl FileLayer for FaultyFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Box<dyn FileHandle>> {
        let existing = self.look("open", path, |disk| Ok(disk.find(path)))?;
        let missing = || file_error("open", path, ErrorKind::NotFound.into());
        let inode = match (mode, existing) {
            (OpenMode::Read | OpenMode::Write, found) => found.ok_or_else(missing)?,
            (OpenMode::Create, Some(found)) => found,
            (OpenMode::CreateNew, Some(_)) => {
                return Err(file_error("open", path, ErrorKind::AlreadyExists.into()));
            }
            (OpenMode::Truncate, Some(found)) => {
                self.mutate(("resize", path), Mutation::Change, |disk| disk.set_len(found, 0))?;
                found
            }
            (OpenMode::Create | OpenMode::CreateNew | OpenMode::Truncate, None) => {
                self.mutate(("open", path), Mutation::Create, |disk| disk.create(path))?
            }
        };
        let generation = self.machine().generation;
        Ok(Box::new(FaultyFile { files: self.clone(), inode, generation, path: path.to_path_buf() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.mutate(("rename", from), Mutation::Change, |disk| disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.mutate(("remove", path), Mutation::Change, |disk| disk.remove(path))
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.mutate(("remove directory", path), Mutation::Change, |disk| disk.remove_dir(path))
    }

    fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.mutate(("create directory", path), Mutation::Create, |disk| disk.create_dir_all(path))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.mutate(("sync directory", path), Mutation::SyncDirectory, |disk| disk.sync_dir(path))
    }

    fn list(&self, path: &Path) -> Result<Vec<Entry>> {
        self.look("list", path, |disk| Ok(disk.list(path)))
    }

    fn file_len(&self, path: &Path) -> Result<Option<u64>> {
        self.look("look at", path, |disk| disk.find(path).map(|inode| disk.file_len(inode)).transpose())
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Box<dyn FileLock>>> {
        let file = self.open(path, OpenMode::Create)?;
        {
            let mut machine = self.machine();
            if machine.locks.iter().any(|held| held == path) {
                return Ok(None);
            }
            machine.locks.push(path.to_path_buf());
        }
        let generation = self.machine().generation;
        let lock = FaultyLock { files: self.clone(), path: path.to_path_buf(), generation };
        file.set_len(0)?;
        file.append(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(Some(Box::new(lock)))
    }
}

#[derive(Debug)]
struct FaultyFile {
    files: FaultyFiles,
    inode: InodeId,
    generation: u64,
    path: PathBuf,
}

impl FaultyFile {
    fn check(&self, action: &'static str) -> Result<()> {
        if self.files.machine().generation == self.generation {
            return Ok(());
        }
        Err(file_error(action, &self.path, power_lost()))
    }
}

impl FileHandle for FaultyFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.check("write")?;
        let reach = Mutation::Reach(self.inode, u64::MAX);
        self.files.mutate(("write", &self.path), reach, |disk| {
            let end = disk.file_len(self.inode)?;
            disk.write(self.inode, end, bytes)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.check("write")?;
        let reach = Mutation::Reach(self.inode, offset + bytes.len() as u64);
        self.files.mutate(("write", &self.path), reach, |disk| disk.write(self.inode, offset, bytes))
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        self.check("read")?;
        self.files.look("read", &self.path, |disk| disk.read(self.inode, offset, out))
    }

    fn file_len(&self) -> Result<u64> {
        self.check("look at")?;
        self.files.look("look at", &self.path, |disk| disk.file_len(self.inode))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.check("resize")?;
        let reach = Mutation::Reach(self.inode, len);
        self.files.mutate(("resize", &self.path), reach, |disk| disk.set_len(self.inode, len))
    }

    fn sync(&self) -> Result<()> {
        self.check("sync")?;
        let kind = Mutation::Sync(self.inode);
        self.files.mutate(("sync", &self.path), kind, |disk| disk.sync(self.inode))
    }
}

#[derive(Debug)]
struct FaultyLock {
    files: FaultyFiles,
    path: PathBuf,
    generation: u64,
}

impl FileLock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut machine = self.files.machine();
        if machine.generation == self.generation {
            machine.locks.retain(|held| *held != self.path);
        }
    }
}

#[cfg(test)]
mod tests;
