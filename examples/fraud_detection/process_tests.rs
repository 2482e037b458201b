//! The program as a process: signals, exit codes, what it prints, and runs that go on in another process.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::generate::{Recipe, write_files};

/// Carries the child's arguments, a line each.
const ARGUMENTS: &str = "FRAUD_DETECTION_ARGUMENTS";
/// Each line of progress has it, and no other line.
const PROGRESS: &str = " records/s | ";
/// A process that has not ended by then never will.
const LIFE_MAX: Duration = Duration::from_secs(60);

/// Not a test of its own: the program, in the process of a test.
#[test]
#[ignore = "the child process of the other tests"]
fn child() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let code = obey(arguments.lines().map(OsString::from));
    std::process::exit(code.into());
}

/// A directory with small input files, and the program over them.
struct Bench {
    directory: tempfile::TempDir,
}

/// What a process printed, and how it ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// A process that has begun its run.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    seen: String,
    /// Ends its watchdog when it is dropped.
    _alive: mpsc::Sender<()>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        write_files(Recipe { transactions: 4_000, seed: 5 }, directory.path()).expect("written files");
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Over the directory's files; `$` stands for the directory.
    fn start(&self, arguments: &str) -> Running {
        self.start_over("$/transactions.csv", "$/accounts.csv", arguments)
    }

    fn start_over(&self, transactions: &str, accounts: &str, arguments: &str) -> Running {
        self.spawn(&format!("--transactions {transactions} --accounts {accounts} {arguments}"))
    }

    fn spawn(&self, arguments: &str) -> Running {
        let directory = self.directory.path().to_str().expect("UTF-8");
        let lines: Vec<String> =
            arguments.split_whitespace().map(|argument| argument.replace('$', directory)).collect();
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["process_tests::child", "--exact", "--ignored", "--nocapture"])
            .env(ARGUMENTS, lines.join("\n"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        Running { _alive: watchdog(child.id()), child, out, seen: String::new() }
    }

    fn run(&self, arguments: &str) -> Ran {
        self.start(arguments).end()
    }

    fn append(&self, file: &str, line: &str) {
        let file = fs::OpenOptions::new().append(true).open(self.path(file));
        file.and_then(|mut file| writeln!(file, "{line}")).expect("a written file");
    }
}

/// Kills a process that outlives its time, so that who reads from it is not kept waiting.
fn watchdog(process: u32) -> mpsc::Sender<()> {
    let (alive, ended) = mpsc::channel();
    let watch = move || {
        if ended.recv_timeout(LIFE_MAX) == Err(RecvTimeoutError::Timeout) {
            signal(process, "-KILL");
        }
    };
    std::thread::Builder::new().spawn(watch).expect("a thread");
    alive
}

fn signal(process: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &process.to_string()]).status().expect("kill runs");
    assert!(status.success());
}

impl Running {
    /// Reads what it prints up to a line that holds `part`.
    fn until(&mut self, part: &str) -> &mut Self {
        loop {
            let mut line = String::new();
            let read = self.out.read_line(&mut line).expect("it prints text");
            assert!(read > 0, "it ended before `{part}`:\n{}", self.seen);
            self.seen.push_str(&line);
            if line.contains(part) {
                return self;
            }
        }
    }

    fn send(&self, name: &str) {
        signal(self.child.id(), name);
    }

    fn end(mut self) -> Ran {
        let mut err = String::new();
        self.out.read_to_string(&mut self.seen).expect("it prints text");
        // Short, so that the pipe holds it until now.
        let mut errors = self.child.stderr.take().expect("it is piped");
        errors.read_to_string(&mut err).expect("it prints text");
        let code = self.child.wait().expect("the child ends").code();
        Ran { code, out: self.seen, err }
    }
}

impl Ran {
    /// Asserts how it ended and that each part was printed, by either way.
    fn ended(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for part in parts {
            assert!(self.out.contains(part) || self.err.contains(part), "`{part}` is not in {self:#?}");
        }
        self
    }

