//! Measures the state store: commits of 16 MB each beside a plain file write, and look-ups through several runs.
//!
//! `cargo run --release -p tidegate-runtime --example store_probe [DIRECTORY]`

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tidegate_runtime::error::Result;
use tidegate_runtime::files::{FileLayer, OpenMode, RealFiles, create_dirs, remove_tree};
use tidegate_runtime::id::{AttemptId, CheckpointId, OperatorId, StateId, SubtaskId};
use tidegate_runtime::key::KeyHash;
use tidegate_runtime::state::{
    LeaseRequest, RestorePoint, RowKey, RowRef, RunBuilder, RunRefs, SnapshotMode, StateLease, Store,
    StoreEvents, StoreOptions,
};
use tidegate_runtime::time::Clock;

const KEYS: u64 = 1_000_000;
const ROUNDS: u64 = 12;
const SUBTASK: SubtaskId = SubtaskId { operator: OperatorId(0), index: 0 };

#[derive(Default)]
struct Durable {
    last: Mutex<Option<(CheckpointId, RunRefs)>>,
    changed: Condvar,
}

impl StoreEvents for Durable {
    fn on_durable(&self, checkpoint: CheckpointId, outcome: Result<Vec<(SubtaskId, RunRefs)>>) {
        let runs = outcome.expect("the disk works").remove(0).1;
        *self.last.lock().expect("no panic") = Some((checkpoint, runs));
        self.changed.notify_all();
    }
}

impl Durable {
    fn wait(&self, checkpoint: CheckpointId) -> RunRefs {
        let mut last = self.last.lock().expect("no panic");
        loop {
            match &*last {
                Some((done, runs)) if *done == checkpoint => return runs.clone(),
                _ => last = self.changed.wait(last).expect("no panic"),
            }
        }
    }
}

fn main() -> Result<()> {
    let directory =
        std::env::args().nth(1).map_or_else(|| PathBuf::from("target/store_probe"), PathBuf::from);
    remove_tree(&RealFiles, &directory)?;
    create_dirs(&RealFiles, &directory)?;
    let clock = Clock::system();
    let plain = plain_files(&directory, &clock)?;
    println!("plain file, 16 MB and fdatasync: {} ms", ms(plain));
    commits(&directory, &clock, plain)?;
    for runs in [1, 4, 16] {
        misses(&directory, &clock, runs)?;
    }
    recovery(&directory, &clock)?;
    remove_tree(&RealFiles, &directory)
}

fn ms(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e3)
}

fn median(mut list: Vec<Duration>) -> Duration {
    list.sort_unstable();
    list[list.len() / 2]
}

/// User and system time of the process, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn plain_files(directory: &Path, clock: &Clock) -> Result<Duration> {
    let bytes = vec![7_u8; 16 << 20];
    let path = directory.join("plain");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = clock.elapsed();
        let file = RealFiles.open(&path, OpenMode::Truncate)?;
        bytes.chunks(250 * 1024).try_for_each(|chunk| file.append(chunk))?;
        file.sync()?;
        times.push(clock.elapsed() - start);
    }
    RealFiles.remove(&path)?;
    Ok(median(times))
}

fn hash(n: u64) -> u64 {
    n.wrapping_mul(u64::MAX / KEYS)
}

/// Keys `first`, `first + step`, ... as fixed rows of 24 bytes.
fn delta(first: u64, step: usize, value: u64) -> Vec<Vec<u8>> {
    let mut builder = RunBuilder::new();
    let mut chunks = Vec::new();
    for n in (first..KEYS).step_by(step) {
        let key = n.to_le_bytes();
        let place = RowKey { state: StateId(0), hash: KeyHash(hash(n)), key: &key, element: b"" };
        chunks.extend(builder.push(RowRef { key: place, value: Some(&value.to_le_bytes()) }));
    }
    chunks.extend(builder.finish());
    chunks
}

fn write(lease: &dyn StateLease, checkpoint: u64, chunks: Vec<Vec<u8>>) -> Result<()> {
    for chunk in chunks {
        lease.submit(CheckpointId(checkpoint), chunk).expect("the queue has room");
    }
    lease.seal(CheckpointId(checkpoint), SnapshotMode::Delta)
}

