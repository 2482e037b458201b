//! The checkpoint protocol's pure parts and what a checkpoint is on disk: the manifest, its storage, the state directory.

pub mod coordinator;
pub mod manifest;
pub mod restart;
pub mod run_dir;
pub mod storage;
