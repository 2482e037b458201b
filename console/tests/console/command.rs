//! What each command prints, word by word, and how it ends.

use serde_json::{Value, json};
use tidegate_console::cli::ExitStatus;
use tidegate_console::{Refusal, RefusalKind};
use tidegate_supervisor::JobState;

use crate::fake::{Ran, Served, lock};

fn done(out: &str) -> Ran {
    Ran { status: ExitStatus::Done, out: out.to_owned(), err: String::new() }
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).expect("one JSON object")
}

#[test]
fn the_topology_is_a_tree_beside_a_table() {
    let expected = r#"fraud: running, last checkpoint 42 5.0 s ago in 14 ms, 2.0 KiB
ACTOR                 KIND         STATE    ACTIVITY        ATTEMPT  RESTARTS  MAILBOX      IN   IN/S     OUT  OUT/S  FILL      WATERMARK    LAG       STATE SIZE  CHECKPOINT  QUEUED
runtime               runtime      running                                  0        0
├─ job                job          running                                  0        0
│  ├─ checkpoints     checkpoints  running                                  0        0
│  └─ region-0        region       running                                  0        0
└─ worker             worker       running                                  0        0
   └─ deployment-0    deployment   running                        3         2        0
      ├─ count/0      subtask      running  back_pressured        3         2        1  123456  70.1k  120000  69.0k   512  1700000000000  3.2 s  1000 / 62.5 KiB          42  1.5 KiB: lines "a"/0 1.5 KiB blocked
      ├─ count/1      subtask      running  idle                  3         2        1  123456  70.1k  120000  69.0k   512  1700000000000  3.2 s  1000 / 62.5 KiB          42  1.5 KiB: lines "a"/0 1.5 KiB
      └─ lines "a"/0  subtask      running  running               3         2        1  123456  70.1k  120000  69.0k                 none                 0 / 0 B
"#;
    let served = Served::new();
    assert_eq!(served.run(&["topology"]).out, expected);
}

#[test]
fn every_actor_is_in_the_tree_whatever_has_become_of_its_supervisor() {
    let served = Served::new();
    lock(&served.fake.topology).actors.retain(|actor| actor.path != "worker" && actor.path != "deployment-0");
    let out = served.run(&["topology"]).out;
    let width = out.lines().nth(1).and_then(|head| head.find("KIND")).expect("a head");
    let first: Vec<String> = out.lines().skip(2).map(|line| line.chars().take(width).collect()).collect();
    let expected =
        ["count/0", "count/1", "lines \"a\"/0", "runtime", "└─ job", "   ├─ checkpoints", "   └─ region-0"];
    assert_eq!(first.iter().map(|text| text.trim_end()).collect::<Vec<_>>(), expected);
}

#[test]
fn the_graph_has_operators_edges_and_rates() {
    let expected = r#"digraph "fraud" {
  rankdir=LR;
  node [shape=box];
  "count" [label="count x2\nin 140.2k/s, out 138.0k/s\nstate 125.0 KiB\n1 back_pressured, 1 idle"];
  "lines \"a\"" [label="lines \"a\" x1\nin 70.1k/s, out 69.0k/s\nstate 0 B\n1 running"];
  "lines \"a\"" -> "count" [label="hash\n140.2k/s\n3.0 KiB queued"];
}
"#;
    let served = Served::new();
    assert_eq!(served.run(&["topology", "--dot"]).out, expected);
}

#[test]
fn the_topology_as_json_is_what_the_job_said() {
    let served = Served::new();
    let ran = served.run(&["topology", "--json"]);
    let said = json_of(&ran);
    assert_eq!(said["topology"]["actors"], json!(lock(&served.fake.topology).actors));
    assert_eq!(said["version"], 1);
    assert_eq!(said["last_checkpoint"]["checkpoint"], 42);
}

