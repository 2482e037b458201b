//! Model checks of the gate and the wake-up, on the real structures: run with `RUSTFLAGS="--cfg tidegate_loom"`.
//!
//! A subtask is a thread with a mailbox of notices. It handles one as an actor does: `begin`, then work until there
//! is none. A lost wake-up leaves a thread waiting for ever, which loom reports as a deadlock.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::{Gate, Refused, Turns, Wakeup};
use crate::element::{Batch, Element, ErasedBatch};
use crate::id::LaneId;
use crate::metrics::SubtaskStatus;
use crate::time::Timestamp;

/// The notices that an actor has not handled.
struct Mailbox {
    notices: Mutex<usize>,
    arrived: Condvar,
}

impl Mailbox {
    fn new() -> (Arc<Self>, Wakeup) {
        let mailbox = Arc::new(Self { notices: Mutex::new(0), arrived: Condvar::new() });
        let sender = Arc::clone(&mailbox);
        let wakeup = Wakeup::new(move || {
            let mut notices = sender.notices.lock().expect("no model thread panics");
            *notices += 1;
            assert_eq!(*notices, 1, "at most one notice is under way (I4)");
            sender.arrived.notify_one();
        });
        (mailbox, wakeup)
    }

    /// Waits for a notice and begins to handle it.
    fn receive(&self, wakeup: &Wakeup) {
        let mut notices = self.notices.lock().expect("no model thread panics");
        while *notices == 0 {
            notices = self.arrived.wait(notices).expect("no model thread panics");
        }
        *notices -= 1;
        drop(notices);
        wakeup.begin();
    }
}

fn batch(record: u64) -> Element {
    Element::Batch(ErasedBatch::new(Batch { records: vec![record], ..Batch::default() }))
}

fn record(element: Element) -> u64 {
    match element {
        Element::Batch(batch) => batch.into_typed::<u64>().records[0],
        other => panic!("only batches are offered, not {other:?}"),
    }
}

/// Offers `records` one by one, parking when one is refused.
fn produce(gate: &Gate, lane: LaneId, records: std::ops::Range<u64>) {
    let (mailbox, wakeup) = Mailbox::new();
    for each in records {
        let mut element = batch(each);
        while let Err(Refused(refused)) = gate.offer(lane, element, &wakeup) {
            element = refused;
            mailbox.receive(&wakeup);
        }
    }
}

/// Handles notices until `count` records have come.
fn consume(gate: &Gate, mailbox: &Mailbox, wakeup: &Wakeup, count: usize) -> Vec<(LaneId, u64)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        mailbox.receive(wakeup);
        while let Some((lane, element)) = gate.take() {
            taken.push((lane, record(element)));
        }
    }
    taken
}

#[test]
fn loom_a_producer_and_a_consumer_lose_no_wake_up() {
    loom::model(|| {
        let (mailbox, wakeup) = Mailbox::new();
        let gate = Gate::new(1, 1_024, wakeup.clone());
        let producer = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || produce(&gate, LaneId(0), 0..2))
        };
        let taken = consume(&gate, &mailbox, &wakeup, 2);
        assert_eq!(taken, [(LaneId(0), 0), (LaneId(0), 1)]);
        producer.join().expect("the producer ends");
        assert_eq!(gate.queued_bytes(), 0);
    });
}

#[test]
fn loom_a_refused_producer_is_woken_when_there_is_room() {
    loom::model(|| {
        let (mailbox, wakeup) = Mailbox::new();
        let gate = Gate::new(1, 1, wakeup.clone());
        let producer = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || produce(&gate, LaneId(0), 0..3))
        };
        let taken = consume(&gate, &mailbox, &wakeup, 3);
        assert_eq!(taken, [(LaneId(0), 0), (LaneId(0), 1), (LaneId(0), 2)]);
        producer.join().expect("the producer ends");
    });
}

#[test]
fn loom_two_producers_share_a_budget_of_one() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (mailbox, wakeup) = Mailbox::new();
        let gate = Gate::new(2, 1, wakeup.clone());
        let producers = [0, 1].map(|lane| {
            let gate = Arc::clone(&gate);
            let first = u64::from(lane) * 10;
            thread::spawn(move || produce(&gate, LaneId(lane), first..first + 2))
        });
        let taken = consume(&gate, &mailbox, &wakeup, 4);
        for lane in [0, 1] {
            let of_lane: Vec<u64> =
                taken.iter().filter(|(from, _)| *from == LaneId(lane)).map(|taken| taken.1).collect();
            assert_eq!(of_lane, [u64::from(lane) * 10, u64::from(lane) * 10 + 1], "in order");
        }
        for producer in producers {
            producer.join().expect("the producers end");
        }
    });
}

#[test]
fn loom_a_blocked_lane_does_not_keep_the_other_from_its_barrier() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (mailbox, wakeup) = Mailbox::new();
        let gate = Gate::new(2, 1, wakeup.clone());
        gate.block(LaneId(0));
        gate.force(LaneId(0), batch(0));
        let producer = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || produce(&gate, LaneId(1), 10..12))
        };
        let taken = consume(&gate, &mailbox, &wakeup, 2);
        assert_eq!(taken, [(LaneId(1), 10), (LaneId(1), 11)]);
        producer.join().expect("the producer ends");
        gate.unblock_all();
        assert_eq!(gate.take().map(|taken| taken.0), Some(LaneId(0)));
    });
}

#[test]
fn loom_a_gate_that_closes_lets_its_producer_go() {
    loom::model(|| {
        let (_mailbox, wakeup) = Mailbox::new();
        let gate = Gate::new(1, 1, wakeup);
        let producer = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || produce(&gate, LaneId(0), 0..2))
        };
        gate.close();
        producer.join().expect("the producer ends");
        assert_eq!(gate.queued_bytes(), 0);
        assert!(gate.take().is_none());
    });
}

#[test]
fn loom_a_source_that_gave_way_is_woken() {
    loom::model(|| {
        let [behind, ahead] = [10, 20].map(|watermark| {
            let status = Arc::new(SubtaskStatus::default());
            status.set_emitted_watermark(Timestamp(watermark));
            let (mailbox, wakeup) = Mailbox::new();
            (mailbox, wakeup, status)
        });
        let both = [&behind, &ahead].map(|(_, wakeup, status)| (wakeup.clone(), Arc::clone(status)));
        let [first, second] = <[_; 2]>::try_from(Turns::of(both.into())).ok().expect("two turns");
        let other = thread::spawn(move || {
            let (mailbox, wakeup, _) = behind;
            for _ in 0..2 {
                wakeup.wake();
                mailbox.receive(&wakeup);
                assert!(!first.begin(), "it is behind");
            }
        });
        let (mailbox, wakeup, _) = ahead;
        while second.begin() {
            mailbox.receive(&wakeup);
        }
        other.join().expect("the other ends");
    });
}
