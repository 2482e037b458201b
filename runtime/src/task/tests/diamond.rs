//! Sources, two operators side by side and a union, with room for one batch a lane: no schedule of steps, barriers,
//! aborts and restarts may lose or double a record, judge it late, or leave anything waiting.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::fakes::{
    Habits, Hold, Log, Mailbox, NumberSource, Numbers, Probe, Seen, Stamp, Subtask, operator_task, router,
    source_task,
};
use crate::config::AfterLastRecord;
use crate::exchange::{Gate, Partitioning};
use crate::id::CheckpointId;
use crate::task::{Chain, ChainNode, FrozenTask, Restore, StepBudget, StepOutcome, TaskCommand, TaskEvent};
use crate::time::{Clock, Timestamp};

/// Two of each but the union: sources 0 and 1, hashed operators 2 and 3, rebalanced operators 4 and 5, union 6.
const SUBTASKS: usize = 7;
const UNION: usize = 6;
const SPLITS: [(u64, u64); 2] = [(0, 150), (1_000, 1_150)];
/// Far more than any run needs: what goes on longer makes no progress.
const STEPS_MAX: usize = 200_000;

/// A small generator: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

type Cut = BTreeMap<usize, FrozenTask>;

struct Attempt {
    subtasks: Vec<Subtask>,
    logs: Vec<Log>,
    /// Commands on their way, each to one subtask.
    commands: Vec<(usize, TaskCommand)>,
    cuts: BTreeMap<CheckpointId, Cut>,
}

impl Attempt {
    fn start(restored: Option<(CheckpointId, &Cut)>, random: &mut Random) -> Self {
        let clock = Clock::manual(Timestamp(0));
        let mailboxes: Vec<Mailbox> = (0..SUBTASKS).map(|_| Mailbox::new()).collect();
        let lanes = |index: usize| if index == UNION { 4 } else { 2 };
        let budget = 1 + random.below(40);
        let gates: Vec<Arc<Gate>> = (0..SUBTASKS)
            .map(|index| Gate::new(lanes(index), budget, mailboxes[index].wakeup.clone()))
            .collect();
        gates.iter().for_each(|gate| gate.set_batch_records(1 + random.below(8)));
        let logs: Vec<Log> = (0..SUBTASKS).map(|_| Arc::new(Mutex::new(Vec::new()))).collect();
        let mut subtasks = Vec::new();
        for (index, mailbox) in mailboxes.into_iter().enumerate() {
            let task = if index < 2 {
                let chain = source_chain(index, &gates, &mailbox);
                let waits = random.below(2) == 0;
                let source = NumberSource { per_poll: 1 + random.below(9) as u64, waits };
                mailbox.subtask(&clock, |context| source_task(context, source, chain))
            } else {
                let chain = operator_chain(index, &gates, &mailbox);
                let habits = Habits { records_per_call: 1 + random.below(5), ..Habits::default() };
                let probe = Probe::new(Arc::clone(&logs[index]), habits);
                let ports = if index == UNION { vec![0, 0, 1, 1] } else { vec![0, 0] };
                mailbox.subtask(&clock, |context| operator_task(context, &gates[index], ports, probe, chain))
            };
            subtasks.push(task);
        }
        let mut attempt = Self { subtasks, logs, commands: Vec::new(), cuts: BTreeMap::new() };
        attempt.open(restored);
        attempt
    }

    fn open(&mut self, restored: Option<(CheckpointId, &Cut)>) {
        for (index, subtask) in self.subtasks.iter_mut().enumerate() {
            let mut restore = Restore::default();
            if let Some((checkpoint, cut)) = restored {
                let frozen = &cut[&index];
                restore.checkpoint = Some(checkpoint);
                restore.operator_states = vec![frozen.operator_state.clone()];
                restore.sources = frozen.source.iter().cloned().collect();
                restore.watermark = Some(frozen.watermark);
            } else if index < 2 {
                let (next, end) = SPLITS[index];
                let split = postcard::to_stdvec(&Numbers { next, end }).expect("numbers encode");
                self.commands.push((index, TaskCommand::AssignSplit(split)));
            }
            subtask.task.open(&restore).expect("every fake opens");
            subtask.wakeup.wake();
        }
        self.commands.extend([0, 1].map(|source| (source, TaskCommand::NoMoreSplits(AfterLastRecord::End))));
    }

