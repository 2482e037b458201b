//! Chaos for one's own pipelines: kills random live actors of a running job, by seed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_runtime::sync::lock;

use crate::error::{Error, Result};
use crate::handle::Job;
use crate::job::JobShared;
use crate::topology::{ActorKind, ActorState, JobState};

/// What may be killed, and by which seed it is chosen.
#[derive(Clone, Debug)]
pub struct Chaos {
    seed: u64,
    kinds: Vec<ActorKind>,
    kills_max: Option<u64>,
}

/// Kills that go on until the job has ended, `Chaos::at_most` is reached, or this is dropped.
pub struct Killing {
    shared: Arc<Shared>,
}

struct Shared {
    is_over: AtomicBool,
    killed: Mutex<Vec<String>>,
}

impl Chaos {
    /// Kills any actor but the root, whose death is the job's.
    pub fn new(seed: u64) -> Self {
        let kinds = vec![
            ActorKind::Job,
            ActorKind::Checkpoints,
            ActorKind::Enumerator,
            ActorKind::Region,
            ActorKind::Worker,
            ActorKind::Deployment,
            ActorKind::Subtask,
        ];
        Self { seed, kinds, kills_max: None }
    }

    /// Kills only actors of these kinds.
    #[must_use]
    pub fn only(self, kinds: &[ActorKind]) -> Self {
        Self { kinds: kinds.to_vec(), ..self }
    }

    /// Stops after this many kills.
    #[must_use]
    pub fn at_most(self, kills: u64) -> Self {
        Self { kills_max: Some(kills), ..self }
    }

    /// Kills one random live actor after each `every`, while the job runs and has input left: the choice is by seed
    /// among the live actors in order of their paths.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub fn kill_random(&self, job: &Job, every: Duration) -> Result<Killing> {
        let shared = Arc::new(Shared { is_over: AtomicBool::new(false), killed: Mutex::new(Vec::new()) });
        let (chaos, target, mine) = (self.clone(), Arc::clone(job.shared()), Arc::clone(&shared));
        let run = move || chaos.run(&target, every, &mine);
        let spawned = std::thread::Builder::new().name("tg-chaos".to_owned()).spawn(run);
        spawned.map_err(|source| Error::Start { what: "the chaos thread", source })?;
        Ok(Killing { shared })
    }

    fn run(&self, job: &JobShared, every: Duration, shared: &Shared) {
        let mut random = self.seed;
        while !job.outcome.wait_for(every) && !shared.is_over.load(Ordering::Acquire) {
            if *lock(&job.state) != JobState::Running || !job.has_input.load(Ordering::Acquire) {
                continue;
            }
            let alive: Vec<_> = job
                .directory
                .all()
                .into_iter()
                .filter(|entry| entry.state() == ActorState::Running && self.kinds.contains(&entry.kind))
                .collect();
            if alive.is_empty() {
                continue;
            }
            let chosen = &alive[(next(&mut random) % alive.len() as u64) as usize];
            if job.kill(&chosen.path).is_ok() {
                let mut killed = lock(&shared.killed);
                killed.push(chosen.path.clone());
                if self.kills_max.is_some_and(|most| killed.len() as u64 >= most) {
                    return;
                }
            }
        }
    }
}

impl Killing {
    /// Paths of the actors that were killed, in order.
    pub fn killed(&self) -> Vec<String> {
        lock(&self.shared.killed).clone()
    }
}

impl Drop for Killing {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
    }
}

/// splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
