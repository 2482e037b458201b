//! Differential tests: the same input through the same query as Apache Flink gives the same rows, as a bag.

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use support::{bag, run_with_kills};
use tidegate::prelude::*;
use tidegate::runtime::time::watermark::WatermarkGenerator;

const T0: i64 = 1_700_000_000_000;

/// One line of the input: bids have the last three.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Event {
    seq: u64,
    ts: i64,
    #[serde(rename = "t")]
    kind: char,
    #[serde(default)]
    auction: u64,
    #[serde(default)]
    bidder: u64,
    #[serde(default)]
    price: u64,
}

fn gunzip(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let file = std::fs::File::open(&path).expect("the golden files are in the repository");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("a golden file is gzip of UTF-8");
    text
}

fn events() -> Vec<Event> {
    gunzip("events.jsonl.gz")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a golden event is JSON"))
        .collect()
}

/// The rows of a golden file, without its header, as a bag.
fn golden(name: &str) -> BTreeMap<String, usize> {
    bag(gunzip(name).lines().skip(1).map(str::to_owned))
}

/// A watermark after every record: the highest timestamp so far, less the bound, less 1.
struct AfterEveryRecord {
    bound: i64,
    highest: i64,
}

impl WatermarkGenerator<Event> for AfterEveryRecord {
    fn on_record(&mut self, _: &Event, timestamp: Timestamp) -> Option<Timestamp> {
        self.highest = self.highest.max(timestamp.millis());
        Some(Timestamp(self.highest - self.bound - 1))
    }

    fn on_period(&mut self) -> Option<Timestamp> {
        None
    }
}

/// The bids, with event time, as Flink's job read them.
fn bids(flow: &Dataflow, bound: i64) -> Stream<Event, Timed> {
    let strategy = WatermarkStrategy::custom(move || AfterEveryRecord { bound, highest: i64::MIN / 2 });
    flow.source("events", collection(events()))
        .event_time(strategy, |event| event.ts)
        .filter(|e| e.kind == 'B')
}

/// Count, maximum and sum of prices.
struct Prices;

impl Aggregate for Prices {
    type In = Event;
    type Acc = (u64, u64, u64);
    type Out = (u64, u64, u64);

    fn create(&self) -> Self::Acc {
        (0, 0, 0)
    }

    fn add(&self, acc: &mut Self::Acc, event: Event) {
        *acc = (acc.0 + 1, acc.1.max(event.price), acc.2 + event.price);
    }

    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc) {
        *acc = (acc.0 + other.0, acc.1.max(other.1), acc.2 + other.2);
    }

    fn finish(&self, acc: &Self::Acc) -> Self::Out {
        *acc
    }
}

fn row(key: u64, window: Window, (count, max, sum): (u64, u64, u64)) -> String {
    format!("{key},{},{},{count},{max},{sum}", window.start.millis(), window.end.millis())
}

/// Which window, by which key, with which bound.
#[derive(Clone, Copy)]
enum Query {
    Tumble10(i64),
    Slide10By2,
    Session10,
    Session2(i64),
}

/// What becomes of late records. Where they are dropped, records are added up before the exchange.
#[derive(Clone, Copy, Debug)]
enum Late {
    Kept,
    Dropped,
}

/// Builds the query; results and late `seq`s go to the two collecting sinks.
fn windowed(flow: &Dataflow, query: Query, late: Late) -> (Collected<String>, Collected<u64>) {
    let (results, collected) = collect();
    let (late_results, late_collected) = collect();
    let (by_auction, by_bidder) =
        (|bound| bids(flow, bound).key_by(|e| e.auction), |bound| bids(flow, bound).key_by(|e| e.bidder));
    let windows = match query {
        Query::Tumble10(bound) => by_auction(bound).window(Tumbling::of(seconds(10))),
        Query::Slide10By2 => by_auction(5_000).window(Sliding::of(seconds(10)).every(seconds(2))),
        Query::Session10 => by_bidder(5_000).window(Session::with_gap(seconds(10))),
        Query::Session2(bound) => by_bidder(bound).window(Session::with_gap(seconds(2))),
    };
    if let Late::Kept = late {
        windows.late().map(|event| event.seq).sink("late", late_results);
    }
    windows
        .aggregate_then("query", Prices, |key, window, out| Some(row(*key, window, out)))
        .sink("results", results);
    (collected, late_collected)
}

