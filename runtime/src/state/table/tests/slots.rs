//! The slots against a map: random changes while arrays replace each other, are divided and joined.

use std::collections::BTreeMap;

use crate::key::{KeyHash, hash_key};
use crate::state::table::array::Probe;
use crate::state::table::cell::FIRST;
use crate::state::table::key::Native;
use crate::state::table::range::{HashRange, Span};
use crate::state::table::slot::{Origin, Slot};
use crate::state::table::slots::{At, Slots};
use crate::state::testing::seeds;

/// Depth at which segments are not divided any more.
const DEPTH_MAX: u32 = 7;

struct Run {
    slots: Slots<Native<u64>, u64>,
    /// The keys with their values, in the order of hashes.
    model: BTreeMap<(KeyHash, u64), u64>,
    range: HashRange,
    depth: u32,
    random: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let ends =
            [(0, u64::MAX), (11, u64::MAX / 3), (u64::MAX / 7, u64::MAX / 2), (1 << 60, (1 << 61) + 5)];
        let (first, last) = ends[seed as usize % ends.len()];
        let range = HashRange::new((KeyHash(first), KeyHash(last)));
        let depth = 3;
        let slots = match seed % 3 {
            0 => Slots::in_parts(range, depth),
            1 => Slots::new(range, 700),
            _ => Slots::new(range, 0),
        };
        Self { slots, model: BTreeMap::new(), range, depth, random: seed }
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random = hash_key(&self.random).0;
        ((u128::from(self.random) * below as u128) >> 64) as usize
    }

    /// A hash of the range, and its key: here they are the same.
    fn key(&mut self) -> (KeyHash, u64) {
        loop {
            let key = self.draw(1 << 40) as u64;
            let hash = hash_key(&key);
            if self.range.contains(hash) {
                return (hash, key);
            }
        }
    }

    fn present(&mut self) -> Option<(KeyHash, u64)> {
        let nth = self.draw(self.model.len());
        self.model.keys().nth(nth).copied()
    }

    fn at(&self, (hash, key): (KeyHash, u64)) -> Option<At> {
        match self.slots.probe(self.range.position(hash), &key) {
            Probe::Live(at) => Some(at),
            Probe::Dead(_) | Probe::Absent => None,
        }
    }

    fn step(&mut self) {
        let (range, depth) = (self.range, self.depth);
        let segment = Span::numbered(self.draw(1 << depth), depth);
        match self.draw(20) {
            0..7 => {
                for _ in 0..self.draw(200) {
                    let (hash, key) = self.key();
                    self.insert((hash, key));
                }
            }
            7 => {
                // Neighbours, as where a segment is read back.
                let mut keys: Vec<_> = (0..400).map(|_| self.key()).collect();
                keys.sort();
                keys.truncate(self.draw(120));
                self.slots.reserve(
                    range.position(keys.first().map_or(range.first(), |(hash, _)| *hash)),
                    keys.len(),
                );
                keys.into_iter().for_each(|key| self.insert(key));
            }
            8..12 => {
                for _ in 0..self.draw(80) {
                    let Some(key) = self.present() else { break };
                    let at = self.at(key).expect("it is there");
                    assert!(
                        matches!(self.slots.remove(at), Some(Slot::Live { key: Native(held), .. }) if held == key.1)
                    );
                    self.model.remove(&key);
                }
            }
            12..15 => {
                let third = self.draw(3) as u64;
                let is_kept = |key: u64| key % 3 == third;
                self.slots.retain(segment, |slot| is_kept(slot.key().0));
                let is_inside = |hash| (segment.first..=segment.last).contains(&range.position(hash));
                self.model.retain(|(hash, key), _| !is_inside(*hash) || is_kept(*key));
            }
            15 => self.slots.part(depth),
            16 => self.slots.join(),
            17 if depth < DEPTH_MAX => {
                self.depth += 1;
                self.slots.double();
            }
            _ => {
                let places = self.draw(300);
                self.slots.tend(places);
            }
        }
    }

    fn insert(&mut self, (hash, key): (KeyHash, u64)) {
        if self.at((hash, key)).is_some() {
            return;
        }
        let value = self.random;
        let slot = Slot::Live { stamp: FIRST, origin: Origin::Fresh, key: Native(key), cell: value };
        let at = self.slots.insert(hash, slot).expect("hashes are not alike");
        assert!(matches!(self.slots.get(at), Some(Slot::Live { cell, .. }) if *cell == value));
        self.model.insert((hash, key), value);
    }

    fn check(&mut self) {
        assert_eq!(self.slots.len(), self.model.len());
        let mut seen = Vec::new();
        for segment in 0..1 << self.depth {
            let span = Span::numbered(segment, self.depth);
            let slots: Vec<_> = self.slots.span(span).collect();
            assert!(slots.len() <= self.slots.places(span));
            assert!(
                slots.iter().all(|slot| (span.first..=span.last).contains(&self.range.position(slot.hash())))
            );
            seen.extend(slots.into_iter().map(|slot| (slot.hash(), slot.key().0)));
        }
        assert!(seen.iter().eq(self.model.keys()), "in the order of hashes, each once");
        let is_in_parts = self.slots.is_in_parts();
        for ((hash, key), value) in &self.model {
            let at = match self.slots.probe(self.range.position(*hash), key) {
                Probe::Live(at) => at,
                other => panic!("key {key} is {other:?}"),
            };
            assert!(matches!(self.slots.get(at), Some(Slot::Live { cell, .. }) if cell == value));
            let ahead = if is_in_parts {
                let home = self.slots.prefetch::<true>(*hash);
                self.slots.touch::<true>(home, key, FIRST, || true).copied()
            } else {
                let home = self.slots.prefetch::<false>(*hash);
                self.slots.touch::<false>(home, key, FIRST, || true).copied()
            };
            assert!(ahead.is_none_or(|found| found == *value), "what is found ahead is the key's");
            assert!(ahead.is_some() || !self.slots.is_at_rest(), "at rest everything is found ahead");
        }
        for _ in 0..50 {
            let (hash, key) = self.key();
            assert_eq!(self.at((hash, key)).is_some(), self.model.contains_key(&(hash, key)));
        }
    }
}

#[test]
fn slots_are_a_map_in_the_order_of_hashes_whatever_moves() {
    for seed in seeds(60) {
        let mut run = Run::new(seed);
        for _ in 0..60 {
            run.step();
            run.check();
        }
    }
}

#[test]
fn memory_is_in_proportion_to_the_slots() {
    let range = HashRange::new((KeyHash(0), KeyHash(u64::MAX)));
    let mut slots: Slots<Native<u64>, u64> = Slots::new(range, 0);
    let slot = |key| Slot::Live { stamp: FIRST, origin: Origin::Fresh, key: Native(key), cell: key };
    for key in 0..50_000 {
        slots.insert(hash_key(&key), slot(key)).expect("hashes are not alike");
        let each = slots.bytes() / slots.len();
        assert!(key < 100 || (44..=68).contains(&each), "{each} bytes for each of {key}");
    }
    for segment in 0..8 {
        slots.retain(Span::numbered(segment, 3), |slot| slot.key().0 < 500);
    }
    assert_eq!(slots.len(), 500);
    while slots.tend(1_000) {}
    assert!(slots.bytes() < 500 * 68, "{} bytes for 500 slots", slots.bytes());
}
