//! Whole runs over small inputs, killed and not, compared with the sequential computation.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use super::*;
use crate::{generate, generate::Recipe, options::Input};

/// Options of a run over 4,000 payments in a directory of its own.
fn options(directory: &Path) -> Options {
    let (transactions, accounts) =
        generate::write_files(Recipe { transactions: 4_000, seed: 5 }, directory).expect("written files");
    Options {
        input: Input::Files { transactions, accounts },
        seed: 1,
        output: Some(directory.join("alerts")),
        state: None,
        rate: None,
        kill_every: None,
        checkpoint_interval: Duration::from_millis(20),
        parallelism: std::num::NonZeroUsize::new(2),
        verify: true,
        hold: false,
    }
}

fn outcome(options: &Options) -> Result<u8, String> {
    run(options).map_err(|trouble| match trouble {
        Trouble::Refused(error) => format!("refused: {error}"),
        Trouble::Failed(error) => format!("failed: {error}"),
    })
}

fn part(directory: &Path) -> PathBuf {
    let paths = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .min()
        .expect("some output")
}

#[test]
fn a_killed_run_commits_what_the_sequential_computation_demands() {
    let directory = tempfile::tempdir().expect("a directory");
    let kills = Options {
        rate: Some(4_000),
        kill_every: Some(Duration::from_millis(60)),
        ..options(directory.path())
    };
    assert_eq!(outcome(&kills), Ok(0));
    assert!(
        part(&directory.path().join("alerts")).is_file()
            && part(&directory.path().join("alerts/unknown")).is_file()
    );
}

#[test]
fn a_finished_output_is_refused_and_a_tampered_one_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = options(directory.path());
    assert_eq!(outcome(&options), Ok(0));
    let message = outcome(&options).expect_err("a second run");
    assert!(
        message.starts_with("refused: --output: ") && message.contains("holds another run's output"),
        "{message}"
    );

    // As if the process had been killed before it reported: the same command still owes the comparison.
    let input = InputFiles::prepare(&options.input).expect("files");
    let output = directory.path().join("alerts");
    let places = Places { state: output.join(".state"), output: output.clone() };
    let owe = || Unreported::in_state(&places.state).owe(&input, &places).expect("a note");
    owe();
    assert_eq!(outcome(&options), Ok(0));
    let doubled =
        fs::read_to_string(part(&output)).expect("lines").lines().next().expect("an alert").to_owned();
    let file = fs::File::create(output.join("again.jsonl"));
    file.and_then(|mut file| writeln!(file, "{doubled}")).expect("a written file");
    owe();
    assert_eq!(outcome(&options), Ok(1));
}
