//! Tells a file from another one that stands at its path later (case 38).

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Bytes at the beginning of a file that are compared when nothing else tells.
const HEAD_BYTES: usize = 4 << 10;

/// What a file was when it was discovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileIdentity {
    device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    modified_ns: i128,
    /// When it was made, where the file system knows: the inode of a removed file is given to another one.
    pub(crate) born_ns: Option<u128>,
    head_bytes: u32,
    head_checksum: u32,
}

/// Whether the file may have more bytes than it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    Forbidden,
    Expected,
}

impl FileIdentity {
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let read_error = |cause| Error::Read { action: "read", path: path.into(), cause };
        let file =
            File::open(path).map_err(|cause| Error::Read { action: "open", path: path.into(), cause })?;
        let found = file.metadata().map_err(read_error)?;
        let (head_bytes, head_checksum) = head(&file, HEAD_BYTES).map_err(read_error)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified_ns: modified_ns(&found),
            born_ns: born_ns(&found),
            head_bytes,
            head_checksum,
        })
    }

    /// Whether the open file can be read on from `position`.
    pub(crate) fn check(&self, path: &Path, file: &File, growth: Growth, position: u64) -> Result<(), Error> {
        let read_error = |cause| Error::Read { action: "look at", path: path.into(), cause };
        let found = file.metadata().map_err(read_error)?;
        let changed = |problem: String| Err(Error::FileChanged { path: path.into(), problem });
        let (was, is) = (self.size, found.len());
        match growth {
            Growth::Expected if is < position => {
                return changed(format!(
                    "it has {is} bytes and was read up to {position}: it was truncated or replaced; {REMEDY}"
                ));
            }
            Growth::Forbidden if is < was => {
                return changed(format!(
                    "it had {was} bytes and has {is}: it was truncated or replaced; {REMEDY}"
                ));
            }
            Growth::Forbidden if is > was => {
                return changed(format!(
                    "it had {was} bytes and has {is}; growing files are read with `.follow()`, otherwise {REMEDY}"
                ));
            }
            Growth::Forbidden if modified_ns(&found) != self.modified_ns => {
                return changed(format!("it was modified; {REMEDY}"));
            }
            _ => {}
        }
        let is_same = (found.dev(), found.ino(), born_ns(&found)) == (self.device, self.inode, self.born_ns);
        if is_same && growth == Growth::Forbidden {
            return Ok(());
        }
        let (_, checksum) = head(file, self.head_bytes as usize).map_err(read_error)?;
        let tells_nothing = self.head_bytes == 0 && !is_same;
        if checksum != self.head_checksum || (tells_nothing && position > 0) {
            return changed(format!("it begins with other content: it was replaced; {REMEDY}"));
        }
        Ok(())
    }
}

impl FileIdentity {
    /// Whether an open growing file still has what was read of it.
    pub(crate) fn check_growing(&self, path: &Path, file: &File, position: u64) -> Result<(), Error> {
        self.check(path, file, Growth::Expected, position)
    }
}

const REMEDY: &str = "put the file back, or start afresh with another state directory";

fn head(file: &File, bytes: usize) -> io::Result<(u32, u32)> {
    let mut head = vec![0; bytes.min(HEAD_BYTES)];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((filled as u32, crc32fast::hash(&head[..filled])))
}

fn born_ns(found: &Metadata) -> Option<u128> {
    Some(found.created().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos())
}

fn modified_ns(found: &Metadata) -> i128 {
    i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec())
}
