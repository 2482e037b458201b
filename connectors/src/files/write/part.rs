//! A part in progress: its bytes in memory and in its file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_runtime::files::{FileHandle, FileLayer, OpenMode};
use tidegate_runtime::{Result, Timestamp};

use super::snapshot::PartLength;

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;
/// Bytes copied at once from a part of an older attempt.
const COPY_BYTES: usize = 1 << 20;

/// A part that grows. Its file is made when there is more than memory should hold, or when it is closed.
#[derive(Debug)]
pub(crate) struct Part {
    name: String,
    path: PathBuf,
    file: Option<Arc<dyn FileHandle>>,
    written: u64,
    buffer: Vec<u8>,
    began: Timestamp,
}

impl Part {
    pub(crate) fn new(name: String, path: PathBuf, began: Timestamp) -> Self {
        Self { name, path, file: None, written: 0, buffer: Vec::new(), began }
    }

    pub(crate) fn began(&self) -> Timestamp {
        self.began
    }

    /// Where records are encoded to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(crate) fn length(&self) -> PartLength {
        PartLength { name: self.name.clone(), bytes: self.bytes() }
    }

    /// Writes the buffer if it is large.
    pub(crate) fn relieve(&mut self, files: &dyn FileLayer) -> Result<()> {
        if self.buffer.len() >= BUFFER_BYTES { self.flush(files) } else { Ok(()) }
    }

    /// Writes the buffer.
    pub(crate) fn flush(&mut self, files: &dyn FileLayer) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let file = self.open(files)?;
        file.append(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Copies the first bytes of an older attempt's part.
    pub(crate) fn copy_from(&mut self, files: &dyn FileLayer, older: &Path, bytes: u64) -> Result<()> {
        let from = files.open(older, OpenMode::Read)?;
        let file = self.open(files)?;
        let mut block = vec![0; COPY_BYTES.min(usize::try_from(bytes).unwrap_or(COPY_BYTES))];
        while self.written < bytes {
            let wanted = block.len().min(usize::try_from(bytes - self.written).unwrap_or(COPY_BYTES));
            let read = from.read_at(self.written, &mut block[..wanted])?;
            if read == 0 {
                let problem = format!("it has {} bytes, the checkpoint needs {bytes}", self.written);
                return Err(tidegate_runtime::Error::Damaged { path: older.to_path_buf(), problem });
            }
            file.append(&block[..read])?;
            self.written += read as u64;
        }
        Ok(())
    }

    /// The file, to be synced while the part goes on growing.
    pub(crate) fn file(&self) -> Option<Arc<dyn FileHandle>> {
        self.file.clone()
    }

    /// Writes what is left and makes the content durable; its name is not yet.
    pub(crate) fn close(mut self, files: &dyn FileLayer) -> Result<()> {
        self.flush(files)?;
        match self.file {
            Some(file) => file.sync(),
            None => Ok(()),
        }
    }

    fn open(&mut self, files: &dyn FileLayer) -> Result<Arc<dyn FileHandle>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file: Arc<dyn FileHandle> = Arc::from(files.open(&self.path, OpenMode::CreateNew)?);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }
}
