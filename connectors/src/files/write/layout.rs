//! Where everything is: `DIR/part-SUBTASK-ATTEMPT-NUMBER.EXTENSION` once published, `DIR/.pending` before.

use std::path::{Path, PathBuf};

use tidegate_runtime::Result;
use tidegate_runtime::files::{FileLayer, TEMPORARY_SUFFIX, read_optional};
use tidegate_runtime::id::{AttemptId, CheckpointId};

use crate::error::Error;

/// Name of the directory of what is not published.
const PENDING: &str = ".pending";
const MARK: &str = "published-";

/// The directory of a sink.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) directory: PathBuf,
    pub(crate) pending: PathBuf,
}

impl Layout {
    pub(crate) fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { pending: directory.join(PENDING), directory }
    }

    /// Says which run the directory belongs to.
    pub(crate) fn run(&self) -> PathBuf {
        self.pending.join("run")
    }

    /// Held by the process that writes.
    pub(crate) fn lock(&self) -> PathBuf {
        self.pending.join("lock")
    }

    /// Says which checkpoint a subtask published last.
    pub(crate) fn mark(&self, subtask: u32) -> PathBuf {
        self.pending.join(format!("{MARK}{subtask}"))
    }

    /// The checkpoint up to which a subtask has published its output, or began to; `None` before the first.
    pub(crate) fn published_up_to(
        &self,
        files: &dyn FileLayer,
        subtask: u32,
    ) -> Result<Option<CheckpointId>> {
        let path = self.mark(subtask);
        let Some(bytes) = read_optional(files, &path)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let damaged = |_| Error::Output {
            directory: self.directory.clone(),
            problem: format!("{} is damaged: `{}`", shown(&path), text.trim()),
        };
        Ok(Some(CheckpointId(text.trim().parse::<u64>().map_err(damaged)?)))
    }

    pub(crate) fn unpublished(&self, name: &str) -> PathBuf {
        self.pending.join(name)
    }

    pub(crate) fn published(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// What the name of a part says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartName {
    pub(crate) subtask: u32,
    pub(crate) attempt: AttemptId,
    pub(crate) number: u64,
}

impl PartName {
    pub(crate) fn file_name(self, extension: &str) -> String {
        let Self { subtask, attempt, number } = self;
        format!("part-{subtask}-{}-{number}.{extension}", attempt.0)
    }

    /// Reads a name; `None` for what is no part.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (stem, _) = name.strip_prefix("part-")?.split_once('.')?;
        let mut numbers = stem.split('-');
        let parsed = Self {
            subtask: numbers.next()?.parse().ok()?,
            attempt: AttemptId(numbers.next()?.parse().ok()?),
            number: numbers.next()?.parse().ok()?,
        };
        numbers.next().is_none().then_some(parsed)
    }
}

/// Whether a name is that of a mark that was written to its end.
pub(crate) fn is_mark(name: &str) -> bool {
    name.starts_with(MARK) && !name.ends_with(TEMPORARY_SUFFIX)
}

/// How a place is called in messages.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_read_back() {
        let name = PartName { subtask: 3, attempt: AttemptId(12), number: 0 };
        assert_eq!(name.file_name("jsonl"), "part-3-12-0.jsonl");
        assert_eq!(PartName::parse("part-3-12-0.jsonl"), Some(name));
        for other in ["run", "part-3-12.jsonl", "part-3-12-0-1.jsonl", "part-x-1-1.csv", "part-1-1-1"] {
            assert_eq!(PartName::parse(other), None, "{other}");
        }
    }
}
