//! Files as a sink, exactly once: parts are written under `.pending`, and renamed into the directory once the
//! checkpoint that contains them is published.
//!
//! A part is in progress (it grows), then pending (closed, synced, named in a checkpoint), then published. What makes
//! it exactly once:
//!
//! - The prepare job of a checkpoint syncs the parts and the directory that names them before the checkpoint is
//!   acknowledged; a part that is still in progress is noted with its length.
//! - Publishing is a rename: a second one finds the part in its place.
//! - A new attempt writes to files of its own. It copies what the checkpoint had of an unfinished part, and what it
//!   does not need is removed: at once if no checkpoint names it, else with the next commit.
//! - A mark per subtask says which checkpoint was published last, and an older one is not restored over it.

mod committer;
mod encoding;
mod layout;
mod part;
mod place;
mod restore;
mod sink;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

pub use encoding::{
    Beginning, CsvEncoder, CsvRows, Encoder, Encoding, JsonEncoder, JsonLines, TextEncoder, TextLines,
};
pub use sink::{FileSink, csv, json_lines, lines};
pub use writer::FileWriter;
