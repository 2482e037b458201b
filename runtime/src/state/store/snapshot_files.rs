//! Runs as one file each, for the memory store: written beside their name, synced, renamed, the directory synced.
//!
//! ```text
//! blocks of every chunk, groups of guides, header, header length u32, "TGRF", version u8
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::refs::RunId;
use super::storage::{Batch, RunStorage, RunWrite, Spilling};
use crate::error::{Error, Result};
use crate::files::{
    FileHandle, FileLayer, OpenMode, TEMPORARY_SUFFIX, create_dirs, not_found, read_optional,
    write_atomically,
};
use crate::state::run::RunHeader;

const SUFFIX: &str = ".run";
const OPENED: &str = "opened";
const MAGIC: [u8; 4] = *b"TGRF";
const VERSION: u8 = 1;
const TAIL: u64 = 9;

pub(super) struct SnapshotFiles {
    files: Arc<dyn FileLayer>,
    directory: PathBuf,
    /// Where the pieces of the runs that were read are; as many as runs are kept.
    layouts: Mutex<BTreeMap<RunId, Arc<Layout>>>,
}

struct Layout {
    file: Box<dyn FileHandle>,
    header: Vec<u8>,
    /// Where the blocks of each chunk start.
    chunks: Vec<u64>,
    /// Where each group of guides lies.
    groups: Vec<Range<u64>>,
}

impl SnapshotFiles {
    /// Opens the directory; returns also how often that was done.
    pub(super) fn open(files: Arc<dyn FileLayer>, directory: &Path) -> Result<(Self, u64)> {
        create_dirs(&*files, directory)?;
        for entry in files.list(directory)? {
            if entry.name.ends_with(TEMPORARY_SUFFIX) {
                files.remove(&directory.join(&entry.name))?;
            }
        }
        let path = directory.join(OPENED);
        let times = match read_optional(&*files, &path)? {
            None => 0,
            Some(bytes) => times_of(&bytes).ok_or_else(|| Error::Damaged {
                path: path.clone(),
                problem: "it should hold a number and its checksum".to_owned(),
            })?,
        } + 1;
        let mut bytes = times.to_le_bytes().to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        write_atomically(&*files, &path, &bytes)?;
        let directory = directory.to_path_buf();
        Ok((Self { files, directory, layouts: Mutex::default() }, times))
    }

    fn write_run(&self, run: &RunWrite) -> Result<()> {
        let path = self.path_of(run.id);
        let mut temporary = path.clone().into_os_string();
        temporary.push(TEMPORARY_SUFFIX);
        let temporary = PathBuf::from(temporary);
        let written = self.write_file(&temporary, run).and_then(|()| self.files.rename(&temporary, &path));
        if written.is_err() {
            // A half file must not stay for ever (case 61); the next opening removes what this can't.
            let _ = self.files.remove(&temporary);
        }
        written
    }

    fn write_file(&self, path: &Path, run: &RunWrite) -> Result<()> {
        let Some(end) = &run.end else { return Ok(()) };
        let file = self.files.open(path, OpenMode::Truncate)?;
        for (_, chunk) in &run.chunks {
            file.append(chunk.blocks())?;
        }
        for guides in &end.guides {
            file.append(guides)?;
        }
        let (mut header, _) = end.header.encode();
        let len = u32::try_from(header.len()).expect("I71: no header is 4 GiB long");
        header.extend_from_slice(&len.to_le_bytes());
        header.extend_from_slice(&MAGIC);
        header.push(VERSION);
        file.append(&header)?;
        file.sync()
    }

