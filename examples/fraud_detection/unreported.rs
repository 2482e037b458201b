//! Remembers that a run has not reported its end yet: a process may be killed between the run's last commit and its
//! summary and comparison, and the same command, started again, still owes them.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{input::InputFiles, places::Places};

const NAME: &str = "unreported";

/// The note in a state directory that says whose report is still owed.
pub(crate) struct Unreported {
    path: PathBuf,
}

impl Unreported {
    /// The note of a state directory, whether it exists or not.
    pub(crate) fn in_state(state: &Path) -> Self {
        Self { path: state.join(NAME) }
    }

    /// Whether a report over these files is owed; with `output` also whether it is that of this output.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn is_owed(&self, input: &InputFiles, output: Option<&Path>) -> io::Result<bool> {
        let noted = match fs::read_to_string(&self.path) {
            Ok(noted) => noted,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some((files, noted_output)) = noted.rsplit_once('\n') else { return Ok(false) };
        let is_same_output = output.is_none_or(|output| noted_output == output.display().to_string());
        Ok(files == names(input) && is_same_output)
    }

    /// From now on a report is owed.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn owe(&self, input: &InputFiles, places: &Places) -> io::Result<()> {
        write!(File::create(&self.path)?, "{}\n{}", names(input), places.output.display())
    }

    /// The report was made.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn settle(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn names(input: &InputFiles) -> String {
    format!("{}\n{}", input.transactions.display(), input.accounts.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_owed_for_its_files_and_output_until_it_is_made() -> io::Result<()> {
        let state = tempfile::tempdir()?;
        let input = InputFiles { transactions: "t.csv".into(), accounts: "a.csv".into() };
        let other = InputFiles { transactions: "other.csv".into(), accounts: "a.csv".into() };
        let places = Places { output: "/out".into(), state: state.path().to_path_buf() };
        let note = Unreported::in_state(state.path());
        assert!(!note.is_owed(&input, None)?);
        note.owe(&input, &places)?;
        assert!(note.is_owed(&input, None)? && note.is_owed(&input, Some(Path::new("/out")))?);
        assert!(!note.is_owed(&input, Some(Path::new("/elsewhere")))? && !note.is_owed(&other, None)?);
        note.settle()?;
        assert!(!note.is_owed(&input, None)?);
        Ok(())
    }
}
