//! The life of a job by example.

use super::*;
use tidegate_runtime::id::OperatorId;

const CHECKPOINT: CheckpointId = CheckpointId(5);

fn subtask(region: u32) -> SubtaskId {
    SubtaskId { operator: OperatorId(region), index: 0 }
}

/// Two regions of one subtask, up as attempts 1 and 2.
fn running() -> Lifecycle {
    let mut life =
        Lifecycle::new([0, 1].map(|region| (RegionId(region), vec![subtask(region)])), JobState::Created);
    for (region, attempt) in [(0, 1), (1, 2)] {
        life.on_down(RegionId(region));
        assert_eq!(life.state(), JobState::Created, "nothing restarts before it has run");
        assert!(!life.on_starting(RegionId(region), AttemptId(attempt)));
        assert_eq!(life.state(), JobState::Created);
        assert_eq!(life.on_up(RegionId(region), AttemptId(attempt)), []);
    }
    assert_eq!(life.state(), JobState::Running);
    life
}

#[test]
fn the_last_checkpoint_is_due_when_all_input_of_all_regions_has_ended() {
    let mut life = running();
    assert_eq!(life.on_ended(AttemptId(1), subtask(0)), []);
    assert!(life.has_input());
    let due = [LifeAction::RequestLast(LastKind::Final)];
    assert_eq!(life.on_ended(AttemptId(2), subtask(1)), due);
    assert!(!life.has_input());
}

/// Case 98: finished is said after the last commit, not after the last checkpoint.
#[test]
fn the_job_is_finished_once_every_region_has_committed_the_last_checkpoint() {
    let mut life = running();
    assert_eq!(life.on_completed(CHECKPOINT, CheckpointKind::Final), []);
    assert_eq!(life.on_committed(AttemptId(1), CHECKPOINT), []);
    assert_eq!(life.on_committed(AttemptId(2), CheckpointId(4)), []);
    assert_eq!(life.on_committed(AttemptId(2), CHECKPOINT), [LifeAction::End(JobEnd::Finished)]);
}

#[test]
fn what_a_former_attempt_says_does_not_count() {
    let mut life = running();
    life.on_ended(AttemptId(1), subtask(0));
    life.on_down(RegionId(0));
    assert_eq!(life.state(), JobState::Restarting);
    assert!(life.on_starting(RegionId(0), AttemptId(3)));
    assert_eq!(life.on_ended(AttemptId(1), subtask(0)), []);
    assert_eq!(life.on_up(RegionId(0), AttemptId(1)), []);
    assert_eq!(life.on_up(RegionId(0), AttemptId(3)), []);
    assert_eq!(life.on_ended(AttemptId(2), subtask(1)), []);
    assert_eq!(
        life.on_ended(AttemptId(3), subtask(0)),
        [LifeAction::RequestLast(LastKind::Final)],
        "the region has ended its input again"
    );
}

/// Case 99: a suspended job's sources are paused, not ended; a drained one's are ended.
#[test]
fn suspending_pauses_and_asks_for_the_last_checkpoint_and_draining_ends_the_input() {
    let mut life = running();
    let expected = [
        LifeAction::Pause(AttemptId(1)),
        LifeAction::Pause(AttemptId(2)),
        LifeAction::RequestLast(LastKind::Stop),
    ];
    assert_eq!(life.on_stop(StopMode::Suspend), expected);
    assert_eq!(life.state(), JobState::Stopping);
    let mut life = running();
    let expected = [LifeAction::Drain(AttemptId(1)), LifeAction::Drain(AttemptId(2))];
    assert_eq!(life.on_stop(StopMode::Drain), expected);
    assert_eq!(life.on_stop(StopMode::Suspend), [], "a drain stands");
}

#[test]
fn a_region_that_comes_back_while_the_job_stops_is_stopped_too() {
    let mut life = running();
    life.on_stop(StopMode::Suspend);
    life.on_down(RegionId(1));
    assert_eq!(life.ask_again(), None);
    life.on_starting(RegionId(1), AttemptId(3));
    let expected = [LifeAction::Pause(AttemptId(3)), LifeAction::RequestLast(LastKind::Stop)];
    assert_eq!(life.on_up(RegionId(1), AttemptId(3)), expected);
    assert_eq!(life.ask_again(), Some(LifeAction::RequestLast(LastKind::Stop)));
}

/// Case 100: a region that fails after the last checkpoint commits what is left, and the job ends as it was to end.
#[test]
fn after_the_last_checkpoint_a_new_attempt_only_has_to_commit() {
    let mut life = running();
    life.on_stop(StopMode::Suspend);
    life.on_completed(CHECKPOINT, CheckpointKind::Stop);
    life.on_committed(AttemptId(1), CHECKPOINT);
    life.on_down(RegionId(1));
    assert!(life.is_last_published());
    life.on_starting(RegionId(1), AttemptId(3));
    assert_eq!(life.on_committed(AttemptId(3), CHECKPOINT), [LifeAction::End(JobEnd::Stopped)]);
}