fn commits(directory: &Path, clock: &Clock, plain: Duration) -> Result<()> {
    let file = directory.join("commits.redb");
    let durable = Arc::new(Durable::default());
    let store = Store::open(StoreOptions::redb(Arc::new(RealFiles), &file), Arc::clone(&durable) as _, &[])?;
    let lease = store.lease(LeaseRequest::new(AttemptId(1), SUBTASK))?;
    let (mut times, mut encoding, mut used, mut folding) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for checkpoint in 1..=ROUNDS {
        let start = clock.elapsed();
        let chunks = delta(0, 1, checkpoint);
        encoding.push(clock.elapsed() - start);
        bytes = chunks.iter().map(Vec::len).sum();
        store.begin(CheckpointId(checkpoint), vec![SUBTASK]);
        let (start, before) = (clock.elapsed(), cpu());
        write(&*lease, checkpoint, chunks)?;
        durable.wait(CheckpointId(checkpoint));
        times.push(clock.elapsed() - start);
        used.push(cpu() - before);
        let start = clock.elapsed();
        store.completed(CheckpointId(checkpoint));
        store.retain(&[CheckpointId(checkpoint)]);
        store.wait_idle();
        folding.push(clock.elapsed() - start);
    }
    let done = median(times);
    let cpu_mean = used.iter().sum::<Duration>() / ROUNDS as u32;
    println!(
        "commit of {KEYS} rows, {:.1} MB: {} ms, {} ms CPU, {:.2} of a plain file; building the chunks {} ms",
        bytes as f64 / 1e6,
        ms(done),
        ms(cpu_mean),
        done.as_secs_f64() / plain.as_secs_f64(),
        ms(median(encoding)),
    );
    let total: Duration = folding.iter().sum();
    println!(
        "folds and clean-up after a commit: {} ms on average, longest {} ms; file {} MB for {:.1} MB of rows",
        ms(total / ROUNDS as u32),
        ms(folding.into_iter().max().unwrap_or_default()),
        RealFiles.file_len(&file)?.unwrap_or(0) >> 20,
        bytes as f64 / 1e6,
    );
    Ok(())
}

fn misses(directory: &Path, clock: &Clock, runs: u64) -> Result<()> {
    let file = directory.join(format!("misses{runs}.redb"));
    let durable = Arc::new(Durable::default());
    let store = Store::open(StoreOptions::redb(Arc::new(RealFiles), file), Arc::clone(&durable) as _, &[])?;
    let lease = store.lease(LeaseRequest::new(AttemptId(1), SUBTASK))?;
    for run in 0..=runs {
        let chunks = if run == 0 { delta(0, 1, 0) } else { delta(run, 16, run) };
        store.begin(CheckpointId(run + 1), vec![SUBTASK]);
        write(&*lease, run + 1, chunks)?;
        durable.wait(CheckpointId(run + 1));
    }
    let mut found = 0_u64;
    let mut look = |count: u64, seed: u64| -> Result<Duration> {
        let start = clock.elapsed();
        for n in 0..count {
            let key = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed) % KEYS;
            lease.get(StateId(0), KeyHash(hash(key)), &key.to_le_bytes(), &mut |_| {
                found += 1;
                Ok(())
            })?;
        }
        Ok(clock.elapsed() - start)
    };
    let cold = look(20_000, 1)?;
    look(400_000, 2)?;
    let before = cpu();
    let warm = look(400_000, 3)?;
    let used = cpu() - before;
    assert_eq!(found, 820_000, "every key is found once");
    println!(
        "look-up through {runs} runs and the base, warm: {:.0} ns CPU, {:.0} ns; {:.0} ns in the first 20,000",
        used.as_secs_f64() * 1e9 / 400_000.0,
        warm.as_secs_f64() * 1e9 / 400_000.0,
        cold.as_secs_f64() * 1e9 / 20_000.0,
    );
    Ok(())
}

fn recovery(directory: &Path, clock: &Clock) -> Result<()> {
    let file = directory.join("recovery.redb");
    let durable = Arc::new(Durable::default());
    let open = |retained: &[_]| {
        let options = StoreOptions::redb(Arc::new(RealFiles), &file);
        Store::open(options, Arc::clone(&durable) as Arc<dyn StoreEvents>, retained)
    };
    let store = open(&[])?;
    let lease = store.lease(LeaseRequest::new(AttemptId(1), SUBTASK))?;
    store.begin(CheckpointId(1), vec![SUBTASK]);
    write(&*lease, 1, delta(0, 1, 1))?;
    let runs = durable.wait(CheckpointId(1));
    let start = clock.elapsed();
    let request = LeaseRequest::new(AttemptId(2), SUBTASK).with_restore(runs.clone());
    let lease = store.lease(request.clone())?;
    let rolled = clock.elapsed() - start;
    first_look_up(&*lease)?;
    let first = clock.elapsed() - start;
    let start = clock.elapsed();
    let mut rows = 0_u64;
    lease.scan(StateId(0), (KeyHash(0), KeyHash(u64::MAX)), &mut |_| {
        rows += 1;
        Ok(())
    })?;
    assert_eq!(rows, KEYS);
    let scan = clock.elapsed() - start;
    drop((lease, store));
    let start = clock.elapsed();
    let store = open(&[(CheckpointId(1), RestorePoint { runs })])?;
    let lease = store.lease(request)?;
    first_look_up(&*lease)?;
    println!(
        "roll-back {:.3} ms, with a first look-up {:.3} ms; the same after opening the file {} ms; scan of all {:.1} ns a row",
        rolled.as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3,
        ms(clock.elapsed() - start),
        scan.as_secs_f64() * 1e9 / KEYS as f64,
    );
    Ok(())
}

fn first_look_up(lease: &dyn StateLease) -> Result<()> {
    lease.get(StateId(0), KeyHash(hash(77)), &77_u64.to_le_bytes(), &mut |_| Ok(()))
}
