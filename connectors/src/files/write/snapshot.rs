//! What a checkpoint keeps of a file sink: versioned, for manifests outlive the program.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::sink::Committable;

use crate::error::Error;

/// First byte of everything here; another number is another format.
const VERSION: u8 = 1;

/// A part and how many of its bytes count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartLength {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// What a writer needs to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WriterSnapshot {
    /// How many subtasks there were: with another number the files of one may be named by another.
    pub(crate) parallelism: u32,
    /// The parts in progress.
    pub(crate) in_progress: Vec<PartLength>,
    /// Closed parts that were not known to be published.
    pub(crate) pending: Vec<PartLength>,
}

/// What a commit has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Publication {
    pub(crate) checkpoint: CheckpointId,
    /// To be renamed into the directory.
    pub(crate) publish: Vec<PartLength>,
    /// Unfinished parts of an older attempt, copied since; to be removed.
    pub(crate) remove: Vec<String>,
}

impl WriterSnapshot {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode(bytes)
    }
}

impl Publication {
    pub(crate) fn encode(&self) -> Committable {
        Committable(encode(self))
    }

    pub(crate) fn decode(committable: &Committable) -> Result<Self, Error> {
        decode(&committable.0)
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).expect("I52: plain structs encode into memory")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let problem = |problem: String| Error::SinkState { problem };
    match bytes.split_first() {
        Some((&VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| problem(format!("it is damaged: {error}")))
        }
        Some((version, _)) => Err(problem(format!("it has version {version}, this program reads {VERSION}"))),
        None => Err(problem("it is empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, bytes: u64) -> PartLength {
        PartLength { name: name.to_owned(), bytes }
    }

    #[test]
    fn the_bytes_of_version_1_stay_the_same() -> Result<(), Error> {
        let snapshot =
            WriterSnapshot { parallelism: 2, in_progress: vec![part("a", 300)], pending: vec![part("b", 1)] };
        let golden = [1, 2, 1, 1, b'a', 0xac, 2, 1, 1, b'b', 1];
        assert_eq!(snapshot.encode(), golden);
        assert_eq!(WriterSnapshot::decode(&golden)?, snapshot);
        let publication = Publication {
            checkpoint: CheckpointId(7),
            publish: vec![part("b", 1)],
            remove: vec!["c".to_owned()],
        };
        let golden = Committable(vec![1, 7, 1, 1, b'b', 1, 1, 1, b'c']);
        assert_eq!(publication.encode(), golden);
        assert_eq!(Publication::decode(&golden)?, publication);
        Ok(())
    }

    #[test]
    fn another_version_is_refused() {
        for bytes in [&[][..], &[2, 0, 0, 0], &[1, 5]] {
            assert!(WriterSnapshot::decode(bytes).is_err());
        }
    }
}
