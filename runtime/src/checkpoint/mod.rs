//! checkpoint: being written.
