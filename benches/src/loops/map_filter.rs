//! Converts prices and keeps every 123rd auction.

use crate::data::{Bid, CHUNK, Cyclic, Work};
use crate::stopwatch::Stopwatch;

/// A bid in another currency.
pub(crate) fn converted(bid: Bid) -> Bid {
    Bid { price: bid.price * 908 / 1_000, ..bid }
}

/// Whether a bid is kept.
pub(crate) fn is_kept(bid: &Bid) -> bool {
    bid.auction.is_multiple_of(123)
}

/// Emits what is kept.
pub(crate) fn run(work: &Work<Bid>, stopwatch: &Stopwatch, consume: &mut dyn FnMut(&[Bid])) {
    let mut out = Vec::with_capacity(2 * CHUNK);
    for (bids, shift) in work.chunks(stopwatch) {
        for bid in bids {
            let bid = bid.shifted(shift);
            if is_kept(&bid) {
                out.push(converted(bid));
            }
        }
        if out.len() >= CHUNK {
            consume(&out);
            out.clear();
        }
    }
    consume(&out);
}