#[test]
fn checkpoints_are_a_table() {
    let expected = r#"CHECKPOINT  STATUS       DURATION     SIZE  KIND      TRIGGERED (UTC)          CAUSE
        41  aborted        10.0 s      0 B  periodic  2023-11-14 22:13:25.000  count/1 did not answer within 10 s
        42  completed       14 ms  2.0 KiB  periodic  2023-11-14 22:13:25.000
        43  in_progress     14 ms      0 B  stop      2023-11-14 22:13:25.000
"#;
    let served = Served::new();
    assert_eq!(served.run(&["checkpoints"]).out, expected);
    let said = json_of(&served.run(&["checkpoints", "--json"]));
    assert_eq!(said["checkpoints"].as_array().map(Vec::len), Some(3));
    let last = &said["checkpoints"][2];
    assert_eq!((&last["kind"], &last["triggered_ms"]), (&json!("stop"), &json!(1_700_000_005_000_i64)));
    lock(&served.fake.checkpoints).clear();
    assert_eq!(served.run(&["checkpoints"]), done("no checkpoint yet\n"));
    assert!(served.run(&["topology"]).out.starts_with("fraud: running, no checkpoint yet\n"));
}

#[test]
fn a_triggered_checkpoint_says_what_it_cost() {
    let served = Served::new();
    assert_eq!(served.run(&["checkpoint"]), done("checkpoint 43 completed in 14 ms, 2.0 KiB written\n"));
    assert_eq!(json_of(&served.run(&["checkpoint", "--json"]))["bytes"], 2_048);
}

#[test]
fn an_unknown_actor_is_refused_with_near_names() {
    let served = Served::new();
    let ran = served.run(&["kill", "cuont/1"]);
    assert_eq!((ran.status, ran.status.code(), ran.out.as_str()), (ExitStatus::Refused, 1, ""));
    let hint = "did you mean count/1, count/0? `tidegate topology` lists all";
    assert_eq!(ran.err, format!("error: no live actor is called `cuont/1`\nhint: {hint}\n"));
    let ran = served.run(&["kill", "--json", "zzzzzzzzzzzzz"]);
    let error = "no live actor is called `zzzzzzzzzzzzz`";
    assert_eq!(
        json_of(&ran),
        json!({"version": 1, "error": error, "hint": "`tidegate topology` lists them"})
    );
    assert_eq!(*lock(&served.fake.asked), Vec::<String>::new());
}

#[test]
fn an_actor_with_a_name_of_any_characters_is_killed() {
    let served = Served::new();
    assert_eq!(served.run(&["kill", "lines \"a\"/0"]), done("killed lines \"a\"/0\n"));
    assert_eq!(json_of(&served.run(&["kill", "job", "--json"])), json!({"version": 1, "killed": "job"}));
}

#[test]
fn a_stopped_job_is_waited_for() {
    let mut served = Served::new();
    let endpoint = served.endpoint.take().expect("served");
    let fake = std::sync::Arc::clone(&served.fake);
    let ran = std::thread::scope(|scope| {
        // As a job ends: some time after it was told to.
        scope.spawn(move || {
            while lock(&fake.asked).is_empty() {
                std::thread::yield_now();
            }
            drop(endpoint);
        });
        served.run(&["stop", "--drain"])
    });
    assert_eq!(ran, done("fraud was told to drain, and has ended\n"));
    assert_eq!(*lock(&served.fake.asked), ["stop Drain"]);
}

#[test]
fn the_end_of_a_job_whose_program_holds_on_to_it_is_seen() {
    for (state, status, out) in [
        (JobState::Stopped, ExitStatus::Done, "fraud was told to stop, and has ended: stopped\n"),
        (JobState::Failed, ExitStatus::Refused, ""),
    ] {
        let served = Served::new();
        let dir = served.state_dir().display().to_string();
        lock(&served.fake.topology).state = state;
        let ran = served.run(&["stop", "--state", &dir]);
        assert_eq!((ran.status, ran.out.as_str()), (status, out));
        assert_eq!(
            ran.err.contains("error: fraud was told to stop, and has failed"),
            state == JobState::Failed
        );
    }
}

#[test]
fn a_job_that_does_not_end_in_time_is_told() {
    let served = Served::new();
    let ran = served.run(&["stop", "--timeout", "1"]);
    assert_eq!(ran.status, ExitStatus::Refused);
    assert!(ran.err.starts_with("error: the job is still stopping after 1 s\n"), "{}", ran.err);
}

