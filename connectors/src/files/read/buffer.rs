//! Finds the records in a stream of bytes: blocks in, ranges of whole records out, nothing copied but a block's tail.

use std::io::{self, Read};
use std::ops::Range;

use crate::files::format::Breaks;

/// Bytes read at once.
const BLOCK_BYTES: usize = 256 << 10;

/// A window on a stream of bytes.
#[derive(Debug)]
pub(crate) struct RecordBuffer {
    bytes: Vec<u8>,
    /// So many of `bytes` are of the stream; the rest is room.
    filled: usize,
    /// Where the next record begins in `bytes`.
    start: usize,
    /// Up to here it was searched for its end.
    searched: usize,
    quoting: Quoting,
    /// Offset of `bytes[0]` in the stream.
    base: u64,
    breaks: Breaks,
    record_bytes_max: usize,
}

/// Where the search stands within a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quoting {
    FieldStart,
    Unquoted,
    Quoted,
}

/// What the search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record: where its bytes are, without the break, and its offset in the stream.
    Record { bytes: Range<usize>, offset: u64 },
    /// A record that is longer than allowed begins at this offset.
    TooLong { offset: u64 },
    /// The stream has no more bytes now; a record without a break may be left, see `take_rest`.
    Drained,
}

impl RecordBuffer {
    /// `base` is the offset of the first byte that will be read.
    pub(crate) fn new(breaks: Breaks, record_bytes_max: usize, base: u64) -> Self {
        Self {
            bytes: Vec::new(),
            filled: 0,
            start: 0,
            searched: 0,
            quoting: Quoting::FieldStart,
            base,
            breaks,
            record_bytes_max,
        }
    }

    /// Offset of the next record.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Goes to another offset of the stream; `input` must be there too.
    pub(crate) fn restart(&mut self, offset: u64) {
        self.filled = 0;
        self.base = offset;
        self.begin_at(0);
    }

    /// Offset up to which the stream was read.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.filled as u64
    }

    /// The first bytes of the next record, at most `limit`, as far as they are there.
    pub(crate) fn unread(&self, limit: usize) -> &[u8] {
        let unread = &self.bytes[self.start..self.filled];
        &unread[..unread.len().min(limit)]
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// The next whole record.
    pub(crate) fn next(&mut self, input: &mut impl Read) -> io::Result<Found> {
        loop {
            if let Some(end) = self.search() {
                let found = self.record(self.start..end);
                self.begin_at(end + 1);
                return Ok(found);
            }
            if self.filled - self.start > self.record_bytes_max {
                return Ok(Found::TooLong { offset: self.position() });
            }
            if self.fill(input)? == 0 {
                return Ok(Found::Drained);
            }
        }
    }

    /// The bytes after the last break, at the end of the stream.
    pub(crate) fn take_rest(&mut self) -> Option<Found> {
        let end = self.filled;
        if self.start == end {
            return None;
        }
        let found = self.record(self.start..end);
        self.begin_at(end);
        Some(found)
    }

    /// Leaves out the bytes up to the next break, or all that are there. Returns whether the break was found.
    pub(crate) fn skip_record(&mut self, input: &mut impl Read) -> io::Result<bool> {
        loop {
            if let Some(end) = self.search() {
                self.begin_at(end + 1);
                return Ok(true);
            }
            let quoting = self.quoting;
            self.begin_at(self.filled);
            self.quoting = quoting;
            if self.fill(input)? == 0 {
                return Ok(false);
            }
        }
    }

    /// Leaves out a byte order mark, if one is next.
    pub(crate) fn skip_byte_order_mark(&mut self, input: &mut impl Read) -> io::Result<()> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        while self.filled - self.start < MARK.len() && self.fill(input)? > 0 {}
        if self.bytes[self.start..self.filled].starts_with(MARK) {
            self.begin_at(self.start + MARK.len());
        }
        Ok(())
    }

    fn record(&self, mut range: Range<usize>) -> Found {
        let offset = self.base + range.start as u64;
        if self.bytes[range.clone()].ends_with(b"\r") {
            range.end -= 1;
        }
        Found::Record { bytes: range, offset }
    }

    fn begin_at(&mut self, at: usize) {
        self.start = at;
        self.searched = at;
        self.quoting = Quoting::FieldStart;
    }

    fn search(&mut self) -> Option<usize> {
        let unsearched = &self.bytes[self.searched..self.filled];
        match self.breaks {
            Breaks::Lines => match memchr::memchr(b'\n', unsearched) {
                Some(at) => return Some(self.searched + at),
                None => self.searched = self.filled,
            },
            Breaks::Quoted { delimiter } => {
                for (at, byte) in unsearched.iter().enumerate() {
                    self.quoting = match (self.quoting, *byte) {
                        (Quoting::FieldStart | Quoting::Unquoted, b'\n') => return Some(self.searched + at),
                        (Quoting::FieldStart, b'"') => Quoting::Quoted,
                        // A quote written twice closes and opens again.
                        (Quoting::Quoted, b'"') => Quoting::FieldStart,
                        (Quoting::Quoted, _) => Quoting::Quoted,
                        (_, byte) if byte == delimiter => Quoting::FieldStart,
                        _ => Quoting::Unquoted,
                    };
                }
                self.searched = self.filled;
            }
        }
        None
    }

    /// Reads one block behind what is left of the last.
    fn fill(&mut self, input: &mut impl Read) -> io::Result<usize> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.filled, 0);
            self.base += self.start as u64;
            self.searched -= self.start;
            self.filled -= self.start;
            self.start = 0;
        }
        if self.bytes.is_empty() {
            self.bytes = vec![0; BLOCK_BYTES];
        } else if self.filled == self.bytes.len() {
            self.bytes.resize(self.filled * 2, 0);
        }
        let room = self.bytes.len().min(self.filled + BLOCK_BYTES);
        let read = input.read(&mut self.bytes[self.filled..room])?;
        self.filled += read;
        Ok(read)
    }
}
