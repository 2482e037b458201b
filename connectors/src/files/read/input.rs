//! The bytes of a file from an offset on, plain or out of gzip.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::split::{Extent, FileSplit};
use crate::error::Error;

/// Compressed bytes read at once.
const COMPRESSED_BYTES: usize = 64 << 10;

/// An open file and the offset of its next byte.
#[derive(Debug)]
pub(crate) enum Input {
    Plain { file: File, offset: u64 },
    Compressed { decoder: Box<MultiGzDecoder<BufReader<File>>>, offset: u64 },
}

impl Input {
    /// Opens the file of a split at its beginning.
    pub(crate) fn open(split: &FileSplit) -> Result<Self, Error> {
        let path = Path::new(&split.path);
        let file =
            File::open(path).map_err(|cause| Error::Read { action: "open", path: path.into(), cause })?;
        split.identity.check(path, &file, split.growth(), split.position)?;
        Ok(match split.extent {
            Extent::Compressed => {
                let reader = BufReader::with_capacity(COMPRESSED_BYTES, file);
                Self::Compressed { decoder: Box::new(MultiGzDecoder::new(reader)), offset: 0 }
            }
            Extent::Until(_) | Extent::Growing => Self::Plain { file, offset: 0 },
        })
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        match self {
            Self::Plain { file, .. } => file,
            Self::Compressed { decoder, .. } => decoder.get_ref().get_ref(),
        }
    }

    /// Of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Plain { offset, .. } | Self::Compressed { offset, .. } => *offset,
        }
    }

    /// Goes forward to an offset; what is compressed is read and left out.
    pub(crate) fn skip_to(&mut self, target: u64) -> io::Result<()> {
        match self {
            Self::Plain { offset, .. } => *offset = target,
            Self::Compressed { decoder, offset } => {
                let wanted = target.saturating_sub(*offset);
                let skipped = io::copy(&mut decoder.by_ref().take(wanted), &mut io::sink())?;
                *offset += skipped;
                if skipped < wanted {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        format!("it contains {offset} bytes and was read up to {target}"),
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let (read, offset) = match self {
                Self::Plain { file, offset } => (file.read_at(out, *offset), offset),
                Self::Compressed { decoder, offset } => (decoder.read(out), offset),
            };
            match read {
                Ok(read) => {
                    *offset += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
