//! output: being written.
