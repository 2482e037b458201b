//! Bids of each session of a bidder; sessions that are over are swept out once a gap, so that the table stays small.

use super::table::Table;
use crate::data::{Bid, CHUNK, Cyclic, Work};
use crate::stopwatch::Stopwatch;

/// A session ends when its bidder is silent for longer.
pub(crate) const GAP_MS: i64 = 10_000;

/// An open session.
#[derive(Clone, Copy, Default)]
struct Session {
    start_ms: i64,
    last_ms: i64,
    bids: u64,
}

impl Session {
    fn over(self, bidder: u64) -> (u64, i64, i64, u64) {
        (bidder, self.start_ms, self.last_ms + GAP_MS, self.bids)
    }
}

/// Emits (bidder, start, end, bids) for every session.
pub(crate) fn run(work: &Work<Bid>, stopwatch: &Stopwatch, consume: &mut dyn FnMut(&[(u64, i64, i64, u64)])) {
    let mut open: Table<Session> = Table::with_room(1 << 16);
    let mut out = Vec::with_capacity(2 * CHUNK);
    let mut sweep_at = GAP_MS;
    for (bids, shift) in work.chunks(stopwatch) {
        for bid in bids {
            let bid = bid.shifted(shift);
            let session = open.entry(bid.bidder);
            if session.bids > 0 && bid.at_ms - session.last_ms > GAP_MS {
                out.push(session.over(bid.bidder));
                session.bids = 0;
            }
            if session.bids == 0 {
                session.start_ms = bid.at_ms;
            }
            session.last_ms = bid.at_ms;
            session.bids += 1;
        }
        let now = bids.last().map_or(0, |bid| bid.shifted(shift).at_ms);
        if now >= sweep_at {
            sweep(&mut open, now, &mut out);
            sweep_at = now + GAP_MS;
        }
        if out.len() >= CHUNK {
            consume(&out);
            out.clear();
        }
    }
    sweep(&mut open, i64::MAX, &mut out);
    consume(&out);
}

fn sweep(open: &mut Table<Session>, now: i64, out: &mut Vec<(u64, i64, i64, u64)>) {
    let mut live = Table::with_room(open.len());
    for (bidder, session) in open.entries() {
        if now.saturating_sub(session.last_ms) > GAP_MS {
            out.push(session.over(bidder));
        } else {
            *live.entry(bidder) = session;
        }
    }
    *open = live;
}
