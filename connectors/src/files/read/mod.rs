//! Files as a source: discovery, splits by byte range, and the reader of them.

mod buffer;
mod identity;
mod input;
mod lines_before;
mod open_split;
mod reader;
mod source;
mod split;
#[cfg(test)]
mod tests;

pub use reader::FileReader;
pub use source::{FileSource, OnBadRecord, files};
pub use split::FileSplit;
