//! The highest price of each tumbling window, over bids in the order of time.

use crate::data::{Bid, Cyclic, Work};
use crate::stopwatch::Stopwatch;

/// Length of a window.
pub(crate) const WINDOW_MS: i64 = 10_000;

/// Emits (end of window, highest price) for every window with a bid.
pub(crate) fn run(work: &Work<Bid>, stopwatch: &Stopwatch, consume: &mut dyn FnMut(&[(i64, u64)])) {
    let (mut end, mut highest) = (WINDOW_MS, None);
    for (bids, shift) in work.chunks(stopwatch) {
        let offset = Bid { at_ms: 0, ..bids[0] }.shifted(shift).at_ms;
        let mut rest = bids;
        while let Some(last) = rest.last() {
            // One comparison a chunk, but for the chunk with the window's end in it.
            let within = if last.at_ms + offset < end {
                rest.len()
            } else {
                rest.partition_point(|bid| bid.at_ms + offset < end)
            };
            highest = rest[..within].iter().map(|bid| bid.price).max().max(highest);
            rest = &rest[within..];
            if let Some(bid) = rest.first() {
                if let Some(price) = highest.take() {
                    consume(&[(end, price)]);
                }
                end = (bid.at_ms + offset) / WINDOW_MS * WINDOW_MS + WINDOW_MS;
            }
        }
    }
    if let Some(price) = highest {
        consume(&[(end, price)]);
    }
}
