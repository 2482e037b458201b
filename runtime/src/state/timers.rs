//! Timers by key, durable: all of them in memory in the order of firing, each one a row of its own.
//!
//! A row is (hash, key, time) with an empty value, the time as eight bytes in order. What is registered or deleted
//! between two freezes is logged, and the log is the delta: so a freeze takes the log away, and nothing that happens
//! afterwards can change what it says. In mode `Full` a freeze copies all timers.

mod log;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::marker::PhantomData;

use hashbrown::HashTable;

use crate::error::{Error, Result};
use crate::id::{CheckpointId, StateId};
use crate::key::{Key, KeyHash};
use crate::state::codec;
use crate::state::delta::DeltaWriter;
use crate::state::lease::{SlicePace, StateLease, StateTable};
use crate::state::registry::{SnapshotMode, TableOrigin};
use crate::state::table::key::SmallBytes;
use crate::state::table::range::HashRange;
use crate::state::timers::log::{Change, ChangeKind, Log};
use crate::time::Timestamp;

/// The timers of one subtask, of one kind of time (event time or processing time); all of them are in memory.
///
/// A key has at most one timer at a time of firing: registering it again does nothing (case 50), so the order of
/// firing, time, then hash, then encoded key, leaves no ties.
pub struct Timers<K: Key> {
    timers: KeyedTimers,
    /// The encoded key being worked on.
    scratch: Vec<u8>,
    key: PhantomData<fn() -> K>,
}

impl<K: Key> Timers<K> {
    pub(crate) fn open(origin: TableOrigin) -> Result<Self> {
        Ok(Self { timers: KeyedTimers::open(&origin)?, scratch: Vec::new(), key: PhantomData })
    }

    /// Registers a timer; returns whether it is new. Any time will do: one in the past is due at once.
    ///
    /// # Errors
    /// If the key can't be encoded.
    pub fn register(&mut self, time: Timestamp, hash: KeyHash, key: &K) -> Result<bool> {
        let key = self.encode_key(key)?;
        Ok(self.timers.register(time, Owner { hash, key }))
    }

    /// Deletes a timer; returns whether there was one.
    ///
    /// # Errors
    /// If the key can't be encoded.
    pub fn delete(&mut self, time: Timestamp, hash: KeyHash, key: &K) -> Result<bool> {
        let key = self.encode_key(key)?;
        Ok(self.timers.delete(time, Owner { hash, key }))
    }

    /// Takes the earliest timer if it is due at `now` or before: in the order of time, then hash, then encoded key.
    /// One a call, so firing can stop anywhere and go on later; a timer that is registered while others fire takes
    /// its place among those left.
    ///
    /// # Errors
    /// If the key can't be decoded.
    pub fn pop_due(&mut self, now: Timestamp) -> Result<Option<(Timestamp, KeyHash, K)>> {
        let Some((time, owner)) = self.timers.pop_due(now) else { return Ok(None) };
        Ok(Some((time, owner.hash, codec::decode_bare(owner.key.as_slice())?)))
    }

    /// When the earliest timer fires.
    pub fn next(&self) -> Option<Timestamp> {
        self.timers.due.first_key_value().map(|(time, _)| *time)
    }

    /// Number of timers.
    pub fn len(&self) -> usize {
        self.timers.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.timers.len == 0
    }

    fn encode_key(&mut self, key: &K) -> Result<SmallBytes> {
        self.scratch.clear();
        codec::encode_bare(key, &mut self.scratch)?;
        Ok(SmallBytes::new(&self.scratch))
    }
}

impl<K: Key> StateTable for Timers<K> {
    fn freeze(&mut self, checkpoint: CheckpointId) {
        self.timers.freeze(checkpoint);
    }

    fn encode(&mut self, lease: &dyn StateLease, pace: SlicePace) -> Result<bool> {
        self.timers.encode(lease, pace)
    }

    fn handed_over(&self) -> SnapshotMode {
        self.timers.mode
    }

    fn on_durable(&mut self, _checkpoint: CheckpointId) {}

    fn entries(&self) -> usize {
        self.timers.len
    }

    fn bytes(&self) -> usize {
        self.timers.len * size_of::<Owner>() * 2 + self.timers.log.bytes()
    }
}

/// Whose a timer is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    hash: KeyHash,
    key: SmallBytes,
}

/// The timers, whatever the type of the key.
struct KeyedTimers {
    state: StateId,
    mode: SnapshotMode,
    range: HashRange,
    due: BTreeMap<Timestamp, Bucket>,
    len: usize,
    /// What has changed since the last freeze.
    log: Log,
    snapshot: Option<Snapshot>,
}

/// The timers of one time: sorted when the first of them fires.
enum Bucket {
    Collecting(HashTable<Owner>),
    Firing(BTreeSet<Owner>),
}

struct Snapshot {
    /// Parts of the log that are not encoded, in order.
    parts: VecDeque<Vec<Change>>,
    writer: DeltaWriter,
    is_finished: bool,
}

