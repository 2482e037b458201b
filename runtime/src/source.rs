//! source: being written.
