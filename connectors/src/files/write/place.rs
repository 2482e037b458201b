//! Whose directory it is: a run never mixes its output with another's.

use std::path::Path;

use tidegate_runtime::Result;
use tidegate_runtime::files::{EntryKind, FileLayer, FileLock, create_dirs, read_optional, write_atomically};
use tidegate_runtime::id::Lineage;
use tidegate_runtime::sink::RunStart;

use super::layout::{Layout, PartName, is_mark, shown};
use crate::error::Error;

/// The lock of a directory, as long as it is written to.
pub(crate) type Hold = Box<dyn FileLock>;

/// What the directory says of whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    ThisRun,
    AnotherRun,
}

/// Takes the directory for a run, or says why not. The lock is `None` where an earlier job of this run holds it still.
pub(crate) fn take(
    files: &dyn FileLayer,
    layout: &Layout,
    lineage: Lineage,
    start: RunStart,
) -> Result<Option<Hold>> {
    if files.list(&layout.pending)?.is_empty() && has_output(files, &layout.directory)? {
        return Err(refusal(layout, "it holds files that no run of this job wrote"));
    }
    create_dirs(files, &layout.pending)?;
    let hold = files.try_lock(&layout.lock())?;
    let owner = owner(files, layout, lineage)?;
    match (owner, start) {
        (Owner::ThisRun, RunStart::Resumed) => return Ok(hold),
        (Owner::ThisRun, RunStart::Fresh) if hold.is_none() => {
            return Err(refusal(layout, "another sink of this job writes to it"));
        }
        _ if hold.is_none() => return Err(refusal(layout, "another running job writes to it")),
        _ => {}
    }
    if has_output(files, &layout.directory)? || has_mark(files, layout)? {
        let problem = match owner {
            Owner::Nobody => "it holds output, but not whose it is: `.pending/run` is missing",
            Owner::AnotherRun => "it holds the output of another run",
            Owner::ThisRun => "it holds output of this run, whose state is gone",
        };
        return Err(refusal(layout, problem));
    }
    // Nothing was ever published: what lies here was left by a run that ended before its first checkpoint.
    remove_parts(files, layout)?;
    write_atomically(files, &layout.run(), format!("{lineage}\n").as_bytes())?;
    Ok(hold)
}

fn owner(files: &dyn FileLayer, layout: &Layout, lineage: Lineage) -> Result<Owner> {
    Ok(match read_optional(files, &layout.run())? {
        None => Owner::Nobody,
        Some(bytes) if bytes.trim_ascii() == lineage.to_string().as_bytes() => Owner::ThisRun,
        Some(_) => Owner::AnotherRun,
    })
}

/// Whether the directory holds files that a reader of the output would see. Directories may be another sink's.
fn has_output(files: &dyn FileLayer, directory: &Path) -> Result<bool> {
    let entries = files.list(directory)?;
    Ok(entries.iter().any(|entry| entry.kind == EntryKind::File && !entry.name.starts_with('.')))
}

fn has_mark(files: &dyn FileLayer, layout: &Layout) -> Result<bool> {
    Ok(files.list(&layout.pending)?.iter().any(|entry| is_mark(&entry.name)))
}

fn remove_parts(files: &dyn FileLayer, layout: &Layout) -> Result<()> {
    for entry in files.list(&layout.pending)? {
        if PartName::parse(&entry.name).is_some() {
            files.remove(&layout.unpublished(&entry.name))?;
        }
    }
    Ok(())
}

fn refusal(layout: &Layout, problem: &str) -> tidegate_runtime::Error {
    let advice = "give this run a directory of its own, or remove what is there";
    let problem = format!("{problem}; {advice}");
    Error::Output { directory: shown(&layout.directory).into(), problem }.into()
}
