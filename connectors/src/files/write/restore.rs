//! What an attempt finds of those before it: what it must keep, what it copies, what it removes.

use std::collections::BTreeSet;

use tidegate_runtime::Result;
use tidegate_runtime::files::FileLayer;
use tidegate_runtime::sink::SinkContext;

use super::layout::{Layout, PartName};
use super::snapshot::{PartLength, WriterSnapshot};
use crate::error::Error;

/// What the restored checkpoint says of all former subtasks that are taken over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restored {
    pub(crate) in_progress: Vec<PartLength>,
    pub(crate) pending: Vec<PartLength>,
    /// Whether these are the files of one and the same subtask.
    scale: Scale,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scale {
    #[default]
    Same,
    Changed,
}

impl Restored {
    pub(crate) fn of(cx: &SinkContext, states: &[Vec<u8>]) -> Result<Self> {
        let mut restored = Self::default();
        for state in states {
            let snapshot = WriterSnapshot::decode(state)?;
            if snapshot.parallelism != cx.parallelism {
                restored.scale = Scale::Changed;
            }
            restored.in_progress.extend(snapshot.in_progress);
            restored.pending.extend(snapshot.pending);
        }
        Ok(restored)
    }

    /// Refuses a checkpoint that is older than what is published: its records would be published twice (case 86).
    pub(crate) fn check_mark(&self, cx: &SinkContext, files: &dyn FileLayer, layout: &Layout) -> Result<()> {
        let Some(published) = layout.published_up_to(files, cx.subtask.index)? else { return Ok(()) };
        if cx.restored.is_none_or(|restored| restored < published) {
            let from = cx.restored.map_or_else(|| "the beginning".to_owned(), |id| id.to_string());
            let problem = format!(
                "it holds the output up to {published}, but the run goes on from {from}, which would write records twice; restore {published} or a later one, or start afresh with an empty directory"
            );
            return Err(Error::Output { directory: layout.directory.clone(), problem }.into());
        }
        Ok(())
    }

    /// Removes what older attempts of this subtask left and no checkpoint names (case 95).
    pub(crate) fn remove_orphans(
        &self,
        cx: &SinkContext,
        files: &dyn FileLayer,
        layout: &Layout,
    ) -> Result<()> {
        if self.scale == Scale::Changed {
            // Another subtask's state may name a file that looks like ours.
            return Ok(());
        }
        let kept: BTreeSet<&str> =
            self.in_progress.iter().chain(&self.pending).map(|part| part.name.as_str()).collect();
        for entry in files.list(&layout.pending)? {
            let Some(name) = PartName::parse(&entry.name) else { continue };
            let is_ours = name.subtask == cx.subtask.index && name.attempt < cx.attempt;
            if is_ours && !kept.contains(entry.name.as_str()) {
                files.remove(&layout.unpublished(&entry.name))?;
            }
        }
        Ok(())
    }
}
