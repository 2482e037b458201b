//! One run as the store holds it: in memory until it is durable, then read piece by piece through the cache.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use super::cache::Cache;
use super::refs::{RunId, RunRef};
use super::storage::{RunEnd, RunStorage, RunWrite};
use crate::error::{Error, Result};
use crate::id::CheckpointId;
use crate::state::run::{Block, Chunk, Guide, Pieces, Place, RunHeader};

/// What all runs of a store share.
pub(super) struct Shelf {
    pub(super) storage: Box<dyn RunStorage>,
    pub(super) cache: Cache<Cached>,
    /// Bytes of guides that may yet be kept beside the cache, where a look-up reaches them without a lock.
    pub(super) guide_bytes_left: AtomicUsize,
}

impl Shelf {
    fn reserve(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.guide_bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// What the cache holds: cheap to clone.
#[derive(Clone)]
pub(super) enum Cached {
    Guides(Arc<Vec<Arc<Guide>>>),
    Block(Block),
}

const GUIDES: u64 = 1 << 63;

/// A run that is whole.
pub(super) struct Run {
    pub(super) id: RunId,
    /// The newest checkpoint whose rows it holds.
    pub(super) checkpoint: CheckpointId,
    pub(super) level: u8,
    shelf: Arc<Shelf>,
    header: OnceLock<(Arc<RunHeader>, u32)>,
    /// What a manifest said of it, or what was found when it was sealed.
    reference: RunRef,
    /// `None` where all is read from the storage.
    parts: RwLock<Option<Arc<Vec<Part>>>>,
    durable: AtomicBool,
    /// `parts` is `None` for good.
    is_released: AtomicBool,
    kept: OnceLock<KeptGuides>,
}

/// By group, as far as they were asked for and the budget allowed it.
struct KeptGuides {
    groups: Vec<OnceLock<Arc<Vec<Arc<Guide>>>>>,
    bytes: AtomicUsize,
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.get() {
            self.shelf.guide_bytes_left.fetch_add(kept.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// What becomes of a run's memory once it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residence {
    /// It is freed, and read from the storage again.
    Storage,
    /// It stays.
    Memory,
}

/// A chunk of a run that is not durable yet.
pub(super) enum Part {
    Memory(Chunk),
    /// Its blocks are written, its guide is not.
    Spilled {
        guide: Arc<Guide>,
        guide_bytes: Vec<u8>,
    },
}

impl Run {
    /// A run that the storage holds; nothing is read yet.
    pub(super) fn stored(shelf: Arc<Shelf>, reference: RunRef, checkpoint: CheckpointId) -> Arc<Self> {
        Arc::new(Self {
            id: reference.id,
            checkpoint,
            level: reference.level,
            shelf,
            header: OnceLock::new(),
            reference,
            parts: RwLock::new(None),
            durable: AtomicBool::new(true),
            is_released: AtomicBool::new(true),
            kept: OnceLock::new(),
        })
    }

    pub(super) fn reference(&self) -> RunRef {
        self.reference
    }

    /// Bytes of it that are not durable.
    pub(super) fn pending_bytes(&self) -> usize {
        if self.is_durable() {
            return 0;
        }
        self.parts().iter().flat_map(|parts| parts.iter()).map(Part::memory_bytes).sum()
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable.load(Ordering::Acquire)
    }

    /// It is durable from now on.
    pub(super) fn settle(&self, residence: Residence) {
        self.durable.store(true, Ordering::Release);
        if residence == Residence::Storage {
            *self.parts.write().expect("I70: no panic while the parts of a run are held") = None;
            self.is_released.store(true, Ordering::Release);
        }
    }

    /// What is to be written of it, `None` if all is.
    pub(super) fn to_write(&self) -> Option<RunWrite> {
        let parts = self.parts().filter(|_| !self.is_durable())?;
        let (header, _) = self.header.get()?;
        let mut guides: Vec<Vec<u8>> = Vec::new();
        let mut chunks = Vec::new();
        for (index, (part, fence)) in (0..).zip(parts.iter().zip(&header.chunks)) {
            if fence.guide_offset == 0 {
                guides.push(Vec::new());
            }
            if let Some(group) = guides.last_mut() {
                group.extend_from_slice(part.guide_bytes());
            }
            if let Part::Memory(chunk) = part {
                chunks.push((index, chunk.clone()));
            }
        }
        Some(RunWrite { id: self.id, chunks, end: Some(RunEnd { header: Arc::clone(header), guides }) })
    }

    fn parts(&self) -> Option<Arc<Vec<Part>>> {
        if self.is_released.load(Ordering::Acquire) {
            return None;
        }
        self.parts.read().expect("I70: no panic while the parts of a run are held").clone()
    }

    fn load_header(&self) -> Result<(Arc<RunHeader>, u32)> {
        let bytes = self.shelf.storage.read_header(self.id)?;
        let bytes = bytes.ok_or_else(|| self.damaged("its header is missing".to_owned()))?;
        let (header, checksum) = RunHeader::decode(&bytes).map_err(|problem| self.damaged(problem))?;
        if checksum != self.reference.checksum || header.run != self.id.0 {
            let expected = self.reference.checksum;
            let problem = format!(
                "its header is of {} with checksum {checksum:08x}, the manifest says {expected:08x}",
                RunId(header.run)
            );
            return Err(self.damaged(problem));
        }
        Ok((Arc::new(header), checksum))
    }

    fn load_guides(&self, group: u32, header: &RunHeader) -> Result<Arc<Vec<Arc<Guide>>>> {
        let bytes = self.shelf.storage.read_guides(self.id, group)?;
        let mut guides = Vec::new();
        for fence in header.chunks.iter().filter(|fence| fence.guide_group == group) {
            let start = fence.guide_offset as usize;
            let guide =
                bytes.get(start..start + fence.guide_len as usize).ok_or("a guide is cut off".to_owned());
            let guide = guide.and_then(|guide| Guide::verified(guide, fence.guide_crc));
            guides.push(Arc::new(guide.map_err(|problem| self.damaged(problem))?));
        }
        let guides = Arc::new(guides);
        let weight = bytes.len() + 256;
        let kept = self.kept(header).groups.get(group as usize).filter(|_| self.shelf.reserve(weight));
        match kept {
            Some(kept) if kept.set(Arc::clone(&guides)).is_ok() => {
                self.kept(header).bytes.fetch_add(weight, Ordering::Relaxed);
            }
            // Somebody else was first.
            Some(_) => _ = self.shelf.guide_bytes_left.fetch_add(weight, Ordering::Relaxed),
            None => {
                let piece = GUIDES | u64::from(group);
                self.shelf.cache.insert(self.id, piece, Cached::Guides(Arc::clone(&guides)), weight);
            }
        }
        Ok(guides)
    }

    fn kept(&self, header: &RunHeader) -> &KeptGuides {
        self.kept.get_or_init(|| {
            let groups = header.chunks.last().map_or(0, |last| last.guide_group as usize + 1);
            let groups = (0..groups).map(|_| OnceLock::new()).collect();
            KeptGuides { groups, bytes: AtomicUsize::new(0) }
        })
    }

    /// The guide of a chunk where it is kept beside the cache.
    fn kept_guide(&self, header: &RunHeader, chunk: usize) -> Option<&Arc<Guide>> {
        let group = header.chunks.get(chunk)?.guide_group;
        let guides = self.kept.get()?.groups.get(group as usize)?.get()?;
        guides.get(chunk - header.first_of_group(chunk))
    }
}

impl Pieces for Run {
    fn header(&self) -> Result<&RunHeader> {
        if let Some((header, _)) = self.header.get() {
            return Ok(header);
        }
        let loaded = self.load_header()?;
        Ok(&self.header.get_or_init(|| loaded).0)
    }

    fn guide(&self, chunk: usize) -> Result<Arc<Guide>> {
        if let Some(parts) = self.parts() {
            return Ok(Arc::clone(parts[chunk].guide()));
        }
        let header = self.header()?;
        if let Some(guide) = self.kept_guide(header, chunk) {
            return Ok(Arc::clone(guide));
        }
        let group = header.chunks[chunk].guide_group;
        let guides = match self.shelf.cache.get(self.id, GUIDES | u64::from(group)) {
            Some(Cached::Guides(guides)) => guides,
            _ => self.load_guides(group, header)?,
        };
        guides
            .get(chunk - header.first_of_group(chunk))
            .cloned()
            .ok_or_else(|| self.damaged("a guide is missing".to_owned()))
    }

    fn may_contain(&self, chunk: usize, place: Place) -> Result<bool> {
        if self.is_released.load(Ordering::Acquire)
            && let Some(guide) = self.kept_guide(self.header()?, chunk)
        {
            return Ok(guide.may_contain(place.0, place.1));
        }
        Ok(self.guide(chunk)?.may_contain(place.0, place.1))
    }

    fn block(&self, chunk: usize, block: usize, guide: &Guide) -> Result<Block> {
        if let Some(parts) = self.parts()
            && let Part::Memory(memory) = &parts[chunk]
        {
            return memory.block(block).map_err(|problem| self.damaged(problem));
        }
        let piece = (chunk as u64) << 24 | block as u64;
        if let Some(Cached::Block(block)) = self.shelf.cache.get(self.id, piece) {
            return Ok(block);
        }
        let (range, crc) = guide.range(block).ok_or_else(|| self.damaged("no such block".to_owned()))?;
        let bytes = self.shelf.storage.read_blocks(self.id, chunk as u32, range)?;
        let weight = bytes.len() + 128;
        let len = bytes.len();
        let found = Block::verified(Arc::new(bytes), 0..len, crc)
            .map_err(|problem| self.damaged(format!("block {block} of chunk {chunk}: {problem}")))?;
        self.shelf.cache.insert(self.id, piece, Cached::Block(found.clone()), weight);
        Ok(found)
    }

    fn damaged(&self, problem: String) -> Error {
        let path = self.shelf.storage.path().join(self.id.to_string());
        Error::Damaged { path, problem }
    }
}

impl Part {
    fn guide(&self) -> &Arc<Guide> {
        match self {
            Part::Memory(chunk) => chunk.guide(),
            Part::Spilled { guide, .. } => guide,
        }
    }

    fn guide_bytes(&self) -> &[u8] {
        match self {
            Part::Memory(chunk) => chunk.guide_bytes(),
            Part::Spilled { guide_bytes, .. } => guide_bytes,
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Part::Memory(chunk) => chunk.bytes_len(),
            Part::Spilled { guide_bytes, .. } => guide_bytes.len(),
        }
    }
}

/// A run that is being written: chunks come in row order.
pub(super) struct OpenRun {
    pub(super) id: RunId,
    pub(super) checkpoint: CheckpointId,
    header: RunHeader,
    parts: Vec<Part>,
}

impl OpenRun {
    pub(super) fn new(id: RunId, checkpoint: CheckpointId) -> Self {
        Self { id, checkpoint, header: RunHeader::new(id.0), parts: Vec::new() }
    }

    /// Adds a chunk; gives it back if its rows do not come after those before.
    pub(super) fn push(&mut self, chunk: Chunk) -> Result<(), Chunk> {
        if self.header.push(&chunk).is_err() {
            return Err(chunk);
        }
        self.parts.push(Part::Memory(chunk));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.parts.iter().map(Part::memory_bytes).sum()
    }

    /// The chunks that are only in memory, to be written early.
    pub(super) fn to_spill(&self) -> RunWrite {
        let memory = (0..).zip(&self.parts).filter_map(|(index, part)| match part {
            Part::Memory(chunk) => Some((index, chunk.clone())),
            Part::Spilled { .. } => None,
        });
        RunWrite { id: self.id, chunks: memory.collect(), end: None }
    }

    /// These chunks are written; returns the bytes of memory that are free now.
    pub(super) fn spilled(&mut self, chunks: &[(u32, Chunk)]) -> usize {
        let before = self.memory_bytes();
        for (index, chunk) in chunks {
            self.parts[*index as usize] =
                Part::Spilled { guide: Arc::clone(chunk.guide()), guide_bytes: chunk.guide_bytes().to_vec() };
        }
        before - self.memory_bytes()
    }

    /// Ends the run.
    pub(super) fn seal(self, shelf: Arc<Shelf>, level: u8) -> Arc<Run> {
        let (_, checksum) = self.header.encode();
        let reference =
            RunRef { id: self.id, checksum, rows: self.header.rows(), bytes: self.header.bytes(), level };
        let header = OnceLock::new();
        let _ = header.set((Arc::new(self.header), checksum));
        Arc::new(Run {
            id: self.id,
            checkpoint: self.checkpoint,
            level,
            shelf,
            header,
            reference,
            parts: RwLock::new(Some(Arc::new(self.parts))),
            durable: AtomicBool::new(false),
            is_released: AtomicBool::new(false),
            kept: OnceLock::new(),
        })
    }
}