    fn layout(&self, run: RunId) -> Result<Option<Arc<Layout>>> {
        let mut layouts = self.layouts.lock().expect("I70: no panic while the layouts are held");
        if let Some(layout) = layouts.get(&run) {
            return Ok(Some(Arc::clone(layout)));
        }
        let file = match self.files.open(&self.path_of(run), OpenMode::Read) {
            Ok(file) => file,
            Err(error) if not_found(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let layout = Arc::new(Layout::read(file)?);
        layouts.insert(run, Arc::clone(&layout));
        Ok(Some(layout))
    }

    fn existing(&self, run: RunId) -> Result<Arc<Layout>> {
        self.layout(run)?
            .ok_or_else(|| Error::Damaged { path: self.path_of(run), problem: "it is missing".to_owned() })
    }

    fn path_of(&self, run: RunId) -> PathBuf {
        self.directory.join(format!("{:016x}{SUFFIX}", run.0))
    }
}

impl Layout {
    fn read(file: Box<dyn FileHandle>) -> Result<Self> {
        let damaged = |problem: String| Error::Damaged { path: file.path().to_path_buf(), problem };
        let len = file.file_len()?;
        let tail_start = len.checked_sub(TAIL).ok_or_else(|| damaged("it is too short".to_owned()))?;
        let tail = read_range(&*file, tail_start..len)?;
        if tail[4..8] != MAGIC {
            return Err(damaged("it does not end like a run".to_owned()));
        }
        if tail[8] != VERSION {
            return Err(damaged(format!(
                "a file of version {}; this program reads version {VERSION}",
                tail[8]
            )));
        }
        let header_len = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
        let header_start = tail_start
            .checked_sub(u64::from(header_len))
            .ok_or_else(|| damaged("its header is longer than the file".to_owned()))?;
        let header_bytes = read_range(&*file, header_start..tail_start)?;
        let (header, _) = RunHeader::decode(&header_bytes).map_err(&damaged)?;
        let mut chunks = Vec::with_capacity(header.chunks.len());
        let mut at = 0;
        for chunk in &header.chunks {
            chunks.push(at);
            at += u64::from(chunk.blocks_len);
        }
        let mut groups: Vec<Range<u64>> = Vec::new();
        for chunk in &header.chunks {
            let end = at + u64::from(chunk.guide_len);
            match groups.last_mut() {
                Some(group) if chunk.guide_offset > 0 => group.end = end,
                _ => groups.push(at..end),
            }
            at = end;
        }
        if at != header_start {
            return Err(damaged(format!("its pieces end at {at}, its header starts at {header_start}")));
        }
        Ok(Self { file, header: header_bytes, chunks, groups })
    }
}

impl RunStorage for SnapshotFiles {
    fn commit(&self, batch: &Batch) -> Result<()> {
        for run in &batch.runs {
            self.write_run(run)?;
        }
        self.files.sync_dir(&self.directory)
    }

    fn remove(&self, runs: &[RunId]) -> Result<()> {
        let mut layouts = self.layouts.lock().expect("I70: no panic while the layouts are held");
        for run in runs {
            layouts.remove(run);
            self.files.remove(&self.path_of(*run))?;
        }
        Ok(())
    }

    fn reopen(&self) -> Result<()> {
        self.layouts.lock().expect("I70: no panic while the layouts are held").clear();
        Ok(())
    }

    fn close(&self) {
        self.layouts.lock().expect("I70: no panic while the layouts are held").clear();
    }

    fn runs(&self) -> Result<Vec<RunId>> {
        let entries = self.files.list(&self.directory)?;
        let id = |name: &str| u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok().map(RunId);
        Ok(entries.iter().filter_map(|entry| id(&entry.name)).collect())
    }

    fn read_header(&self, run: RunId) -> Result<Option<Vec<u8>>> {
        Ok(self.layout(run)?.map(|layout| layout.header.clone()))
    }

    fn read_guides(&self, run: RunId, group: u32) -> Result<Vec<u8>> {
        let layout = self.existing(run)?;
        let range = layout.groups.get(group as usize).cloned().unwrap_or_default();
        read_range(&*layout.file, range)
    }

    fn read_blocks(&self, run: RunId, chunk: u32, range: Range<usize>) -> Result<Vec<u8>> {
        let layout = self.existing(run)?;
        let start = layout.chunks.get(chunk as usize).copied().unwrap_or(u64::MAX);
        let at = |offset: usize| start.saturating_add(offset as u64);
        read_range(&*layout.file, at(range.start)..at(range.end))
    }

    fn spilling(&self) -> Spilling {
        Spilling::StaysInMemory
    }

    fn path(&self) -> &Path {
        &self.directory
    }
}

fn read_range(file: &dyn FileHandle, range: Range<u64>) -> Result<Vec<u8>> {
    let damaged =
        |problem: &str| Error::Damaged { path: file.path().to_path_buf(), problem: problem.to_owned() };
    if range.end > file.file_len()? {
        return Err(damaged("it ends before a piece of it"));
    }
    let mut bytes = vec![0; (range.end - range.start) as usize];
    if file.read_at(range.start, &mut bytes)? < bytes.len() {
        return Err(damaged("it ends before a piece of it"));
    }
    Ok(bytes)
}

fn times_of(bytes: &[u8]) -> Option<u64> {
    let (number, crc) = bytes.split_at_checked(8)?;
    (crc == crc32fast::hash(number).to_le_bytes()).then(|| number.try_into().ok().map(u64::from_le_bytes))?
}
