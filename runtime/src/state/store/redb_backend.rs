//! Lets redb read, write and sync through the file layer, so that its crash safety is tested with ours, with a
//! checksum for each of its pages: redb trusts what it reads, and over some damaged pages it panics while it unwinds
//! from a panic, which would end the process.
//!
//! ```text
//! page 0: redb's own header, which it checks itself, and at its end the marker
//! groups of 1 + 1,024 pages: the checksums, then the pages
//! ```
//!
//! A checksum is made durable by the sync that makes its page durable. A crash may tear the two apart only for pages
//! that no durable transaction leads to.

use std::io;
use std::ops::Range;

use redb::StorageBackend;

use crate::error::{Error, Result};
use crate::files::FileHandle;

const PAGE: u64 = 4_096;
/// Pages whose checksums fit into one.
const GROUP: u64 = PAGE / CHECKSUM;
const CHECKSUM: u64 = 4;
/// At the end of page 0: the version of this layout.
const MARKER: [u8; 8] = *b"TGPAGES1";
const MARKER_AT: u64 = PAGE - 8;

/// A file of the layer as redb sees it. The state directory's lock guards it, so it has no lock of its own.
#[derive(Debug)]
pub(super) struct LayerBackend(Box<dyn FileHandle>);

impl LayerBackend {
    /// A file that is empty.
    pub(super) fn create(file: Box<dyn FileHandle>) -> Result<Self> {
        file.write_at(MARKER_AT, &MARKER)?;
        // redb takes a file that is not empty for a database.
        Ok(Self(file))
    }

    /// A file that was made by `create`.
    pub(super) fn open(file: Box<dyn FileHandle>) -> Result<Self> {
        let mut marker = [0; MARKER.len()];
        let read = file.read_at(MARKER_AT, &mut marker)?;
        if read == marker.len() && marker == MARKER {
            return Ok(Self(file));
        }
        let problem = "it is not a state store of this version".to_owned();
        Err(Error::Damaged { path: file.path().to_path_buf(), problem })
    }

    fn read_pages(&self, first: u64, out: &mut [u8]) -> io::Result<()> {
        read_all(&*self.0, data_at(first), out)?;
        let mut sums = vec![0; out.len() / PAGE as usize * CHECKSUM as usize];
        read_all(&*self.0, checksum_at(first), &mut sums)?;
        for ((page, bytes), sum) in pages(first, out).zip(sums.as_chunks().0) {
            let expected = u32::from_le_bytes(*sum);
            let found = checksum(page, bytes);
            // A page that was never written.
            let is_blank = expected == 0 && bytes.iter().all(|byte| *byte == 0);
            if found != expected && !is_blank {
                let problem = format!("page {page} has checksum {found:08x}, expected {expected:08x}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
        }
        Ok(())
    }

    fn write_pages(&self, first: u64, data: &[u8]) -> io::Result<()> {
        let sums: Vec<u8> =
            pages(first, data).flat_map(|(page, bytes)| checksum(page, bytes).to_le_bytes()).collect();
        self.0.write_at(data_at(first), data).map_err(into_io)?;
        self.0.write_at(checksum_at(first), &sums).map_err(into_io)
    }
}

impl StorageBackend for LayerBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(inner_len(self.0.file_len().map_err(into_io)?))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if is_in_header(offset, out.len())? {
            return read_all(&*self.0, offset, out);
        }
        for (first, part) in parts(offset, out.len()) {
            self.read_pages(first, &mut out[part])?;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if !len.is_multiple_of(PAGE) {
            return Err(unaligned());
        }
        self.0.set_len(outer_len(len / PAGE)).map_err(into_io)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync().map_err(into_io)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if is_in_header(offset, data.len())? {
            return self.0.write_at(offset, data).map_err(into_io);
        }
        for (first, part) in parts(offset, data.len()) {
            self.write_pages(first, &data[part])?;
        }
        Ok(())
    }
}

/// Whether redb's header is meant, or whole pages behind it.
fn is_in_header(offset: u64, len: usize) -> io::Result<bool> {
    if offset < PAGE {
        return if offset + len as u64 <= MARKER_AT { Ok(true) } else { Err(unaligned()) };
    }
    if offset.is_multiple_of(PAGE) && (len as u64).is_multiple_of(PAGE) {
        Ok(false)
    } else {
        Err(unaligned())
    }
}

/// The pages of one access, divided where a group ends: the first page, and the bytes.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let page = offset / PAGE + (at as u64 / PAGE);
        let in_group = (GROUP - (page - 1) % GROUP) * PAGE;
        let end = len.min(at + in_group as usize);
        let part = at..end;
        at = end;
        (!part.is_empty()).then_some((page, part))
    })
}

