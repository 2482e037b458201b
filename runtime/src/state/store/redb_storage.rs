//! Runs in one redb file: one commit for all that a checkpoint needs.
//!
//! Rows are never upserted into a B-tree: a piece of a run is one value, written once (measured: a tenth of the
//! commit time and a hundredth of the bytes).

use std::io::ErrorKind;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::redb_backend::LayerBackend;
use super::refs::RunId;
use super::storage::{Batch, RunStorage, RunWrite, Spilling};
use crate::error::{Error, Result};
use crate::files::{FileLayer, OpenMode, TEMPORARY_SUFFIX, parent_of};
use crate::id::CheckpointId;

/// By run and piece: 0 is the header, then the chunks, and the guides from `GUIDES` on.
const PIECES: TableDefinition<'static, (u64, u32), &'static [u8]> = TableDefinition::new("pieces");
const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const HEADER: u32 = 0;
const GUIDES: u32 = 1 << 31;
const FORMAT: &str = "format";
const FORMAT_VERSION: u64 = 1;
const OPENED: &str = "opened";
const CHECKPOINT: &str = "checkpoint";

pub(super) struct RedbStorage {
    files: Arc<dyn FileLayer>,
    path: PathBuf,
    cache_bytes: usize,
    database: RwLock<Access>,
    /// The open database did.
    has_panicked: AtomicBool,
}

enum Access {
    Open(Database),
    /// It could not be opened; the next re-opening tries again.
    Failed,
    /// For good.
    Closed,
}

/// What a newly opened file says.
pub(super) struct Opened {
    /// How often it was opened, this time included.
    pub(super) times: u64,
    /// The newest checkpoint that was committed into it.
    pub(super) checkpoint: Option<CheckpointId>,
}

impl RedbStorage {
    pub(super) fn open(files: Arc<dyn FileLayer>, path: &Path, cache_bytes: usize) -> Result<(Self, Opened)> {
        let database = RwLock::new(Access::Failed);
        let has_panicked = AtomicBool::new(false);
        let storage = Self { files, path: path.to_path_buf(), cache_bytes, database, has_panicked };
        if storage.files.file_len(path)?.is_none() {
            storage.create()?;
        }
        storage.reopen()?;
        let opened = storage.count_opening()?;
        Ok((storage, opened))
    }

    /// redb can't open a file whose first pages a crash has kept from the disk: so it is made beside its name.
    fn create(&self) -> Result<()> {
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(TEMPORARY_SUFFIX);
        let temporary = PathBuf::from(temporary);
        self.files.remove(&temporary)?;
        drop(self.open_database(&temporary, OpenMode::CreateNew)?);
        self.files.open(&temporary, OpenMode::Write)?.sync()?;
        self.files.rename(&temporary, &self.path)?;
        self.files.sync_dir(parent_of(&self.path))
    }

    fn open_database(&self, path: &Path, mode: OpenMode) -> Result<Database> {
        let file = self.files.open(path, mode)?;
        let backend =
            if mode == OpenMode::CreateNew { LayerBackend::create(file) } else { LayerBackend::open(file) }?;
        let opening = || Database::builder().set_cache_size(self.cache_bytes).create_with_backend(backend);
        self.guarded(|| opening().map_err(redb::Error::from))
    }

    /// Pages have checksums, but a header that was damaged may still make redb panic: that is an error about the file.
    fn guarded<R>(&self, body: impl FnOnce() -> Result<R, redb::Error>) -> Result<R> {
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(result) => result.map_err(|source| self.error(source)),
            Err(panic) => {
                self.has_panicked.store(true, Ordering::Release);
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
                Err(Error::Damaged { path: self.path.clone(), problem: format!("redb can't go on: {text}") })
            }
        }
    }

    /// A database that has panicked is left as it is, as a crash would leave it: what it holds is in no order to be
    /// written, and closing it may panic once more.
    fn let_go(&self, access: Access) {
        if self.has_panicked.swap(false, Ordering::AcqRel) {
            std::mem::forget(access);
            return;
        }
        let closed = self.guarded(|| {
            drop(access);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "the state store was not closed in order; it is mended when it is opened");
        }
    }

    fn count_opening(&self) -> Result<Opened> {
        let opened = self.write(Durability::Immediate, |transaction| {
            let mut meta = transaction.open_table(META)?;
            let number = |name: &str| -> Result<Option<u64>, redb::Error> {
                Ok(meta.get(name)?.map(|value| value.value()))
            };
            let (format, times, checkpoint) = (number(FORMAT)?, number(OPENED)?, number(CHECKPOINT)?);
            if let Some(other) = format.filter(|format| *format != FORMAT_VERSION) {
                return Ok(Err(other));
            }
            let times = times.unwrap_or(0) + 1;
            meta.insert(FORMAT, FORMAT_VERSION)?;
            meta.insert(OPENED, times)?;
            transaction.open_table(PIECES)?;
            Ok(Ok(Opened { times, checkpoint: checkpoint.map(CheckpointId) }))
        })?;
        opened.map_err(|other| {
            let problem = format!("a store of version {other}; this program reads version {FORMAT_VERSION}");
            Error::Damaged { path: self.path.clone(), problem }
        })
    }

    fn write<R>(
        &self,
        durability: Durability,
        body: impl FnOnce(&redb::WriteTransaction) -> Result<R, redb::Error>,
    ) -> Result<R> {
        self.with_database(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(durability)?;
            // A crash must not cost a walk over the whole file.
            transaction.set_quick_repair(matches!(durability, Durability::Immediate));
            let result = body(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
    }

    /// Reads one piece within a transaction of its own: none is ever pinned (case 68).
    fn read<R>(&self, run: RunId, piece: u32, take: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        self.with_database(|database| {
            let transaction = database.begin_read()?;
            let pieces = transaction.open_table(PIECES)?;
            let found = pieces.get((run.0, piece))?;
            Ok(found.map(|value| take(value.value())))
        })
    }

    fn with_database<R>(&self, body: impl FnOnce(&Database) -> Result<R, redb::Error>) -> Result<R> {
        let guard = self.database.read().expect("I70: no panic while the database is held");
        let problem = match &*guard {
            Access::Open(database) => return self.guarded(|| body(database)),
            Access::Failed => "it could not be opened again after a failed write",
            Access::Closed => "it is closed",
        };
        Err(Error::Store { problem: problem.to_owned() })
    }

    fn error(&self, source: redb::Error) -> Error {
        let path = self.path.clone();
        match source {
            redb::Error::Io(source) if source.kind() == ErrorKind::InvalidData => {
                Error::Damaged { path, problem: source.to_string() }
            }
            redb::Error::Io(source) => Error::File { action: "work with", path, source },
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                Error::Store { problem: format!("{}: {source}", path.display()) }
            }
            other => Error::Damaged { path, problem: other.to_string() },
        }
    }

    fn missing(&self, run: RunId, piece: &str) -> Error {
        Error::Damaged { path: self.path.clone(), problem: format!("{piece} of {run} is missing") }
    }
}

