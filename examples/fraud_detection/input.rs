//! The two files that a run reads, made first if the command line says so.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    generate::{self, Recipe},
    options::Input,
};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");

/// Absolute paths, so that a run resumed from elsewhere still reads the same files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InputFiles {
    pub(crate) transactions: PathBuf,
    pub(crate) accounts: PathBuf,
}

impl InputFiles {
    /// Finds or makes the files.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn prepare(input: &Input) -> io::Result<Self> {
        let directory = match input {
            Input::Files { transactions, accounts } => {
                return Ok(Self {
                    transactions: std::path::absolute(transactions)?,
                    accounts: std::path::absolute(accounts)?,
                });
            }
            Input::Committed => PathBuf::from(COMMITTED),
            Input::Generated(recipe) => generated(*recipe, &std::env::temp_dir())?,
        };
        Ok(Self {
            transactions: directory.join("transactions.csv"),
            accounts: directory.join("accounts.csv"),
        })
    }
}

/// A directory of its own for each recipe: a run that is resumed finds the very files it had.
fn generated(recipe: Recipe, parent: &Path) -> io::Result<PathBuf> {
    let Recipe { transactions, seed } = recipe;
    let directory = parent.join(format!("tidegate-fraud-{transactions}-{seed}"));
    if directory.is_dir() {
        return Ok(directory);
    }
    let unfinished = parent.join(format!("tidegate-fraud-{transactions}-{seed}.{}", std::process::id()));
    fs::create_dir_all(&unfinished)?;
    generate::write_files(recipe, &unfinished)?;
    match publish(&unfinished, &directory) {
        // Another process made the same files meanwhile: take those.
        Err(_) if directory.is_dir() => fs::remove_dir_all(&unfinished)?,
        result => result?,
    }
    Ok(directory)
}

/// Only whole files get the final name.
#[expect(clippy::disallowed_methods, reason = "input that can be made again needs no durable write")]
fn publish(unfinished: &Path, directory: &Path) -> io::Result<()> {
    fs::rename(unfinished, directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_followed_once_and_its_files_are_found_again() -> io::Result<()> {
        let parent = tempfile::tempdir()?;
        let recipe = Recipe { transactions: 50, seed: 3 };
        let first = generated(recipe, parent.path())?;
        let written = fs::metadata(first.join("transactions.csv"))?.modified()?;
        assert_eq!(generated(recipe, parent.path())?, first);
        assert_eq!(fs::metadata(first.join("transactions.csv"))?.modified()?, written);
        assert_ne!(generated(Recipe { seed: 4, ..recipe }, parent.path())?, first);
        assert_eq!(fs::read_dir(parent.path())?.count(), 2);
        Ok(())
    }

    #[test]
    fn the_committed_files_exist_and_given_ones_become_absolute() -> io::Result<()> {
        let committed = InputFiles::prepare(&Input::Committed)?;
        assert!(committed.transactions.is_file() && committed.accounts.is_file());
        let given = Input::Files { transactions: "a.csv".into(), accounts: "b.csv".into() };
        let here = std::env::current_dir()?;
        let expected = InputFiles { transactions: here.join("a.csv"), accounts: here.join("b.csv") };
        assert_eq!(InputFiles::prepare(&given)?, expected);
        Ok(())
    }
}
