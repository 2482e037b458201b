//! Publishes parts: renames them into the directory, durably, as often as it is asked to.

use std::sync::Arc;

use tidegate_runtime::Result;
use tidegate_runtime::files::{FileLayer, not_found, write_atomically};
use tidegate_runtime::id::CheckpointId;
use tidegate_runtime::sink::{Committable, Committer};

use super::layout::{Layout, shown};
use super::snapshot::{PartLength, Publication};
use crate::error::Error;
use crate::uncommitted::Uncommitted;

/// The publishing half of one subtask.
#[derive(Debug)]
pub(crate) struct FileCommitter {
    pub(crate) files: Arc<dyn FileLayer>,
    pub(crate) layout: Layout,
    pub(crate) subtask: u32,
    pub(crate) uncommitted: Uncommitted,
}

impl Committer for FileCommitter {
    fn commit(&mut self, checkpoint: CheckpointId, committables: &[Committable]) -> Result<()> {
        let publications: Vec<Publication> =
            committables.iter().map(Publication::decode).collect::<Result<_, Error>>()?;
        if !publications.is_empty() {
            publications.iter().try_for_each(|publication| self.check_present(publication))?;
            // First: whoever sees a part of this checkpoint must also see that nothing older may be restored.
            let mark = format!("{}\n", checkpoint.0);
            write_atomically(&*self.files, &self.layout.mark(self.subtask), mark.as_bytes())?;
            for publication in &publications {
                self.publish(publication)?;
            }
            self.files.sync_dir(&self.layout.directory)?;
            self.files.sync_dir(&self.layout.pending)?;
        }
        self.uncommitted.settle(checkpoint);
        Ok(())
    }
}

impl FileCommitter {
    /// A part that is in neither place was published before, and a reader of the output has taken it away since; or it
    /// is lost. The mark tells: what is prepared after the checkpoint that it names was never published.
    fn check_present(&self, publication: &Publication) -> Result<()> {
        for part in &publication.publish {
            let is_there = self.files.file_len(&self.layout.published(&part.name))?.is_some()
                || self.files.file_len(&self.layout.unpublished(&part.name))?.is_some();
            if is_there
                || self.layout.published_up_to(&*self.files, self.subtask)? >= Some(publication.checkpoint)
            {
                continue;
            }
            let problem = format!(
                "{} is gone before it was published, with {} bytes of output; put it back, or start afresh with an \
                 empty directory",
                shown(&self.layout.unpublished(&part.name)),
                part.bytes
            );
            return Err(Error::Output { directory: self.layout.directory.clone(), problem }.into());
        }
        Ok(())
    }

    fn publish(&self, publication: &Publication) -> Result<()> {
        for part in &publication.publish {
            self.publish_part(part)?;
        }
        for name in &publication.remove {
            self.files.remove(&self.layout.unpublished(name))?;
        }
        Ok(())
    }

    fn publish_part(&self, part: &PartLength) -> Result<()> {
        let (from, to) = (self.layout.unpublished(&part.name), self.layout.published(&part.name));
        match self.files.file_len(&to)? {
            Some(bytes) if bytes != part.bytes => {
                let problem = format!("{} has {bytes} bytes, {} were written", shown(&to), part.bytes);
                return Err(Error::Output { directory: self.layout.directory.clone(), problem }.into());
            }
            // Done before (case 96); a crash may have brought the old name back as well.
            Some(_) => return self.files.remove(&from),
            None => {}
        }
        match self.files.rename(&from, &to) {
            // It was published (see `check_present`), and a reader of the output has taken it away since.
            Err(error) if not_found(&error) => {
                tracing::warn!(part = %part.name, "a published part is no longer in the output");
                Ok(())
            }
            renamed => renamed,
        }
    }
}