#[test]
fn a_refusal_of_the_job_is_exit_code_one() {
    let served = Served::new();
    *lock(&served.fake.refusal) =
        Some(Refusal::new(RefusalKind::Conflict, "the job is stopping", "wait for its end"));
    for command in ["checkpoint", "stop"] {
        let ran = served.run(&[command]);
        assert_eq!(
            (ran.status, ran.err.as_str()),
            (ExitStatus::Refused, "error: the job is stopping\nhint: wait for its end\n")
        );
    }
}

#[test]
fn a_job_that_does_not_answer_in_time_is_no_job() {
    let served = Served::new();
    let held = lock(&served.fake.gate);
    let ran = served.run(&["checkpoint", "--timeout", "1"]);
    assert_eq!(ran.status, ExitStatus::NoJob);
    assert!(
        ran.err.starts_with("error: the job did not answer within 1 s\nhint: wait longer with"),
        "{}",
        ran.err
    );
    drop(held);
}

#[test]
fn watching_prints_until_the_job_ends() {
    let mut served = Served::new();
    let endpoint = served.endpoint.take().expect("served");
    let ran = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::park_timeout(std::time::Duration::from_millis(250));
            drop(endpoint);
        });
        served.run(&["topology", "--watch", "--interval", "0.1"])
    });
    assert_eq!(ran.status, ExitStatus::Done);
    assert!(ran.out.matches("fraud: running").count() >= 2, "{}", ran.out);
    assert!(ran.out.ends_with("\nfraud has ended\n"), "{}", ran.out);
}

#[test]
fn metrics_are_printed_as_they_are() {
    let served = Served::new();
    let ran = served.run(&["metrics"]);
    assert!(ran.out.starts_with("# HELP tidegate_attempt_number "), "{}", ran.out);
    let families = json_of(&served.run(&["metrics", "--json"]));
    let families = families["families"].as_array().expect("families");
    let of = |name: &str| families.iter().find(|family| family["name"] == name).expect("the family").clone();
    let records = of("tidegate_records_in_total");
    assert_eq!(
        (records["kind"].as_str(), records["help"].as_str()),
        (Some("counter"), Some("Records taken in."))
    );
    let first = json!({"labels": {"job": "fraud", "operator": "count", "subtask": "0"}, "value": 123_456.0});
    assert_eq!(records["samples"][0], first);
    let named: Vec<&str> = ran.out.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(families.len(), named.len(), "each family is in both");
}

#[test]
fn wrong_usage_is_exit_code_two_and_help_is_none() {
    let served = Served::new();
    let wrong: [&[&str]; 7] = [
        &[],
        &["topolgy"],
        &["kill"],
        &["topology", "--interval", "1"],
        &["topology", "--dot", "--json"],
        &["topology", "--watch", "--interval", "0"],
        &["checkpoint", "--timeout", "0"],
    ];
    for arguments in wrong {
        let ran = served.run(arguments);
        assert_eq!(
            (ran.status, ran.status.code(), ran.out.as_str()),
            (ExitStatus::Usage, 2, ""),
            "{arguments:?}"
        );
        assert!(!ran.err.is_empty(), "{arguments:?}");
    }
    let help = served.run(&["--help"]);
    assert_eq!(help.status, ExitStatus::Done);
    for word in
        ["topology", "checkpoints", "checkpoint", "kill", "stop", "metrics", "--state <DIR>", "Exit codes:"]
    {
        assert!(help.out.contains(word), "{word} is not in\n{}", help.out);
    }
}

#[test]
fn the_program_finds_the_job_and_ends_with_the_code() {
    let served = Served::new();
    let tidegate = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).current_dir(served.root.path()).env("XDG_RUNTIME_DIR", served.root.path());
        let output = command.output().expect("ran");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(tidegate(&["kill", "job"]), (Some(0), "killed job\n".to_owned()));
    assert_eq!(tidegate(&["kill", "jbo"]).0, Some(1));
    assert_eq!(tidegate(&["kill"]).0, Some(2));
    assert_eq!(tidegate(&["topology", "--job", "another"]).0, Some(3));
}