fn pages(first: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    (first..).zip(bytes.chunks(PAGE as usize))
}

fn data_at(page: u64) -> u64 {
    PAGE + (page - 1) / GROUP * (GROUP + 1) * PAGE + (1 + (page - 1) % GROUP) * PAGE
}

fn checksum_at(page: u64) -> u64 {
    PAGE + (page - 1) / GROUP * (GROUP + 1) * PAGE + (page - 1) % GROUP * CHECKSUM
}

/// The length of a file that holds this many pages of redb's.
fn outer_len(pages: u64) -> u64 {
    match pages {
        0 => 0,
        1 => PAGE,
        more => data_at(more - 1) + PAGE,
    }
}

/// The length that redb sees.
fn inner_len(outer: u64) -> u64 {
    // Before redb has written anything there is the marker alone.
    if outer <= PAGE {
        return 0;
    }
    let pages = outer / PAGE - 1;
    let (full, rest) = (pages / (GROUP + 1), pages % (GROUP + 1));
    // What is no whole page is redb's to refuse.
    (1 + full * GROUP + rest.saturating_sub(1)) * PAGE + outer % PAGE
}

/// Of a page's bytes and its place, so that one page is not taken for another.
fn checksum(page: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes);
    hasher.update(&page.to_le_bytes());
    hasher.finalize()
}

fn read_all(file: &dyn FileHandle, offset: u64, out: &mut [u8]) -> io::Result<()> {
    let read = file.read_at(offset, out).map_err(into_io)?;
    if read < out.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn unaligned() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "redb does not ask for whole pages")
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::File { source, .. } => source,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::files::{FaultyFiles, FileLayer, OpenMode};

    #[test]
    fn pages_lie_where_nothing_else_does_and_lengths_go_there_and_back() {
        for pages in [2, 3, GROUP, GROUP + 1, GROUP + 2, 2 * GROUP + 1, 2 * GROUP + 2, 5_000] {
            assert_eq!(inner_len(outer_len(pages)), pages * PAGE, "{pages}");
            let last = pages - 1;
            assert_eq!(data_at(last) + PAGE, outer_len(pages));
            let group = PAGE + (last - 1) / GROUP * (GROUP + 1) * PAGE;
            assert!((group..group + PAGE).contains(&checksum_at(last)) && data_at(last) >= group + PAGE);
        }
        assert_eq!((inner_len(0), inner_len(PAGE)), (0, 0));
    }

    #[test]
    fn what_is_written_over_the_end_of_a_group_is_read_back_and_a_flip_is_found() -> Result<()> {
        let files = FaultyFiles::new();
        let path = Path::new("/file");
        let backend = LayerBackend::create(files.open(path, OpenMode::CreateNew)?)?;
        backend.set_len((GROUP + 8) * PAGE).expect("it grows");
        let data: Vec<u8> = (0..4 * PAGE).map(|at| (at / 7) as u8).collect();
        let offset = (GROUP - 1) * PAGE;
        backend.write(offset, &data).expect("it is written");
        let mut out = vec![0; data.len()];
        backend.read(offset, &mut out).expect("it is read");
        assert_eq!(out, data);
        backend.sync_data().expect("synced");
        for page in GROUP - 1..GROUP + 3 {
            for at in [data_at(page), data_at(page) + PAGE - 1, checksum_at(page)] {
                files.flip(path, at, 1)?;
                let error = backend.read(offset, &mut out).expect_err("a flipped bit");
                assert!(error.to_string().contains(&format!("page {page} has checksum")), "{error}");
                files.flip(path, at, 1)?;
            }
        }
        backend.read(offset, &mut out).expect("all is well again");
        Ok(())
    }
}