    fn trigger(&mut self, checkpoint: CheckpointId) {
        self.commands.extend([0, 1].map(|source| (source, TaskCommand::Trigger(checkpoint))));
    }

    fn abort(&mut self, checkpoint: CheckpointId) {
        self.commands.extend((0..SUBTASKS).map(|index| (index, TaskCommand::Abort(checkpoint))));
    }

    /// Delivers a command or makes a step, as chance has it. Returns whether there was something to do.
    fn advance(&mut self, random: &mut Random) -> bool {
        if !self.commands.is_empty() && random.below(4) == 0 {
            let (index, command) = self.next_command(random);
            self.subtasks[index].task.command(command).expect("numbers can be read");
            self.subtasks[index].wakeup.wake();
            return true;
        }
        let notified: Vec<usize> =
            (0..SUBTASKS).filter(|index| self.subtasks[*index].notices.load(Ordering::Relaxed) > 0).collect();
        if notified.is_empty() {
            return !self.commands.is_empty();
        }
        self.step(notified[random.below(notified.len())], 1 + random.below(6) as u32);
        true
    }

    /// Commands to one subtask arrive in order.
    fn next_command(&mut self, random: &mut Random) -> (usize, TaskCommand) {
        let to = self.commands[random.below(self.commands.len())].0;
        let first = self.commands.iter().position(|(index, _)| *index == to);
        self.commands.remove(first.expect("there is one to this subtask"))
    }

    fn step(&mut self, index: usize, turns: u32) {
        let subtask = &mut self.subtasks[index];
        assert_eq!(subtask.notices.swap(0, Ordering::Relaxed), 1, "one notice at a time (I4)");
        subtask.wakeup.begin();
        let outcome = subtask.task.step(&StepBudget::Turns(turns)).expect("no fake fails");
        if outcome == StepOutcome::Progress {
            subtask.wakeup.wake();
        }
        let mut events = subtask.events.lock().expect("no panic while held");
        for event in events.iter_mut() {
            if let TaskEvent::Frozen { checkpoint, state, .. } = event {
                self.cuts.entry(*checkpoint).or_default().insert(index, state.clone());
            }
        }
        events.retain(|event| matches!(event, TaskEvent::Ended));
    }

    fn complete(&self) -> Option<(CheckpointId, Cut)> {
        let last = self.cuts.iter().rfind(|(_, cut)| cut.len() == SUBTASKS);
        last.map(|(checkpoint, cut)| (*checkpoint, cut.clone()))
    }

    fn run_to_quiet(&mut self, random: &mut Random, seed: u64) {
        for _ in 0..STEPS_MAX {
            if !self.advance(random) {
                return;
            }
        }
        panic!("SEED={seed}: no end after {STEPS_MAX} steps");
    }

    fn check_end(&self, seed: u64) {
        for (index, subtask) in self.subtasks.iter().enumerate() {
            let events = subtask.events.lock().expect("no panic while held");
            assert_eq!(events.len(), 1, "SEED={seed}: subtask {index} must have ended once");
            let log = self.logs[index].lock().expect("no panic while held");
            for seen in log.iter() {
                if let Seen::Record(_, value, watermark) = seen {
                    assert!(
                        Timestamp(*value as i64) > *watermark,
                        "SEED={seed}: {value} is late at {watermark}"
                    );
                }
            }
            if index >= 2 {
                let ports: Vec<&Seen> =
                    log.iter().filter(|seen| matches!(seen, Seen::EndOfInput(_))).collect();
                let expected = if index == UNION { 2 } else { 1 };
                assert_eq!(ports.len(), expected, "SEED={seed}: subtask {index}");
                assert_eq!(subtask.status.watermark(), Timestamp::MAX, "SEED={seed}: subtask {index}");
            }
        }
    }
}

