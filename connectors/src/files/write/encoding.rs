//! How records become the bytes of a file: JSON lines, CSV, lines of text.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use tidegate_runtime::Record;
use tidegate_runtime::sync::lock;

/// A form of records in files.
pub trait Encoding: Clone + Send + Sync + 'static {
    /// What is written.
    type Record: Record;
    /// What writes it.
    type Encoder: Encoder<Record = Self::Record>;

    /// What it is called, and the end of the names of its files.
    fn extension(&self) -> &'static str;

    /// Makes an encoder for one file.
    fn encoder(&self, beginning: Beginning) -> Self::Encoder;
}

/// Whether a file is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing is in it.
    Empty,
    /// It holds records already.
    Continued,
}

/// Writes the records of one file.
pub trait Encoder: Send + 'static {
    /// What is written.
    type Record: Record;

    /// Appends records.
    ///
    /// # Errors
    /// Why a record can't be written in this form.
    fn encode(&mut self, records: &[Self::Record], into: &mut Vec<u8>) -> Result<(), String>;
}

/// One JSON value a line.
pub struct JsonLines<T>(pub(crate) PhantomData<fn(T)>);

impl<T> Clone for JsonLines<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T> fmt::Debug for JsonLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonLines")
    }
}

impl<T: Record> Encoding for JsonLines<T> {
    type Record = T;
    type Encoder = JsonEncoder<T>;

    fn extension(&self) -> &'static str {
        "jsonl"
    }

    fn encoder(&self, _beginning: Beginning) -> JsonEncoder<T> {
        JsonEncoder(PhantomData)
    }
}

/// Writes [`JsonLines`].
#[derive(Debug)]
pub struct JsonEncoder<T>(PhantomData<fn(T)>);

impl<T: Record> Encoder for JsonEncoder<T> {
    type Record = T;

    fn encode(&mut self, records: &[T], into: &mut Vec<u8>) -> Result<(), String> {
        for record in records {
            serde_json::to_writer(&mut *into, record).map_err(|error| error.to_string())?;
            into.push(b'\n');
        }
        Ok(())
    }
}

/// Lines of text: the records with a line break after each. A record that holds line breaks is several lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextLines;

impl Encoding for TextLines {
    type Record = String;
    type Encoder = TextEncoder;

    fn extension(&self) -> &'static str {
        "txt"
    }

    fn encoder(&self, _beginning: Beginning) -> TextEncoder {
        TextEncoder
    }
}

/// Writes [`TextLines`].
#[derive(Clone, Copy, Debug)]
pub struct TextEncoder;

impl Encoder for TextEncoder {
    type Record = String;

    fn encode(&mut self, records: &[String], into: &mut Vec<u8>) -> Result<(), String> {
        for record in records {
            into.extend_from_slice(record.as_bytes());
            into.push(b'\n');
        }
        Ok(())
    }
}

/// One record a line, after a header with the names of its fields in each file.
pub struct CsvRows<T> {
    pub(crate) delimiter: u8,
    pub(crate) record: PhantomData<fn(T)>,
}

impl<T> Clone for CsvRows<T> {
    fn clone(&self) -> Self {
        Self { record: PhantomData, ..*self }
    }
}

impl<T> fmt::Debug for CsvRows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvRows").field("delimiter", &char::from(self.delimiter)).finish_non_exhaustive()
    }
}

impl<T: Record> Encoding for CsvRows<T> {
    type Record = T;
    type Encoder = CsvEncoder<T>;

    fn extension(&self) -> &'static str {
        "csv"
    }

    fn encoder(&self, beginning: Beginning) -> CsvEncoder<T> {
        let written = Written::default();
        let writer = ::csv::WriterBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(beginning == Beginning::Empty)
            .from_writer(written.clone());
        CsvEncoder { writer, written, record: PhantomData }
    }
}

/// Writes [`CsvRows`].
pub struct CsvEncoder<T> {
    writer: ::csv::Writer<Written>,
    written: Written,
    record: PhantomData<fn(T)>,
}

impl<T: Record> Encoder for CsvEncoder<T> {
    type Record = T;

    fn encode(&mut self, records: &[T], into: &mut Vec<u8>) -> Result<(), String> {
        for record in records {
            self.writer.serialize(record).map_err(|error| error.to_string())?;
        }
        self.writer.flush().map_err(|error| error.to_string())?;
        into.append(&mut lock(&self.written.0));
        Ok(())
    }
}

/// What the csv writer has let go: it owns its output, so both sides hold it. Taken once a batch.
#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
