//! The pipelines whose throughput is measured, each with its loop.

use tidegate_operators::Dataflow;

use crate::data::{Bid, bids, keys, mix};
use crate::loops;
use crate::sink::Measured;
use crate::source::Cycle;
use crate::throughput::Throughput;

/// 1 M random keys; the count so far is emitted for each record.
pub(crate) fn keyed_count() -> Throughput<u64, (u64, u64)> {
    fn pipeline(flow: &Dataflow, source: Cycle<u64>, sink: Measured<(u64, u64)>) {
        flow.source("keys", source)
            .key_by(|key| *key)
            .stateful_map("count", |count: &mut u64, key| {
                *count += 1;
                (key, *count)
            })
            .sink("counts", sink);
    }
    Throughput {
        bench: "keyed-count",
        records: keys(),
        // Each key about 8 times.
        warm: 8_000_000,
        by_hand: loops::keyed_count::run,
        pipeline,
        digest: |(key, count)| mix(key ^ mix(*count)),
    }
}

/// Converts bids and keeps a few.
pub(crate) fn map_filter() -> Throughput<Bid, Bid> {
    fn pipeline(flow: &Dataflow, source: Cycle<Bid>, sink: Measured<Bid>) {
        flow.source("bids", source)
            .map(loops::map_filter::converted)
            .filter(loops::map_filter::is_kept)
            .sink("kept", sink);
    }
    Throughput {
        bench: "map-filter",
        records: bids(),
        warm: 2_000_000,
        by_hand: loops::map_filter::run,
        pipeline,
        digest: |bid| mix(bid.auction ^ mix(bid.bidder ^ mix(bid.price ^ mix(bid.at_ms as u64)))),
    }
}
