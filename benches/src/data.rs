//! Records made before the clock runs, and how they are gone through again and again with time moving on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate::runtime::Record;

use crate::stopwatch::Stopwatch;

/// Records that a source emits at once and a loop takes at once.
pub(crate) const CHUNK: usize = 1_024;
/// Different keys of `keyed-count`.
pub(crate) const KEYS: usize = 1_000_000;
/// Keys drawn, then drawn again in the same order.
const DRAWS: usize = 16_384 * CHUNK;
/// Bids of one round: 40.96 s of event time.
const BIDS: usize = 4_000 * CHUNK;
/// Bids in one millisecond of event time: 100,000 a second.
const BIDS_PER_MS: u64 = 100;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// Scatters a number over 64 bits.
pub(crate) fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A bid of an auction site, 40 bytes as in Nexmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bid {
    pub(crate) auction: u64,
    pub(crate) bidder: u64,
    pub(crate) price: u64,
    pub(crate) channel: u64,
    pub(crate) at_ms: i64,
}

/// A record that can be used again in a later round.
pub(crate) trait Cyclic: Record + Copy + Sync {
    /// What is added in a round.
    type Shift: Copy + Send;

    /// Of round `round`, when a round has `records` records.
    fn shift(round: u64, records: u64) -> Self::Shift;

    /// The record as it is in that round.
    fn shifted(self, shift: Self::Shift) -> Self;
}

impl Cyclic for u64 {
    type Shift = ();

    fn shift(_round: u64, _records: u64) {}

    fn shifted(self, _shift: ()) -> u64 {
        self
    }
}

/// How far a round moves auctions, bidders and time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BidShift {
    auctions: u64,
    bidders: u64,
    time_ms: i64,
}

impl Cyclic for Bid {
    type Shift = BidShift;

    fn shift(round: u64, records: u64) -> BidShift {
        let gone = round * records;
        BidShift {
            auctions: auctions_at(gone),
            bidders: bidders_at(gone),
            time_ms: (gone / BIDS_PER_MS) as i64,
        }
    }

    fn shifted(self, shift: BidShift) -> Bid {
        Bid {
            auction: self.auction + shift.auctions,
            bidder: self.bidder + shift.bidders,
            at_ms: self.at_ms + shift.time_ms,
            ..self
        }
    }
}

/// Auctions that were opened before bid `index`: 6 to 100 bids.
fn auctions_at(index: u64) -> u64 {
    index * 6 / 100
}

/// Persons that joined before bid `index`: 2 to 100 bids.
fn bidders_at(index: u64) -> u64 {
    index * 2 / 100
}

/// Records to go through: whole rounds of a fixed array and a part of the last.
#[derive(Clone)]
pub(crate) struct Work<T> {
    pub(crate) records: Arc<[T]>,
    /// All records.
    pub(crate) total: u64,
    /// Of these the first are not measured: they fill tables and windows.
    pub(crate) warm: u64,
}

impl<T: Cyclic> Work<T> {
    /// About `warm` records and about `measured` after them, each a multiple of `CHUNK`.
    pub(crate) fn new(records: Arc<[T]>, warm: u64, measured: u64) -> Self {
        let chunks = |records: u64| records.div_ceil(CHUNK as u64) * CHUNK as u64;
        Self { records, total: chunks(warm) + chunks(measured), warm: chunks(warm) }
    }

    /// Records that are measured.
    pub(crate) fn measured(&self) -> u64 {
        self.total - self.warm
    }

    /// Chunk `index` and its shift; `None` behind the last.
    pub(crate) fn chunk(&self, index: u64) -> Option<(&[T], T::Shift)> {
        let start = index * CHUNK as u64;
        if start >= self.total {
            return None;
        }
        let len = self.records.len() as u64;
        let at = (start % len) as usize;
        Some((&self.records[at..at + CHUNK], T::shift(start / len, len)))
    }

    /// Whether chunk `index` and all after it are measured.
    pub(crate) fn is_measured(&self, index: u64) -> bool {
        index * CHUNK as u64 >= self.warm
    }

    /// All chunks in order; `stopwatch` begins with the first that is measured.
    pub(crate) fn chunks(&self, stopwatch: &Stopwatch) -> impl Iterator<Item = (&[T], T::Shift)> {
        (0..).map_while(move |index| {
            if self.is_measured(index) {
                stopwatch.begin();
            }
            self.chunk(index)
        })
    }
}

/// Draws of 1 M random keys; none is 0.
pub(crate) fn keys() -> Arc<[u64]> {
    let mut random = Random(1);
    let keys: Vec<u64> = (0..KEYS).map(|_| random.next() | 1).collect();
    (0..DRAWS).map(|_| keys[random.below(KEYS as u64) as usize]).collect()
}

/// Bids in the order of time, with Nexmark's shape: half go to the hot auction (of the last hundred opened, the first),
/// the others to one of the last 100; three quarters come from the hot bidder, the others from the last 1,000.
pub(crate) fn bids() -> Arc<[Bid]> {
    let mut random = Random(2);
    let bid = |index: u64| {
        let (auctions, bidders) = (auctions_at(index) + 1_000, bidders_at(index) + 10_000);
        let is_hot_auction = random.below(2) == 0;
        let is_hot_bidder = random.below(4) > 0;
        Bid {
            auction: if is_hot_auction { auctions / 100 * 100 } else { auctions - random.below(100) },
            bidder: if is_hot_bidder { bidders / 100 * 100 } else { bidders - random.below(1_000) },
            price: 100 + random.below(100_000_000) / (1 + random.below(1_000)),
            channel: random.below(10_000),
            at_ms: (index / BIDS_PER_MS) as i64,
        }
    };
    (0..BIDS as u64).map(bid).collect()
}
