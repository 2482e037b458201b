//! Rules on files that clippy does not know: their lengths, their first lines, words, and invariants that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines that a file may have without its tests.
const LINES_MAX: usize = 600;
/// Half of the files have fewer lines than this.
const LINES_HALF: usize = 150;

/// What must not stand in a source file, and what to write.
const WORDS: [(&str, &str); 7] = [
    ("ckpt", "write `checkpoint`"),
    ("snapshot_id", "write `checkpoint`"),
    ("FIXME", "mend it or say in the documentation what is missing"),
    ("XXX", "mend it or say in the documentation what is missing"),
    ("/home/", "no machine's path"),
    ("/root/", "no machine's path"),
    ("/work/", "no machine's path"),
];

/// A source file.
struct Source {
    path: PathBuf,
    text: String,
}

/// Checks every source file of the workspace at `root`.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut sources = Vec::new();
    collect(root, root, &mut sources)?;
    let mut problems = Vec::new();
    for source in &sources {
        check(source, &mut problems);
    }
    check_lengths(&sources, &mut problems);
    check_invariants(root, &sources, &mut problems);
    list_cases(&sources);
    for problem in &problems {
        eprintln!("{problem}");
    }
    if problems.is_empty() { Ok(()) } else { Err(format!("{} problems", problems.len())) }
}

fn collect(root: &Path, dir: &Path, sources: &mut Vec<Source>) -> Result<(), String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("can't list {}: {error}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(root, &path, sources)?;
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("can't read {}: {error}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

impl Source {
    /// Lines before the file's tests; none in a file of tests.
    fn lines_without_tests(&self) -> usize {
        if self.is_test() {
            return 0;
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| {
            pair[0].starts_with("#[cfg(test)]") && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        });
        tests.unwrap_or(lines.len())
    }

    fn is_test(&self) -> bool {
        let in_tests = self.path.components().any(|part| part.as_os_str() == "tests");
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        in_tests || stem.ends_with("tests")
    }

    fn has_tests(&self) -> bool {
        self.is_test() || self.text.contains("#[test]")
    }
}

fn check(source: &Source, problems: &mut Vec<String>) {
    let path = source.path.display();
    let is_fixture = source.path.starts_with("tests/ui");
    if !source.text.starts_with("//!") && !is_fixture {
        problems.push(format!("{path}:1: the first line is not `//!`: say what the file is and why"));
    }
    let lines = source.lines_without_tests();
    if lines > LINES_MAX {
        problems.push(format!("{path}: {lines} lines without tests, more than {LINES_MAX}: divide it"));
    }
    if source.path.ends_with("xtask/src/tidy.rs") {
        return;
    }
    for (index, line) in source.text.lines().enumerate() {
        for (word, instead) in WORDS {
            if line.contains(word) {
                problems.push(format!("{path}:{}: `{word}`: {instead}", index + 1));
            }
        }
    }
}

fn check_lengths(sources: &[Source], problems: &mut Vec<String>) {
    let lengths: Vec<usize> =
        sources.iter().filter(|source| !source.is_test()).map(Source::lines_without_tests).collect();
    let short = lengths.iter().filter(|lines| **lines < LINES_HALF).count();
    println!("{} files without tests' own, {short} under {LINES_HALF} lines", lengths.len());
    if short * 2 < lengths.len() {
        problems.push(format!("only {short} of {} files are under {LINES_HALF} lines", lengths.len()));
    }
}

/// Every invariant that code cites is numbered in ARCHITECTURE.md.
fn check_invariants(root: &Path, sources: &[Source], problems: &mut Vec<String>) {
    let Ok(architecture) = fs::read_to_string(root.join("ARCHITECTURE.md")) else {
        problems.push("ARCHITECTURE.md is missing: it numbers the invariants".to_owned());
        return;
    };
    let known: BTreeSet<u32> = numbers_after(&architecture, "I").collect();
    let mut cited: BTreeMap<u32, String> = BTreeMap::new();
    for source in sources {
        for number in numbers_after(&source.text, "\"I").chain(numbers_after(&source.text, "(I")) {
            cited.entry(number).or_insert_with(|| source.path.display().to_string());
        }
    }
    for (number, path) in cited.iter().filter(|(number, _)| !known.contains(number)) {
        problems.push(format!("{path}: invariant I{number} is not in ARCHITECTURE.md"));
    }
}

/// Prints which hard cases the tests name.
fn list_cases(sources: &[Source]) {
    let mut cases = BTreeSet::new();
    let of_tests = |source: &&Source| source.has_tests() && !source.path.starts_with("xtask");
    for source in sources.iter().filter(of_tests) {
        cases.extend(cases_named(&source.text));
    }
    let list: Vec<String> = cases.iter().map(u32::to_string).collect();
    println!("hard cases named in tests ({}): {}", list.len(), list.join(" "));
}

/// The numbers that directly follow `prefix`, where it does not continue a word.
fn numbers_after<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = u32> + 'a {
    text.match_indices(prefix).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        if prefix.starts_with(char::is_alphabetic) && before.is_some_and(char::is_alphanumeric) {
            return None;
        }
        let digits: String = text[at + prefix.len()..].chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}

/// The numbers that follow the word "case" or "cases", in prose and in names of functions, one or a list of them.
fn cases_named(text: &str) -> BTreeSet<u32> {
    let text = text.to_ascii_lowercase();
    let mut cases = BTreeSet::new();
    for (at, word) in text.match_indices("case") {
        if text[..at].ends_with(char::is_alphanumeric) {
            continue;
        }
        let mut rest = &text[at + word.len()..];
        rest = rest.strip_prefix('s').unwrap_or(rest);
        while let Some(list) = [" and ", ", ", " ", "_"].iter().find_map(|between| rest.strip_prefix(between))
        {
            rest = list.trim_start_matches(|c: char| c.is_ascii_digit());
            let Ok(number) = list[..list.len() - rest.len()].parse() else { break };
            cases.insert(number);
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn a_file_without_its_purpose_or_with_a_banned_word_is_named() {
        let mut problems = Vec::new();
        check(&source("a.rs", "fn ckpt() {}\n"), &mut problems);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("a.rs:1: the first line"));
        assert!(problems[1].starts_with("a.rs:1: `ckpt`"));
    }

    #[test]
    fn tests_do_not_count_as_lines() {
        let body = "x\n".repeat(700);
        let with_tests = format!("//! a\n#[cfg(test)]\nmod tests {{\n{body}}}\n");
        assert_eq!(source("a.rs", &with_tests).lines_without_tests(), 1);
        assert_eq!(source("a/tests.rs", &body).lines_without_tests(), 0);
        assert_eq!(source("a.rs", &body).lines_without_tests(), 700);
    }

    #[test]
    fn numbers_are_found_after_whole_words_only() {
        let text = "SI5 and I7 of CI-3, (I12)";
        assert_eq!(numbers_after(text, "I").collect::<Vec<_>>(), [7, 12]);
    }

    #[test]
    fn cases_are_found_in_prose_and_in_names() {
        let text = "a showcase 7, case 12; uses_case_41() in case of 9. Cases 2, 3 and 5: Case 61, 62, in_cases_70_71_b 8";
        assert_eq!(Vec::from_iter(cases_named(text)), [2, 3, 5, 12, 41, 61, 62, 70, 71]);
    }
}
