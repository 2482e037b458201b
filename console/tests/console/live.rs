//! Each field of the topology is made to change by a real job, and seen through endpoint and command.

use tidegate_console::Picture;
use tidegate_console::cli::ExitStatus;
use tidegate_runtime::metrics::Activity;
use tidegate_supervisor::{ActorKind, ActorState, CheckpointStatus, JobState, SubtaskInfo};

use crate::pipeline::{KEYS, Live, actor, subtask};

#[test]
fn records_and_rates_follow_what_is_read() {
    let live = Live::new();
    let before = live.picture();
    assert_eq!((subtask(&before, "numbers/0").records_in, subtask(&before, "out/0").records_in), (0, 0));
    live.controls.allow(1_000);
    let after = live.until("1,000 records are out", |picture| subtask(picture, "out/0").records_in == 1_000);
    assert_eq!(
        (subtask(&after, "numbers/0").records_in, subtask(&after, "numbers/0").records_out),
        (1_000, 1_000)
    );
    let counts = ["count/0", "count/1"].map(|path| subtask(&after, path));
    assert_eq!(counts.map(|count| count.records_in).iter().sum::<u64>(), 1_000);
    assert_eq!(counts.map(|count| count.records_out).iter().sum::<u64>(), 1_000);
    assert!(counts.iter().all(|count| count.records_in > 0), "both subtasks have keys");

    let rates = |picture: &Picture| {
        let (numbers, out) = (subtask(picture, "numbers/0"), subtask(picture, "out/0"));
        [numbers.records_in_per_second, numbers.records_out_per_second, out.records_in_per_second]
    };
    live.controls.allow(1_000);
    live.until("the rates have risen", |picture| rates(picture).iter().all(|rate| *rate >= 1.0));
    live.until("the rates have fallen", |picture| rates(picture) == [0.0; 3]);
}

#[test]
fn the_batch_fill_follows_how_many_come_together() {
    let live = Live::new();
    let fill = |picture: &Picture| subtask(picture, "count/0").batch_fill;
    assert_eq!(fill(&live.picture()), 0.0);
    for n in 1..=KEYS {
        live.controls.allow(1);
        live.until("one record more is out", |picture| subtask(picture, "out/0").records_in == n);
    }
    let single = live.picture();
    assert_eq!(fill(&single), 1.0);
    live.controls.allow(10_000);
    let after = live.until("all are out", |picture| subtask(picture, "out/0").records_in == KEYS + 10_000);
    assert!(fill(&after) > 2.0, "{}", fill(&after));
}

#[test]
fn a_held_sink_shows_where_bytes_queue_and_who_is_parked_for_it() {
    let live = Live::new();
    let idle = live.until("all wait", |picture| {
        // The source too, which looks for more now and then.
        ["numbers/0", "count/0", "count/1", "out/0"]
            .iter()
            .all(|path| subtask(picture, path).activity == Activity::Idle)
    });
    assert!(
        subtask(&idle, "out/0")
            .inputs
            .iter()
            .all(|input| (input.queued_bytes, input.queued_elements) == (0, 0))
    );

    live.controls.hold_sink();
    live.controls.allow(1_000_000);
    // The source waits for one of the two: the other may have worked off what it had.
    let holds_bytes = |picture: &Picture| {
        ["count/0", "count/1"].into_iter().find(|path| subtask(picture, path).inputs[0].queued_bytes > 0)
    };
    let full = live.until("all before the sink are parked, and bytes wait for it in both lanes", |picture| {
        ["numbers/0", "count/0", "count/1"]
            .iter()
            .all(|path| subtask(picture, path).activity == Activity::BackPressured)
            && subtask(picture, "out/0").inputs.iter().all(|input| input.queued_bytes > 0)
            && holds_bytes(picture).is_some()
    });
    assert_eq!(subtask(&full, "out/0").activity, Activity::Running);
    let queued: Vec<(&str, bool)> = subtask(&full, "out/0")
        .inputs
        .iter()
        .map(|input| (input.producer.as_str(), input.queued_bytes > 0))
        .collect();
    assert_eq!(queued, [("count/0", true), ("count/1", true)]);
    let from_source = &subtask(&full, holds_bytes(&full).expect("it was waited for")).inputs;
    assert_eq!(from_source.len(), 1);
    assert!(from_source[0].producer == "numbers/0" && from_source[0].queued_bytes > 0, "{from_source:?}");
    assert!(from_source[0].queued_elements > 0);
    let tree = live.run(&["topology"]).out;
    assert!(tree.contains("back_pressured") && tree.contains(": numbers/0 "), "{tree}");

    live.controls.release();
    live.until("all is worked off", |picture| {
        subtask(picture, "out/0").records_in == 1_000_000
            && subtask(picture, "out/0").inputs.iter().all(|input| input.queued_bytes == 0)
            && subtask(picture, "count/0").activity == Activity::Idle
    });
}

