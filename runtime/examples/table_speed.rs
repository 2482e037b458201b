//! Measures `KeyedTable` beside a hand-written table over the same records: nanoseconds per update and their ratio.
//!
//! `cargo run --release -p tidegate-runtime --example table_speed [keys] [updates]`

use std::hint::black_box;
use std::sync::Arc;

use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::key::{KeyHash, hash_key};
use tidegate_runtime::state::testing::DiscardLease;
use tidegate_runtime::state::{KeyedTable, SlicePace, StateRegistry, StateTable};
use tidegate_runtime::time::Clock;

const BATCH: usize = 1_024;
const REPETITIONS: usize = 5;

fn main() -> tidegate_runtime::Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let keys = arguments.next().unwrap_or(1_000_000) as u64;
    let updates = arguments.next().unwrap_or(20_000_000);
    let clock = Clock::system();

    let mut table = open()?;
    let mut loop_table = HandWritten::new(keys as usize);
    let mut draws = Draws { state: 7, keys };
    // Both are filled first: growth isn't measured here.
    for _ in 0..keys as usize * 8 / BATCH {
        let batch = draws.batch();
        update(&mut table, &batch)?;
        loop_table.update(&batch);
    }
    let mut rows = Vec::new();
    for repetition in 0..REPETITIONS {
        let ours = nanoseconds(&clock, updates, || {
            for _ in 0..updates / BATCH {
                update(&mut table, &draws.batch())?;
            }
            Ok(())
        })?;
        let theirs = nanoseconds(&clock, updates, || {
            for _ in 0..updates / BATCH {
                loop_table.update(&draws.batch());
            }
            Ok(())
        })?;
        let drawing = nanoseconds(&clock, updates, || {
            for _ in 0..updates / BATCH {
                black_box(draws.batch());
            }
            Ok(())
        })?;
        println!(
            "{repetition}: table {ours:.2} ns, loop {theirs:.2} ns, of which drawing and hashing {drawing:.2}"
        );
        rows.push((ours, theirs));
    }
    rows.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    let (ours, theirs) = rows[rows.len() / 2];
    println!(
        "median ratio of time table / loop: {:.2}; {} keys, {} bytes each",
        ours / theirs,
        table.entries(),
        table.bytes() / table.entries()
    );
    snapshot(&clock, &mut table, &mut draws)
}

fn open() -> tidegate_runtime::Result<KeyedTable<u64, u64>> {
    StateRegistry::new(Arc::new(DiscardLease), (KeyHash(0), KeyHash(u64::MAX))).keyed_table("count")
}

/// What a stateful operator does with a batch.
fn update(table: &mut KeyedTable<u64, u64>, batch: &Batch) -> tidegate_runtime::Result<()> {
    table.update_batch(
        &batch.hashes,
        &batch.keys,
        || 0,
        |_, count| {
            *count += 1;
            Ok(())
        },
    )
}

/// One checkpoint with updates going on between slices.
fn snapshot(
    clock: &Clock,
    table: &mut KeyedTable<u64, u64>,
    draws: &mut Draws,
) -> tidegate_runtime::Result<()> {
    for checkpoint in 1..=3 {
        table.freeze(CheckpointId(checkpoint));
        let (mut encoding, mut longest, mut slices) = (0u128, 0u128, 0u32);
        loop {
            let start = clock.elapsed();
            let done = table.encode(&DiscardLease, SlicePace::default())?;
            let took = (clock.elapsed() - start).as_nanos();
            (encoding, longest, slices) = (encoding + took, longest.max(took), slices + 1);
            update(table, &draws.batch())?;
            if done {
                break;
            }
        }
        let entries = table.entries();
        println!(
            "checkpoint {checkpoint}: {entries} entries in {slices} slices, {:.1} ms, {:.1} ns an entry, longest slice {:.2} ms",
            encoding as f64 / 1e6,
            encoding as f64 / entries as f64,
            longest as f64 / 1e6
        );
        for _ in 0..entries * 8 / BATCH {
            update(table, &draws.batch())?;
        }
    }
    Ok(())
}

fn nanoseconds(
    clock: &Clock,
    updates: usize,
    mut work: impl FnMut() -> tidegate_runtime::Result<()>,
) -> tidegate_runtime::Result<f64> {
    let start = clock.elapsed();
    work()?;
    Ok((clock.elapsed() - start).as_nanos() as f64 / updates as f64)
}

struct Batch {
    keys: Vec<u64>,
    hashes: Vec<KeyHash>,
}

struct Draws {
    state: u64,
    keys: u64,
}

impl Draws {
    fn batch(&mut self) -> Batch {
        let keys: Vec<u64> = (0..BATCH)
            .map(|_| {
                self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((u128::from(self.state) * u128::from(self.keys)) >> 64) as u64
            })
            .collect();
        let hashes = keys.iter().map(hash_key).collect();
        Batch { keys, hashes }
    }
}

/// Open addressing over 16-byte slots, key 0 reserved for an empty slot, with prefetching 12 ahead.
struct HandWritten {
    slots: Vec<(u64, u64)>,
    mask: usize,
}

impl HandWritten {
    fn new(keys: usize) -> Self {
        let len = (keys * 3 / 2).next_power_of_two();
        Self { slots: vec![(0, 0); len], mask: len - 1 }
    }

    fn update(&mut self, batch: &Batch) {
        for (at, (key, hash)) in batch.keys.iter().zip(&batch.hashes).enumerate() {
            if let Some(ahead) = batch.hashes.get(at + 12) {
                prefetch(&self.slots[ahead.0 as usize & self.mask]);
            }
            let mut place = hash.0 as usize & self.mask;
            loop {
                let slot = &mut self.slots[place];
                if slot.0 == key + 1 {
                    slot.1 += 1;
                    break;
                }
                if slot.0 == 0 {
                    *slot = (key + 1, 1);
                    break;
                }
                place = (place + 1) & self.mask;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn prefetch<T>(target: &T) {
    // SAFETY: a prefetch has no effect that a program can see.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(target).cast());
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn prefetch<T>(_target: &T) {}
