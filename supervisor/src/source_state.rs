//! What a checkpoint holds of sources: split positions of readers, and what their enumerators remember.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_runtime::error::{Error, Result};
use tidegate_runtime::task::SourceSnapshot;

/// Unfinished splits and the count of records. Format: postcard, version byte first.
#[derive(Serialize, Deserialize)]
struct ReaderState {
    version: u8,
    records: u64,
    splits: Vec<Vec<u8>>,
}

/// Splits by id, at their first positions.
pub(crate) type KnownSplits = Vec<(String, Vec<u8>)>;

/// What the enumerator of a source remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceMemory {
    /// What no reader may hold yet.
    pub(crate) known: KnownSplits,
    /// What was read to its end, by id, with the place in the order of finishing: never to be read again.
    finished: BTreeMap<String, u64>,
    next_place: u64,
}

/// Finished splits that are remembered although discovery lists them no more: a file that is moved back, or a directory
/// that is mounted again, is not read twice. Of a directory that is followed for ever the older ones are forgotten.
const UNLISTED_MAX: usize = 4_096;

impl SourceMemory {
    /// These were read to their ends, and a published checkpoint says so.
    pub(crate) fn finish(&mut self, ids: impl IntoIterator<Item = String>) {
        for id in ids {
            let place = self.next_place;
            self.finished.entry(id).or_insert(place);
            self.next_place += 1;
        }
    }

    pub(crate) fn has_finished(&self, id: &str) -> bool {
        self.finished.contains_key(id)
    }

    pub(crate) fn finished(&self) -> impl Iterator<Item = &String> {
        self.finished.keys()
    }

    /// Forgets the oldest of what discovery lists no more, and returns it.
    pub(crate) fn forget_unlisted(&mut self, listed: &BTreeSet<&str>) -> Vec<String> {
        if self.finished.len() <= UNLISTED_MAX {
            return Vec::new();
        }
        let mut unlisted: Vec<(u64, String)> = self
            .finished
            .iter()
            .filter(|(id, _)| !listed.contains(id.as_str()))
            .map(|(id, place)| (*place, id.clone()))
            .collect();
        unlisted.sort_unstable();
        unlisted.truncate(unlisted.len().saturating_sub(UNLISTED_MAX));
        for (_, id) in &unlisted {
            self.finished.remove(id);
        }
        unlisted.into_iter().map(|(_, id)| id).collect()
    }
}

/// The format of version 2.
#[derive(Serialize, Deserialize)]
struct EnumeratorState {
    version: u8,
    memory: SourceMemory,
}

/// As it was before enumerators remembered what is finished: readers did.
#[derive(Serialize, Deserialize)]
struct EnumeratorStateV1 {
    version: u8,
    splits: KnownSplits,
}

const VERSION: u8 = 1;
const ENUMERATOR_VERSION: u8 = 2;

/// The manifest's fields of a reader: its splits, and the ids of those read to their ends.
pub(crate) fn encode_source(snapshot: SourceSnapshot) -> (Vec<u8>, Vec<String>) {
    let state = ReaderState { version: VERSION, records: snapshot.records, splits: snapshot.splits };
    let bytes = postcard::to_stdvec(&state).expect("I80: numbers and bytes always encode");
    (bytes, snapshot.finished)
}

/// The reader's state again; none for a subtask that is no source.
pub(crate) fn decode_source(splits: &[u8], finished: &[String]) -> Result<Option<SourceSnapshot>> {
    if splits.is_empty() {
        return Ok(None);
    }
    let state: ReaderState = decode(splits)?;
    check(state.version, VERSION)?;
    Ok(Some(SourceSnapshot { splits: state.splits, finished: finished.to_vec(), records: state.records }))
}

pub(crate) fn encode_memory(memory: SourceMemory) -> Vec<u8> {
    let state = EnumeratorState { version: ENUMERATOR_VERSION, memory };
    postcard::to_stdvec(&state).expect("I80: numbers and bytes always encode")
}

pub(crate) fn decode_memory(bytes: &[u8]) -> Result<SourceMemory> {
    if bytes.first() == Some(&1) {
        let state: EnumeratorStateV1 = decode(bytes)?;
        return Ok(SourceMemory { known: state.splits, ..SourceMemory::default() });
    }
    let version = bytes.first().copied().unwrap_or(0);
    check(version, ENUMERATOR_VERSION)?;
    Ok(decode::<EnumeratorState>(bytes)?.memory)
}

fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|error| Error::Codec {
        type_name: std::any::type_name::<T>(),
        problem: format!("the manifest's bytes don't decode: {error}"),
    })
}

fn check(version: u8, expected: u8) -> Result<()> {
    if version == expected {
        return Ok(());
    }
    let problem = format!("it is of version {version}; this program reads version {expected}");
    Err(Error::Codec { type_name: "source state", problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_state_has_its_golden_bytes_and_comes_back() -> Result<()> {
        let snapshot =
            SourceSnapshot { splits: vec![vec![7, 8]], finished: vec!["a".to_owned()], records: 300 };
        let (bytes, finished) = encode_source(snapshot.clone());
        assert_eq!(bytes, [1, 0xAC, 0x02, 1, 2, 7, 8]);
        assert_eq!(decode_source(&bytes, &finished)?, Some(snapshot));
        assert_eq!(decode_source(&[], &[])?, None);
        let mut memory = SourceMemory { known: vec![("s".to_owned(), vec![9])], ..SourceMemory::default() };
        memory.finish(["b".to_owned(), "a".to_owned()]);
        let bytes = encode_memory(memory.clone());
        assert_eq!(bytes, [2, 1, 1, b's', 1, 9, 2, 1, b'a', 1, 1, b'b', 0, 2]);
        assert_eq!(decode_memory(&bytes)?, memory);
        assert_eq!(decode_memory(&[1, 1, 1, b's', 1, 9])?.known, memory.known, "as version 1 wrote it");
        assert!(decode_memory(&[3, 0]).is_err() && decode_memory(&[]).is_err());
        Ok(())
    }

    #[test]
    fn what_is_listed_is_never_forgotten_and_of_the_rest_the_newest_are_kept() {
        let mut memory = SourceMemory::default();
        let id = |n: usize| format!("split {n}");
        memory.finish((0..UNLISTED_MAX + 10).map(id));
        memory.finish([id(1)]);
        let listed = [id(0), id(3)];
        let listed = listed.iter().map(String::as_str).collect();
        let expected: Vec<String> = [1, 2, 4, 5, 6, 7, 8, 9].into_iter().map(id).collect();
        assert_eq!(memory.forget_unlisted(&listed), expected);
        assert!(memory.has_finished(&id(0)) && memory.has_finished(&id(10)) && !memory.has_finished(&id(9)));
        assert_eq!(memory.forget_unlisted(&listed), [""; 0]);
    }
}
