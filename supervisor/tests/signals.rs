//! Signals, in a process of their own: this binary starts itself again.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use common::{Controls, config, pipeline};
use tidegate_supervisor::{Result, run};

/// What the child prints once its job runs.
const READY: &str = "the child's job runs";

/// Not a test of its own: the child of the others.
#[test]
#[ignore = "the child process of the other tests"]
fn child() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let controls = Controls::closed();
    controls.allow(100);
    controls.each_record(|record| {
        if record == 0 {
            println!("{READY}");
        }
        if std::env::var_os("HANG").is_some() {
            let (sender, receiver) = std::sync::mpsc::channel::<()>();
            let _ = receiver.recv();
            drop(sender);
        }
    });
    run(&pipeline(&controls, 1, 1_000), config(&dir))?;
    unreachable!("the input never ends");
}

fn start(hang: Option<&str>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.envs(hang.map(|hang| ("HANG", hang)));
    let mut child = command.spawn().expect("the child starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let ready = lines.map_while(std::result::Result::ok).any(|line| line.contains(READY));
    assert!(ready, "the child ended before its job ran");
    child
}

fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let status = Command::new("kill").args([signal, &id]).status().expect("kill runs");
    assert!(status.success());
}

fn exit_code(mut child: Child) -> Option<i32> {
    child.wait().expect("the child ends").code()
}

#[test]
fn a_job_stopped_by_ctrl_c_exits_with_130() {
    let child = start(None);
    send(&child, "-INT");
    assert_eq!(exit_code(child), Some(130));
}

#[test]
fn a_job_stopped_by_a_termination_signal_exits_with_143() {
    let child = start(None);
    send(&child, "-TERM");
    assert_eq!(exit_code(child), Some(143));
}

#[test]
fn a_second_ctrl_c_ends_a_job_at_once_that_can_not_make_its_last_checkpoint() {
    let mut child = start(Some("yes"));
    send(&child, "-INT");
    // Signals of one kind that come together are one: until the second has been seen it is sent again.
    while child.try_wait().expect("the child is ours").is_none() {
        send(&child, "-INT");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    assert_eq!(exit_code(child), Some(130));
}