impl KeyedTimers {
    fn open(origin: &TableOrigin) -> Result<Self> {
        let range = HashRange::new(origin.hashes);
        let mut timers = Self {
            state: origin.state,
            mode: origin.mode,
            range,
            due: BTreeMap::new(),
            len: 0,
            log: Log::default(),
            snapshot: None,
        };
        origin.lease.scan(origin.state, origin.hashes, &mut |row| {
            let time = log::decode_time(row.key.element).ok_or_else(|| Error::Codec {
                type_name: "Timers",
                problem: format!("a timer row's element has {} bytes instead of 8", row.key.element.len()),
            })?;
            timers.put(time, Owner { hash: row.key.hash, key: SmallBytes::new(row.key.key) });
            Ok(())
        })?;
        Ok(timers)
    }

    fn register(&mut self, time: Timestamp, owner: Owner) -> bool {
        let logged = owner.clone();
        if !self.put(time, owner) {
            return false;
        }
        self.record(ChangeKind::Registered, time, logged);
        true
    }

    fn put(&mut self, time: Timestamp, owner: Owner) -> bool {
        let bucket = self.due.entry(time).or_insert_with(|| Bucket::Collecting(HashTable::new()));
        let is_new = bucket.insert(owner);
        self.len += usize::from(is_new);
        is_new
    }

    fn delete(&mut self, time: Timestamp, owner: Owner) -> bool {
        let Some(bucket) = self.due.get_mut(&time) else { return false };
        if !bucket.remove(&owner) {
            return false;
        }
        if bucket.is_empty() {
            self.due.remove(&time);
        }
        self.len -= 1;
        self.record(ChangeKind::Deleted, time, owner);
        true
    }

    fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, Owner)> {
        let mut entry = self.due.first_entry()?;
        let time = *entry.key();
        if time > now {
            return None;
        }
        let owner = entry.get_mut().pop_first()?;
        if entry.get().is_empty() {
            entry.remove();
        }
        self.len -= 1;
        self.record(ChangeKind::Deleted, time, owner.clone());
        Some((time, owner))
    }

    fn record(&mut self, kind: ChangeKind, time: Timestamp, owner: Owner) {
        // A full snapshot is made of the timers themselves.
        if self.mode == SnapshotMode::Delta {
            self.log.push(self.range.position(owner.hash), Change { owner, time, kind });
        }
    }

    fn freeze(&mut self, checkpoint: CheckpointId) {
        assert!(self.snapshot.is_none(), "I91: a version is handed over whole before the next is frozen");
        if self.mode == SnapshotMode::Full {
            for (time, bucket) in &self.due {
                bucket.visit(|owner| {
                    let change = Change { owner: owner.clone(), time: *time, kind: ChangeKind::Registered };
                    self.log.push(self.range.position(owner.hash), change);
                });
            }
        }
        let parts = std::mem::take(&mut self.log).into_parts();
        self.snapshot = Some(Snapshot { parts, writer: DeltaWriter::new(checkpoint), is_finished: false });
    }

    fn encode(&mut self, lease: &dyn StateLease, pace: SlicePace) -> Result<bool> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(true) };
        if !snapshot.writer.submit(lease)? {
            return Ok(false);
        }
        let mut left = pace.entries.max(1);
        while let Some(part) = snapshot.parts.pop_front() {
            let rows = part.len();
            log::write(self.state, part, &mut snapshot.writer);
            left = left.saturating_sub(rows.max(1));
            if left == 0 {
                break;
            }
        }
        if snapshot.parts.is_empty() && !snapshot.is_finished {
            snapshot.writer.finish();
            snapshot.is_finished = true;
        }
        let is_done = snapshot.writer.submit(lease)? && snapshot.is_finished;
        if is_done {
            self.snapshot = None;
        }
        Ok(is_done)
    }
}

impl Bucket {
    fn insert(&mut self, owner: Owner) -> bool {
        match self {
            Bucket::Collecting(owners) => {
                let is_absent = owners.find(owner.hash.0, |held| *held == owner).is_none();
                if is_absent {
                    owners.insert_unique(owner.hash.0, owner, |held| held.hash.0);
                }
                is_absent
            }
            Bucket::Firing(owners) => owners.insert(owner),
        }
    }

    fn remove(&mut self, owner: &Owner) -> bool {
        match self {
            Bucket::Collecting(owners) => match owners.find_entry(owner.hash.0, |held| held == owner) {
                Ok(entry) => {
                    entry.remove();
                    true
                }
                Err(_) => false,
            },
            Bucket::Firing(owners) => owners.remove(owner),
        }
    }

    fn pop_first(&mut self) -> Option<Owner> {
        if let Bucket::Collecting(owners) = self {
            if owners.len() == 1 {
                return owners.drain().next();
            }
            *self = Bucket::Firing(owners.drain().collect());
        }
        match self {
            Bucket::Firing(owners) => owners.pop_first(),
            Bucket::Collecting(_) => None,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Bucket::Collecting(owners) => owners.is_empty(),
            Bucket::Firing(owners) => owners.is_empty(),
        }
    }

    fn visit(&self, mut visit: impl FnMut(&Owner)) {
        match self {
            Bucket::Collecting(owners) => owners.iter().for_each(visit),
            Bucket::Firing(owners) => owners.iter().for_each(&mut visit),
        }
    }
}

#[cfg(test)]
mod tests;