#[test]
fn the_watermark_follows_event_time_and_its_lag_shows_who_holds_it() {
    let live = Live::new();
    let watermark = |picture: &Picture, path: &str| subtask(picture, path).watermark_ms;
    let before = live.picture();
    assert_eq!(["numbers/0", "count/0", "out/0"].map(|path| watermark(&before, path)), [None; 3]);
    assert_eq!(subtask(&before, "out/0").watermark_lag_ms, None);

    // Records at 0 s to 99 s, and the bound is 10 s: everything up to 89 s has come, except at 89 s itself.
    live.controls.allow(100);
    let after =
        live.until("the watermark is at the sink", |picture| watermark(picture, "out/0") == Some(88_999));
    assert_eq!(["numbers/0", "count/0", "count/1"].map(|path| watermark(&after, path)), [Some(88_999); 3]);
    assert_eq!(subtask(&after, "out/0").watermark_lag_ms, Some(10_001));

    live.controls.hold_sink();
    live.controls.allow(1);
    live.controls.allow(99);
    let held = live.until("the source is ahead", |picture| watermark(picture, "numbers/0") == Some(188_999));
    assert_eq!(
        (watermark(&held, "out/0"), subtask(&held, "out/0").watermark_lag_ms),
        (Some(88_999), Some(110_001))
    );
    assert_eq!(subtask(&held, "numbers/0").watermark_lag_ms, Some(10_001));
}

#[test]
fn a_kill_raises_attempts_restarts_and_replayed_records() {
    let live = Live::new();
    live.controls.allow(500);
    let before = live.until("500 are out", |picture| subtask(picture, "out/0").records_in == 500);
    assert_eq!((actor(&before, "count/0").restarts, subtask(&before, "numbers/0").replayed_records), (0, 0));
    let first_attempt = actor(&before, "count/0").attempt.expect("an attempt");

    let ran = live.run(&["kill", "count/0"]);
    assert_eq!((ran.status, ran.out.as_str()), (ExitStatus::Done, "killed count/0\n"));
    let after = live.until("the next attempt runs", |picture| {
        picture.topology.state == JobState::Running
            && actor(picture, "count/0").attempt > Some(first_attempt)
            && actor(picture, "out/0").state == ActorState::Running
    });
    assert_eq!(actor(&after, "count/0").restarts, 1);
    assert_eq!(
        actor(&after, "out/0").attempt,
        actor(&after, "count/0").attempt,
        "a region restarts together"
    );
    let deployment = after.topology.actors.iter().find(|actor| actor.kind == ActorKind::Deployment);
    assert!(deployment.is_some_and(|deployment| deployment.restarts >= 1 && deployment.attempt.is_some()));
    // No checkpoint was made: all 500 are read again.
    live.controls.allow(500);
    live.until("they are replayed", |picture| subtask(picture, "numbers/0").replayed_records == 500);
    // A counter that scrapers read never goes back: what came in and went out twice counts twice.
    live.until("what is sent counts on", |picture| {
        let counts = ["count/0", "count/1"].map(|path| subtask(picture, path));
        let sum = |of: fn(&SubtaskInfo) -> u64| counts.iter().map(|count| of(count)).sum::<u64>();
        (sum(|count| count.records_in), sum(|count| count.records_out)) == (1_000, 1_000)
    });
}

