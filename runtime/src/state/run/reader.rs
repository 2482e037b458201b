//! Reads the rows of one run: by place through fences and bloom filters, or a range in order.

use std::cmp::Ordering;
use std::sync::Arc;

use super::block::{Block, Row};
use super::chunk::Guide;
use super::header::RunHeader;
use crate::error::{Error, Result};
use crate::id::StateId;
use crate::key::KeyHash;
use crate::state::row::RowRef;

/// Where the pieces of a run come from: memory, a cache, or a store. What it gives is verified.
pub(crate) trait Pieces: Send + Sync {
    /// The header.
    fn header(&self) -> Result<&RunHeader>;
    /// The guide of a chunk.
    fn guide(&self, chunk: usize) -> Result<Arc<Guide>>;
    /// Whether a chunk may have a row of a place.
    fn may_contain(&self, chunk: usize, place: Place) -> Result<bool> {
        Ok(self.guide(chunk)?.may_contain(place.0, place.1))
    }
    /// A block of a chunk.
    fn block(&self, chunk: usize, block: usize, guide: &Guide) -> Result<Block>;
    /// An error that names this run.
    fn damaged(&self, problem: String) -> Error;
}

/// A place between rows: state and key hash.
pub(crate) type Place = (StateId, KeyHash);

/// Before all rows.
pub(crate) const FIRST_PLACE: Place = (StateId(0), KeyHash(0));
/// After all rows.
pub(crate) const LAST_PLACE: Place = (StateId(u16::MAX), KeyHash(u64::MAX));

/// Stands on a row of a run and moves on in row order, up to an end.
pub(crate) struct Cursor {
    run: Arc<dyn Pieces>,
    end: Place,
    chunk: usize,
    guide: Arc<Guide>,
    block_index: usize,
    block: Block,
    row: Row,
    next: usize,
}

impl Cursor {
    /// Stands on the first row in `first..=end`, `None` if there is none.
    ///
    /// # Errors
    /// If a piece can't be read or is damaged.
    pub(crate) fn open<P: Pieces + 'static>(run: &Arc<P>, first: Place, end: Place) -> Result<Option<Self>> {
        let header = run.header()?;
        let chunk = header.seek(first.0, first.1);
        if header.chunks.get(chunk).is_none_or(|fence| fence.first > end) {
            return Ok(None);
        }
        let guide = run.guide(chunk)?;
        Self::enter(Arc::clone(run) as Arc<dyn Pieces>, (chunk, guide), (first, end))
    }

    /// Stands on the first row of one place, `None` if there is none; most misses read no block.
    ///
    /// # Errors
    /// If a piece can't be read or is damaged.
    pub(crate) fn probe<P: Pieces + 'static>(run: &Arc<P>, place: Place) -> Result<Option<Self>> {
        let header = run.header()?;
        let chunk = header.seek(place.0, place.1);
        if header.chunks.get(chunk).is_none_or(|fence| fence.first > place) {
            return Ok(None);
        }
        if !run.may_contain(chunk, place)? {
            return Ok(None);
        }
        let guide = run.guide(chunk)?;
        Self::enter(Arc::clone(run) as Arc<dyn Pieces>, (chunk, guide), (place, place))
    }

    fn enter(
        run: Arc<dyn Pieces>,
        (chunk, guide): (usize, Arc<Guide>),
        (first, end): (Place, Place),
    ) -> Result<Option<Self>> {
        let block_index = guide.seek(first.0, first.1);
        let Some(fence) = guide.blocks.get(block_index) else {
            return Err(run.damaged(format!("the guide of chunk {chunk} ends before its fence")));
        };
        if (fence.state, fence.first) > end {
            return Ok(None);
        }
        let block = run.block(chunk, block_index, &guide)?;
        let damaged = |problem| run.damaged(problem);
        let start = match block.state().cmp(&first.0) {
            Ordering::Less => {
                return Err(damaged(format!("a block of chunk {chunk} is of another state than its fence")));
            }
            Ordering::Equal => block.seek(first.1).map_err(damaged)?,
            Ordering::Greater => block.start(),
        };
        let (row, next) = block.read(start).map_err(damaged)?;
        let cursor = Self { run, end, chunk, guide, block_index, block, row, next };
        Ok((cursor.place() <= end).then_some(cursor))
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> Place {
        (self.block.state(), self.row.hash)
    }

    /// The row that it stands on.
    pub(crate) fn row(&self) -> RowRef<'_> {
        self.block.view(&self.row)
    }

    /// Moves to the next row; `false` at the end.
    ///
    /// # Errors
    /// If a piece can't be read or is damaged.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        if self.next >= self.block.end() && !self.next_block()? {
            return Ok(false);
        }
        let (row, next) = self.block.read(self.next).map_err(|problem| self.run.damaged(problem))?;
        self.row = row;
        self.next = next;
        Ok(self.place() <= self.end)
    }

    fn next_block(&mut self) -> Result<bool> {
        self.block_index += 1;
        if self.block_index >= self.guide.blocks.len() {
            self.chunk += 1;
            if self.run.header()?.chunks.get(self.chunk).is_none_or(|fence| fence.first > self.end) {
                return Ok(false);
            }
            self.guide = self.run.guide(self.chunk)?;
            self.block_index = 0;
        }
        let fence = self.guide.blocks.get(self.block_index);
        if fence.is_none_or(|fence| (fence.state, fence.first) > self.end) {
            return Ok(false);
        }
        self.block = self.run.block(self.chunk, self.block_index, &self.guide)?;
        self.next = self.block.start();
        Ok(true)
    }
}
