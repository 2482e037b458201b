//! How the manifest holds what belongs to sources: split positions of readers and known splits of enumerators.

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

#[derive(Serialize, Deserialize)]
struct EnumeratorState {
    version: u8,
    splits: KnownSplits,
}

const VERSION: u8 = 1;

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
    check(state.version)?;
    Ok(Some(SourceSnapshot { splits: state.splits, finished: finished.to_vec(), records: state.records }))
}

pub(crate) fn encode_known(splits: KnownSplits) -> Vec<u8> {
    let state = EnumeratorState { version: VERSION, splits };
    postcard::to_stdvec(&state).expect("I80: numbers and bytes always encode")
}

pub(crate) fn decode_known(bytes: &[u8]) -> Result<KnownSplits> {
    let state: EnumeratorState = decode(bytes)?;
    check(state.version)?;
    Ok(state.splits)
}

fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|error| Error::Codec {
        type_name: std::any::type_name::<T>(),
        problem: format!("the manifest's bytes don't decode: {error}"),
    })
}

fn check(version: u8) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    let problem = format!("it is of version {version}; this program reads version {VERSION}");
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
        let known = vec![("s".to_owned(), vec![9])];
        let bytes = encode_known(known.clone());
        assert_eq!(bytes, [1, 1, 1, b's', 1, 9]);
        assert_eq!(decode_known(&bytes)?, known);
        assert!(decode_known(&[2, 0]).is_err());
        Ok(())
    }
}
