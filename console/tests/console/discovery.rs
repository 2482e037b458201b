//! Finding the job: by directory, registry, name; stale files; none and several.

use tidegate_console::cli::ExitStatus;
use tidegate_console::{ControlFile, Registry};
use tidegate_supervisor::JobState;

use crate::fake::{Fake, Served, run_below, serve_below};

fn real(path: &std::path::Path) -> String {
    std::fs::canonicalize(path).expect("a path").display().to_string()
}

#[test]
fn a_job_below_the_current_directory_is_found() {
    let served = Served::new();
    std::fs::remove_dir_all(served.root.path().join("registry")).expect("no registry");
    let ran = served.run(&["kill", "count/0"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (ExitStatus::Done, "killed count/0\n", ""));
}

#[test]
fn a_job_in_a_directory_of_a_run_is_found() {
    let served = Served::new();
    std::fs::remove_dir_all(served.root.path().join("registry")).expect("no registry");
    let deeper = served.root.path().join(".tidegate/fraud-runs/run-1");
    std::fs::create_dir_all(&deeper).expect("made");
    #[expect(clippy::disallowed_methods, reason = "a test's own directory")]
    std::fs::rename(served.state_dir(), deeper.join("state")).expect("moved");
    assert_eq!(served.run(&["kill", "count/0"]).out, "killed count/0\n");
}

#[test]
fn a_job_in_a_fresh_directory_is_found_by_the_registry() {
    let served = Served::new();
    let elsewhere = tempfile::tempdir().expect("directory");
    let fresh = Served::of(Fake::named("fresh"));
    Registry::at(elsewhere.path().join("registry")).enter(&fresh.state_dir()).expect("entered");
    let ran = run_below(elsewhere.path(), &["stop", "--no-wait"]);
    assert_eq!(ran.out, "fresh was told to stop\n");
    drop(served);
}

#[test]
fn a_job_is_found_by_its_state_directory_alone() {
    let served = Served::new();
    let elsewhere = tempfile::tempdir().expect("directory");
    let dir = served.state_dir().display().to_string();
    let ran = run_below(elsewhere.path(), &["--state", &dir, "kill", "job"]);
    assert_eq!((ran.status, ran.out.as_str()), (ExitStatus::Done, "killed job\n"));
}

#[test]
fn no_job_is_an_error_with_its_own_exit_code() {
    let root = tempfile::tempdir().expect("directory");
    let ran = run_below(root.path(), &["topology"]);
    assert_eq!((ran.status, ran.status.code()), (ExitStatus::NoJob, 3));
    assert_eq!(ran.out, "");
    assert_eq!(
        ran.err,
        "error: no running job was found\nhint: start a job, or point to its state directory with `--state DIR`\n"
    );
    let dir = root.path().display().to_string();
    let ran = run_below(root.path(), &["checkpoints", "--json", "--state", &dir]);
    assert_eq!(ran.status, ExitStatus::NoJob);
    assert!(
        ran.err.contains(&format!("no job is running in {dir}\n  skipped {dir} holds no control.json")),
        "{}",
        ran.err
    );
    let body: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(body["version"], 1);
    assert!(body["error"].as_str().is_some_and(|error| error.starts_with("no job is running in")));
}

#[test]
fn the_file_of_a_killed_job_is_skipped_and_told() {
    let mut killed = Served::of(Fake::named("killed"));
    let file = ControlFile::read(&killed.state_dir()).expect("a control file");
    killed.endpoint = None;
    file.publish(&killed.state_dir()).expect("as a killed process leaves it");
    let ran = killed.run(&["topology"]);
    assert_eq!(ran.status, ExitStatus::NoJob);
    let path = format!("{}/control.json", real(&killed.state_dir()));
    let skipped =
        format!("skipped {path}: stale, process {} is gone: nobody listens at {}", file.pid, file.address);
    assert!(ran.err.contains(&skipped), "{}", ran.err);

    // With a running job beside it the command goes through, and still says so.
    let running = Fake::named("running");
    let _endpoint = serve_below(killed.root.path(), &running);
    let ran = killed.run(&["kill", "job"]);
    assert_eq!((ran.status, ran.out.as_str()), (ExitStatus::Done, "killed job\n"));
    assert_eq!(ran.err, format!("note: {skipped}\n"));
}

#[test]
fn the_file_of_a_job_whose_port_is_another_jobs_by_now_is_stale() {
    let served = Served::new();
    let other = Served::of(Fake::named("other"));
    let mut file = ControlFile::read(&served.state_dir()).expect("a control file");
    file.address = other.endpoint.as_ref().expect("served").address();
    file.publish(&served.state_dir()).expect("published");
    let ran = served.run(&["kill", "job"]);
    assert_eq!(ran.status, ExitStatus::NoJob);
    assert!(ran.err.contains("is another job's by now"), "{}", ran.err);
    assert_eq!(*crate::fake::lock(&other.fake.asked), Vec::<String>::new());
}

#[test]
fn several_jobs_are_listed_and_chosen_by_name_or_directory() {
    let fraud = Served::new();
    let words = Fake::named("words");
    let _endpoint = serve_below(fraud.root.path(), &words);
    let ran = fraud.run(&["topology"]);
    assert_eq!((ran.status, ran.status.code(), ran.out.as_str()), (ExitStatus::Usage, 2, ""));
    assert!(ran.err.starts_with("error: 2 jobs are running:\n"), "{}", ran.err);
    assert!(
        ran.err.contains(&format!(
            "\n  fraud (process {}) in {}\n",
            std::process::id(),
            real(&fraud.state_dir())
        )),
        "{}",
        ran.err
    );
    assert!(ran.err.ends_with("hint: choose one by `--job NAME` or `--state DIR`\n"), "{}", ran.err);

    assert_eq!(fraud.run(&["--job", "words", "kill", "job"]).status, ExitStatus::Done);
    assert_eq!(*crate::fake::lock(&words.asked), ["kill job"]);
    let dir = fraud.state_dir().display().to_string();
    assert_eq!(fraud.run(&["--state", &dir, "kill", "job"]).status, ExitStatus::Done);
    assert_eq!(*crate::fake::lock(&fraud.fake.asked), ["kill job"]);

    let ran = fraud.run(&["--job", "wrods", "topology"]);
    assert_eq!(ran.status, ExitStatus::NoJob);
    assert!(
        ran.err.starts_with("error: no job called `wrods` is running\nhint: these are running:\n  fraud"),
        "{}",
        ran.err
    );
}

#[test]
fn a_job_that_has_ended_is_skipped_unless_it_is_named_by_its_directory() {
    let served = Served::new();
    crate::fake::lock(&served.fake.topology).state = JobState::Failed;
    let ran = served.run(&["topology"]);
    assert_eq!(ran.status, ExitStatus::NoJob);
    assert!(ran.err.contains("control.json: its job has ended: failed\n"), "{}", ran.err);
    let dir = served.state_dir().display().to_string();
    let ran = served.run(&["topology", "--watch", "--state", &dir]);
    assert_eq!(ran.status, ExitStatus::Done);
    assert!(ran.out.starts_with("fraud: failed, last checkpoint 42"), "{}", ran.out);
}