fn source_chain(index: usize, gates: &[Arc<Gate>], mailbox: &Mailbox) -> Chain {
    let nodes = vec![
        ChainNode::Stage { stage: Box::<Hold>::default(), next: vec![1] },
        ChainNode::Stage { stage: Stamp::active(), next: vec![2, 3] },
        router(Partitioning::Hash, &gates[2..4], index as u32, &mailbox.wakeup),
        router(Partitioning::Rebalance, &gates[4..6], index as u32, &mailbox.wakeup),
    ];
    Chain::new(nodes, vec![vec![0]])
}

fn operator_chain(index: usize, gates: &[Arc<Gate>], mailbox: &Mailbox) -> Chain {
    if index == UNION {
        return Chain::new(Vec::new(), vec![Vec::new()]);
    }
    let lane = index as u32 - 2;
    let node = router(Partitioning::Rebalance, &gates[UNION..], lane, &mailbox.wakeup);
    Chain::new(vec![node], vec![vec![0]])
}

/// Runs one seed: some checkpoints, some aborts, some kills; in the end everything has arrived twice, once by each
/// side, and a last checkpoint of ended subtasks completes.
fn run(seed: u64, restarts: &AtomicUsize) {
    let mut random = Random(seed);
    let mut attempt = Attempt::start(None, &mut random);
    let mut kills_left = random.below(3);
    let mut checkpoint = 0;
    let mut open = Vec::new();
    let mut last_complete: Option<(CheckpointId, Cut)> = None;
    for _ in 0..STEPS_MAX {
        let chance = random.below(400);
        if chance < 4 && open.len() < 3 {
            checkpoint += 1;
            open.push(CheckpointId(checkpoint));
            attempt.trigger(CheckpointId(checkpoint));
        } else if chance == 5 && !open.is_empty() {
            let aborted = open.remove(random.below(open.len()));
            attempt.abort(aborted);
        } else if chance == 6 && kills_left > 0 {
            kills_left -= 1;
            restarts.fetch_add(1, Ordering::Relaxed);
            last_complete = attempt.complete().or(last_complete);
            let restored = last_complete.as_ref().map(|(id, cut)| (*id, cut));
            attempt = Attempt::start(restored, &mut random);
            open.clear();
        } else if !attempt.advance(&mut random) {
            break;
        }
        open.retain(|id| attempt.cuts.get(id).is_none_or(|cut| cut.len() < SUBTASKS));
    }
    attempt.run_to_quiet(&mut random, seed);
    open.retain(|id| attempt.cuts.get(id).is_none_or(|cut| cut.len() < SUBTASKS));
    assert_eq!(open, [], "SEED={seed}: checkpoints that were not aborted must complete");
    attempt.check_end(seed);
    let last = CheckpointId(checkpoint + 1);
    attempt.trigger(last);
    attempt.run_to_quiet(&mut random, seed);
    let cut = &attempt.cuts[&last];
    assert_eq!(cut.len(), SUBTASKS, "SEED={seed}: ended subtasks acknowledge barriers");
    check_values(cut, seed);
}

fn check_values(cut: &Cut, seed: u64) {
    let mut values: Vec<u64> = postcard::from_bytes(&cut[&UNION].operator_state).expect("a probe's state");
    values.sort_unstable();
    let twice = |(next, end): (u64, u64)| (next..end).flat_map(|value| [value, value]);
    let expected: Vec<u64> = SPLITS.into_iter().flat_map(twice).collect();
    assert_eq!(values, expected, "SEED={seed}: each record arrives once by each side");
}

#[test]
fn no_schedule_of_a_diamond_with_room_for_one_batch_loses_or_waits_case_20() {
    let seeds = match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..300,
    };
    let restarts = AtomicUsize::new(0);
    for seed in seeds.clone() {
        run(seed, &restarts);
    }
    assert!(
        seeds.end - seeds.start == 1 || restarts.load(Ordering::Relaxed) > 50,
        "too few kills to prove much"
    );
}
