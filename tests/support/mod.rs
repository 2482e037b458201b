//! What the end-to-end tests share: bags, and running a flow while its actors are killed.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tidegate::prelude::*;
use tidegate::testing::Chaos;

/// How often each item occurs.
pub(crate) fn bag<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut bag = BTreeMap::new();
    for item in items {
        *bag.entry(item).or_default() += 1;
    }
    bag
}

/// Seeds of a random test: `SEED=` replays one, `SEEDS=` runs so many.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a whole number")],
        Err(_) => {
            let wanted = std::env::var("SEEDS").map(|seeds| seeds.parse().expect("SEEDS is a whole number"));
            (0..wanted.unwrap_or(count)).collect()
        }
    }
}

/// Two subtasks, state in `dir`, frequent checkpoints, and the end at the first failure.
pub(crate) fn config(dir: &Path) -> JobConfig {
    JobConfig::new()
        .parallelism(2)
        .state_dir(dir.join("state"))
        .checkpoint_interval(millis(20))
        .restart(RestartPolicy::None)
        .endpoint(Endpoint::Off)
}

/// Runs a flow to its end in a fresh state directory, with checkpoints every 20 ms and about `kills` random kills.
pub(crate) fn run_with_kills(flow: Dataflow, parallelism: u32, kills: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = JobConfig::new()
        .parallelism(parallelism)
        .state_dir(dir.path())
        .checkpoint_interval(millis(20))
        .endpoint(Endpoint::Off);
    let job = flow.with_config(config).launch().expect("the flow starts");
    let chaos = Chaos::new(u64::from(parallelism)).at_most(kills);
    let killing = (kills > 0).then(|| chaos.kill_random(&job, Duration::from_millis(15)).expect("a thread"));
    let report = job.wait().expect("the flow ends");
    drop(killing);
    assert_eq!(report.state, JobState::Finished);
    assert!(
        kills == 0 || report.totals.kills > 0,
        "nothing was killed: the run was too short to prove anything"
    );
}