#[test]
fn an_actor_of_the_deciding_side_that_is_killed_is_started_again() {
    let live = Live::new();
    for kind in
        [ActorKind::Checkpoints, ActorKind::Region, ActorKind::Enumerator, ActorKind::Job, ActorKind::Worker]
    {
        let before = live.picture();
        let target =
            before.topology.actors.iter().find(|actor| actor.kind == kind).expect("one of each kind");
        assert_eq!(live.run(&["kill", &target.path]).status, ExitStatus::Done, "{}", target.path);
        live.until("it is started again", |picture| {
            actor(picture, &target.path).restarts > target.restarts
                && actor(picture, &target.path).state == ActorState::Running
                && picture.topology.state == JobState::Running
        });
    }
}

#[test]
fn the_mailbox_of_a_busy_subtask_fills() {
    let live = Live::new();
    assert_eq!(actor(&live.picture(), "out/0").mailbox_depth, 0);
    live.controls.hold_sink();
    live.controls.allow(10);
    live.until("the sink is held", |picture| subtask(picture, "out/0").activity == Activity::Running);
    // The checkpoint is given up after a second; everybody is told, and the sink does not listen.
    let ran = live.run(&["checkpoint"]);
    assert_eq!(ran.status, ExitStatus::Refused, "{ran:?}");
    live.until("the message waits", |picture| actor(picture, "out/0").mailbox_depth > 0);
    live.controls.release();
    live.until("it is taken", |picture| actor(picture, "out/0").mailbox_depth == 0);
}

#[test]
fn the_state_grows_with_its_keys() {
    let live = Live::new();
    let sizes = |picture: &Picture| {
        let counts = ["count/0", "count/1"].map(|path| subtask(picture, path));
        let entries: u64 = counts.iter().map(|count| count.state_entries).sum();
        (entries, counts.iter().map(|count| count.state_bytes).sum::<u64>())
    };
    assert_eq!(sizes(&live.picture()).0, 0);
    live.controls.allow(10);
    let few = live.until("10 keys are known", |picture| sizes(picture).0 == 10);
    live.controls.allow(2 * KEYS);
    let all = live.until("all keys are known", |picture| sizes(picture).0 == KEYS);
    assert!(sizes(&all).1 > sizes(&few).1, "{:?} {:?}", sizes(&few), sizes(&all));
    assert_eq!(subtask(&all, "out/0").state_entries, 0);
}

#[test]
fn a_checkpoint_is_triggered_listed_and_shown_by_every_subtask() {
    let live = Live::new();
    let before = live.picture();
    assert_eq!((before.last_checkpoint.as_ref(), subtask(&before, "count/0").last_checkpoint), (None, None));
    assert_eq!(live.run(&["checkpoints"]).out, "no checkpoint yet\n");
    live.controls.allow(100);
    live.until("there is state to write", |picture| {
        ["count/0", "count/1"].iter().any(|path| subtask(picture, path).state_entries > 0)
    });
    let ran = live.run(&["checkpoint"]);
    assert_eq!(ran.status, ExitStatus::Done, "{ran:?}");
    let after = live.picture();
    let last = after.last_checkpoint.as_ref().expect("one was made");
    assert_eq!(last.status, CheckpointStatus::Completed);
    assert!(ran.out.starts_with(&format!("checkpoint {} completed in ", last.checkpoint.0)), "{}", ran.out);
    assert!(last.bytes > 0 && last.triggered_ms > 0, "{last:?}");
    for path in ["numbers/0", "count/0", "count/1", "out/0"] {
        assert_eq!(subtask(&after, path).last_checkpoint, Some(last.checkpoint.0), "{path}");
    }
    assert_eq!(live.run(&["checkpoint"]).status, ExitStatus::Done);
    assert!(live.picture().last_checkpoint.expect("another").checkpoint > last.checkpoint);
    assert_eq!(live.run(&["checkpoints"]).out.lines().count(), 3);
}

#[test]
fn a_barrier_that_waits_for_another_input_is_shown_as_aligning() {
    let live = Live::new();
    live.controls.allow(KEYS);
    live.until("all keys are known", |picture| subtask(picture, "out/0").records_in == KEYS);
    live.controls.hold_key(0);
    live.controls.allow(1);
    live.until("one function is held", |picture| {
        ["count/0", "count/1"].iter().any(|path| subtask(picture, path).activity == Activity::Running)
    });
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| live.run(&["checkpoint"]).status);
        let aligning = live.until("one barrier is there", |picture| {
            subtask(picture, "out/0").activity == Activity::Aligning
        });
        assert_eq!(subtask(&aligning, "out/0").inputs.iter().filter(|input| input.is_blocked).count(), 1);
        live.controls.release();
        assert_eq!(asked.join().expect("asked"), ExitStatus::Done);
    });
    live.until("the barrier is through", |picture| {
        subtask(picture, "out/0").activity == Activity::Idle
            && subtask(picture, "out/0").inputs.iter().all(|input| !input.is_blocked)
    });
}