    fn figure(&self, label: &str) -> u64 {
        let line = self.out.lines().find(|line| line.starts_with(label)).unwrap_or_default();
        let number = line[label.len()..].split_whitespace().next().and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("no figure `{label}` in {self:#?}"))
    }
}

const EQUAL: &str = "verify: OK: committed output equals the sequential computation";

fn committed(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}

#[test]
fn a_run_stopped_by_ctrl_c_or_sigterm_goes_on_and_its_whole_output_is_compared() {
    let bench = Bench::new();
    let arguments = "--output $/out --rate 1000 --verify";
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut running = bench.start(arguments);
        running.until(PROGRESS).send(signal);
        let how = "start the same command with\n  --output";
        let stopped = running.end().ended(code, &["run                        stopped", how]);
        assert!(!stopped.out.contains("verify: OK"), "{stopped:#?}");
        assert!(!committed(&bench.path("out")).is_empty());
    }
    let resumed = bench.run("--output $/out --verify").ended(0, &["going on with a run", EQUAL]);
    assert_eq!(resumed.figure("records "), 4_400);
    assert!(resumed.figure("records of earlier starts") > 0);
    let refused = bench.run(arguments).ended(2, &["--output: ", "holds another run's output"]);
    assert!(!refused.out.contains("beginning"), "{refused:#?}");
}

#[test]
fn a_second_ctrl_c_ends_the_process_and_the_run_can_still_be_resumed() {
    let bench = Bench::new();
    let mut running = bench.start("--output $/out --rate 2500");
    running.until(PROGRESS);
    // Two that come together are one: until the process has ended it is sent again.
    while running.child.try_wait().expect("the child is ours").is_none() {
        running.send("-INT");
        std::thread::yield_now();
    }
    running.end().ended(130, &[]);
    bench.run("--output $/out --verify").ended(0, &["going on with a run", EQUAL]);
}

#[test]
fn a_process_that_is_killed_is_resumed_by_its_state_directory_alone() {
    let bench = Bench::new();
    let mut running = bench.start("--state $/state --rate 2500");
    running.until(PROGRESS).send("-KILL");
    assert_eq!(running.end().code, None);
    let resumed = bench.run("--state $/state --verify").ended(0, &["going on with a run", EQUAL]);
    assert!(resumed.out.contains("state/alerts-0001"), "{resumed:#?}");
    let fresh = bench.run("--state $/state --verify").ended(0, &["beginning a run", EQUAL]);
    assert!(fresh.out.contains("state/alerts-0002"), "{fresh:#?}");
}

#[test]
fn a_second_process_and_a_run_of_something_else_are_refused_and_say_why() {
    let bench = Bench::new();
    let mut running = bench.start("--output $/out --state $/state --hold");
    running.until(PROGRESS);
    let in_use = format!("in use by process {}", running.child.id());
    bench.run("--output $/out --state $/state").ended(2, &[&in_use]);
    running.send("-INT");
    running.end().ended(130, &[]);
    let other_output = ["alerts.directory: was `", "/out`, is `", "/elsewhere`"];
    bench.run("--output $/elsewhere --state $/state").ended(2, &other_output);
    fs::copy(bench.path("accounts.csv"), bench.path("others.csv")).expect("a copy");
    let other_input = ["accounts.files: was `", "/accounts.csv`, is `", "/others.csv`"];
    let others = bench.start_over("$/transactions.csv", "$/others.csv", "--output $/out --state $/state");
    others.end().ended(2, &other_input);
    let other_options = ["alerts.parallelism: was `", "`, is `7`"];
    bench.run("--output $/out --state $/state --parallelism 7").ended(2, &other_options);
    bench.run("--output $/out --state $/state --verify").ended(0, &[EQUAL]);
}