fn check_windows(query: Query, late: Late, (parallelism, kills): (u32, u64), file: &str) -> Vec<u64> {
    let flow = Dataflow::new("golden");
    let (results, late_results) = windowed(&flow, query, late);
    run_with_kills(flow, parallelism, kills);
    let case = format!("{file} at parallelism {parallelism} with {kills} kills, late records {late:?}");
    assert_eq!(bag(results.take()), golden(file), "{case}");
    late_results.take()
}

fn check_without_lateness(query: Query, file: &str) {
    for late in [Late::Kept, Late::Dropped] {
        assert_eq!(check_windows(query, late, (1, 0), file), Vec::<u64>::new());
        for parallelism in 1..=4 {
            assert_eq!(check_windows(query, late, (parallelism, 3), file), Vec::<u64>::new());
        }
    }
}

fn late_rows(file: &str) -> Vec<u64> {
    gunzip(file).lines().skip(1).map(|line| line.parse().expect("a seq")).collect()
}

#[test]
fn tumbling_windows_equal_flinks() {
    check_without_lateness(Query::Tumble10(5_000), "tumble10_auction.csv.gz");
}

#[test]
fn sliding_windows_equal_flinks() {
    check_without_lateness(Query::Slide10By2, "slide10_2_auction.csv.gz");
}

#[test]
fn session_windows_equal_flinks() {
    check_without_lateness(Query::Session10, "session10_bidder.csv.gz");
}

#[test]
fn late_records_of_tumbling_windows_equal_flinks() {
    let late = check_windows(Query::Tumble10(1_000), Late::Kept, (1, 0), "tumble10_auction_ooo1.csv.gz");
    check_windows(Query::Tumble10(1_000), Late::Dropped, (1, 0), "tumble10_auction_ooo1.csv.gz");
    assert_eq!(late, late_rows("tumble10_auction_ooo1_late.csv.gz"));
}

#[test]
fn late_records_of_session_windows_equal_flinks() {
    let late = check_windows(Query::Session2(1_000), Late::Kept, (1, 0), "session2_bidder_ooo1.csv.gz");
    check_windows(Query::Session2(1_000), Late::Dropped, (1, 0), "session2_bidder_ooo1.csv.gz");
    assert_eq!(late, late_rows("session2_bidder_ooo1_late.csv.gz"));
}

fn check_pattern(pattern: impl Fn() -> Pattern<Event>, file: &str) {
    for (parallelism, kills) in [(1, 0), (1, 3), (2, 3), (3, 3), (4, 3)] {
        let flow = Dataflow::new("golden");
        let (results, collected) = collect();
        bids(&flow, 5_000)
            .filter(|e| e.bidder % 10 == 0)
            .key_by(|e| e.bidder)
            .pattern("query", pattern(), |found| {
                let (first, last) = (&found["a"][0], &found["b"][0]);
                format!("{},a={};b={},{}", last.bidder, first.seq, last.seq, last.ts - T0)
            })
            .sink("results", results);
        run_with_kills(flow, parallelism, kills);
        assert_eq!(bag(collected.take()), golden(file), "{file} at parallelism {parallelism}");
    }
}

#[test]
fn patterns_of_next_equal_flinks() {
    check_pattern(
        || {
            Pattern::begin("a", |e: &Event| e.price < 10_000)
                .next("b", |e| e.price > 1_000_000)
                .within(minutes(5))
        },
        "cep_next.csv.gz",
    );
}

#[test]
fn patterns_of_followed_by_equal_flinks() {
    check_pattern(
        || {
            Pattern::begin("a", |e: &Event| e.price < 10_000)
                .followed_by("b", |e| e.price > 1_000_000)
                .within(minutes(5))
        },
        "cep_followedBy.csv.gz",
    );
}
