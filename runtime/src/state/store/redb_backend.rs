//! Lets redb read, write and sync through the file layer, so that its crash safety is tested with ours.

use std::io;

use redb::StorageBackend;

use crate::error::Error;
use crate::files::FileHandle;

/// A file of the layer as redb sees it. The state directory's lock guards it, so it has no lock of its own.
#[derive(Debug)]
pub(super) struct LayerBackend(pub(super) Box<dyn FileHandle>);

impl StorageBackend for LayerBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.file_len().map_err(into_io)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.0.read_at(offset, out).map_err(into_io)?;
        if read < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len).map_err(into_io)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync().map_err(into_io)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data).map_err(into_io)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::File { source, .. } => source,
        other => io::Error::other(other),
    }
}
