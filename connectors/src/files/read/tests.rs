//! Files of every shape, split and resumed anywhere, against the whole text.

use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use tidegate_runtime::source::{Source, SourceReader as _};

use super::{FileSource, OnBadRecord, files};
use crate::drive::Drive;
use crate::files::format::Format;

type Anything = Result<(), Box<dyn std::error::Error>>;

/// A directory of input files.
struct Input(tempfile::TempDir);

#[expect(clippy::disallowed_methods, reason = "the input of a test need not survive a crash")]
impl Input {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn source(&self, name: &str) -> FileSource<super::super::Lines> {
        files(self.path(name).display().to_string())
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), content).expect("the input can be written");
        self
    }

    fn append(&self, name: &str, content: &str) {
        let mut file = std::fs::OpenOptions::new().append(true).open(self.path(name)).expect("it is there");
        file.write_all(content.as_bytes()).expect("the input can be written");
    }

    fn gzip(&self, name: &str, content: &str) -> &Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content.as_bytes()).expect("memory can be written");
        self.put(name, encoder.finish().expect("memory can be written"))
    }
}

fn read<F: Format>(source: &FileSource<F>) -> Vec<F::Record> {
    Drive::new(source, 1).read_all()
}

fn failure<F: Format>(source: &FileSource<F>) -> String {
    match Drive::new(source, 1).try_read_all() {
        Ok(records) => panic!("{} records were read", records.len()),
        Err(error) => error.to_string(),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    id: u64,
    text: String,
}

#[test]
fn lines_csv_and_json_are_read_in_the_order_of_the_names() {
    let input = Input::new();
    input.put("b.txt", "3\r\n\r\n4").put("a.txt", "\u{feff}1\n2\n");
    assert_eq!(read(&input.source("*.txt")), ["1", "2", "3", "", "4"]);
    assert_eq!(read(&input.source("")), ["1", "2", "3", "", "4"]);
    let rows = vec![Row { id: 1, text: "a;b".to_owned() }, Row { id: 2, text: "é".to_owned() }];
    input.put("a.csv", "\u{feff}text;id\r\n\"a;b\";1\r\n\r\né;2");
    assert_eq!(read(&input.source("a.csv").csv::<Row>().delimiter(b';')), rows);
    input.put("a.jsonl", "{\"id\":1,\"text\":\"a;b\"}\n\n{\"text\":\"é\",\"id\":2}\n");
    assert_eq!(read(&input.source("a.jsonl").json::<Row>()), rows);
    input.put("plain.csv", "1,a;b\n2,é");
    assert_eq!(read(&input.source("plain.csv").csv::<Row>().without_header()), rows);
}
