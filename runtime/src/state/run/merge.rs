//! Merges the rows of several runs: in row order, of each place the newest.

use super::reader::Cursor;
use crate::error::Result;
use crate::state::row::RowRef;

/// Cursors over runs of one chain, with the order of their rows.
///
/// It can be left after any row and gone on with later: a fold works in slices.
pub(crate) struct Merge {
    /// Oldest run first.
    cursors: Vec<Cursor>,
    /// A heap of positions in `cursors`: the first stands on the least row, the newest of those at one place.
    heap: Vec<usize>,
}

impl Merge {
    /// Over cursors of one chain, oldest run first.
    pub(crate) fn new(cursors: Vec<Cursor>) -> Self {
        let mut merge = Self { heap: (0..cursors.len()).collect(), cursors };
        for index in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(index);
        }
        merge
    }

    /// Shows the newest row of the next place, tombstones too, and passes over the older ones; `false` at the end.
    ///
    /// # Errors
    /// If a piece can't be read, or what `visit` says.
    pub(crate) fn next(&mut self, visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>) -> Result<bool> {
        let Some(&top) = self.heap.first() else { return Ok(false) };
        visit(self.cursors[top].row())?;
        while self.heap.len() > 1 {
            let second = self.second();
            if self.cursors[self.heap[second]].row().key != self.cursors[top].row().key {
                break;
            }
            self.advance(second)?;
        }
        self.advance(0)?;
        Ok(true)
    }

    /// The position in the heap of the second least: one of the root's children.
    fn second(&self) -> usize {
        if self.heap.len() > 2 && self.is_before(2, 1) { 2 } else { 1 }
    }

    fn advance(&mut self, position: usize) -> Result<()> {
        let cursor = self.heap[position];
        if !self.cursors[cursor].advance()? {
            self.heap.swap_remove(position);
            if position >= self.heap.len() {
                return Ok(());
            }
        }
        self.sift_down(position);
        Ok(())
    }

    fn sift_down(&mut self, mut position: usize) {
        loop {
            let left = 2 * position + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let least = if right < self.heap.len() && self.is_before(right, left) { right } else { left };
            if !self.is_before(least, position) {
                return;
            }
            self.heap.swap(least, position);
            position = least;
        }
    }

    fn is_before(&self, left: usize, right: usize) -> bool {
        let (left, right) = (self.heap[left], self.heap[right]);
        let (a, b) = (&self.cursors[left], &self.cursors[right]);
        match a.place().cmp(&b.place()) {
            std::cmp::Ordering::Equal => match a.row().key.cmp(&b.row().key) {
                std::cmp::Ordering::Equal => left > right,
                order => order.is_lt(),
            },
            order => order.is_lt(),
        }
    }
}