impl Drop for RedbStorage {
    fn drop(&mut self) {
        RunStorage::close(self);
    }
}

impl RunStorage for RedbStorage {
    fn commit(&self, batch: &Batch) -> Result<()> {
        self.write(Durability::Immediate, |transaction| {
            let mut pieces = transaction.open_table(PIECES)?;
            for run in &batch.runs {
                write_run(&mut pieces, run)?;
            }
            if let Some(checkpoint) = batch.checkpoint {
                let mut meta = transaction.open_table(META)?;
                meta.insert(CHECKPOINT, checkpoint.0)?;
            }
            Ok(())
        })
    }

    fn remove(&self, runs: &[RunId]) -> Result<()> {
        // Not synced by itself: the next commit does that, and a crash before brings back only what is swept again.
        self.write(Durability::None, |transaction| {
            let mut pieces = transaction.open_table(PIECES)?;
            for run in runs {
                pieces.retain_in((run.0, 0)..=(run.0, u32::MAX), |_, _| false)?;
            }
            Ok(())
        })
    }

    fn reopen(&self) -> Result<()> {
        let mut guard = self.database.write().expect("I70: no panic while the database is held");
        if matches!(*guard, Access::Closed) {
            return Err(Error::Store { problem: "it is closed".to_owned() });
        }
        self.let_go(std::mem::replace(&mut *guard, Access::Failed));
        *guard = Access::Open(self.open_database(&self.path, OpenMode::Write)?);
        Ok(())
    }

    fn close(&self) {
        let mut guard = self.database.write().expect("I70: no panic while the database is held");
        self.let_go(std::mem::replace(&mut *guard, Access::Closed));
    }

    fn runs(&self) -> Result<Vec<RunId>> {
        self.with_database(|database| {
            let transaction = database.begin_read()?;
            let pieces = transaction.open_table(PIECES)?;
            let mut runs = Vec::new();
            let mut next = 0;
            // One look-up a run, not a pass over all pieces.
            while let Some(entry) = pieces.range((next, 0)..)?.next() {
                let run = entry?.0.value().0;
                runs.push(RunId(run));
                let Some(after) = run.checked_add(1) else { break };
                next = after;
            }
            Ok(runs)
        })
    }

    fn read_header(&self, run: RunId) -> Result<Option<Vec<u8>>> {
        self.read(run, HEADER, <[u8]>::to_vec)
    }

    fn read_guides(&self, run: RunId, group: u32) -> Result<Vec<u8>> {
        let guides = self.read(run, GUIDES + group, <[u8]>::to_vec)?;
        guides.ok_or_else(|| self.missing(run, &format!("group {group} of the guides")))
    }

    fn read_blocks(&self, run: RunId, chunk: u32, range: Range<usize>) -> Result<Vec<u8>> {
        let blocks = self.read(run, chunk + 1, |bytes| bytes.get(range).map(<[u8]>::to_vec))?;
        blocks.flatten().ok_or_else(|| self.missing(run, &format!("a block of chunk {chunk}")))
    }

    fn spilling(&self) -> Spilling {
        Spilling::Possible
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

fn write_run(
    pieces: &mut redb::Table<'_, (u64, u32), &'static [u8]>,
    run: &RunWrite,
) -> Result<(), redb::Error> {
    for (index, chunk) in &run.chunks {
        pieces.insert((run.id.0, index + 1), chunk.blocks())?;
    }
    if let Some(end) = &run.end {
        for (group, guides) in (0..).zip(&end.guides) {
            pieces.insert((run.id.0, GUIDES + group), guides.as_slice())?;
        }
        let (header, _) = end.header.encode();
        pieces.insert((run.id.0, HEADER), header.as_slice())?;
    }
    Ok(())
}
