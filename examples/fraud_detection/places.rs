//! Where a run keeps its output and its state, and which output directories it must leave alone.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// A run with neither directory given gets a fresh one below this.
const RUNS: &str = ".tidegate/fraud_detection";
/// Fresh names end here: whoever has so many runs should delete some.
const FRESH_MAX: u32 = 9_999;

/// The two directories of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) output: PathBuf,
    pub(crate) state: PathBuf,
}

/// Whether a state directory holds a run that can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its next start goes on with it.
    Unfinished,
    /// It is finished, but its process was killed before it said so.
    Unreported,
    /// Nothing, or a finished run: its next start begins afresh.
    NothingToResume,
}

/// An output directory that holds something else than this run's output.
#[derive(Debug)]
pub(crate) struct Occupied {
    output: PathBuf,
    found: PathBuf,
}

impl fmt::Display for Occupied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "--output: {} holds another run's output ({}); choose another directory or delete it",
            self.output.display(),
            self.found.display()
        )
    }
}

impl std::error::Error for Occupied {}

impl Places {
    /// Takes what is given and adds what isn't: state lies in the output; output lies in the state, a directory for
    /// each run there; with neither a fresh directory holds both.
    ///
    /// # Errors
    /// What the file system, or `find` of a state directory, says.
    pub(crate) fn choose(
        output: Option<&Path>,
        state: Option<&Path>,
        find: impl Fn(&Path) -> io::Result<Found>,
    ) -> io::Result<Self> {
        Self::choose_below(Path::new(RUNS), output, state, find)
    }

    fn choose_below(
        runs: &Path,
        output: Option<&Path>,
        state: Option<&Path>,
        find: impl Fn(&Path) -> io::Result<Found>,
    ) -> io::Result<Self> {
        let output = output.map(std::path::absolute).transpose()?;
        let state = state.map(std::path::absolute).transpose()?;
        match (output, state) {
            (Some(output), Some(state)) => Ok(Self { output, state }),
            (Some(output), None) => Ok(Self { state: output.join(".state"), output }),
            (None, Some(state)) => {
                let resumed =
                    if find(&state)? == Found::NothingToResume { None } else { newest(&state, "alerts")? };
                let output = resumed.map_or_else(|| fresh(&state, "alerts"), Ok)?;
                Ok(Self { output, state })
            }
            (None, None) => {
                let run = fresh(&std::path::absolute(runs)?, "run")?;
                Ok(Self { output: run.join("alerts"), state: run.join("state") })
            }
        }
    }

    /// Refuses an output directory with anything in it that a run writes, unless that run goes on.
    ///
    /// # Errors
    /// [`Occupied`], or what the file system says.
    pub(crate) fn refuse_foreign_output(&self, found: Found) -> Result<(), Box<dyn std::error::Error>> {
        if found != Found::NothingToResume {
            return Ok(());
        }
        let own = |path: &Path| path.extension().is_some_and(|extension| extension == "jsonl");
        for (directory, is_output) in [
            (self.output.clone(), &own as &dyn Fn(&Path) -> bool),
            (self.output.join("unknown"), &own),
            (self.output.join(".pending"), &|_: &Path| true),
            (self.output.join("unknown/.pending"), &|_: &Path| true),
        ] {
            if let Some(found) = entries(&directory)?.into_iter().find(|path| is_output(path)) {
                return Err(Box::new(Occupied { output: self.output.clone(), found }));
            }
        }
        Ok(())
    }
}

/// Makes the first directory `NAME-0001`, `NAME-0002`, .. that doesn't exist.
fn fresh(parent: &Path, name: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(parent)?;
    for number in 1..=FRESH_MAX {
        let path = parent.join(format!("{name}-{number:04}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("{} has {FRESH_MAX} runs; delete some", parent.display())))
}

/// The directory that [`fresh`] made last.
fn newest(parent: &Path, name: &str) -> io::Result<Option<PathBuf>> {
    let prefix = format!("{name}-");
    let made =
        |path: &PathBuf| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&prefix));
    Ok(entries(parent)?.into_iter().filter(made).max())
}

/// What a directory holds, in order; one that doesn't exist holds nothing.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(runs: &Path, output: Option<&str>, state: Option<&str>, found: Found) -> io::Result<Places> {
        let below = |name: Option<&str>| name.map(|name| runs.join(name));
        Places::choose_below(runs, below(output).as_deref(), below(state).as_deref(), |_| Ok(found))
    }

    #[test]
    fn what_is_given_is_taken_and_state_lies_in_the_output() -> io::Result<()> {
        let runs = tempfile::tempdir()?;
        let below = |name: &str| runs.path().join(name);
        let both = places(runs.path(), Some("o"), Some("s"), Found::NothingToResume)?;
        assert_eq!(both, Places { output: below("o"), state: below("s") });
        let one = places(runs.path(), Some("o"), None, Found::NothingToResume)?;
        assert_eq!(one, Places { output: below("o"), state: below("o/.state") });
        Ok(())
    }

    #[test]
    fn runs_without_directories_get_a_fresh_one_each() -> io::Result<()> {
        let runs = tempfile::tempdir()?;
        for run in ["run-0001", "run-0002"] {
            let run = runs.path().join(run);
            let expected = Places { output: run.join("alerts"), state: run.join("state") };
            assert_eq!(places(runs.path(), None, None, Found::Unfinished)?, expected);
        }
        Ok(())
    }

    #[test]
    fn a_state_directory_alone_keeps_an_output_for_each_run() -> io::Result<()> {
        let runs = tempfile::tempdir()?;
        let output = |found| places(runs.path(), None, Some("s"), found).map(|places| places.output);
        let below = |name: &str| runs.path().join("s").join(name);
        assert_eq!(output(Found::NothingToResume)?, below("alerts-0001"));
        assert_eq!(output(Found::Unfinished)?, below("alerts-0001"));
        assert_eq!(output(Found::NothingToResume)?, below("alerts-0002"));
        assert_eq!(output(Found::Unreported)?, below("alerts-0002"));
        Ok(())
    }

    #[test]
    fn output_of_another_run_is_refused_and_other_files_are_not() -> io::Result<()> {
        for (file, refused) in [
            ("a.jsonl", true),
            ("unknown/a.jsonl", true),
            (".pending/whatever", true),
            ("unknown/.pending/whatever", true),
            ("notes.txt", false),
            (".state/a.jsonl", false),
        ] {
            let directory = tempfile::tempdir()?;
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().expect("a directory above"))?;
            fs::File::create(&path)?;
            let output = directory.path().to_path_buf();
            let places = Places { state: output.join(".state"), output: output.clone() };
            let result = places.refuse_foreign_output(Found::NothingToResume);
            let message = result.err().map(|error| error.to_string()).unwrap_or_default();
            let expected = format!(
                "--output: {} holds another run's output ({}); choose another directory or delete it",
                output.display(),
                path.display()
            );
            assert_eq!(message, if refused { expected } else { String::new() });
            assert!(places.refuse_foreign_output(Found::Unfinished).is_ok());
        }
        Ok(())
    }
}
