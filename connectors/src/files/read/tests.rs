//! Files of every shape, split and resumed anywhere, against the whole text.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop};
use proptest::{prop_assert_eq, prop_oneof, proptest};
use serde::{Deserialize, Serialize};
use tidegate_runtime::source::{DeadLetter, Source as _};

use super::{FileSource, FileSplit, OnBadRecord, files};
use crate::drive::Drive;
use crate::files::format::Format;

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

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).expect("the input can be renamed");
    }

    fn set_modified(&self, name: &str, seconds: u64) {
        let file = std::fs::File::options().append(true).open(self.path(name)).expect("it is there");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(time).expect("its time can be set");
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

#[test]
fn gzip_files_are_read_whole_and_resumed_by_the_offset_within() {
    let input = Input::new();
    let lines: Vec<String> = (0..5_000).map(|n| format!("line {n}")).collect();
    let (first, second) = lines.split_at(2_500);
    input.gzip("a.txt.gz", &first.join("\r\n")).gzip("b.csv.gz", &format!("n\n{}\n", second.join("\n")));
    assert_eq!(read(&input.source("a.txt.gz").split_bytes(10)), first);
    Drive::new(&input.source("a.txt.gz"), 1).check_every_resume();
    assert_eq!(read(&input.source("b.csv.gz").csv::<String>()), second);
    Drive::new(&input.source("b.csv.gz").csv::<String>(), 1).check_every_resume();
    // Members one after another are one file.
    let members = [std::fs::read(input.path("a.txt.gz")), std::fs::read(input.path("a.txt.gz"))];
    input.put("c.gz", members.map(|bytes| bytes.expect("it can be read")).concat());
    assert_eq!(read(&input.source("c.gz")).len(), 4_999);
    input.put("bad.gz", &std::fs::read(input.path("a.txt.gz")).expect("it can be read")[..1_000]);
    assert!(failure(&input.source("bad.gz")).contains("can't read"), "{}", failure(&input.source("bad.gz")));
}

#[test]
fn quoted_line_breaks_are_kept_where_asked_for() {
    let input = Input::new();
    let row = |id, text: &str| Row { id, text: text.to_owned() };
    input.put("a.csv", "id,text\r\n1,\"a\r\nb\"\r\n2,5\" pipe\n3,\"\"\"\n,\"\n4,end");
    let source = input.source("a.csv").csv::<Row>().quoted_line_breaks().split_bytes(5);
    assert_eq!(read(&source), [row(1, "a\r\nb"), row(2, "5\" pipe"), row(3, "\"\n,"), row(4, "end")]);
    let error = failure(&input.source("a.csv").csv::<Row>());
    assert!(
        error.contains("a.csv:2: column 2: a quote is opened") && error.contains(".quoted_line_breaks()"),
        "{error}"
    );
}

#[test]
fn a_bad_record_names_file_line_offset_and_column() {
    let input = Input::new();
    let rows: String = (0..3_000).map(|n| format!("{n},x\n")).collect();
    let good = format!("id,text\n{rows}");
    input.put("a.csv", format!("{good}12x,y\n"));
    let error = failure(&input.source("a.csv").csv::<Row>().split_bytes(1_000));
    let expected = format!(
        "{}:3002: column `id`: `12x` is not a whole number from 0 of 64 bits (byte offset {})",
        input.path("a.csv").display(),
        good.len()
    );
    assert_eq!(error, expected);
    input.gzip("b.csv.gz", &format!("{good}12x,y\n"));
    let error = failure(&input.source("b.csv.gz").csv::<Row>());
    assert_eq!(error, expected.replace("a.csv", "b.csv.gz"));
    input.put("c.jsonl", "{\"id\":1,\"text\":\"\"}\n{\"id\":1,}\n");
    let error = failure(&input.source("c.jsonl").json::<Row>());
    assert!(error.contains("c.jsonl:2: column 9: ") && error.ends_with("(byte offset 19)"), "{error}");
    input.put("d.txt", b"ok\n\xff\xfe\n");
    let error = failure(&input.source("d.txt"));
    assert!(error.contains("d.txt:2: byte 1 of the line is not UTF-8 (byte offset 3)"), "{error}");
    input.put("e.csv", "id;text\n1;x\n");
    let error = failure(&input.source("e.csv").csv::<Row>());
    assert!(error.contains("e.csv:2: missing field `id`"), "{error}");
}

#[test]
fn bad_records_are_skipped_or_sent_to_the_dead_letters() {
    // Case 40.
    let input = Input::new();
    input.put("a.csv", "id,text\n1,a\n?,b\n3,c\n\"4,d\n5,e");
    let expected = [1, 3, 5];
    let source = input.source("a.csv").csv::<Row>().on_bad_record(OnBadRecord::Skip);
    let mut drive = Drive::new(&source, 2);
    assert_eq!(drive.read_all().iter().map(|row| row.id).collect::<Vec<_>>(), expected);
    assert_eq!(drive.status.skipped_records.get(), 2);
    let source = input.source("a.csv").csv::<Row>().on_bad_record(OnBadRecord::DeadLetter);
    let mut drive = Drive::new(&source, 1);
    assert_eq!(drive.read_all().iter().map(|row| row.id).collect::<Vec<_>>(), expected);
    assert_eq!(drive.status.skipped_records.get(), 0);
    let letter = |line: u64, offset: u64, error: &str, raw: &str| DeadLetter {
        source: "source".to_owned(),
        position: format!("{}:{line} (byte offset {offset})", input.path("a.csv").display()),
        error: error.to_owned(),
        raw: raw.as_bytes().to_vec(),
    };
    let unclosed = "column 1: a quote is opened and not closed; a field that holds line breaks needs `.quoted_line_breaks()`";
    let letters = [
        letter(3, 12, "column `id`: `?` is not a whole number from 0 of 64 bits", "?,b"),
        letter(5, 20, unclosed, "\"4,d"),
    ];
    assert_eq!(drive.dead_letters, letters);
}

#[test]
fn a_record_without_an_end_is_reported_and_can_be_skipped() {
    let input = Input::new();
    let long = "x".repeat(700_000);
    input.put("a.txt", format!("1\n{long}\n2\n{long}\n3\n{long}"));
    let source = input.source("a.txt").record_bytes_max(1_000);
    let error = failure(&source);
    assert!(error.contains("a.txt:2: no line break within 1000 bytes"), "{error}");
    let source = source.on_bad_record(OnBadRecord::Skip);
    assert_eq!(read(&source), ["1", "2", "3"]);
    Drive::new(&source, 1).check_every_resume();
    assert_eq!(read(&input.source("a.txt")).len(), 6);
}

#[test]
fn no_file_is_an_error_that_says_where_it_looked() {
    let input = Input::new();
    let error = input.source("none/*.csv").discover(1).expect_err("nothing is there").to_string();
    let expected = format!("the graph can't run: no file matches `{}`: ", input.path("none/*.csv").display());
    assert!(error.starts_with(&expected), "{error}");
    let error = input.source("").discover(1).expect_err("nothing is there").to_string();
    assert!(error.contains("holds no file"), "{error}");
    input.put("empty.csv", "");
    assert_eq!(read(&input.source("empty.csv").csv::<Row>()), []);
    input.put("header.csv", "id,text");
    assert_eq!(read(&input.source("header.csv").csv::<Row>()), []);
}

/// Reads a part of a file of 3,000 lines and returns the splits as a checkpoint would keep them.
fn interrupted(source: &FileSource<super::super::Lines>) -> Vec<FileSplit> {
    let mut drive = Drive::new(source, 1);
    let mut records = Vec::new();
    while records.is_empty() {
        drive.round(&mut records).expect("it can be read");
    }
    drive.snapshot()
}

fn resume_failure(source: &FileSource<super::super::Lines>, splits: Vec<FileSplit>) -> String {
    let resumed = Drive::with_splits(source, 1, splits).try_read_all();
    resumed.expect_err("the file was changed").to_string()
}

#[test]
fn a_file_that_was_changed_since_the_checkpoint_is_refused() {
    // Case 38.
    let input = Input::new();
    let text: String = (0..3_000).map(|n| format!("{n}\n")).collect();
    let source = input.put("a.txt", &text).source("a.txt");
    let splits = interrupted(&source);
    assert!(Drive::with_splits(&source, 1, splits.clone()).try_read_all().is_ok());

    input.append("a.txt", "more\n");
    let grown = resume_failure(&source, splits.clone());
    assert!(grown.contains("a.txt is not the file") && grown.contains("`.follow()`"), "{grown}");
    input.put("a.txt", &text[..text.len() - 5]);
    let truncated = resume_failure(&source, splits.clone());
    assert!(truncated.contains("truncated or replaced"), "{truncated}");
    input.put("b.txt", text.replace("2999", "abcd"));
    input.set_modified("b.txt", 1_000);
    input.rename("b.txt", "a.txt");
    let replaced = resume_failure(&source, splits);
    assert!(replaced.contains("modified"), "{replaced}");
}

#[test]
fn a_growing_file_that_was_replaced_or_truncated_is_refused() {
    let input = Input::new();
    let text: String = (0..3_000).map(|n| format!("{n}\n")).collect();
    let source = input.put("a.txt", &text).source("a.txt").follow();
    let splits = interrupted(&source);
    input.append("a.txt", "more\n");
    let rest = Drive::with_splits(&source, 1, splits.clone()).read_until_pending();
    assert_eq!(rest.last().map(String::as_str), Some("more"));
    input.put("a.txt", "0\n");
    assert!(resume_failure(&source, splits.clone()).contains("truncated or replaced"));
    input.put("a.txt", text.replace("17\n", "ab\n"));
    assert!(resume_failure(&source, splits).contains("begins with other content"));
}

#[test]
fn following_reads_what_is_appended_and_files_that_come_later() {
    let input = Input::new();
    input.put("a.csv", "id,te");
    let source = input.source("*.csv").csv::<Row>().follow();
    let mut known = BTreeSet::new();
    let mut drive = Drive::with_splits(&source, 1, Vec::new());
    drive.discover_again(&mut known);
    let mut ids = |known: &mut BTreeSet<String>| {
        drive.discover_again(known);
        let rows = drive.read_until_pending();
        (rows.iter().map(|row| row.id).collect::<Vec<_>>(), drive.snapshot())
    };
    assert_eq!(ids(&mut known).0, Vec::<u64>::new());
    input.append("a.csv", "xt\n1,a\n2,b\n3,");
    assert_eq!(ids(&mut known).0, [1, 2], "a line without its break is not a record yet");
    input.append("a.csv", "c\n");
    input.put("b.csv", "text,id\nx,10\n");
    let (read, splits) = ids(&mut known);
    assert_eq!(BTreeSet::from_iter(read), BTreeSet::from([3, 10]));
    input.append("b.csv", "y,11\n");
    assert_eq!(ids(&mut known).0, [11]);
    let resumed = Drive::with_splits(&source, 1, splits).read_until_pending();
    assert_eq!(resumed, [Row { id: 11, text: "y".to_owned() }]);
    // Moved away: read to its end, also without a break; the new one at its path is another split.
    input.append("b.csv", "z,12");
    input.rename("b.csv", "b.old");
    input.put("b.csv", "id,text\n20,new\n");
    assert_eq!(ids(&mut known).0, [12, 20]);
}

/// Case 38: log rotation removes the oldest file, and the file system gives its inode to the newest.
#[test]
fn a_new_file_is_read_though_it_has_the_inode_of_one_that_was_removed() {
    let input = Input::new();
    let source = input.source("*.log").follow();
    let mut known = BTreeSet::new();
    let mut drive = Drive::with_splits(&source, 1, Vec::new());
    for round in 0..20 {
        let line = format!("line {round}");
        input.put("a.log", format!("{line}\n"));
        drive.discover_again(&mut known);
        assert_eq!(drive.read_until_pending(), [line]);
        std::fs::remove_file(input.path("a.log")).expect("it is there");
        assert_eq!(drive.read_until_pending(), [""; 0]);
        assert_eq!(drive.snapshot(), [], "it is read to its end");
    }
}

#[test]
fn a_failure_is_located_by_what_was_read_last() {
    let input = Input::new();
    let text: String = (0..3_000).map(|n| format!("{n:04}\n")).collect();
    let source = input.put("a.txt", text).source("a.txt");
    let mut drive = Drive::new(&source, 1);
    assert_eq!(drive.position(), None);
    let mut records = Vec::new();
    while records.len() < 2_048 {
        drive.round(&mut records).expect("it can be read");
    }
    let expected = format!("{}: lines 1025 to 2048 (bytes 5120 to 10240)", input.path("a.txt").display());
    assert_eq!(drive.position(), Some(expected));
}

/// Lines with every kind of break, as text and as what they mean.
fn text() -> impl Strategy<Value = (String, Vec<String>)> {
    let line =
        prop::collection::vec(prop_oneof![Just("a"), Just("é"), Just(" "), Just("\""), Just("12")], 0..8);
    let ending = prop_oneof![Just("\n"), Just("\r\n")];
    (prop::collection::vec((line, ending), 0..40), any::<bool>(), any::<bool>()).prop_map(
        |(lines, mark, open)| {
            let mut text = String::from(if mark { "\u{feff}" } else { "" });
            let mut meant: Vec<String> = lines.iter().map(|(line, _)| line.concat()).collect();
            for (line, ending) in &lines {
                text.push_str(&line.concat());
                text.push_str(ending);
            }
            if open && !meant.last().is_none_or(String::is_empty) {
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
            } else if meant.is_empty() {
                meant.clear();
            }
            (text, meant)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_split_reads_the_same_lines((text, meant) in text(), split_bytes in 1_u64..40, parallelism in 1_u32..4) {
        let input = Input::new();
        let source = input.put("a.txt", &text).source("a.txt").split_bytes(split_bytes);
        prop_assert_eq!(&Drive::new(&source, 1).read_all(), &meant);
        let mut read = Drive::new(&source, parallelism).read_all();
        let mut meant = meant;
        read.sort();
        meant.sort();
        prop_assert_eq!(read, meant);
    }

    #[test]
    fn any_split_of_csv_reads_the_same_rows(ids in prop::collection::vec(any::<u32>(), 0..60), split_bytes in 1_u64..60, crlf in any::<bool>()) {
        let input = Input::new();
        let ending = if crlf { "\r\n" } else { "\n" };
        let rows: Vec<Row> = ids.iter().map(|id| Row { id: u64::from(*id), text: format!("t,{id}") }).collect();
        let mut text = format!("a long name that no row needs,text,id{ending}");
        for row in &rows {
            text.push_str(&format!("x,\"{}\",{}{ending}", row.text, row.id));
        }
        let source = input.put("a.csv", &text).source("a.csv").csv::<Row>().split_bytes(split_bytes);
        prop_assert_eq!(read(&source), rows);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_snapshot_resumes_with_the_rest(lines in 0_usize..3_500, split_bytes in 100_u64..9_000, parallelism in 1_u32..3) {
        let input = Input::new();
        let text: String = (0..lines).map(|n| format!("{n}{}", if n % 3 == 0 { "\r\n" } else { "\n" })).collect();
        let source = input.put("a.txt", &text).put("b.txt", "last").source("*.txt").split_bytes(split_bytes);
        Drive::new(&source, parallelism).check_every_resume();
    }
}
