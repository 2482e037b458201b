//! Counts lines, for reports: only when an error occurs, and each byte once.

use std::io::{self, Read};

use super::input::Input;
use super::split::FileSplit;
use crate::error::Error;

/// Bytes counted at once.
const BLOCK_BYTES: u64 = 64 << 10;

/// The number of line breaks before rising offsets of one file.
#[derive(Debug, Default)]
pub(crate) struct LinesBefore {
    counter: Option<Counter>,
}

#[derive(Debug)]
struct Counter {
    input: Input,
    offset: u64,
    breaks: u64,
}

impl LinesBefore {
    /// The line, counted from 1, that the byte at `offset` is in; 0 if the file can't be read again.
    pub(crate) fn line_of(&mut self, split: &FileSplit, offset: u64) -> u64 {
        self.count(split, offset).map_or(0, |breaks| breaks + 1)
    }

    fn count(&mut self, split: &FileSplit, offset: u64) -> Result<u64, Error> {
        if self.counter.as_ref().is_none_or(|counter| counter.offset > offset) {
            self.counter = Some(Counter { input: Input::open(split)?, offset: 0, breaks: 0 });
        }
        let counter = self.counter.as_mut().expect("I50: it was set above");
        counter.advance(offset).map_err(|cause| Error::Read {
            action: "count the lines of",
            path: split.path.clone().into(),
            cause,
        })
    }
}

impl Counter {
    fn advance(&mut self, target: u64) -> io::Result<u64> {
        let mut block = Vec::new();
        while self.offset < target {
            block.clear();
            let wanted = BLOCK_BYTES.min(target - self.offset);
            let read = self.input.by_ref().take(wanted).read_to_end(&mut block)?;
            if read == 0 {
                break;
            }
            self.breaks += memchr::memchr_iter(b'\n', &block).count() as u64;
            self.offset += read as u64;
        }
        Ok(self.breaks)
    }
}
