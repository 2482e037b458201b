//! The whole process is killed with SIGKILL at random moments, many times over one job's life; the files that it
//! leaves equal the sequential model.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{bag, seeds};
use tidegate::prelude::*;

const RECORDS: u64 = 60_000;
const KEYS: u64 = 101;
const KILLS: u32 = 30;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    key: u64,
    count: u64,
    sum: u64,
}

fn key_of(index: u64) -> u64 {
    (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % KEYS
}

/// The job that is killed. Runs in a process of its own; ignored unless the test below starts it.
#[test]
#[ignore = "started by `output_survives_thirty_kills_of_the_process`"]
fn job_to_be_killed() {
    let Some(dir) = std::env::var_os("CRASH_DIR") else { return };
    let dir = Path::new(&dir);
    let flow = Dataflow::new("crash");
    flow.source("numbers", files(dir.join("in/*.txt").display().to_string()).rate(10_000))
        .map(|line| line.parse::<u64>().expect("the input is numbers"))
        .key_by(|index| key_of(*index))
        .stateful_map("count", |(count, sum): &mut (u64, u64), index| {
            *count += 1;
            *sum += index;
            Row { key: key_of(index), count: *count, sum: *sum }
        })
        .sink("rows", json_lines(dir.join("out").display().to_string()));
    let config = JobConfig::new()
        .parallelism(2)
        .state_dir(dir.join("state"))
        .checkpoint_interval(millis(25))
        .endpoint(Endpoint::Off);
    flow.with_config(config).run().expect("the job ends");
}

fn committed(out: &Path) -> BTreeMap<String, usize> {
    let files =
        std::fs::read_dir(out).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let is_output = |path: &Path| path.extension().is_some_and(|extension| extension == "jsonl");
    bag(files.into_iter().filter(|entry| is_output(&entry.path())).flat_map(|entry| {
        let text = std::fs::read_to_string(entry.path()).expect("a committed file is readable");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    }))
}

#[test]
fn output_survives_thirty_kills_of_the_process() {
    for seed in seeds(1) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("in")).expect("a directory for the input");
        let lines: String = (0..RECORDS).map(|index| format!("{index}\n")).collect();
        #[expect(clippy::disallowed_methods, reason = "the input of a test need not survive a crash")]
        std::fs::write(dir.path().join("in/numbers.txt"), lines).expect("the input can be written");
        let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut kills = 0;
        loop {
            let mut child = Command::new(std::env::current_exe().expect("the test's own path"))
                .args(["--exact", "job_to_be_killed", "--ignored", "--nocapture"])
                .env("CRASH_DIR", dir.path())
                .stdout(Stdio::null())
                .spawn()
                .expect("the job's process starts");
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let moment = Duration::from_millis(20 + (state >> 33) % 130);
            if kills >= KILLS {
                assert!(child.wait().expect("the job's process ends").success(), "SEED={seed}");
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "the moment of the kill is what is random")]
            std::thread::sleep(moment);
            let ended = child.try_wait().expect("the job's process is ours");
            assert!(ended.is_none(), "SEED={seed}: the job ended after {kills} kills of {KILLS}: {ended:?}");
            kills += 1;
            child.kill().expect("the job's process can be killed");
            child.wait().expect("the job's process ends");
        }
        let mut expected = Vec::new();
        let mut states = BTreeMap::<u64, (u64, u64)>::new();
        for index in 0..RECORDS {
            let (count, sum) = states.entry(key_of(index)).or_default();
            *count += 1;
            *sum += index;
            expected.push((key_of(index), *count));
        }
        let rows = committed(&dir.path().join("out"));
        assert!(rows.values().all(|times| *times == 1), "SEED={seed}: a row was committed twice");
        let found: Vec<Row> =
            rows.keys().map(|line| serde_json::from_str(line).expect("a committed line is whole")).collect();
        assert_eq!(bag(found.iter().map(|row| (row.key, row.count))), bag(expected), "SEED={seed}");
        for (key, (count, sum)) in states {
            let total: u64 =
                found.iter().filter(|row| row.key == key && row.count == count).map(|row| row.sum).sum();
            assert_eq!(total, sum, "SEED={seed}: the last row of key {key}");
        }
    }
}
