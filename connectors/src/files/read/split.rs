//! The split of files: a range of bytes of one file, and how far it was read.

use serde::{Deserialize, Serialize};
use tidegate_runtime::source::Split;

use super::identity::{FileIdentity, Growth};

/// A range of bytes of a file; the records that begin in it are its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSplit {
    pub(crate) path: String,
    pub(crate) identity: FileIdentity,
    pub(crate) extent: Extent,
    pub(crate) start: u64,
    /// Where the next record begins, or `start` where nothing was read yet.
    pub(crate) position: u64,
}

/// How far a split goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Extent {
    /// The records that begin before this offset.
    Until(u64),
    /// A gzip file to its end; offsets are those of what it contains.
    Compressed,
    /// A growing file: it has no end.
    Growing,
}

impl Split for FileSplit {
    fn id(&self) -> String {
        match self.extent {
            // Another file at the same path is another split, though it has the inode of one that was removed.
            Extent::Growing => {
                let born = self.identity.born_ns.map_or(String::new(), |born| format!(", made at {born}"));
                format!("{} (inode {}{born})", self.path, self.identity.inode)
            }
            Extent::Until(_) | Extent::Compressed => format!("{} from {}", self.path, self.start),
        }
    }
}

impl FileSplit {
    pub(crate) fn growth(&self) -> Growth {
        match self.extent {
            Extent::Growing => Growth::Expected,
            Extent::Until(_) | Extent::Compressed => Growth::Forbidden,
        }
    }

    /// Offset before which its records begin.
    pub(crate) fn end(&self) -> u64 {
        match self.extent {
            Extent::Until(end) => end,
            Extent::Compressed | Extent::Growing => u64::MAX,
        }
    }
}
