//! The pipelines whose throughput is measured, each with its loop.

use tidegate::operators::{Session, Sliding, Tumbling};
use tidegate::prelude::{Aggregate, Dataflow, Timestamp, WatermarkStrategy, seconds};

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

/// The highest price.
struct Highest;

impl Aggregate for Highest {
    type In = Bid;
    type Acc = u64;
    type Out = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, highest: &mut u64, bid: Bid) {
        *highest = bid.price.max(*highest);
    }

    fn merge(&self, highest: &mut u64, other: u64) {
        *highest = other.max(*highest);
    }

    fn finish(&self, highest: &u64) -> u64 {
        *highest
    }
}

/// How many there were.
struct Count;

impl Aggregate for Count {
    type In = u64;
    type Acc = u64;
    type Out = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, count: &mut u64, _: u64) {
        *count += 1;
    }

    fn merge(&self, count: &mut u64, other: u64) {
        *count += other;
    }

    fn finish(&self, count: &u64) -> u64 {
        *count
    }
}

/// q7: the highest price of each window of 10 s.
pub(crate) fn tumbling_max() -> Throughput<Bid, (i64, u64)> {
    fn pipeline(flow: &Dataflow, source: Cycle<Bid>, sink: Measured<(i64, u64)>) {
        flow.source("bids", source)
            .event_time(WatermarkStrategy::monotonic(), |bid| Timestamp(bid.at_ms))
            .window_all(Tumbling::of(seconds(10)))
            .aggregate_then("highest", Highest, |window, price| Some((window.end.millis(), price)))
            .sink("windows", sink);
    }
    Throughput {
        bench: "tumbling-max",
        records: bids(),
        warm: 2_000_000,
        by_hand: loops::tumbling_max::run,
        pipeline,
        digest: |(end, price)| mix(*end as u64 ^ mix(*price)),
    }
}

/// q5: bids of each auction in windows of 10 s every 2 s.
pub(crate) fn sliding_count() -> Throughput<Bid, (i64, u64, u64)> {
    fn pipeline(flow: &Dataflow, source: Cycle<Bid>, sink: Measured<(i64, u64, u64)>) {
        flow.source("bids", source)
            .event_time(WatermarkStrategy::monotonic(), |bid| Timestamp(bid.at_ms))
            .map(|bid| bid.auction)
            .key_by(|auction| *auction)
            .window(Sliding::of(seconds(10)).every(seconds(2)))
            .aggregate_then("bids-of-auction", Count, |auction, window, bids| {
                Some((window.end.millis(), *auction, bids))
            })
            .sink("windows", sink);
    }
    Throughput {
        bench: "sliding-count",
        records: bids(),
        warm: 2_000_000,
        by_hand: loops::sliding_count::run,
        pipeline,
        digest: |(end, auction, bids)| mix(*end as u64 ^ mix(*auction ^ mix(*bids))),
    }
}

/// q11: bids of each bidder in sessions with a gap of 10 s.
pub(crate) fn session_count() -> Throughput<Bid, (u64, i64, i64, u64)> {
    fn pipeline(flow: &Dataflow, source: Cycle<Bid>, sink: Measured<(u64, i64, i64, u64)>) {
        flow.source("bids", source)
            .event_time(WatermarkStrategy::monotonic(), |bid| Timestamp(bid.at_ms))
            .map(|bid| bid.bidder)
            .key_by(|bidder| *bidder)
            .window(Session::with_gap(seconds(10)))
            .aggregate_then("bids-of-bidder", Count, |bidder, window, bids| {
                Some((*bidder, window.start.millis(), window.end.millis(), bids))
            })
            .sink("sessions", sink);
    }
    Throughput {
        bench: "session-count",
        records: bids(),
        warm: 2_000_000,
        by_hand: loops::session_count::run,
        pipeline,
        digest: |(bidder, start, end, bids)| mix(*bidder ^ mix(*start as u64 ^ mix(*end as u64 ^ mix(*bids)))),
    }
}
