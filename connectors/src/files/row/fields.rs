//! Splits the bytes of a CSV record into fields. Without quotes nothing is copied.

use crate::files::format::RecordProblem;

/// Where the fields of the record that was split last are. Reused from record to record.
#[derive(Debug)]
pub(crate) struct Fields {
    delimiter: u8,
    /// Where each field ends and the next begins one byte later, or, where quotes were taken off, at once.
    spans: Vec<(u32, u32)>,
    unquoted: Vec<u8>,
    home: Home,
}

/// What the spans are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Record,
    Unquoted,
}

/// The fields of one record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldsOf<'a> {
    bytes: &'a [u8],
    spans: &'a [(u32, u32)],
}

impl<'a> FieldsOf<'a> {
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn field(&self, index: usize) -> Option<&'a [u8]> {
        let (from, until) = *self.spans.get(index)?;
        self.bytes.get(from as usize..until as usize)
    }
}

impl Fields {
    pub(crate) fn new(delimiter: u8) -> Self {
        Self { delimiter, spans: Vec::new(), unquoted: Vec::new(), home: Home::Record }
    }

    /// Finds the fields of a record of less than 4 GiB.
    pub(crate) fn split(&mut self, record: &[u8]) -> Result<(), RecordProblem> {
        self.spans.clear();
        self.home = Home::Record;
        let mut from = 0;
        for (at, byte) in record.iter().enumerate() {
            if *byte == self.delimiter {
                self.spans.push((from, at as u32));
                from = at as u32 + 1;
            } else if *byte == b'"' && at as u32 == from {
                return self.split_quoted(record);
            }
        }
        self.spans.push((from, record.len() as u32));
        Ok(())
    }

    /// The fields of the record that was split last, whose bytes are given again.
    pub(crate) fn of<'a>(&'a self, record: &'a [u8]) -> FieldsOf<'a> {
        let bytes = match self.home {
            Home::Record => record,
            Home::Unquoted => &self.unquoted,
        };
        FieldsOf { bytes, spans: &self.spans }
    }

    fn split_quoted(&mut self, record: &[u8]) -> Result<(), RecordProblem> {
        self.spans.clear();
        self.unquoted.clear();
        self.home = Home::Unquoted;
        let mut at = 0;
        loop {
            let from = self.unquoted.len() as u32;
            at = if record.get(at) == Some(&b'"') {
                self.take_quoted(record, at + 1)?
            } else {
                let rest = &record[at..];
                let length = rest.iter().position(|byte| *byte == self.delimiter).unwrap_or(rest.len());
                self.unquoted.extend_from_slice(&rest[..length]);
                at + length
            };
            self.spans.push((from, self.unquoted.len() as u32));
            if at >= record.len() {
                return Ok(());
            }
            at += 1;
        }
    }

    /// Copies a field from after its opening quote; returns where its delimiter or the end is.
    fn take_quoted(&mut self, record: &[u8], mut at: usize) -> Result<usize, RecordProblem> {
        loop {
            let Some(length) = memchr::memchr(b'"', &record[at..]) else {
                return Err(self.problem("a quote is opened and not closed; a field that holds line breaks needs `.quoted_line_breaks()`"));
            };
            self.unquoted.extend_from_slice(&record[at..at + length]);
            at += length + 1;
            match record.get(at) {
                Some(b'"') => {
                    self.unquoted.push(b'"');
                    at += 1;
                }
                Some(byte) if *byte != self.delimiter => {
                    return Err(
                        self.problem("text follows a closing quote; a quote within quotes is written twice")
                    );
                }
                _ => return Ok(at),
            }
        }
    }

    fn problem(&self, cause: &str) -> RecordProblem {
        RecordProblem { column: Some((self.spans.len() + 1).to_string()), cause: cause.to_owned() }
    }
}