/// With one split of accounts and two subtasks: the one that never has a split holds no event time back.
#[test]
fn a_held_run_raises_its_alerts_and_waits_for_ctrl_c() {
    let bench = Bench::new();
    let mut running = bench.start("--output $/out --hold --parallelism 2");
    while committed(&bench.path("out")).is_empty() {
        running.until(PROGRESS);
    }
    running.send("-INT");
    let stopped = running.end().ended(130, &["run                        stopped"]);
    assert_eq!(stopped.figure("records "), 4_400);
    bench.run("--output $/out --parallelism 2 --verify").ended(0, &[EQUAL]);
}

#[test]
fn a_committed_file_that_was_changed_is_found() {
    let bench = Bench::new();
    let mut running = bench.start("--output $/out --rate 2500");
    running.until(PROGRESS).send("-INT");
    running.end().ended(130, &[]);
    let file = committed(&bench.path("out")).pop().expect("a committed file");
    let text = fs::read_to_string(&file).expect("lines");
    let first = text.lines().next().expect("an alert");
    fs::File::create(&file).and_then(|mut file| writeln!(file, "{first}\n{text}")).expect("a written file");
    let found =
        ["alerts committed that must not be, or too often: ", "expected 1, committed 2: ", "verify: FAILED"];
    bench.run("--output $/out --verify").ended(1, &found);
}

#[test]
fn wrong_usage_is_exit_code_two_and_names_the_option() {
    let bench = Bench::new();
    for (arguments, parts) in [
        ("--nonsense", ["error: --nonsense: is no option of this program", "--help lists the options"]),
        ("--rate fast", ["error: --rate: ", "fast is no whole number"]),
        (
            "--transactions nowhere.csv --accounts $/accounts.csv",
            ["error: --transactions: ", "nowhere.csv: No such file"],
        ),
        ("--transactions $/transactions.csv --accounts $", ["error: --accounts: ", " is no file"]),
    ] {
        let ran = bench.spawn(arguments).end().ended(2, &parts);
        assert!(!ran.out.contains("beginning"), "{ran:#?}");
    }
    bench.spawn("--help").end().ended(0, &["usage: fraud_detection [OPTIONS]", "Exit codes: "]);
}

#[test]
fn a_bad_line_fails_the_run_and_names_file_line_offset_and_column() {
    let bench = Bench::new();
    let offset = fs::metadata(bench.path("transactions.csv")).expect("a file").len();
    bench.append("transactions.csv", "4001,7,28,lots,1759759000000");
    let offset = format!("byte offset {offset}");
    let parts = [
        &offset,
        "error: the job failed: ",
        "`transactions`",
        "transactions.csv:4002",
        "column `amount`",
        "`lots` is not a number",
    ];
    bench.run("--output $/out").ended(1, &parts);
}

#[test]
fn disorder_above_the_bound_is_counted_and_fails_the_comparison() {
    let bench = Bench::new();
    let text = fs::read_to_string(bench.path("transactions.csv")).expect("lines");
    let mut lines: Vec<&str> = text.lines().collect();
    let early = lines.remove(1);
    lines.push(early);
    let file = fs::File::create(bench.path("transactions.csv"));
    file.and_then(|mut file| writeln!(file, "{}", lines.join("\n"))).expect("a written file");
    let parts = ["verify: too much disorder: 1", "transactions.csv, line 4001: ", "verify: FAILED"];
    let failed = bench.run("--output $/out --verify").ended(1, &parts);
    assert_eq!(failed.figure("records out of order"), 1);
}

#[test]
fn gzip_files_are_read_too() {
    let bench = Bench::new();
    for name in ["transactions.csv", "accounts.csv"] {
        let file = fs::File::create(bench.path(&format!("{name}.gz"))).expect("a file");
        let mut encoder = GzEncoder::new(file, Compression::fast());
        encoder.write_all(&fs::read(bench.path(name)).expect("lines")).expect("compressed");
        encoder.finish().expect("written");
    }
    let ran = bench.start_over("$/transactions.csv.gz", "$/accounts.csv.gz", "--output $/out --verify").end();
    assert_eq!(ran.ended(0, &[EQUAL]).figure("records "), 4_400);
}
