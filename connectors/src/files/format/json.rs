//! JSON lines: one value a line.

use std::fmt;
use std::marker::PhantomData;

use tidegate_runtime::Record;

use super::{Decoder, Format, RecordProblem};

/// Each line is a JSON value that is read as `T`; empty lines are passed over.
pub struct Json<T>(PhantomData<fn() -> T>);

impl<T> Default for Json<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for Json<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json")
    }
}

impl<T: Record> Format for Json<T> {
    type Record = T;
    type Decoder = JsonDecoder<T>;

    fn identity(&self) -> Vec<(String, String)> {
        vec![("format".to_owned(), "json lines".to_owned())]
    }

    fn decoder(&self, _header: Option<&[u8]>) -> Result<JsonDecoder<T>, RecordProblem> {
        Ok(JsonDecoder(PhantomData))
    }
}

/// Reads [`Json`].
#[derive(Debug)]
pub struct JsonDecoder<T>(PhantomData<fn() -> T>);

impl<T: Record> Decoder for JsonDecoder<T> {
    type Record = T;

    fn decode(&mut self, bytes: &[u8]) -> Result<T, RecordProblem> {
        serde_json::from_slice(bytes).map_err(|error| {
            let column = (error.column() > 0).then(|| error.column().to_string());
            // The place within the line is given as the column; serde_json's own "at line 1 column 7" would mislead.
            let text = error.to_string();
            let cause = text.split(" at line ").next().unwrap_or(&text).to_owned();
            RecordProblem { column, cause }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_value_is_located_within_its_line() {
        let mut decoder = JsonDecoder::<(u64, String)>(PhantomData);
        assert_eq!(decoder.decode(br#"[1,"a"]"#), Ok((1, "a".to_owned())));
        let problem = decoder.decode(br#"[1,2]"#).expect_err("2 is no string");
        assert_eq!(problem.column.as_deref(), Some("4"));
        assert_eq!(problem.cause, "invalid type: integer `2`, expected a string");
    }
}
