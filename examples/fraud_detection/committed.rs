//! Counts committed alerts while the run adds to them: a committed file never changes, so each is read once.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufReader},
    path::PathBuf,
};

use crate::pace::line_breaks;

/// The committed alerts of one output directory.
pub(crate) struct Committed {
    directory: PathBuf,
    counted: BTreeSet<OsString>,
    lines: u64,
}

impl Committed {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, counted: BTreeSet::new(), lines: 0 }
    }

    /// Lines in all files there now.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn count(&mut self) -> io::Result<u64> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Some(name) = path.file_name() else { continue };
            let is_output = path.extension().is_some_and(|extension| extension == "jsonl");
            if is_output && !self.counted.contains(name) {
                self.lines += line_breaks(BufReader::new(File::open(&path)?))?;
                self.counted.insert(name.to_owned());
            }
        }
        Ok(self.lines)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn each_committed_file_is_counted_once() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let write =
            |name: &str, text: &str| File::create(directory.path().join(name))?.write_all(text.as_bytes());
        let mut committed = Committed::new(directory.path().to_path_buf());
        assert_eq!(committed.count()?, 0);
        write("a.jsonl", "{}\n{}\n")?;
        write("notes.txt", "{}\n")?;
        assert_eq!((committed.count()?, committed.count()?), (2, 2));
        write("b.jsonl", "{}\n")?;
        assert_eq!(committed.count()?, 3);
        Ok(())
    }
}
