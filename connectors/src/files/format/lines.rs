//! Lines of text.

use super::{Decoder, EmptyLines, Format, RecordProblem};

/// Each line is a `String`, without its line break; empty lines too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl Format for Lines {
    type Record = String;
    type Decoder = LinesDecoder;

    fn identity(&self) -> Vec<(String, String)> {
        vec![("format".to_owned(), "lines".to_owned())]
    }

    fn empty_lines(&self) -> EmptyLines {
        EmptyLines::Records
    }

    fn decoder(&self, _header: Option<&[u8]>) -> Result<LinesDecoder, RecordProblem> {
        Ok(LinesDecoder)
    }
}

/// Reads [`Lines`].
#[derive(Clone, Copy, Debug)]
pub struct LinesDecoder;

impl Decoder for LinesDecoder {
    type Record = String;

    fn decode(&mut self, bytes: &[u8]) -> Result<String, RecordProblem> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(not_utf8(error)),
        }
    }
}

/// Says where text stops being UTF-8.
pub(crate) fn not_utf8(error: std::str::Utf8Error) -> RecordProblem {
    RecordProblem::new(format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1))
}
