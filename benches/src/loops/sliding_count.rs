//! Bids of each auction in sliding windows: counted once a slice, windows are sums of slices.

use std::collections::VecDeque;

use super::table::Table;
use crate::data::{Bid, Cyclic, Work};
use crate::stopwatch::Stopwatch;

/// Length of a window.
pub(crate) const WINDOW_MS: i64 = 10_000;
/// Time between two windows, and length of a slice.
pub(crate) const SLIDE_MS: i64 = 2_000;
const SLICES: usize = (WINDOW_MS / SLIDE_MS) as usize;

/// Emits (end of window, auction, bids) for every auction of every window.
pub(crate) fn run(work: &Work<Bid>, stopwatch: &Stopwatch, consume: &mut dyn FnMut(&[(i64, u64, u64)])) {
    let mut windows = Windows::default();
    let mut slice: Table<u64> = Table::with_room(1 << 15);
    let mut end = SLIDE_MS;
    for (bids, shift) in work.chunks(stopwatch) {
        for bid in bids {
            let bid = bid.shifted(shift);
            while bid.at_ms >= end {
                windows.close(end, &mut slice, consume);
                end += SLIDE_MS;
            }
            *slice.entry(bid.auction) += 1;
        }
    }
    for _ in 0..SLICES {
        windows.close(end, &mut slice, consume);
        end += SLIDE_MS;
    }
}

/// The slices of the window that ends next, and their sum.
#[derive(Default)]
struct Windows {
    slices: VecDeque<Vec<(u64, u64)>>,
    /// Sums, rebuilt from the slices when too many auctions are over.
    sums: Option<Table<u64>>,
    out: Vec<(i64, u64, u64)>,
}

impl Windows {
    fn close(&mut self, end: i64, slice: &mut Table<u64>, consume: &mut dyn FnMut(&[(i64, u64, u64)])) {
        self.slices.push_back(slice.entries().collect());
        slice.clear();
        let entries: usize = self.slices.iter().map(Vec::len).sum();
        let sums = self.sums.get_or_insert_with(|| Table::with_room(entries.max(1 << 16)));
        sums.clear();
        for (auction, bids) in self.slices.iter().flatten() {
            *sums.entry(*auction) += bids;
        }
        self.out.extend(sums.entries().map(|(auction, bids)| (end, auction, bids)));
        consume(&self.out);
        self.out.clear();
        if self.slices.len() == SLICES {
            self.slices.pop_front();
        }
    }
}