#[test]
fn a_function_that_takes_long_does_not_hold_up_its_neighbours() {
    let live = Live::new();
    live.controls.hold_key(0);
    live.controls.allow(1);
    live.until("one function is held", |picture| {
        ["count/0", "count/1"].iter().any(|path| subtask(picture, path).activity == Activity::Running)
    });
    live.controls.allow(50);
    live.until("the source reads on, and the other function works", |picture| {
        let working = |path| subtask(picture, path).records_out > 0;
        subtask(picture, "numbers/0").records_in == 51 && (working("count/0") || working("count/1"))
    });
}

#[test]
fn a_user_call_that_is_longer_than_a_step_is_counted() {
    let live = Live::new();
    assert_eq!(subtask(&live.picture(), "out/0").overshoots, 0);
    live.controls.hold_sink();
    live.controls.allow(1);
    live.until("the sink is held", |picture| subtask(picture, "out/0").activity == Activity::Running);
    std::thread::park_timeout(std::time::Duration::from_millis(20));
    live.controls.release();
    live.until("it is counted", |picture| subtask(picture, "out/0").overshoots > 0);
}

#[test]
fn a_drained_job_is_finished_and_a_stopped_one_can_be_resumed() {
    for (arguments, state, out) in [
        (
            ["stop", "--drain"].as_slice(),
            JobState::Finished,
            "live was told to drain, and has ended: finished\n",
        ),
        (["stop"].as_slice(), JobState::Stopped, "live was told to stop, and has ended: stopped\n"),
    ] {
        let live = Live::new();
        live.controls.allow(10);
        live.until("10 are out", |picture| subtask(picture, "out/0").records_in == 10);
        let ran = live.run(arguments);
        assert_eq!((ran.status, ran.out.as_str()), (ExitStatus::Done, out), "{ran:?}");
        assert_eq!(live.job().state(), state);
        let ran = live.run(&["topology"]);
        assert_eq!(ran.status, ExitStatus::NoJob);
        assert!(ran.err.contains(&format!("its job has ended: {state}")), "{}", ran.err);
        let state_dir = live.job().state_dir().display().to_string();
        let ran = live.run(&["topology", "--json", "--state", &state_dir]);
        let ended: Picture = serde_json::from_str(&ran.out).expect("a picture");
        assert_eq!((ended.topology.state, ended.topology.lineage), (state, live.job().lineage()));
        for path in ["numbers/0", "count/0", "out/0"] {
            assert_eq!(actor(&ended, path).state, ActorState::Stopped, "{path}");
        }
    }
}

#[test]
fn a_job_that_its_program_lets_go_of_ends_though_its_endpoint_is_asked() {
    let mut live = Live::new();
    let state_dir = live.job().state_dir().display().to_string();
    live.let_go_of_job();
    let ran = live.run(&["checkpoint", "--state", &state_dir]);
    assert_ne!(ran.status, ExitStatus::Done, "{ran:?}");
    assert!(ran.err.contains("the job has ended: it is gone"), "{}", ran.err);
}

#[test]
fn the_graph_of_a_real_job_has_its_edges() {
    let live = Live::new();
    let dot = live.run(&["topology", "--dot"]).out;
    assert!(dot.contains("\"numbers\" -> \"count\" [label=\"hash\\n0/s\\n0 B queued\"]"), "{dot}");
    assert!(dot.contains("\"count\" -> \"out\" [label=\"rebalance\\n0/s\\n0 B queued\"]"), "{dot}");
}

#[test]
fn an_actor_that_does_not_exist_is_refused_by_a_real_job() {
    let live = Live::new();
    let ran = live.run(&["kill", "count/2"]);
    assert_eq!((ran.status.code(), ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("did you mean count/0, count/1"), "{}", ran.err);
}
